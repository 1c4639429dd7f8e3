//! When the store is away it fails every call. That is told once, and once that it is back, not once per call.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::locked;
use crate::limits::OUTAGE_QUIET;
use crate::store::StoreError;

/// Watches the results of one kind of calls.
pub(super) struct Watch {
    /// What it cannot be while it is away.
    what: &'static str,
    /// Whether an outage is under way: the path of what goes well takes no lock.
    away: AtomicBool,
    outage: Mutex<Outage>,
}

impl Watch {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, away: AtomicBool::new(false), outage: Mutex::new(Outage::default()) }
    }

    /// Takes note of a result. What another try would not overcome is told by whoever gets it.
    pub(super) fn note<T>(&self, result: &Result<T, StoreError>) {
        match result {
            Ok(_) if self.away.load(Ordering::Relaxed) => {
                let ended = locked(&self.outage).fine(Instant::now());
                let Some(Ended { lasted, failed }) = ended else { return };
                self.away.store(false, Ordering::Relaxed);
                let seconds = lasted.as_secs_f64();
                tracing::warn!(
                    outage.seconds = seconds,
                    outage.calls = failed,
                    "the store can be {} again",
                    self.what
                );
            }
            Err(error) if error.is_retryable() => {
                let begins = locked(&self.outage).failed(Instant::now());
                self.away.store(true, Ordering::Relaxed);
                if begins {
                    match error {
                        StoreError::TooSlow => tracing::warn!(
                            "the store is slow: it could not be {} in time; the end of that will be told",
                            self.what
                        ),
                        error => tracing::warn!(
                            error.detail = %error,
                            "the store cannot be {}; its return will be told",
                            self.what
                        ),
                    }
                }
            }
            _ => {}
        }
    }
}

/// A time of failures. It has ended when a call goes well and none has failed for `OUTAGE_QUIET`.
#[derive(Debug, Default)]
struct Outage(Option<Away>);

#[derive(Debug)]
struct Away {
    since: Instant,
    last: Instant,
    failed: u64,
}

/// How long it lasted, and how many calls failed.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    lasted: Duration,
    failed: u64,
}

impl Outage {
    /// Returns whether this is the first failure.
    fn failed(&mut self, now: Instant) -> bool {
        let begins = self.0.is_none();
        let away = self.0.get_or_insert(Away { since: now, last: now, failed: 0 });
        away.last = now;
        away.failed += 1;
        begins
    }

    fn fine(&mut self, now: Instant) -> Option<Ended> {
        let ended = self.0.take_if(|away| now.saturating_duration_since(away.last) >= OUTAGE_QUIET)?;
        Some(Ended { lasted: ended.last.saturating_duration_since(ended.since), failed: ended.failed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_once_and_ends_once() {
        let start = Instant::now();
        let at = |quiets: u32| start + OUTAGE_QUIET * quiets;
        let mut outage = Outage::default();
        assert_eq!(outage.fine(start), None);
        assert!(outage.failed(at(0)));
        assert!(!outage.failed(at(1)));
        assert_eq!(outage.fine(at(1)), None, "it comes and goes");
        assert!(!outage.failed(at(2)));
        assert_eq!(outage.fine(at(3)), Some(Ended { lasted: OUTAGE_QUIET * 2, failed: 3 }));
        assert_eq!(outage.fine(at(4)), None);
        assert!(outage.failed(at(5)));
    }
}
