//! The limiter: what a tenant, an address or a source may ask, how often. One decision for every policy.
//!
//! ```text
//! policy, key, rate ─► account here ─► leased token? ─► yes
//!                          │               └─ none ─► Redis leases some (all ingests together)
//!                          └─ no Redis: this ingest's share decides
//! ```
//!
//! [`events`] are a tenant's events per second with a burst that is saved up: a bucket of tokens. Everything else is so many
//! in a [`windows`] that slides. Both are leased from the same script (`shared/`), and both show a [`Decision`].

pub mod decision;
pub mod events;
pub mod key;
pub mod shared;
pub mod windows;

use std::sync::Arc;

use fairhook_common::health::Health;
use fairhook_common::metrics::Families;
use fairhook_common::policy::PolicyRates;
use fairhook_common::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::events::Quotas;
use self::shared::{Shared, Sharing};
use self::windows::Windows;

pub use self::decision::{Decision, Now};

/// What decides about all policies.
pub struct Limiter {
    /// Events per second.
    pub events: Quotas,
    /// Every other policy.
    pub windows: Windows,
    /// The rates that hold unless a tenant has others.
    pub rates: PolicyRates,
}

impl Limiter {
    /// Limits shared as `sharing` says; what keeps the connection to Redis, if there is one, runs in `tasks`.
    pub fn start(
        sharing: Sharing,
        rates: PolicyRates,
        families: &Families,
        health: &Health,
        tasks: &mut JoinSet<()>,
        shutdown: &Shutdown,
    ) -> Self {
        let shared = sharing.redis.map(|address| Shared::start(address, families, health, tasks, shutdown));
        Self::new(sharing.ingests, shared, rates)
    }

    /// Nobody has asked for anything. `ingests` live, this one included; what they keep together is in `shared`.
    pub fn new(ingests: watch::Receiver<usize>, shared: Option<Arc<Shared>>, rates: PolicyRates) -> Self {
        let events = Quotas::new(ingests.clone(), shared.clone());
        Self { events, windows: Windows::new(ingests, shared), rates }
    }
}
