//! Tokens of a limit that all ingests keep together, leased a few at a time and spent without asking. Pure.

use std::time::Duration;

use fairhook_common::limits;
use fairhook_common::policy::Policy;

use crate::limiter::events::Rate;
use crate::limiter::key::Key;

/// How a rate is counted by all ingests together: events in a window that slides, and what is saved for a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Events in one span.
    pub events: u32,
    /// The window's length.
    pub span: Duration,
    /// Events saved at most, beyond those of a window.
    pub saved: u32,
}

impl From<Rate> for Window {
    /// A second's events in a second, and the rest of the burst saved. A burst below a second's events makes the window
    /// shorter, down to `limits::QUOTA_WINDOW_MIN`: a smaller burst than that window's events counts as those.
    fn from(rate: Rate) -> Self {
        let per_second = rate.per_second.max(1);
        let least = (f64::from(per_second) * limits::QUOTA_WINDOW_MIN.as_secs_f64()).ceil() as u32;
        let events = rate.burst.clamp(least.max(1), per_second);
        let micros = u64::from(events) * 1_000_000 / u64::from(per_second);
        Self { events, span: Duration::from_micros(micros), saved: rate.burst.saturating_sub(events) }
    }
}

impl Window {
    /// Tokens leased at once: few enough that what all ingests hold unspent is little beside the limit.
    pub fn batch(&self) -> u32 {
        let part = self.events / limits::TOKEN_LEASE_PART;
        part.max((2 * part).min(limits::TOKEN_LEASE_SMALL)).clamp(1, limits::TOKEN_LEASE_MAX)
    }

    /// Where all ingests keep it. Another limit is another state, which begins full, as it does without Redis. The braces keep
    /// what is of one key on one node of a cluster.
    pub fn key(&self, policy: Policy, key: &Key) -> String {
        let (events, span, saved) = (self.events, self.span.as_micros(), self.saved);
        format!("fairhook:limit:{{{}}}:{policy}:{events}:{span}:{saved}", key.text())
    }

    /// After this without a grant everything is saved again, and nothing need be known of the key.
    pub fn forget_after(&self) -> Duration {
        let windows = self.saved / self.events + 3;
        self.span.saturating_mul(windows).min(limits::LIMIT_KEPT_MAX)
    }
}

/// The answer to a question for tokens. Spans count from the moment at which the question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Tokens granted, fewer than were asked for if no more were left.
    pub tokens: u32,
    /// Tokens that were left for anybody.
    pub left: u32,
    /// Until as many as were asked for may be free; it counts if none was granted.
    pub wait: Duration,
    /// Until the tokens end with their window.
    pub ends: Duration,
}

/// What to do about one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A leased token was spent on it.
    Spent,
    /// None will be free for so long; nobody has to be asked.
    Refused(Duration),
    /// More tokens have to be asked for.
    Ask,
}

/// What one ingest holds of a key's limit. Times are since any fixed origin.
#[derive(Debug, Default)]
pub struct Lease {
    tokens: u32,
    /// Tokens that were left for anybody when they were granted.
    left: u32,
    /// They end with their window.
    ends: Duration,
    refused_until: Duration,
    /// What costs less may be free sooner.
    refused_cost: u32,
}

impl Lease {
    /// Spends so many tokens on one request.
    pub fn spend(&mut self, cost: u32, now: Duration) -> Step {
        if self.tokens >= cost && now < self.ends {
            self.tokens -= cost;
            return Step::Spent;
        }
        match self.refused_until.checked_sub(now) {
            Some(wait) if !wait.is_zero() && cost >= self.refused_cost => Step::Refused(wait),
            _ => Step::Ask,
        }
    }

    /// Learns what was granted and spends `cost` tokens of it on the request for which was asked, or says how long to wait.
    /// The window may have ended since it was granted: what is spent counts in it all the same, the rest ends.
    pub fn learn(
        &mut self,
        grant: &Grant,
        cost: u32,
        asked_at: Duration,
        now: Duration,
    ) -> Result<(), Duration> {
        self.left = grant.left;
        let held = if now < self.ends { self.tokens } else { 0 };
        // The answer was given no earlier than the question: so tokens never outlive their window, and no refusal is
        // told shorter than it is.
        self.ends = asked_at + grant.ends;
        self.tokens = held.saturating_add(grant.tokens);
        if self.tokens >= cost {
            self.tokens -= cost;
            return Ok(());
        }
        (self.refused_until, self.refused_cost) = (now + grant.wait, cost);
        Err(grant.wait)
    }

    /// Tokens that may be left as far as is known; `None` when that is too long ago.
    pub fn left(&self, now: Duration) -> Option<u32> {
        if now < self.refused_until {
            return Some(0);
        }
        (now < self.ends).then(|| self.tokens.saturating_add(self.left))
    }
}
