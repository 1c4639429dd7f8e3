//! The two clocks of the engine: moments, which only go forward, for what is measured here; and wall-clock time for what
//! the store keeps.

use std::time::Duration;

use fairhook_common::time::Timestamp;
use tokio::time::Instant;

use crate::schedule::Moment;

/// Reads moments relative to the engine's start.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Moment zero is now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The current moment.
    pub fn now(&self) -> Moment {
        Moment::from_micros(self.0.elapsed().as_micros() as u64)
    }

    /// When `moment` is, for a timer.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.0 + Duration::from_micros(moment.as_micros())
    }

    /// The moment at which the wall clock will show `at`, if nobody sets it meanwhile.
    pub fn moment_of(&self, at: Timestamp) -> Moment {
        self.now().after(at.since(Timestamp::now()))
    }
}
