//! The waits between attempts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The waits after the first attempt, the second, and so on, with the jitter that spreads each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RetrySchedule {
    /// Seconds; an empty schedule means one attempt only.
    pub schedule_s: Vec<u32>,
    /// The part of a wait, from 0 to 1, that is added or taken off at random.
    pub jitter: f64,
}

impl Default for RetrySchedule {
    fn default() -> Self {
        const MIN: u32 = 60;
        const HOUR: u32 = 60 * MIN;
        let schedule_s =
            vec![5, 5 * MIN, 30 * MIN, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
        Self { schedule_s, jitter: 0.2 }
    }
}

impl RetrySchedule {
    /// The wait after the attempt at `position` (0: the first since the last replay); `None`: the attempts are used up.
    /// `random` is uniform in `0.0..1.0`; `floor` is what the receiver asked for.
    pub fn wait(&self, position: u32, floor: Option<Duration>, random: f64) -> Option<Duration> {
        let seconds = *self.schedule_s.get(usize::try_from(position).ok()?)?;
        let spread = 1.0 + self.jitter * (2.0 * random - 1.0);
        let wait = Duration::from_secs_f64(f64::from(seconds) * spread.max(0.0));
        Some(wait.max(floor.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_schedule_is_ten_attempts_over_three_days() {
        let schedule = RetrySchedule { jitter: 0.0, ..RetrySchedule::default() };
        let waits: Vec<_> = (0..).map_while(|p| schedule.wait(p, None, 0.5)).collect();
        assert_eq!(waits.len(), 9);
        assert_eq!(waits[0], Duration::from_secs(5));
        assert_eq!(waits.iter().sum::<Duration>(), Duration::from_secs(5 + 35 * 60 + 75 * 3600));
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_its_jitter_and_above_its_floor(
            seconds in 0u32..100_000, jitter in 0.0f64..=1.0, random in 0.0f64..1.0, floor in 0u64..100_000,
        ) {
            let schedule = RetrySchedule { schedule_s: vec![seconds], jitter };
            let floor = Duration::from_secs(floor);
            let wait = schedule.wait(0, Some(floor), random).expect("there is one");
            let base = f64::from(seconds);
            prop_assert!(wait >= floor);
            prop_assert!(wait.as_secs_f64() <= (base * (1.0 + jitter)).max(floor.as_secs_f64()) + 1e-6);
            prop_assert!(wait.as_secs_f64() >= base * (1.0 - jitter) - 1e-6);
            prop_assert_eq!(schedule.wait(1, Some(floor), random), None);
        }
    }
}
