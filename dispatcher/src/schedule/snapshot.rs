//! What people may see of the scheduler.

use std::time::Duration;

pub use fairhook_common::activity::HeldBack;
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
