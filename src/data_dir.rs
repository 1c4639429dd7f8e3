//! The data directory: for its owner only, and whether the process that used it before ended in order.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// There while a process uses the directory, and left behind by one that did not end in order.
const MARK: &str = "running";

/// Makes the directory, for its owner only, unless it is there. One that is there is not changed, whoever may look into it:
/// it may serve others too.
pub fn make(directory: &Path) -> io::Result<()> {
    if let Ok(found) = fs::metadata(directory) {
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(
                data_dir = %directory.display(),
                mode = format!("{mode:o}"),
                "others on this machine may look into the data directory; chmod 700 keeps them out"
            );
        }
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Says that a process uses the directory.
#[derive(Debug)]
pub struct InUse {
    mark: PathBuf,
    /// The process before ended without taking its mark back.
    pub unclean: bool,
}

impl InUse {
    /// To be called under the store's lock, so that the mark of a living process is never seen.
    pub fn mark(directory: &Path) -> io::Result<Self> {
        let mark = directory.join(MARK);
        let unclean = mark.exists();
        File::create(&mark)?;
        Ok(Self { mark, unclean })
    }

    /// Takes the mark back: everything has ended in order.
    pub fn ended_in_order(self) {
        let _ = fs::remove_file(self.mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_end_in_order_takes_the_mark_back() {
        let outer = tempfile::tempdir().expect("a directory");
        let directory = outer.path().join("a/b");
        make(&directory).expect("made");
        assert_eq!(fs::metadata(&directory).expect("is there").permissions().mode() & 0o777, 0o700);
        make(&directory).expect("is there already");
        let first = InUse::mark(&directory).expect("marks");
        assert!(!first.unclean);
        drop(first);
        let second = InUse::mark(&directory).expect("marks");
        assert!(second.unclean);
        second.ended_in_order();
        assert!(!InUse::mark(&directory).expect("marks").unclean);
    }
}
