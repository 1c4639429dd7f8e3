//! Whether the queue's data is still what it was. A mark that only this data has is missing after a loss of all of it, and
//! then everything that was published and is not attempted is due at once.

use fairhook_common::limits;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{Recovery, StoreError};
use fairhook_common::time::Timestamp;
use tokio::time::sleep;
use uuid::Uuid;

use super::housekeeping::until_drained;
use super::keeper::Keeper;
use super::lost::Lost;

impl Lost {
    /// Looks for the mark, continually, while this process keeps house.
    pub async fn watch_epoch(self, keeper: Keeper, shutdown: Shutdown) {
        let watching = async {
            // One mark for all tries: each is something in the queue.
            let mut next = Uuid::now_v7();
            loop {
                keeper.is_ours().await;
                match self.look_for_mark(next).await {
                    Ok(true) => next = Uuid::now_v7(),
                    Ok(false) => {}
                    Err(error) => self.outage.failed("looking for the queue's mark", &error),
                }
                sleep(limits::EPOCH_LOOK).await;
            }
        };
        until_drained(watching, &shutdown).await;
    }

    /// Replaces a mark that is not there by `next`; whether it did.
    async fn look_for_mark(&self, next: Uuid) -> Result<bool, StoreError> {
        let known = self.store.queue_epoch().await?;
        if let Some(known) = known
            // While the queue is away nothing can be said of it, and the intake tells that it is.
            && self.queue.is_marked(known).await.unwrap_or(true)
        {
            return Ok(false);
        }
        if self.queue.mark(next).await.is_err() {
            return Ok(false);
        }
        if known.is_some() {
            self.recover_all().await?;
        }
        self.store.replace_queue_epoch(known, next).await
    }

    async fn recover_all(&self) -> Result<(), StoreError> {
        let now = Timestamp::now();
        tracing::warn!("the queue has lost everything; making due what was in it");
        let mut count = 0;
        for tenant in self.store.roster(0).await?.tenants.into_iter().filter(|tenant| !tenant.deleted) {
            let recovered =
                self.store.recover(Recovery::Lost { tenant: tenant.id, before: now }, now).await?;
            if recovered > 0 {
                count += recovered;
                self.metrics.lost.inc_by(recovered);
                self.pokes.due.notify_one();
            }
        }
        tracing::warn!(deliveries = count, "recovered what the queue had lost");
        Ok(())
    }
}
