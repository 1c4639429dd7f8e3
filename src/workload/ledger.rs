//! What was sent, what was accepted, what arrived, and when.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::Latencies;

/// One event's history. Times are since the ledger's origin.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    intended: Duration,
    answered: Option<Duration>,
    accepted: bool,
    first_arrival: Option<Duration>,
    arrivals: u32,
}

/// The history of every event of every stream. Grows with the number of events sent, which the caller bounds.
#[derive(Debug)]
pub struct Ledger {
    origin: Instant,
    streams: Vec<Mutex<Vec<Entry>>>,
}

/// A stream's history, or that of several, in figures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Requests that were answered or failed, and those still under way.
    pub sent: u64,
    /// Answered with 202.
    pub accepted: u64,
    /// Accepted ones that arrived.
    pub arrived: u64,
    /// Accepted ones that did not arrive (yet).
    pub missing: u64,
    /// Arrivals beyond the first of each event.
    pub duplicates: u64,
    /// From the intended time of the post to its answer.
    pub accept: Latencies,
    /// From the intended time of the post to its first arrival.
    pub arrival: Latencies,
    /// As `arrival`, but what has not arrived yet counts with the time it has waited so far.
    pub arrival_or_age: Latencies,
    /// When the first arrival was, since the origin.
    pub first_arrival: Duration,
    /// When the last first arrival was, since the origin.
    pub last_arrival: Duration,
}

impl Ledger {
    /// An empty ledger of so many streams, whose origin is now.
    pub fn new(streams: usize) -> Self {
        Self { origin: Instant::now(), streams: (0..streams).map(|_| Mutex::default()).collect() }
    }

    /// The time since the origin.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    fn entries(&self, stream: usize) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.streams[stream].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// An event that was to be sent at `intended` (since the origin); returns its number.
    pub fn sending(&self, stream: usize, intended: Duration) -> usize {
        let mut entries = self.entries(stream);
        entries.push(Entry { intended, ..Entry::default() });
        entries.len() - 1
    }

    /// The post was answered, or failed.
    pub fn answered(&self, stream: usize, number: usize, accepted: bool) {
        let now = self.elapsed();
        let entry = &mut self.entries(stream)[number];
        entry.answered = Some(now);
        entry.accepted = accepted;
    }

    /// It arrived (once more). Strangers are ignored.
    pub fn arrived(&self, stream: usize, number: usize) {
        let now = self.elapsed();
        if stream >= self.streams.len() {
            return;
        }
        if let Some(entry) = self.entries(stream).get_mut(number) {
            entry.first_arrival.get_or_insert(now);
            entry.arrivals += 1;
        }
    }

    /// The figures of some streams, of what was intended to be sent at or after `from`.
    pub fn tally(&self, streams: impl IntoIterator<Item = usize>, from: Duration) -> Tally {
        let mut entries = Vec::new();
        for stream in streams {
            entries.extend(self.entries(stream).iter().filter(|e| e.intended >= from).copied());
        }
        let now = self.elapsed();
        let accepted = || entries.iter().filter(|e| e.accepted);
        let arrived = || accepted().filter(|e| e.first_arrival.is_some());
        let since = |e: &Entry, at: Option<Duration>| at.map(|at| at.saturating_sub(e.intended));
        Tally {
            sent: entries.len() as u64,
            accepted: accepted().count() as u64,
            arrived: arrived().count() as u64,
            missing: (accepted().count() - arrived().count()) as u64,
            duplicates: entries.iter().map(|e| u64::from(e.arrivals.saturating_sub(1))).sum(),
            accept: Latencies::of(accepted().filter_map(|e| since(e, e.answered))),
            arrival: Latencies::of(arrived().filter_map(|e| since(e, e.first_arrival))),
            arrival_or_age: Latencies::of(accepted().filter_map(|e| since(e, e.first_arrival.or(Some(now))))),
            first_arrival: entries.iter().filter_map(|e| e.first_arrival).min().unwrap_or_default(),
            last_arrival: entries.iter().filter_map(|e| e.first_arrival).max().unwrap_or_default(),
        }
    }

    /// How many accepted events of these streams have not arrived.
    pub fn missing(&self, streams: impl IntoIterator<Item = usize>) -> u64 {
        let missing = |e: &&Entry| e.accepted && e.first_arrival.is_none();
        streams.into_iter().map(|stream| self.entries(stream).iter().filter(missing).count() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_and_what_comes_twice_is_told() {
        let ledger = Ledger::new(2);
        for number in 0..3 {
            assert_eq!(ledger.sending(1, Duration::from_millis(number)), number as usize);
        }
        ledger.answered(1, 0, true);
        ledger.answered(1, 1, true);
        ledger.answered(1, 2, false);
        ledger.arrived(1, 0);
        ledger.arrived(1, 0);
        ledger.arrived(1, 99);
        ledger.arrived(7, 0);
        let tally = ledger.tally([0, 1], Duration::ZERO);
        assert_eq!(
            (tally.sent, tally.accepted, tally.arrived, tally.missing, tally.duplicates),
            (3, 2, 1, 1, 1)
        );
        assert_eq!((tally.accept.count, tally.arrival.count), (2, 1));
        assert_eq!(ledger.missing([0]), 0);
        assert_eq!(ledger.missing([0, 1]), 1);
        assert_eq!(ledger.tally([1], Duration::from_millis(1)).sent, 2);
    }
}
