//! What is due at intervals: pure.

use fairhook_common::limits;

use crate::schedule::Moment;

/// The intervals' next ends.
#[derive(Debug, Clone, Copy)]
pub struct Beat {
    next: Moment,
    snapshot: Moment,
    report: Moment,
    activity: Moment,
    tidy: Moment,
}

/// What one beat is for, beside the capacity, which every beat is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub snapshot: bool,
    pub report: bool,
    pub activity: bool,
    pub tidy: bool,
}

impl Beat {
    /// Everything is due at once.
    pub fn start(now: Moment) -> Self {
        Self { next: now, snapshot: now, report: now, activity: now, tidy: now }
    }

    /// When there is something to do.
    pub fn next(&self) -> Moment {
        self.next
    }

    /// What is to be done now, if anything is; it is taken as done.
    pub fn due(&mut self, now: Moment) -> Option<Due> {
        if now < self.next {
            return None;
        }
        self.next = now.after(limits::CAPACITY_INTERVAL);
        let end = |interval: &mut Moment, length| {
            let ends = now >= *interval;
            if ends {
                *interval = now.after(length);
            }
            ends
        };
        Some(Due {
            snapshot: end(&mut self.snapshot, limits::SNAPSHOT_INTERVAL),
            report: end(&mut self.report, limits::REPORT_INTERVAL),
            activity: end(&mut self.activity, limits::ACTIVITY_INTERVAL),
            tidy: end(&mut self.tidy, limits::SWEEP_INTERVAL),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interval_has_its_own_length() {
        let mut beat = Beat::start(Moment::default());
        let mut counts = [0; 5];
        for ms in 0..10_000 {
            if let Some(due) = beat.due(Moment::from_micros(ms * 1000)) {
                counts[0] += 1;
                counts[1] += u32::from(due.snapshot);
                counts[2] += u32::from(due.report);
                counts[3] += u32::from(due.activity);
                counts[4] += u32::from(due.tidy);
            }
        }
        // A beat every 100 ms; what is due between two beats is done at the next.
        assert_eq!(counts, [100, 34, 20, 5, 2]);
    }
}
