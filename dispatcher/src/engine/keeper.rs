//! Which of the dispatchers keeps house: the one that has the lease.

use std::sync::Arc;

use fairhook_common::ids::NodeId;
use fairhook_common::limits;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::SharedStore;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::outage::Outage;

/// The lease of whoever keeps house.
const LEASE: &str = "housekeeping";

/// Says whether this process keeps house. Clones are the same.
#[derive(Debug, Clone)]
pub struct Keeper(watch::Receiver<Option<Instant>>);

/// What asks for the lease.
pub struct Keys {
    store: SharedStore,
    node: NodeId,
    outage: Arc<Outage>,
    until: watch::Sender<Option<Instant>>,
}

/// The two sides of it.
pub fn keeper(store: SharedStore, node: NodeId, outage: Arc<Outage>) -> (Keys, Keeper) {
    let (until, held) = watch::channel(None);
    (Keys { store, node, outage, until }, Keeper(held))
}

impl Keys {
    /// Asks for the lease, again and again, until the drain begins. (It is free when this process leaves.)
    pub async fn keep(self, shutdown: Shutdown) {
        let keeping = async {
            loop {
                let asked = Instant::now();
                let taken = self.store.take_lease(LEASE, self.node, limits::NODE_LEASE);
                match timeout(limits::HEARTBEAT_DEADLINE, taken).await {
                    Ok(Ok(taken)) => {
                        self.until.send_replace(taken.then_some(asked + limits::NODE_LEASE));
                    }
                    Ok(Err(error)) => self.outage.failed("asking who keeps house", &error),
                    Err(late) => self.outage.failed("asking who keeps house", &late),
                }
                sleep(limits::NODE_LEASE / 4).await;
            }
        };
        tokio::select! {
            () = keeping => {}
            () = shutdown.draining() => {}
        }
    }
}

impl Keeper {
    /// Whether this process keeps house now.
    pub fn has(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until this process keeps house. A step that begins just then may still be under way when the lease ends: each is
    /// one transaction and does no harm beside another's.
    pub async fn is_ours(&self) {
        let mut held = self.0.clone();
        let ours = |until: &Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        if held.wait_for(ours).await.is_err() {
            // Nobody asks any more: the drain has begun.
            std::future::pending().await
        }
    }
}
