//! The queue's consumer: keeps it connected, makes the subscriptions what they are wanted to be, hands messages on.

use std::sync::Arc;

use fairhook_common::limits;
use fairhook_common::queue::{Consumer, Queue, QueueDown, Received};
use fairhook_common::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::outage::Outage;
use super::subscriptions::{Change, Subscriptions};

/// What the intake works with.
pub struct Intake {
    pub queue: Arc<dyn Queue>,
    pub subscriptions: Arc<Subscriptions>,
    pub outage: Outage,
    pub inbox: mpsc::Sender<Received>,
}

impl Intake {
    /// Consumes until the drain begins. The consumer, and with it the right to ack, outlives that until `ended` says so.
    pub async fn run(self, shutdown: Shutdown) {
        let consuming = async {
            loop {
                let queue = &self.queue;
                let mut consumer = self.outage.persist("connecting a consumer", || queue.consumer()).await;
                self.subscriptions.all_undone();
                let Err(down) = self.consume(consumer.as_mut(), &shutdown).await else {
                    return;
                };
                self.outage.failed("consuming", &down);
                // What it handed out comes again; until then nobody is served by messages, and due work goes on.
                sleep(limits::STORE_RETRY_MAX).await;
            }
        };
        tokio::select! {
            () = consuming => {}
            () = shutdown.stopping_now() => {}
        }
    }

    async fn consume(&self, consumer: &mut dyn Consumer, shutdown: &Shutdown) -> Result<(), QueueDown> {
        self.subscribe(consumer).await?;
        loop {
            tokio::select! {
                received = consumer.next() => {
                    let received = received?;
                    self.outage.worked();
                    if self.inbox.send(received).await.is_err() {
                        return Ok(());
                    }
                }
                () = self.subscriptions.changed() => self.subscribe(consumer).await?,
                () = shutdown.draining() => break,
            }
        }
        // The consumer is kept until the engine has acked what it still records: dropped, it would give all of it back.
        self.inbox.closed().await;
        Ok(())
    }

    async fn subscribe(&self, consumer: &mut dyn Consumer) -> Result<(), QueueDown> {
        while let Some(change) = self.subscriptions.take() {
            let done = match &change {
                Change::Subscribe(address, prefetch) => consumer.subscribe(address, *prefetch).await,
                Change::Unsubscribe(tenant) => consumer.unsubscribe(*tenant).await,
                Change::Delete(address) => match consumer.unsubscribe(address.tenant).await {
                    Ok(()) => self.queue.delete(address).await,
                    Err(down) => Err(down),
                },
            };
            if let Err(down) = done {
                self.subscriptions.undone(change);
                return Err(down);
            }
        }
        Ok(())
    }
}
