//! What dispatchers say of themselves, and what they have to know of tenants.

use std::sync::Arc;

use crate::endpoint::Circuit;
use crate::ids::{EndpointId, TenantId};
use crate::tenant::Dispatch;

/// What a dispatcher says of itself.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Deliveries in flight, of the tenants that have any.
    pub in_flight: Vec<(TenantId, u32)>,
    /// Circuits that changed since the last report.
    pub circuits: Vec<(EndpointId, Circuit)>,
}

/// What a dispatcher has to know of tenants.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    /// To be given as `since` next time.
    pub version: u64,
    /// The tenants that changed.
    pub tenants: Vec<RosterTenant>,
}

/// A tenant as a dispatcher needs it.
#[derive(Debug, Clone)]
pub struct RosterTenant {
    /// The stored id.
    pub id: TenantId,
    /// For people.
    pub slug: Arc<str>,
    /// The name of its queue.
    pub queue: Arc<str>,
    /// Its share of dispatch time relative to others; at least 1.
    pub weight: u32,
    /// Deliveries in flight at most.
    pub max_concurrent: u32,
    /// The kill switch.
    pub dispatch: Dispatch,
    /// It is gone: forget it, and delete its queue.
    pub deleted: bool,
}
