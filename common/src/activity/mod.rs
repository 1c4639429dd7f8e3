//! How busy tenants are: counted by each process ([`Meters`]), told to the store in small reports, read together by whoever
//! wants to know ([`Board`], [`Figures`]). Pure, but for [`tell`].

mod board;
mod figures;
mod meters;
mod telling;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use board::{Board, Seen};
pub use figures::{Drain, Figures};
pub use meters::Meters;
pub use telling::tell;

use crate::ids::TenantId;

/// What is counted of a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    /// Events admitted.
    pub events: f64,
    /// Events refused over a quota.
    pub throttled: f64,
    /// Of these, the ones over the rate of events. (0 in what a process of an older version tells.)
    pub over_rate: f64,
    /// Deliveries made of the events.
    pub accepted: f64,
    /// Attempts that ended.
    pub attempts: f64,
    /// Attempts that failed.
    pub failures: f64,
    /// Deliveries that ended, whatever the end was.
    pub ended: f64,
    /// Deliveries that ended well.
    pub delivered: f64,
    /// Deliveries that died.
    pub dead: f64,
    /// Slot time in seconds: per second it is the number of slots held.
    pub slots: f64,
    /// First attempts that came by the queue.
    pub begun: f64,
    /// How long these waited since their events were admitted, in seconds, together.
    pub delay: f64,
}

impl Counted {
    /// Each figure of both, put together.
    fn with(self, other: Self, together: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            events: together(self.events, other.events),
            throttled: together(self.throttled, other.throttled),
            over_rate: together(self.over_rate, other.over_rate),
            accepted: together(self.accepted, other.accepted),
            attempts: together(self.attempts, other.attempts),
            failures: together(self.failures, other.failures),
            ended: together(self.ended, other.ended),
            delivered: together(self.delivered, other.delivered),
            dead: together(self.dead, other.dead),
            slots: together(self.slots, other.slots),
            begun: together(self.begun, other.begun),
            delay: together(self.delay, other.delay),
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    /// The greatest of the figures.
    fn greatest(&self) -> f64 {
        let Self {
            events,
            throttled,
            over_rate,
            accepted,
            attempts,
            failures,
            ended,
            delivered,
            dead,
            slots,
            begun,
            delay,
        } = *self;
        let sent = [events, throttled, over_rate, accepted];
        let done = [attempts, failures, ended, delivered, dead, slots, begun, delay];
        sent.into_iter().chain(done).fold(0.0, f64::max)
    }
}

/// A tenant as one process sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantActivity {
    /// The tenant.
    pub tenant: TenantId,
    /// What is counted, per second.
    pub rates: Counted,
    /// How it stands there.
    pub standing: Standing,
}

/// How a tenant stands in a dispatcher.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Its share of dispatch time relative to others; 0 where nothing is dispatched.
    pub weight: u32,
    /// Slots it holds.
    pub in_flight: u32,
    /// Deliveries that wait in memory.
    pub waiting: u32,
    /// How long the oldest of them has waited: since its event was admitted, or since it became due; in milliseconds.
    pub oldest_ms: u64,
    /// Why nothing of what waits starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
}

/// Why nothing of a tenant starts although something waits.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HeldBack {
    /// It holds as many slots as it may.
    AtCap,
    /// None of the endpoints has room: each is at its concurrency limit.
    EndpointsFull,
    /// None of the endpoints has room, and at least one is only kept back by its rate limit.
    RateLimited,
    /// None of the endpoints has room, and all circuits are open.
    CircuitOpen,
    /// It has its fair share, and only the reserve is left, or no slot; or it has twice its share, and others have less.
    AtShare,
    /// It is below its share, but only the reserve is left, and its endpoints are too slow for that or have no history while
    /// enough of those are tried already.
    TooSlowForReserve,
    /// It is below its share, and no slot is free.
    NoSlot,
}

impl HeldBack {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::AtCap => "at its own limit",
            Self::EndpointsFull => "endpoint busy",
            Self::RateLimited => "endpoint's rate limit",
            Self::CircuitOpen => "circuit open",
            Self::AtShare => "at its fair share",
            Self::TooSlowForReserve => "too slow for the reserve",
            Self::NoSlot => "no free slot",
        }
    }

    /// Whether others are to blame: it has less than its share, and nothing of its own is in the way.
    pub fn by_others(self) -> bool {
        matches!(self, Self::TooSlowForReserve | Self::NoSlot)
    }
}

/// What a process tells of its tenants.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessActivity {
    /// Slots that may be used here now; 0 where nothing is dispatched.
    pub slots: u64,
    /// The busiest, `limits::ACTIVITY_TENANTS` at most.
    pub tenants: Vec<TenantActivity>,
    /// All others.
    pub rest: Rest,
}

impl ProcessActivity {
    /// Whether nothing is told of anybody.
    pub fn is_idle(&self) -> bool {
        self.tenants.is_empty() && self.rest == Rest::default()
    }
}

/// Tenants that are not told of by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rest {
    /// How many of them dispatch anything.
    pub active: u64,
    /// Their weights together.
    pub weight: u64,
    /// What is counted of all, per second.
    pub rates: Counted,
    /// Slots they hold.
    pub in_flight: u64,
    /// Deliveries of theirs that wait in memory.
    pub waiting: u64,
}
