//! What `/readyz` asks of a process, part by part.

use std::sync::Arc;

use fairhook_common::health::Health;
use fairhook_common::membership::{Members, View};
use fairhook_common::queue::Queue;
use fairhook_common::store::SharedStore;
use tokio::time::Instant;

/// The checks that every process has; roles add theirs as they start. Who only delivers need not be able to publish.
pub fn of(store: SharedStore, queue: Arc<dyn Queue>, publishes: bool) -> Health {
    let health = Health::default();
    health.add("store", move || {
        let store = store.clone();
        Box::pin(async move { store.ping().await.map_err(|e| e.to_string()) })
    });
    // Without it first attempts go through the store: an ingest that nobody asked any more would turn an outage of the queue
    // into one of the API.
    health.add_helper("queue", move || {
        let queue = queue.clone();
        Box::pin(async move {
            let answer = if publishes { queue.can_publish().await } else { queue.ping().await };
            answer.map_err(|e| e.to_string())
        })
    });
    health
}

/// Those of a process that has others beside it.
pub fn among_others(health: &Health, members: &Members) {
    let (clock, view) = (members.clone(), members.view());
    health.add("clock", move || {
        let clock = clock.clock();
        Box::pin(async move { clock })
    });
    health.add("lease", move || {
        let lease = lease(view.borrow().as_ref(), Instant::now());
        Box::pin(async move { lease })
    });
}

fn lease(view: Option<&View>, now: Instant) -> Result<(), String> {
    match view {
        None => Err("the store has not heard of this process yet".to_owned()),
        Some(view) if view.lease_until <= now => {
            let ended = (now - view.lease_until).as_secs();
            Err(format!("this process's lease ended {ended} s ago: it starts nothing new"))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fairhook_common::store::Membership;
    use fairhook_common::time::Timestamp;

    use super::*;

    #[test]
    fn a_lease_is_held_until_it_ends() {
        let membership = Membership { version: 1, now: Timestamp(0), members: Vec::new() };
        let now = Instant::now();
        let view = View { membership: Arc::new(membership), lease_until: now + Duration::from_secs(8) };
        assert!(lease(None, now).is_err());
        assert_eq!(lease(Some(&view), now), Ok(()));
        let late = lease(Some(&view), now + Duration::from_secs(11)).expect_err("it has ended");
        assert!(late.starts_with("this process's lease ended 3 s ago"), "{late}");
    }
}
