//! What is counted of each tenant's events, for whoever looks at all tenants. A lock for a few additions; no caller waits
//! for the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairhook_common::activity::{Meters, ProcessActivity, tell};
use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::SharedStore;
use tokio::sync::watch;
use tokio::time::{Instant, interval};

/// The counts since the last time they were told.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Meters>);

impl Counts {
    /// An event of a tenant's was admitted, with so many deliveries.
    pub fn admitted(&self, tenant: TenantId, deliveries: usize) {
        let mut meters = self.meters();
        let counted = meters.of(tenant);
        counted.events += 1.0;
        counted.accepted += deliveries as f64;
    }

    /// An event of a tenant's was refused over a quota: that of its rate, or another.
    pub fn throttled(&self, tenant: TenantId, over_rate: bool) {
        let mut meters = self.meters();
        let counted = meters.of(tenant);
        counted.throttled += 1.0;
        counted.over_rate += if over_rate { 1.0 } else { 0.0 };
    }

    /// Tells the store every few seconds, until the drain begins.
    pub async fn tell(self: Arc<Self>, store: SharedStore, shutdown: Shutdown) {
        let (told, telling) = watch::channel(ProcessActivity::default());
        let counting = async {
            let mut ticks = interval(limits::ACTIVITY_INTERVAL);
            let mut last = Instant::now();
            loop {
                let now = ticks.tick().await;
                let activity = self.meters().tick(now.saturating_duration_since(last), HashMap::new());
                last = now;
                told.send_replace(activity);
            }
        };
        tokio::select! {
            () = counting => {}
            () = tell(store, telling, shutdown.clone()) => {}
        }
    }

    fn meters(&self) -> MutexGuard<'_, Meters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
