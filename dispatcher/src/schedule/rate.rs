//! An endpoint's rate limit: attempts are spaced evenly, and what was missed may be made up for a tenth of a second.

use std::time::Duration;

use super::moment::{Moment, micros};

/// Of a minute so much may be made up: timers are late by a millisecond or so, and that must not cost rate.
const MADE_UP_PART: u32 = 600;

/// Starts per minute at most (the generic cell rate algorithm).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    per_minute: u32,
    interval: u64,
    /// How much may be made up, at least one interval.
    burst: u64,
    /// When the next start would be if starts were spaced evenly.
    next: u64,
}

impl Rate {
    pub fn new(per_minute: u32) -> Self {
        let per_minute = per_minute.max(1);
        let interval = 60_000_000_u64.div_ceil(per_minute.into());
        let burst = interval * u64::from((per_minute / MADE_UP_PART).max(1));
        Self { per_minute, interval, burst, next: 0 }
    }

    pub fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// How many may start by `ahead` from now.
    pub fn room(&self, now: Moment, ahead: Duration) -> u32 {
        let now = now.as_micros();
        let until = now.saturating_add(self.burst).saturating_add(micros(ahead));
        let room = until.saturating_sub(self.next.max(now)) / self.interval;
        u32::try_from(room).unwrap_or(u32::MAX)
    }

    /// When the next may start.
    pub fn opens(&self) -> Moment {
        Moment::from_micros((self.next + self.interval).saturating_sub(self.burst))
    }

    pub fn start(&mut self, now: Moment) {
        self.next = self.next.max(now.as_micros()) + self.interval;
    }

    /// What was started was not attempted.
    pub fn give_back(&mut self) {
        self.next = self.next.saturating_sub(self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_spaced_evenly_and_a_little_is_made_up() {
        for per_second in [1, 3, 5, 50, 1_000] {
            let mut rate = Rate::new(60 * per_second);
            let mut now = Moment::from_micros(7_000_000);
            let mut starts = Vec::new();
            while now < Moment::from_micros(17_000_000) {
                while rate.room(now, Duration::ZERO) > 0 {
                    rate.start(now);
                    starts.push(now);
                }
                assert!(rate.opens() > now, "{per_second}: nothing may start, so it opens later");
                now = rate.opens();
            }
            let allowed = 10 * per_second as usize + (per_second as usize / 10).max(1);
            assert!(starts.len() <= allowed, "{per_second}: {} in 10 s", starts.len());
            assert!(starts.len() + 1 >= 10 * per_second as usize, "{per_second}: {} in 10 s", starts.len());
        }
    }

    #[test]
    fn less_than_one_in_a_second_is_a_rate_too() {
        let mut rate = Rate::new(10);
        let now = Moment::from_micros(1);
        rate.start(now);
        assert_eq!(rate.room(now, Duration::from_millis(5_999)), 0);
        assert_eq!(rate.opens(), now.after(Duration::from_secs(6)));
    }

    #[test]
    fn what_was_not_attempted_is_given_back() {
        let mut rate = Rate::new(60);
        let now = Moment::from_micros(1);
        rate.start(now);
        assert_eq!(rate.room(now, Duration::ZERO), 0);
        assert_eq!(rate.room(now, Duration::from_secs(2)), 2);
        rate.give_back();
        assert_eq!(rate.room(now, Duration::ZERO), 1);
    }
}
