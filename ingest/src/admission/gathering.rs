//! How long a batch waits for callers who are about to come back. Pure.
//!
//! A commit costs an fsync whatever its size. Callers who post one event after another come back a moment after their
//! answer, just too late for a batch that was closed at that moment, and so each waits for two commits. Waiting for
//! them, for a part of what a commit takes anyway, makes batches twice as large and answers sooner. Where few come at the
//! same time there is nothing to gather and no delay.

use std::time::Duration;

use fairhook_common::limits;

/// What was seen of the last commits.
#[derive(Debug, Default)]
pub struct Gathering {
    /// Callers who were there at the same time, lately at most.
    crowd: usize,
    /// How long the last commit took.
    took: Duration,
}

impl Gathering {
    /// A commit answered so many callers while so many more waited.
    pub fn committed(&mut self, answered: usize, waiting: usize, took: Duration) {
        self.crowd = (answered + waiting).max(self.crowd - self.crowd.div_ceil(8));
        self.took = took;
    }

    /// How long to wait, since the last commit, while so many are there; `None`: not any longer.
    pub fn patience(&self, waiting: usize) -> Option<Duration> {
        let worth_it = self.crowd >= limits::GATHER_CROWD && waiting < self.crowd - self.crowd / 16;
        worth_it.then(|| (self.took / 2).min(limits::GATHER_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_millis(4);

    #[test]
    fn a_crowd_is_waited_for_until_it_is_there() {
        let mut gathering = Gathering::default();
        assert_eq!(gathering.patience(0), None, "nobody has been seen");
        gathering.committed(32, 32, COMMIT);
        assert_eq!(gathering.patience(32), Some(COMMIT / 2));
        assert_eq!(gathering.patience(60), None, "almost all of them are there");
        gathering.committed(32, 32, Duration::from_secs(1));
        assert_eq!(gathering.patience(32), Some(limits::GATHER_MAX));
    }

    #[test]
    fn a_few_are_never_waited_for_and_a_crowd_is_forgotten() {
        let mut gathering = Gathering::default();
        gathering.committed(3, 2, COMMIT);
        assert_eq!(gathering.patience(0), None);
        gathering.committed(64, 0, COMMIT);
        let calm = (0..100).position(|_| {
            gathering.committed(1, 0, COMMIT);
            gathering.patience(0).is_none()
        });
        assert!(calm.is_some_and(|commits| commits < 20), "{calm:?}");
    }
}
