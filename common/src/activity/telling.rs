//! The one thing here that waits: what was counted on its way to the store.

use tokio::sync::watch;
use uuid::Uuid;

use super::ProcessActivity;
use crate::shutdown::Shutdown;
use crate::store::SharedStore;
use crate::time::Timestamp;

/// Tells the store what `activity` holds whenever it changes, until the drain begins. What cannot be told now is told the
/// next time: nobody waits for it. A process in which nothing happens tells so once, and costs nothing after that.
pub async fn tell(store: SharedStore, mut activity: watch::Receiver<ProcessActivity>, shutdown: Shutdown) {
    let teller = Uuid::now_v7();
    let telling = async {
        let mut was_idle = true;
        while activity.changed().await.is_ok() {
            let latest = activity.borrow_and_update().clone();
            let is_idle = latest.is_idle();
            if is_idle && was_idle {
                continue;
            }
            match store.tell_activity(teller, &latest, Timestamp::now()).await {
                Ok(()) => was_idle = is_idle,
                // The store tells of its outage itself, once.
                Err(error) => tracing::debug!(error.detail = %error, "the tenants' activity was not told"),
            }
        }
        std::future::pending::<()>().await
    };
    tokio::select! {
        () = telling => {}
        () = shutdown.draining() => {}
    }
}
