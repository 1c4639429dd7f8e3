//! The limit of open files: every connection is one, so the limit is raised at the start and the slots must fit in it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are open whatever happens: the store's connections, listeners, the runtime.
const OWN: u64 = 128;

/// Raises the limit as far as this user may and returns it.
pub fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(_) => limit.current.unwrap_or(most),
    }
}

/// How many slots fit: a slot is a connection out, may leave an idle one behind, and is fed by connections in, so that
/// half of the files are for the slots and half for the rest.
pub fn slots_that_fit(wanted: usize, open_files: u64) -> usize {
    let room = open_files.saturating_sub(OWN) / 2;
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_fit_into_the_limit() {
        assert_eq!(slots_that_fit(2_000, 1_048_576), 2_000);
        assert_eq!(slots_that_fit(2_000, 1_024), 448);
        assert_eq!(slots_that_fit(2_000, 16), 1);
    }

    #[test]
    fn the_limit_never_falls() {
        let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(raise() >= before);
    }
}
