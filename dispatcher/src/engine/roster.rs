//! What changes in the control plane, told to whom it concerns.

use std::sync::Arc;

use fairhook_common::limits;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{Change, Roster, SharedStore};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::{sleep, timeout};

use super::outage::Outage;

/// Nudges from one task to another: there may be something to do.
#[derive(Debug, Default)]
pub struct Pokes {
    /// Something became due.
    pub due: Notify,
    /// Something held may be released.
    pub held: Notify,
}

/// Keeps the engine's roster up to date: reads it by version, at once when this process changed a tenant, and every
/// `limits::CONTROL_CACHE_TTL` for what others changed. Passes on what else is announced.
pub async fn follow(
    store: SharedStore,
    rosters: mpsc::Sender<Roster>,
    pokes: Arc<Pokes>,
    outage: Arc<Outage>,
    shutdown: Shutdown,
) {
    let mut changes = store.changes();
    let following = async {
        let mut version = 0;
        loop {
            let roster = outage.persist("reading the roster", || store.roster(version)).await;
            let is_news = roster.version != version || !roster.tenants.is_empty();
            version = roster.version;
            if is_news && rosters.send(roster).await.is_err() {
                return;
            }
            // Many changes at once are one reading.
            sleep(limits::CLAIM_PAUSE).await;
            let _ = timeout(limits::CONTROL_CACHE_TTL, tenant_changed(&mut changes, &pokes)).await;
        }
    };
    tokio::select! {
        () = following => {}
        () = shutdown.draining() => {}
    }
}

/// Waits for a change of a tenant.
async fn tenant_changed(changes: &mut broadcast::Receiver<Change>, pokes: &Pokes) {
    loop {
        match changes.recv().await {
            Ok(Change::Tenant(_)) => {
                // An endpoint may be active again.
                pokes.held.notify_one();
                return;
            }
            Ok(Change::Due(_)) => pokes.due.notify_one(),
            Ok(Change::OperatorKeys) => {}
            Ok(Change::Everything) | Err(RecvError::Lagged(_)) => {
                pokes.due.notify_one();
                pokes.held.notify_one();
                return;
            }
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
