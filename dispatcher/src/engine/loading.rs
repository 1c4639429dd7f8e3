//! Loads: what attempts need, many at once, shortly before they start.

use std::sync::Arc;

use fairhook_common::store::{Load, SharedStore, StoreError, Ticket};
use fairhook_common::time::Timestamp;
use tokio::time::Instant;

use super::held::Started;
use super::metrics::Metrics;
use super::outage::Outage;

/// Loads `batch`; answers each with what was loaded, `None` if the store has it and cannot read it. While the store is away its
/// slots stay taken, so that nothing else starts in their place: nothing could be loaded or recorded then.
pub async fn load(
    store: SharedStore,
    batch: Vec<Started>,
    outage: Arc<Outage>,
    metrics: Arc<Metrics>,
) -> Vec<(Started, Option<Load>)> {
    let tickets: Vec<Ticket> = batch.iter().map(|started| started.held.ticket).collect();
    let began = Instant::now();
    let loads = load_all(&store, &tickets, &outage).await;
    metrics.load.done(batch.len(), began.elapsed());
    assert_eq!(loads.len(), batch.len(), "a load answers every ticket");
    batch.into_iter().zip(loads).collect()
}

/// What fails for good is bisected: one damaged row must not keep others from being loaded.
async fn load_all(store: &SharedStore, tickets: &[Ticket], outage: &Outage) -> Vec<Option<Load>> {
    let mut loads = Vec::with_capacity(tickets.len());
    let mut parts = vec![tickets];
    while let Some(part) = parts.pop() {
        let answer = outage.persist("loading", || async {
            match store.load(part, Timestamp::now()).await {
                Err(error) if !error.is_retryable() => Ok(Err(error)),
                answer => answer.map(Ok::<_, StoreError>),
            }
        });
        match (answer.await, part) {
            (Ok(loaded), _) => loads.extend(loaded.into_iter().map(Some)),
            (Err(error), [one]) => {
                tracing::error!(delivery.id = %one.delivery, error = %error, "a delivery cannot be loaded now");
                loads.push(None);
            }
            (Err(_), several) => {
                let (first, second) = several.split_at(several.len() / 2);
                parts.extend([second, first]);
            }
        }
    }
    loads
}
