//! The way in: the HTTP API, quotas, admission and publishing.

pub mod admission;
pub mod analytics;
pub mod api;
pub mod limiter;
mod serve;
pub mod source;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use fairhook_common::egress::EgressPolicy;
use fairhook_common::health::Health;
use fairhook_common::metrics::Families;
use fairhook_common::queue::Queue;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::SharedStore;
use ipnet::IpNet;
use tokio::task::JoinSet;

use analytics::Recorder;
use fairhook_common::policy::PolicyRates;
use limiter::Limiter;

pub use api::auth::OperatorKey;
pub use limiter::shared::{BadRedisUrl, RedisAddress, Sharing};
pub use serve::serve;

/// What the ingest is made of.
pub struct Parts {
    /// The truth.
    pub store: SharedStore,
    /// Where first attempts are published.
    pub queue: Arc<dyn Queue>,
    /// Where endpoints may be.
    pub egress: EgressPolicy,
    /// What can be configured.
    pub settings: IngestSettings,
    /// Where metrics are registered.
    pub families: Families,
    /// What `/readyz` asks.
    pub health: Health,
    /// With whom the limits on events per second are shared.
    pub sharing: Sharing,
}

/// What can be configured of the ingest.
#[derive(Debug, Clone)]
pub struct IngestSettings {
    /// The operator key, as a hash.
    pub operator_key: OperatorKey,
    /// The highest limit that an override may set.
    pub override_ceiling: u32,
    /// Tenants may be named by a subdomain of this.
    pub base_domain: Option<String>,
    /// How long events are kept, and so the latest end of a delivery.
    pub retention: Duration,
    /// What may be asked of the API, how often.
    pub rates: PolicyRates,
    /// Whose word is taken for the address of a client: proxies of ours.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests of one tenant at once.
    pub concurrent_requests: usize,
}

/// Starts what works behind the API and returns the API.
pub fn start(parts: Parts, tasks: &mut JoinSet<()>, shutdown: &Shutdown) -> Router {
    let rates = parts.settings.rates;
    let limiter =
        Limiter::start(parts.sharing.clone(), rates, &parts.families, &parts.health, tasks, shutdown);
    let (store, queue) = (parts.store.clone(), parts.queue.clone());
    let admission = admission::start(store, queue, &parts.families, tasks, shutdown);
    let recorder = Arc::new(Recorder::default());
    tasks.spawn(recorder.clone().keep(parts.store.clone(), shutdown.clone()));
    api::router(parts, admission, limiter, recorder)
}
