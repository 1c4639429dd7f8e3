//! What was decided, as callers are shown it.

use std::time::{Duration, Instant};

use fairhook_common::time::Timestamp;

/// Both clocks: one that never steps for what is counted, and that on the wall for what is shown.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Time since any fixed origin.
    pub monotonic: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

/// Where the clock that never steps begins.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// It begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        Now { monotonic: self.0.elapsed(), wall: Timestamp::now() }
    }
}

/// What was decided about one request under one policy, and what the caller is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may pass.
    pub allowed: bool,
    /// How many in a window in the long run: the whole limit, over all ingests.
    pub limit: u32,
    /// The window.
    pub window: Duration,
    /// Left in the current window; as far as is known here, never more than would pass now.
    pub remaining: u32,
    /// When that changes for the better: the end of the window, or of the wait.
    pub reset: Timestamp,
    /// How long until then.
    pub reset_after: Duration,
}

impl Decision {
    /// Whole seconds until `reset`, rounded up, at least 1: never earlier than the limit allows.
    pub fn reset_seconds(&self) -> u64 {
        let whole = self.reset_after.as_secs() + u64::from(self.reset_after.subsec_nanos() > 0);
        whole.max(1)
    }

    /// How near the limit this is: what is left of it, refusals first.
    pub fn tightness(&self) -> impl Ord {
        (self.allowed, u64::from(self.remaining) * 1_000_000 / u64::from(self.limit.max(1)))
    }
}
