//! What people may see of the scheduler.

use std::time::Duration;

use fairhook_common::ids::TenantId;

use super::LaneCounts;

/// How things stand, tenants by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Slots that may be used now.
    pub slots: usize,
    /// Slots in use.
    pub in_flight: usize,
    /// Gates that are remembered.
    pub gates: usize,
    /// The tenants that have work here, or had some within `limits::SNAPSHOT_RECENT`; `limits::SNAPSHOT_TENANTS` at most.
    pub tenants: Vec<TenantSnapshot>,
}

/// How a tenant stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSnapshot {
    /// The tenant.
    pub tenant: TenantId,
    /// What waits.
    pub waiting: LaneCounts,
    /// Slots it holds.
    pub in_flight: u32,
    /// Its weight.
    pub weight: u32,
    /// Slots it may hold at most.
    pub cap: u32,
    /// Its virtual time: slot time charged so far, over its weight.
    pub virtual_time: Duration,
    /// Slot time it has used since it was set, running attempts included.
    pub slot_time: Duration,
    /// Why nothing of what waits starts; `None`: nothing waits, or the next one starts in its turn.
    pub held_back: Option<HeldBack>,
}

/// Why nothing of a tenant starts although something waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HeldBack {
    /// It holds as many slots as it may.
    AtCap,
    /// None of the endpoints has room: each is at its concurrency limit.
    EndpointsFull,
    /// None of the endpoints has room, and at least one is only kept back by its rate limit.
    RateLimited,
    /// None of the endpoints has room, and all circuits are open.
    CircuitOpen,
    /// It has its fair share, and only the reserve is left.
    AtShare,
    /// It is below its share, but only the reserve is left, and its endpoints are too slow for that or have no history while
    /// enough of those are tried already.
    TooSlowForReserve,
    /// No slot is free.
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
}
