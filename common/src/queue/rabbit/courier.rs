//! Keeps one consumer's subscriptions what they are ordered to be. One task does everything that talks to the broker, so
//! that whoever gives an order or takes a message may be cancelled at any time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::control::Control;
use super::dial::{self, down};
use super::inbox::{Ended, Inbox, Sink, Spoiled};
use super::metrics::Metrics;
use super::publisher::Publisher;
use super::topology;
use crate::ids::TenantId;
use crate::limits;
use crate::queue::{QueueAddress, QueueDown};

/// What a consumer wants.
pub enum Order {
    /// A tenant's queue, with a prefetch.
    Subscribe(QueueAddress, u32, oneshot::Sender<Result<(), QueueDown>>),
    /// The queue of what could not be routed.
    Unrouted(oneshot::Sender<Result<(), QueueDown>>),
    /// No more of this tenant's.
    Unsubscribe(TenantId, oneshot::Sender<Result<(), QueueDown>>),
}

/// One consumer's subscriptions.
pub struct Courier {
    parts: Parts,
    subscriptions: HashMap<TenantId, Subscription>,
    lanes: HashMap<u64, Lane>,
    /// Numbers lanes and subscriptions.
    numbers: u64,
    /// Who could not be subscribed, and when that is tried again.
    unserved: BTreeSet<TenantId>,
    retry_at: Instant,
    /// Messages on their way to the poison queue.
    aside: JoinSet<()>,
}

/// What a courier works with.
pub struct Parts {
    pub connection: Arc<Connection>,
    pub control: Arc<Control>,
    pub publisher: Arc<Publisher>,
    pub inbox: Arc<Inbox>,
    pub metrics: Arc<Metrics>,
}

/// A channel and how many consumers are on it.
struct Lane {
    channel: Arc<Channel>,
    consumers: usize,
    /// What a new consumer of this channel gets.
    prefetch: Option<u16>,
}

struct Subscription {
    source: Source,
    prefetch: u16,
    live: Option<Live>,
}

/// What is consumed.
#[derive(Clone)]
enum Source {
    Tenant(QueueAddress),
    Unrouted,
}

/// What the broker has of a subscription.
struct Live {
    lane: u64,
    prefetch: u16,
    consumer: lapin::Consumer,
    sink: Sink,
}

impl Live {
    /// Whether a prefetch needs no new consumer at the broker: what it sends too much, and it is not much, waits here. A
    /// tenant that falls idle and wakes again costs the broker nothing.
    fn suits(&self, prefetch: u16) -> bool {
        let too_many = self.prefetch.checked_sub(prefetch);
        too_many.is_some_and(|messages| messages <= limits::AMQP_PREFETCH_SLACK)
    }
}

