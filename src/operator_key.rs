//! The operator's key: the configured one, or one that is made once and kept in the data directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fairhook_common::config::OperatorKey;
use fairhook_common::key::KeyText;

const FILE: &str = "operator.key";
/// More than a key ever has.
const BYTES: u64 = 4 * 1024;

/// Where the key came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The configuration.
    Configured,
    /// It was made just now and is kept in this file.
    Made(PathBuf),
    /// It was read from this file, where an earlier start kept it.
    Read(PathBuf),
}

/// Reads the key that `directory` keeps, or makes one and keeps it there, readable by its owner only.
pub fn kept_in(directory: &Path) -> io::Result<(OperatorKey, Origin)> {
    let path = directory.join(FILE);
    match File::open(&path) {
        Ok(file) => Ok((read(file, &path)?, Origin::Read(path))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok((make(directory, &path)?, Origin::Made(path))),
        Err(e) => Err(about(&path, &e)),
    }
}

/// Reads the key that `directory` keeps, and makes none.
pub fn read_in(directory: &Path) -> io::Result<OperatorKey> {
    let path = directory.join(FILE);
    File::open(&path).map_err(|e| about(&path, &e)).and_then(|file| read(file, &path))
}

fn read(file: File, path: &Path) -> io::Result<OperatorKey> {
    let mut text = String::new();
    file.take(BYTES).read_to_string(&mut text).map_err(|e| about(path, &e))?;
    OperatorKey::parse(text.trim()).map_err(|e| about(path, &io::Error::new(io::ErrorKind::InvalidData, e)))
}

/// Written whole under another name first: a crash must not leave half a key.
fn make(directory: &Path, path: &Path) -> io::Result<OperatorKey> {
    let text = KeyText::generate().reveal();
    let unfinished = directory.join(format!("{FILE}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(|e| about(&unfinished, &e))?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(|e| about(&unfinished, &e))?;
    std::fs::rename(&unfinished, path).map_err(|e| about(path, &e))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|e| about(directory, &e))?;
    OperatorKey::parse(&text).map_err(io::Error::other)
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let (made, origin) = kept_in(directory.path()).expect("made");
        let path = directory.path().join(FILE);
        assert_eq!(origin, Origin::Made(path.clone()));
        assert!(made.reveal().starts_with("fhk_"));
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        let (read, origin) = kept_in(directory.path()).expect("read");
        assert_eq!(origin, Origin::Read(path.clone()));
        assert!(read.matches(made.reveal()));
        std::fs::write(&path, "short").expect("writes");
        let error = kept_in(directory.path()).expect_err("no key").to_string();
        assert!(error.contains("operator.key: a key has 16"), "{error}");
    }
}
