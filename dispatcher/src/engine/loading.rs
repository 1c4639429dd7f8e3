//! Loads: what attempts need, many at once, shortly before they start.

use std::sync::Arc;

use fairhook_common::store::{Load, SharedStore, Ticket};
use fairhook_common::time::Timestamp;
use tokio::time::Instant;

use super::held::Started;
use super::metrics::Metrics;
use super::outage::Outage;

/// Loads `batch`; answers each with what was loaded. While the store is away its slots stay taken, so that nothing else starts
/// in their place: nothing could be loaded or recorded then.
pub async fn load(
    store: SharedStore,
    batch: Vec<Started>,
    outage: Arc<Outage>,
    metrics: Arc<Metrics>,
) -> Vec<(Started, Load)> {
    let tickets: Vec<Ticket> = batch.iter().map(|started| started.held.ticket).collect();
    let began = Instant::now();
    let loads = outage.persist("loading", || store.load(&tickets, Timestamp::now())).await;
    metrics.load.done(batch.len(), began.elapsed());
    assert_eq!(loads.len(), batch.len(), "a load answers every ticket");
    batch.into_iter().zip(loads).collect()
}