impl Courier {
    /// Without subscriptions.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            subscriptions: HashMap::new(),
            lanes: HashMap::new(),
            numbers: 0,
            unserved: BTreeSet::new(),
            retry_at: Instant::now(),
            aside: JoinSet::new(),
        }
    }

    /// Works until nobody gives orders any more, or the connection is lost.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let connection = self.parts.connection.clone();
        let inbox = self.parts.inbox.clone();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => break,
                },
                (ended, spoiled) = inbox.news() => {
                    for spoiled in spoiled {
                        self.set_aside(spoiled);
                    }
                    for ended in ended {
                        self.ended(ended).await;
                    }
                }
                () = sleep_until(self.retry_at), if !self.unserved.is_empty() => {
                    for desk in std::mem::take(&mut self.unserved) {
                        self.serve(desk).await;
                    }
                }
                Some(_) = self.aside.join_next(), if !self.aside.is_empty() => {}
                () = dial::lost(&connection) => break,
            }
        }
        inbox.end(lost());
    }

    async fn obey(&mut self, order: Order) {
        let (done, answer) = match order {
            Order::Subscribe(address, prefetch, answer) => {
                (self.subscribe(address.tenant, Source::Tenant(address), prefetch).await, answer)
            }
            Order::Unrouted(answer) => {
                let nobody = TenantId::from_uuid(uuid::Uuid::nil());
                (self.subscribe(nobody, Source::Unrouted, limits::AMQP_UNROUTED_PREFETCH).await, answer)
            }
            Order::Unsubscribe(tenant, answer) => (self.unsubscribe(tenant).await, answer),
        };
        // Who gave the order may have stopped to wait.
        let _ = answer.send(done);
    }

    /// A queue that cannot be consumed now is tried again later: it must not end what the others have.
    async fn subscribe(&mut self, desk: TenantId, source: Source, prefetch: u32) -> Result<(), QueueDown> {
        let prefetch = prefetch.clamp(1, limits::AMQP_PREFETCH_MAX);
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        let subscription =
            self.subscriptions.entry(desk).or_insert(Subscription { source, prefetch, live: None });
        subscription.prefetch = prefetch;
        if subscription.live.as_ref().is_some_and(|live| live.suits(prefetch)) {
            self.parts.inbox.open(desk, prefetch);
        } else {
            self.serve(desk).await;
        }
        self.alive()
    }

    async fn unsubscribe(&mut self, tenant: TenantId) -> Result<(), QueueDown> {
        self.cancel(tenant).await;
        self.subscriptions.remove(&tenant);
        self.unserved.remove(&tenant);
        self.parts.inbox.close(tenant);
        self.alive()
    }

    fn alive(&self) -> Result<(), QueueDown> {
        self.parts.connection.status().connected().then_some(()).ok_or_else(lost)
    }

    async fn serve(&mut self, desk: TenantId) {
        if let Err(error) = self.try_to_serve(desk).await {
            tracing::warn!(queue.desk = %desk, error.detail = %error, "a queue cannot be consumed now and is tried again");
            if self.unserved.is_empty() {
                self.retry_at = Instant::now() + limits::AMQP_RETRY_PAUSE;
            }
            self.unserved.insert(desk);
        }
    }

    /// Makes the queue and consumes it. The broker takes a prefetch when a consumer is made, so that another one means
    /// another consumer, on the same channel: what is unacked of the old one stays ackable.
    async fn try_to_serve(&mut self, desk: TenantId) -> Result<(), QueueDown> {
        let Some(subscription) = self.subscriptions.get(&desk) else { return Ok(()) };
        let (source, prefetch) = (subscription.source.clone(), subscription.prefetch);
        if let Source::Tenant(address) = &source {
            self.parts.control.make(address).await?;
        }
        let before = self.cancel(desk).await;
        self.parts.inbox.open(desk, prefetch);
        self.parts.inbox.trim(desk);
        let lane = self.lane(before).await.map_err(down)?;
        let live = self.consume(desk, &source, prefetch, lane).await.map_err(down)?;
        if let Some(subscription) = self.subscriptions.get_mut(&desk) {
            subscription.live = Some(live);
        }
        Ok(())
    }

    async fn consume(
        &mut self,
        desk: TenantId,
        source: &Source,
        prefetch: u16,
        number: u64,
    ) -> lapin::Result<Live> {
        self.numbers += 1;
        let serial = self.numbers;
        let lane = self.lanes.get_mut(&number).expect("the lane was chosen just now");
        let channel = lane.channel.clone();
        if lane.prefetch != Some(prefetch) {
            // Not global: the next consumers of this channel get it, each for itself.
            channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
            lane.prefetch = Some(prefetch);
        }
        let name = source.queue()?;
        let tag = ShortString::from(serial.to_string());
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(name, tag, options, FieldTable::default()).await?;
        lane.consumers += 1;
        let (inbox, metrics) = (self.parts.inbox.clone(), self.parts.metrics.clone());
        let sink = Sink { desk, tenant: source.tenant(), serial, channel, inbox, metrics };
        consumer.set_delegate(sink.clone());
        Ok(Live { lane: number, prefetch, consumer, sink })
    }

    /// Ends what the broker has of a subscription; gives its lane, if that still lives.
    async fn cancel(&mut self, desk: TenantId) -> Option<u64> {
        let live = self.subscriptions.get_mut(&desk)?.live.take()?;
        self.leave(live.lane);
        let cancelled =
            live.sink.channel.basic_cancel(live.consumer.tag(), BasicCancelOptions::default()).await;
        if cancelled.is_err() {
            self.parts.inbox.forget(desk);
            return None;
        }
        // What came while the cancel was under way has missed the sink, and is in the consumer still.
        live.consumer.set_delegate(live.sink);
        Some(live.lane)
    }

    /// A channel with room for one more consumer, the wanted one if it lives.
    async fn lane(&mut self, wanted: Option<u64>) -> lapin::Result<u64> {
        self.lanes.retain(|_, lane| lane.channel.status().connected());
        if let Some(wanted) = wanted.filter(|wanted| self.lanes.contains_key(wanted)) {
            return Ok(wanted);
        }
        let has_room = |lane: &Lane| lane.consumers < limits::AMQP_CONSUMERS_PER_CHANNEL;
        if let Some((number, _)) = self.lanes.iter().find(|(_, lane)| has_room(lane)) {
            return Ok(*number);
        }
        let channel = Arc::new(self.parts.connection.create_channel().await?);
        self.numbers += 1;
        self.lanes.insert(self.numbers, Lane { channel, consumers: 0, prefetch: None });
        Ok(self.numbers)
    }

    fn leave(&mut self, lane: u64) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.consumers = lane.consumers.saturating_sub(1);
        }
    }

    /// The broker has ended it: its queue was deleted, or its channel had an error. It is made again.
    async fn ended(&mut self, Ended { desk, serial }: Ended) {
        let Some(subscription) = self.subscriptions.get_mut(&desk) else { return };
        let Some(live) = subscription.live.take_if(|live| live.sink.serial == serial) else { return };
        self.leave(live.lane);
        if !live.sink.channel.status().connected() {
            // What came over it is in its queue again.
            self.parts.inbox.forget(desk);
        }
        if self.alive().is_ok() {
            tracing::info!(queue.desk = %desk, "the broker ended a subscription; it is made again");
            self.serve(desk).await;
        }
    }

    /// Acks it once the poison queue has it; tries for as long as the channel lives.
    fn set_aside(&mut self, Spoiled { body, tag }: Spoiled) {
        let publisher = self.parts.publisher.clone();
        self.aside.spawn(async move {
            while tag.is_alive() {
                if publisher.set_aside(body.clone()).await {
                    return tag.ack();
                }
                sleep(limits::AMQP_RETRY_PAUSE).await;
            }
        });
    }
}

impl Source {
    fn queue(&self) -> lapin::Result<ShortString> {
        match self {
            Self::Tenant(address) => topology::short(&address.name),
            Self::Unrouted => topology::short(topology::UNROUTED),
        }
    }

    fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Tenant(address) => Some(address.tenant),
            Self::Unrouted => None,
        }
    }
}

fn lost() -> QueueDown {
    QueueDown("the connection to the broker was lost".into())
}
