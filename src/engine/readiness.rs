//! What `/readyz` asks of a process, part by part.

use std::sync::Arc;

use fairhook_common::health::Health;
use fairhook_common::membership::Members;
use fairhook_common::queue::Queue;
use fairhook_common::store::SharedStore;

/// The checks that every process has; roles add theirs as they start.
pub fn of(store: SharedStore, queue: Arc<dyn Queue>) -> Health {
    let health = Health::default();
    health.add("store", move || {
        let store = store.clone();
        Box::pin(async move { store.ping().await.map_err(|e| e.to_string()) })
    });
    health.add("queue", move || {
        let queue = queue.clone();
        Box::pin(async move { queue.ping().await.map_err(|e| e.to_string()) })
    });
    health
}

/// Whether the machine's clock can be trusted.
pub fn of_clock(health: &Health, members: Members) {
    health.add("clock", move || {
        let answer = members.clock();
        Box::pin(async move { answer })
    });
}
