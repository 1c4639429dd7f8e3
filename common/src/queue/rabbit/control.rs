//! Questions to the broker: declarations, depths, marks. On a connection that never publishes, so that a broker that
//! blocks publishers still answers, and each on a channel of its own, so that an error hurts nobody else.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures_util::future::join;
use lapin::options::{QueueBindOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::dial::{Address, down};
use super::link::{Link, Session};
use super::metrics::Metrics;
use super::{QueueType, topology};
use crate::limits;
use crate::queue::{QueueAddress, QueueDown};

/// Asks the broker.
pub struct Control {
    link: Link<Asking>,
}

impl Control {
    /// Dials in the background until `stop`.
    pub fn start(
        address: Address,
        queue_type: QueueType,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self { link: Link::start(address, queue_type, metrics, stop) }
    }

    /// Waits for the first connection, not for long.
    pub async fn ready(&self) {
        // Without one it goes on just the same, and dials on.
        let _ = self.link.wait(limits::AMQP_START_WAIT).await;
    }

    /// Makes the tenant's queue unless it exists.
    pub async fn make(&self, address: &QueueAddress) -> Result<Found, QueueDown> {
        self.call(|asking| async move { asking.make(address).await }).await
    }

    /// Deletes the tenant's queue.
    pub async fn delete(&self, address: &QueueAddress) -> Result<(), QueueDown> {
        self.call(|asking| async move {
            let lent = asking.lend().await?;
            lent.channel()
                .queue_delete(topology::short(&address.name)?, QueueDeleteOptions::default())
                .await?;
            lent.keep();
            Ok(())
        })
        .await
    }

    /// Whether the epoch's queue exists.
    pub async fn is_marked(&self, epoch: Uuid) -> Result<bool, QueueDown> {
        self.call(|asking| async move {
            let lent = asking.lend().await?;
            match topology::existing(lent.channel(), topology::epoch_queue(epoch)).await {
                Ok(_) => {
                    lent.keep();
                    Ok(true)
                }
                Err(error) if topology::is_missing(&error) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Makes the epoch's queue.
    pub async fn mark(&self, epoch: Uuid) -> Result<(), QueueDown> {
        self.call(|asking| async move { asking.mark(epoch).await }).await
    }

    /// Asks for something that is always there.
    pub async fn ping(&self) -> Result<(), QueueDown> {
        self.call(|asking| async move {
            let lent = asking.lend().await?;
            topology::existing(lent.channel(), topology::POISON.into()).await?;
            lent.keep();
            Ok(())
        })
        .await
    }

    async fn call<T, F>(&self, ask: impl FnOnce(Arc<Asking>) -> F) -> Result<T, QueueDown>
    where
        F: Future<Output = lapin::Result<T>>,
    {
        let answer = async {
            let asking = self.link.wait(limits::AMQP_CALL_DEADLINE).await?;
            ask(asking).await.map_err(down)
        };
        timeout(limits::AMQP_CALL_DEADLINE, answer)
            .await
            .unwrap_or_else(|_late| Err(QueueDown("the broker does not answer in time".into())))
    }
}

/// A queue that is there.
pub struct Found {
    /// Messages that nobody was handed.
    pub ready: u64,
    /// `None` of a queue with other arguments than ours have.
    pub queue_type: Option<QueueType>,
}

/// What is asked over one connection.
pub struct Asking {
    connection: Arc<Connection>,
    queue_type: QueueType,
    /// How many may ask at once.
    turns: Semaphore,
    /// Channels on which all went well.
    idle: Mutex<Vec<Channel>>,
}

#[async_trait]
impl Session for Asking {
    const PURPOSE: &'static str = "control";
    type Parts = QueueType;

    async fn begin(connection: Arc<Connection>, queue_type: QueueType) -> lapin::Result<Self> {
        let (turns, idle) = (Semaphore::new(limits::AMQP_CALLS), Mutex::default());
        Ok(Self { connection, queue_type, turns, idle })
    }
}

impl Asking {
    /// Declares and binds in one go. A queue that exists keeps its type: the setting is for new ones (and for one that is deleted
    /// while it is told what it is, the type that it had).
    async fn make(&self, address: &QueueAddress) -> lapin::Result<Found> {
        let name = topology::short(&address.name)?;
        for queue_type in [self.queue_type, self.queue_type.other()] {
            let lent = self.lend().await?;
            let declaring = topology::queue(lent.channel(), name.clone(), queue_type);
            let (declared, bound) = join(declaring, bind(lent.channel(), address)).await;
            match declared {
                Ok(queue) => {
                    bound?;
                    lent.keep();
                    return Ok(Found { ready: queue.message_count().into(), queue_type: Some(queue_type) });
                }
                Err(error) if topology::is_other_kind(&error) => drop(lent),
                Err(error) => return Err(error),
            }
        }
        let lent = self.lend().await?;
        let queue = topology::existing(lent.channel(), name).await?;
        bind(lent.channel(), address).await?;
        lent.keep();
        Ok(Found { ready: queue.message_count().into(), queue_type: None })
    }

    async fn mark(&self, epoch: Uuid) -> lapin::Result<()> {
        let lent = self.lend().await?;
        match topology::queue(lent.channel(), topology::epoch_queue(epoch), self.queue_type).await {
            Ok(_) => {
                lent.keep();
                Ok(())
            }
            Err(error) if topology::is_other_kind(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn lend(&self) -> lapin::Result<Lent<'_>> {
        let turn = self.turns.acquire().await.expect("the semaphore is never closed");
        let idle = self.idle().pop();
        let channel = match idle {
            Some(channel) => channel,
            None => self.connection.create_channel().await?,
        };
        Ok(Lent { asking: self, channel, _turn: turn })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Channel>> {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

async fn bind(channel: &Channel, address: &QueueAddress) -> lapin::Result<()> {
    let name = topology::short(&address.name)?;
    let (exchange, key) = (topology::DELIVERIES.into(), address.tenant.to_string().into());
    channel.queue_bind(name, exchange, key, QueueBindOptions::default(), FieldTable::default()).await
}

/// A channel for one question. Dropped it is closed: the error it had ended it, or the answer is still to come.
struct Lent<'a> {
    asking: &'a Asking,
    channel: Channel,
    _turn: SemaphorePermit<'a>,
}

impl Lent<'_> {
    fn channel(&self) -> &Channel {
        &self.channel
    }

    /// All went well: the next question may have it.
    fn keep(self) {
        self.asking.idle().push(self.channel);
    }
}
