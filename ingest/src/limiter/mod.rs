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
use fairhook_common::ids::TenantId;
use fairhook_common::metrics::Families;
use fairhook_common::policy::{Policy, PolicyRate, PolicyRates};
use fairhook_common::shutdown::Shutdown;
use fairhook_common::tenant::QuotaLimits;
use fairhook_common::time::Timestamp;
use prometheus::{IntCounter, IntGauge};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::events::Quotas;
use self::key::Key;
use self::shared::{Patience, Shared, Sharing};
use self::windows::Windows;

pub use self::decision::{Clock, Decision, Now};

/// What decides about all policies.
pub struct Limiter {
    /// Events per second.
    pub events: Quotas,
    /// Every other policy.
    pub windows: Windows,
    /// The rates that hold unless a tenant has others.
    pub rates: PolicyRates,
    decisions: Vec<[IntCounter; 2]>,
    shared: Option<Arc<Shared>>,
}

/// How the limiter stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = LimiterState)]
pub struct Standing {
    /// Where limits are kept: `process` or `redis`.
    pub backend: &'static str,
    /// Whether that answers.
    pub connected: bool,
    /// Policies that limit somebody.
    pub active_policies: usize,
    /// Questions to Redis that failed or were not answered in time.
    pub errors: u64,
    /// Since when each ingest enforces its share because Redis is away.
    pub fallback_since: Option<Timestamp>,
}

impl Standing {
    fn of(shared: Option<&Shared>, rates: &PolicyRates) -> Self {
        Self {
            backend: if shared.is_some() { "redis" } else { "process" },
            connected: shared.is_none_or(Shared::answers),
            active_policies: rates.active().count(),
            errors: shared.map_or(0, Shared::errors),
            fallback_since: shared.and_then(Shared::away_since),
        }
    }
}

/// Whether what keeps the limits answers, by its name.
fn connected(families: &Families, backend: &'static str) -> IntGauge {
    let connected = families.gauges(
        "fairhook_limiter_connected",
        "Whether what keeps the limits answers; 0: each ingest enforces its share",
        &["backend"],
    );
    connected.with_label_values(&[backend])
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
        let redis = shared.clone();
        health.show("limiter", move || json!(Standing::of(redis.as_deref(), &rates)));
        Self::new(sharing.ingests, shared, rates, families)
    }

    /// Nobody has asked for anything. `ingests` live, this one included; what they keep together is in `shared`.
    pub fn new(
        ingests: watch::Receiver<usize>,
        shared: Option<Arc<Shared>>,
        rates: PolicyRates,
        families: &Families,
    ) -> Self {
        let events = Quotas::new(ingests.clone(), shared.clone());
        let counters = families.counters(
            "fairhook_limiter_decisions_total",
            "Requests and events about which a policy decided",
            &["policy", "decision"],
        );
        let of = |policy: &Policy| {
            ["refused", "allowed"].map(|decision| counters.with_label_values(&[policy.name(), decision]))
        };
        let active = families.gauge("fairhook_limiter_active_policies", "Policies that limit somebody");
        active.set(rates.active().count() as i64);
        let decisions = Policy::ALL.iter().map(of).collect();
        if shared.is_none() {
            connected(families, "process").set(1);
        }
        Self { events, windows: Windows::new(ingests, shared.clone()), rates, decisions, shared }
    }

    /// Takes `cost` of what `key` may ask under `policy`, or nothing of it.
    pub async fn take(
        &self,
        policy: Policy,
        key: &Key,
        rate: PolicyRate,
        cost: u32,
        patience: &mut Patience,
    ) -> Decision {
        let decision = self.windows.take(policy, key, rate, cost, patience).await;
        self.count(policy, &decision);
        decision
    }

    /// Takes one of a tenant's events per second.
    pub async fn take_event(
        &self,
        tenant: TenantId,
        limits: &QuotaLimits,
        patience: &mut Patience,
    ) -> Decision {
        let decision = self.events.take(tenant, limits, patience).await;
        self.count(Policy::Events, &decision);
        decision
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        Standing::of(self.shared.as_deref(), &self.rates)
    }

    fn count(&self, policy: Policy, decision: &Decision) {
        self.decisions[policy as usize][usize::from(decision.allowed)].inc();
    }
}
