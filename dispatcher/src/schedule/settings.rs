//! What the scheduler is told at its start.

use std::time::Duration;

use fairhook_common::limits;

/// The scheduler's constants. The defaults are those of [`limits`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Deliveries in flight at most.
    pub slots: usize,
    /// The part of the slots that starts only what turns over quickly, of tenants below their share.
    pub reserve: f64,
    /// Tenants within twice their share go before all others. Without it virtual time alone says who goes first.
    pub shares_first: bool,
    /// The reserve serves endpoints whose estimate is below this.
    pub quick: Duration,
    /// Our own work for one delivery, charged as if it were slot time.
    pub handling_cost: Duration,
    /// Our own work for a new connection, charged on top.
    pub new_connection_cost: Duration,
    /// What an attempt is charged at its start while its endpoint has no history.
    pub first_estimate: Duration,
    /// No attempt takes longer; bounds a tenant's debt.
    pub longest_attempt: Duration,
    /// A delivery waits at a gate that opens within this, and is parked at others.
    pub patience: Duration,
    /// So many overloads without any other answer between them open the circuit.
    pub trip_after: u32,
    /// The pause before the first probe of an open circuit; each probe that fails doubles it.
    pub probe_pause: Duration,
    /// The longest pause between probes.
    pub probe_pause_max: Duration,
    /// A gate that was not used for so long is forgotten.
    pub forget_after: Duration,
}

impl Settings {
    /// The defaults with so many slots.
    pub fn with_slots(slots: usize) -> Self {
        Self {
            slots,
            reserve: limits::RESERVE,
            shares_first: true,
            quick: limits::RESERVE_ESTIMATE,
            handling_cost: limits::HANDLING_COST,
            new_connection_cost: limits::NEW_CONNECTION_COST,
            first_estimate: limits::FIRST_ESTIMATE,
            longest_attempt: limits::ATTEMPT_TIMEOUT_MAX,
            patience: limits::GATE_PATIENCE,
            trip_after: limits::CIRCUIT_TRIP_AFTER,
            probe_pause: limits::CIRCUIT_PROBE_PAUSE,
            probe_pause_max: limits::CIRCUIT_PROBE_PAUSE_MAX,
            forget_after: limits::GATE_FORGET_AFTER,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::with_slots(limits::SLOTS)
    }
}
