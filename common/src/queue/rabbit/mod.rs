//! The queue of the distributed engine, over RabbitMQ 3.10 to 4.x.
//!
//! ```text
//! publish ─► fairhook.deliveries ──(tenant id)──► the tenant's queue ─► consumer
//!                  └─(no such queue)─► fairhook.unrouted ─► whoever makes it due
//!                                            what nobody can read ─► fairhook.poison
//! ```
//!
//! Connections are apart, because a broker that is short of memory stops reading from those that publish: one publishes,
//! one asks, and each consumer has its own. The first two are dialled again for ever; a consumer ends with its
//! connection. `lapin`'s own recovery is off: it does not cover errors of channels, and makes again what was deleted.
//!
//! Deliberately absent: retries, dead letters, limits and expiry. They are the store's.

mod body;
mod consumer;
mod control;
mod courier;
mod desks;
mod dial;
mod inbox;
mod lanes;
mod line;
mod link;
mod metrics;
mod publisher;
mod serving;
mod socket;
mod topology;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::consumer::RabbitConsumer;
use self::control::Control;
use self::dial::Address;
use self::inbox::Inbox;
use self::metrics::Metrics;
use self::publisher::Publisher;
use self::serving::Parts;
use super::{Consumer, Message, Published, Queue, QueueAddress, QueueDown};
use crate::limits;
use crate::metrics::Families;

/// What a tenant's queue is made as. One that exists stays what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueType {
    /// On one node; the fastest with many tenants.
    #[default]
    Classic,
    /// On several nodes, and synced to disk.
    Quorum,
}

impl QueueType {
    fn other(self) -> Self {
        match self {
            Self::Classic => Self::Quorum,
            Self::Quorum => Self::Classic,
        }
    }
}

/// How the broker is used.
#[derive(Debug, Clone, Default)]
pub struct RabbitSettings {
    /// For queues that are made from now on.
    pub queue_type: QueueType,
    /// What the management UI calls the connections of this process.
    pub connection_name: String,
    /// Where its metrics go, if anywhere.
    pub families: Option<Families>,
}

/// One durable queue per tenant at a RabbitMQ broker. Dropped, it closes its connections, but for its consumers'.
pub struct RabbitQueue {
    address: Address,
    control: Arc<Control>,
    publisher: Arc<Publisher>,
    metrics: Arc<Metrics>,
    closings: TaskTracker,
    _stop: DropGuard,
}

impl RabbitQueue {
    /// Dials. A broker that is away is no error: what is published is refused until it is there. Fails only if `url` is
    /// none, which it does not quote: there is a password in it.
    pub async fn connect(url: &str, settings: RabbitSettings) -> Result<Self, QueueDown> {
        let RabbitSettings { queue_type, connection_name, families } = settings;
        let address = Address::parse(url, &connection_name, queue_type)?;
        let metrics = Arc::new(Metrics::new(families.as_ref()));
        let stop = CancellationToken::new();
        let control = Arc::new(Control::start(address.clone(), queue_type, metrics.clone(), stop.clone()));
        let publisher = Publisher::start(address.clone(), control.clone(), metrics.clone(), stop.clone());
        tokio::join!(control.ready(), publisher.ready());
        let closings = TaskTracker::new();
        // Closed only says that waiting ends once it is empty; more may come.
        closings.close();
        let publisher = Arc::new(publisher);
        Ok(Self { address, control, publisher, metrics, closings, _stop: stop.drop_guard() })
    }

    async fn connect_consumer(&self, purpose: &str) -> Result<RabbitConsumer, QueueDown> {
        // What a dropped consumer held is in its queue again before another subscribes, unless that takes too long.
        let _ = timeout(limits::AMQP_CALL_DEADLINE, self.closings.wait()).await;
        let parts = Parts {
            connection: Arc::new(self.address.dial(purpose).await?),
            control: self.control.clone(),
            publisher: self.publisher.clone(),
            inbox: Arc::new(Inbox::default()),
            metrics: self.metrics.clone(),
        };
        Ok(RabbitConsumer::start(parts, self.closings.clone()))
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    async fn publish(&self, messages: &[(QueueAddress, Message)]) -> Vec<Published> {
        self.publisher.publish(messages).await
    }

    async fn consumer(&self) -> Result<Box<dyn Consumer>, QueueDown> {
        Ok(Box::new(self.connect_consumer("consume").await?))
    }

    async fn delete(&self, address: &QueueAddress) -> Result<(), QueueDown> {
        self.control.delete(address).await?;
        self.publisher.forget(address.tenant);
        Ok(())
    }

    async fn depth(&self, address: &QueueAddress) -> Result<u64, QueueDown> {
        Ok(self.control.make(address).await?.ready)
    }

    async fn unrouted(&self) -> Result<Box<dyn Consumer>, QueueDown> {
        let consumer = self.connect_consumer("unrouted").await?;
        consumer.take_unrouted().await?;
        Ok(Box::new(consumer))
    }

    async fn is_marked(&self, epoch: Uuid) -> Result<bool, QueueDown> {
        self.control.is_marked(epoch).await
    }

    async fn mark(&self, epoch: Uuid) -> Result<(), QueueDown> {
        self.control.mark(epoch).await
    }

    async fn ping(&self) -> Result<(), QueueDown> {
        self.control.ping().await
    }

    async fn can_publish(&self) -> Result<(), QueueDown> {
        self.publisher.ping()?;
        self.ping().await
    }
}
