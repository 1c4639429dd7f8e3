//! What the demo has shown: pure, so that it can be tested.

use crate::workload::Tally;

/// The good tenants in the three parts of the demo.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Fairhook, alone.
    pub alone: Tally,
    /// Fairhook, beside the bad ones.
    pub beside: Tally,
    /// One FIFO queue over one worker pool, beside the bad ones.
    pub fifo: Tally,
}

/// The longest p99 that still counts as not felt: twice what it is alone, or 25 ms more.
pub fn bound_ms(alone_ms: f64) -> f64 {
    (2.0 * alone_ms).max(alone_ms + 25.0)
}

impl Shown {
    /// Whether the promise held: nothing lost, and not felt.
    pub fn holds(&self) -> bool {
        let nothing_lost = self.alone.missing == 0 && self.beside.missing == 0;
        let all_accepted = self.alone.accepted == self.alone.sent && self.beside.accepted == self.beside.sent;
        nothing_lost && all_accepted && self.beside.arrival.p99_ms <= bound_ms(self.alone.arrival.p99_ms)
    }

    /// The verdict in words.
    pub fn words(&self) -> String {
        let (alone, beside, fifo) =
            (self.alone.arrival.p99_ms, self.beside.arrival.p99_ms, self.fifo.arrival_or_age.p99_ms);
        let lost = self.alone.missing + self.beside.missing;
        let refused = (self.alone.sent - self.alone.accepted) + (self.beside.sent - self.beside.accepted);
        let outcome = if self.holds() { "The good tenants felt nothing" } else { "The promise did NOT hold" };
        let mut words = format!(
            "{outcome}: p99 from post to arrival {alone:.1} ms alone, {beside:.1} ms beside the bad ones \
             (bound {:.1} ms); {lost} lost, {refused} refused.\n",
            bound_ms(alone)
        );
        words.push_str(&format!(
            "One FIFO queue over one worker pool, same load, same number of slots: p99 {}",
            span(fifo)
        ));
        if self.fifo.missing > 0 {
            words.push_str(&format!(
                " and growing: {} of {} had not arrived when the demo ended",
                self.fifo.missing, self.fifo.accepted
            ));
        }
        words.push('.');
        words
    }
}

/// A time for people.
pub fn span(ms: f64) -> String {
    if ms < 1_000.0 { format!("{ms:.1} ms") } else { format!("{:.1} s", ms / 1_000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Latencies;

    fn tally(p99_ms: f64) -> Tally {
        let latencies = Latencies { p99_ms, ..Latencies::default() };
        Tally {
            sent: 10,
            accepted: 10,
            arrived: 10,
            arrival: latencies,
            arrival_or_age: latencies,
            ..Tally::default()
        }
    }

    #[test]
    fn the_promise_holds_only_if_nothing_is_lost_refused_or_felt() {
        let shown = Shown { alone: tally(10.0), beside: tally(35.0), fifo: tally(9_000.0) };
        assert!(shown.holds());
        assert!(shown.words().contains("9.0 s"), "{}", shown.words());
        assert!(!Shown { beside: tally(35.1), ..shown }.holds());
        assert!(Shown { alone: tally(40.0), beside: tally(80.0), ..shown }.holds());
        let lost = Tally { missing: 1, ..tally(10.0) };
        assert!(!Shown { beside: lost, ..shown }.holds());
        let refused = Tally { sent: 11, ..tally(10.0) };
        assert!(!Shown { beside: refused, ..shown }.holds());
        assert!(Shown { beside: refused, ..shown }.words().contains("NOT"));
    }
}
