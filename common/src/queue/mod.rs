//! The second seam: one queue per tenant, which spreads first attempts over the dispatchers.
//!
//! Messages hold ids only; the store is the truth. A queue may lose everything it holds at any moment: what was
//! published and never arrived becomes due in the store (see [`crate::store::Recovery`]).

pub mod memory;
pub mod rabbit;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::delivery::Generation;
use crate::ids::{DeliveryId, EndpointId, TenantId};

/// What a message says: this delivery, at this generation, to that endpoint. Everything else is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Message {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its endpoint: the gate it has to pass.
    pub endpoint: EndpointId,
    /// The generation that was published.
    pub generation: Generation,
}

/// What became of a published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The queue has taken it over.
    Confirmed,
    /// It has not, or nobody knows: the delivery must become due in the store.
    Refused,
}

/// The queue does not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the queue is not reachable: {0}")]
pub struct QueueDown(pub String);

/// Where a tenant's messages go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueueAddress {
    /// The tenant.
    pub tenant: TenantId,
    /// The stored name of its queue.
    pub name: Arc<str>,
}

/// One queue per tenant.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Publishes `messages` in order, each to its tenant's queue, and returns what became of each, in the same order. Those of a
    /// tenant in one call may travel together: if one of them comes back, so may others that were acked.
    /// Bounded in time; never fails as a whole: what could not be published is [`Published::Refused`].
    async fn publish(&self, messages: &[(QueueAddress, Message)]) -> Vec<Published>;

    /// A new consumer, which is served nothing before it subscribes.
    async fn consumer(&self) -> Result<Box<dyn Consumer>, QueueDown>;

    /// Deletes a deleted tenant's queue and whatever is in it. Idempotent.
    async fn delete(&self, address: &QueueAddress) -> Result<(), QueueDown>;

    /// How much of this tenant's queue is ready, handed to nobody: 0 if nothing is, else at most as many as there are messages,
    /// for some may travel together. Makes the queue if need be.
    async fn depth(&self, address: &QueueAddress) -> Result<u64, QueueDown>;

    /// What could not be routed to any tenant's queue: every message is of the tenant whose queue is missing, and is to be
    /// acked once the delivery is due in the store. Served without a subscription.
    async fn unrouted(&self) -> Result<Box<dyn Consumer>, QueueDown>;

    /// Whether `epoch` was marked since the queue's data began: no means that everything it held before is lost.
    async fn is_marked(&self, epoch: Uuid) -> Result<bool, QueueDown>;

    /// Leaves a mark that lives as long as the queue's data. Idempotent.
    async fn mark(&self, epoch: Uuid) -> Result<(), QueueDown>;

    /// Whether the queue answers, for `/readyz`.
    async fn ping(&self) -> Result<(), QueueDown>;

    /// The same of who publishes.
    async fn can_publish(&self) -> Result<(), QueueDown> {
        self.ping().await
    }
}

/// A dispatcher's view of the queues it serves. Dropping it gives back every unacked message. Messages are taken while
/// subscriptions change, and those of several tenants may change at once, but a tenant's one after another.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// From now on at most `prefetch` (≥ 1) unacked messages of this tenant's queue are handed to this consumer. Called
    /// again it changes the prefetch; one that shrinks takes effect as messages are acked. Makes the queue if need be.
    async fn subscribe(&self, address: &QueueAddress, prefetch: u32) -> Result<(), QueueDown>;

    /// Nothing new is handed out of this tenant's queue; what was handed out may still be acked.
    async fn unsubscribe(&self, tenant: TenantId) -> Result<(), QueueDown>;

    /// The next message of any subscribed queue. Within a tenant in the order of the queue, but for what came back.
    /// Cancel safe. `Err` once the queue is lost: then this consumer is at its end and every unacked message comes back.
    async fn next(&self) -> Result<Received, QueueDown>;

    /// The next message if it is here already. Never waits: many come at once, and a wait for each costs more than it.
    fn ready(&self) -> Option<Received> {
        None
    }
}

/// A message that this consumer has to ack once its outcome is recorded. Dropped unacked it goes back to its queue.
#[must_use = "dropped unacked, the message goes back to its queue"]
pub struct Received {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it says.
    pub message: Message,
    /// How long it waited at this consumer before it was handed out: its queue has been without it for as long.
    pub waited: Duration,
    /// How it is acked.
    pub receipt: Box<dyn Receipt>,
}

/// The right to ack one message, once.
#[async_trait]
pub trait Receipt: Send + Sync {
    /// The message is done with. Failing to ack is no error: the message then comes again, and is seen to be stale.
    async fn ack(self: Box<Self>);
}
