//! The pace of a job that has one: pure.

use std::time::Duration;

use crate::schedule::Moment;

/// How many deliveries a job may touch now.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    per_second: Option<u32>,
    credit: f64,
    seen: Moment,
}

impl Pace {
    /// A job's that may do `per_second`, and one second's worth at once; `None`: as fast as it goes.
    pub fn new(per_second: Option<u32>, now: Moment) -> Self {
        let credit = per_second.map_or(0.0, f64::from).min(1.0);
        Self { per_second, credit, seen: now }
    }

    /// At most so many now, and never more than `limit`.
    pub fn allowance(&mut self, now: Moment, limit: u32) -> u32 {
        let Some(per_second) = self.per_second else { return limit };
        let rate = f64::from(per_second.max(1));
        self.credit = (self.credit + now.since(self.seen).as_secs_f64() * rate).min(rate);
        self.seen = now;
        limit.min(self.credit as u32)
    }

    /// So many were touched.
    pub fn spend(&mut self, count: u64) {
        self.credit -= count as f64;
    }

    /// How long until there is an allowance again.
    pub fn wait(&self) -> Duration {
        let rate = f64::from(self.per_second.unwrap_or(u32::MAX).max(1));
        Duration::from_secs_f64(((1.0 - self.credit) / rate).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_never_does_more_in_a_time_than_its_rate_allows() {
        let mut pace = Pace::new(Some(10), Moment::default());
        let mut done = 0;
        for ms in (0..=10_000).step_by(7) {
            let now = Moment::from_micros(ms * 1000);
            let allowed = pace.allowance(now, 1000);
            pace.spend(u64::from(allowed));
            done += allowed;
            assert!(u64::from(done) <= 1 + 10 * ms / 1000, "{done} after {ms} ms");
        }
        assert!(done >= 99, "{done} in 10 s");
    }

    #[test]
    fn an_idle_job_saves_a_second_at_most_and_one_without_a_rate_is_bounded_by_the_step() {
        let mut pace = Pace::new(Some(10), Moment::default());
        assert_eq!(pace.allowance(Moment::from_micros(3_600_000_000), 1000), 10);
        pace.spend(10);
        assert_eq!(pace.wait(), Duration::from_millis(100));
        assert_eq!(Pace::new(None, Moment::default()).allowance(Moment::default(), 1000), 1000);
    }
}
