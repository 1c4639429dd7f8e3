//! The queue's consumer: keeps it connected, makes the subscriptions what they are wanted to be, hands messages on.

use std::sync::Arc;

use fairhook_common::limits;
use fairhook_common::queue::{Consumer, Queue, QueueDown, Received};
use fairhook_common::shutdown::Shutdown;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
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
                let consumer = self.outage.persist("connecting a consumer", || queue.consumer()).await;
                self.subscriptions.all_undone();
                let Err(down) = self.consume(consumer.as_ref(), &shutdown).await else {
                    return;
                };
                self.outage.failed("consuming", &down);
                // What it handed out comes again; until then nobody is served by messages, and due work goes on.
                sleep(limits::STORE_RETRY_MAX).await;
            }
        };
        tokio::select! {
            () = consuming => {}
            () = self.delete_queues() => {}
            () = shutdown.stopping_now() => {}
        }
    }

    /// Messages are handed on while subscriptions change, several at once: a queue that does not answer must keep nobody
    /// waiting but its own tenant.
    async fn consume(&self, consumer: &dyn Consumer, shutdown: &Shutdown) -> Result<(), QueueDown> {
        let mut changing = FuturesUnordered::new();
        loop {
            while changing.len() < limits::SUBSCRIBING_AT_ONCE
                && let Some(change) = self.subscriptions.take()
            {
                changing.push(self.change(consumer, change));
            }
            tokio::select! {
                received = consumer.next() => {
                    let first = received?;
                    self.outage.worked();
                    if !self.hand_on(first, consumer).await {
                        return Ok(());
                    }
                }
                Some(changed) = changing.next(), if !changing.is_empty() => changed?,
                () = self.subscriptions.changed() => {}
                () = shutdown.draining() => break,
            }
        }
        // What was fetched and not taken goes back at once: nobody's is to wait here for the attempts that end. The consumer itself is
        // kept until the engine has acked what it still records: dropped, it would give all of it back.
        self.subscriptions.leave_all();
        loop {
            while changing.len() < limits::SUBSCRIBING_AT_ONCE
                && let Some(change) = self.subscriptions.take()
            {
                changing.push(self.change(consumer, change));
            }
            tokio::select! {
                Some(changed) = changing.next(), if !changing.is_empty() => changed?,
                () = self.inbox.closed() => return Ok(()),
            }
        }
    }

    /// Hands on `first` and what is there already, up to an inbox's worth. Returns whether the engine is still there.
    async fn hand_on(&self, first: Received, consumer: &dyn Consumer) -> bool {
        let mut next = Some(first);
        for left in (0..limits::ENGINE_INBOX).rev() {
            let Some(received) = next else { break };
            if self.inbox.send(received).await.is_err() {
                return false;
            }
            next = if left > 0 { consumer.ready() } else { None };
        }
        true
    }

    async fn change(&self, consumer: &dyn Consumer, change: Change) -> Result<(), QueueDown> {
        let done = match &change {
            Change::Subscribe(address, prefetch) => consumer.subscribe(address, *prefetch).await,
            Change::Unsubscribe(tenant) => consumer.unsubscribe(*tenant).await,
        };
        match done {
            Ok(()) => self.subscriptions.done(&change),
            Err(_) => self.subscriptions.undone(&change),
        }
        done
    }

    /// Deletes the queues of tenants that are gone, beside everything else: one that cannot be deleted now, and is tried
    /// again and again, is nobody's concern.
    async fn delete_queues(&self) {
        loop {
            let address = self.subscriptions.to_delete().await;
            if let Err(down) = self.queue.delete(&address).await {
                tracing::debug!(tenant.id = %address.tenant, error.detail = %down, "a queue cannot be deleted now");
                self.subscriptions.delete_later(address);
                sleep(limits::STORE_RETRY_MAX).await;
            }
        }
    }
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
