//! What is said to the broker about one subscription: make the queue, end the consumer of before, make another.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use lapin::Connection;
use lapin::options::BasicCancelOptions;
use lapin::types::ShortString;
use tokio::time::timeout;

use super::control::Control;
use super::inbox::{Inbox, Sink};
use super::lanes::Lane;
use super::metrics::Metrics;
use super::publisher::Publisher;
use super::{QueueType, topology};
use crate::ids::TenantId;
use crate::limits;
use crate::queue::{QueueAddress, QueueDown};

/// What a consumer works with.
#[derive(Clone)]
pub struct Parts {
    pub connection: Arc<Connection>,
    pub control: Arc<Control>,
    pub publisher: Arc<Publisher>,
    pub inbox: Arc<Inbox>,
    pub metrics: Arc<Metrics>,
}

/// What is consumed.
#[derive(Clone)]
pub enum Source {
    /// A tenant's queue.
    Tenant(QueueAddress),
    /// The queue of what could not be routed.
    Unrouted,
}

/// What the broker has of a subscription.
pub struct Live {
    pub lane: u64,
    pub sink: Sink,
    prefetch: u16,
    consumer: lapin::Consumer,
}

/// A subscription to be made.
pub struct Job {
    pub desk: TenantId,
    pub serial: u64,
    pub source: Source,
    pub prefetch: u16,
    /// It is not to ask for anything that some queues do not know.
    pub is_plain: bool,
    /// What it has now.
    pub before: Option<Live>,
    /// Where the next consumer goes.
    pub number: u64,
    pub lane: Arc<Lane>,
}

/// How that ended.
pub struct Done {
    pub desk: TenantId,
    /// What the broker has now.
    pub live: Option<Live>,
    /// The lanes that have a consumer fewer.
    pub left: Vec<u64>,
    pub fault: Option<Fault>,
}

/// Why a subscription was not made.
pub enum Fault {
    /// Its queue cannot be made.
    Queue(QueueDown),
    /// The broker refused it, which ended the channel.
    Channel(lapin::Error),
    /// The broker did not answer on these lanes.
    Late(Vec<u64>),
}

impl Fault {
    /// It was refused for what it asked of its queue.
    pub fn is_of_its_queue(&self) -> bool {
        matches!(self, Self::Channel(error) if topology::is_other_kind(error))
    }
}

impl Live {
    /// Whether a prefetch needs no new consumer at the broker: what it sends too much, and it is not much, waits here. A
    /// tenant that falls idle and wakes again costs the broker nothing.
    pub fn suits(&self, prefetch: u16) -> bool {
        let too_many = self.prefetch.checked_sub(prefetch);
        too_many.is_some_and(|messages| messages <= limits::AMQP_PREFETCH_SLACK)
    }
}

/// Makes the queue and consumes it. The broker takes a prefetch when a consumer is made, so that another one means another
/// consumer, on the same channel: what is unacked of the old one stays ackable.
pub async fn serve(parts: Parts, job: Job) -> Done {
    let Job { desk, source, before, number, .. } = &job;
    let (desk, number) = (*desk, *number);
    let left: Vec<u64> = before.as_ref().map(|live| live.lane).into_iter().collect();
    let queue_type = match source {
        Source::Tenant(address) => match parts.control.make(address).await {
            Ok(found) => found.queue_type.filter(|_| !job.is_plain),
            Err(down) => {
                return Done { desk, live: job.before, left: vec![number], fault: Some(Fault::Queue(down)) };
            }
        },
        Source::Unrouted => None,
    };
    if before.as_ref().is_some_and(|before| before.sink.is_over()) {
        // The broker has ended it meanwhile, of which there is news: then it is not made again where it was.
        return Done { desk, live: job.before, left: vec![number], fault: None };
    }
    match timeout(limits::AMQP_CALL_DEADLINE, replace(&parts, job, queue_type)).await {
        Ok(Ok(live)) => Done { desk, live: Some(live), left, fault: None },
        Ok(Err(error)) => {
            Done { desk, live: None, left: with(left, number), fault: Some(Fault::Channel(error)) }
        }
        Err(_late) => {
            parts.inbox.forget(desk);
            let lanes = with(left, number);
            Done { desk, live: None, left: lanes.clone(), fault: Some(Fault::Late(lanes)) }
        }
    }
}

/// Ends the subscription at the broker.
pub async fn leave(parts: Parts, desk: TenantId, before: Option<Live>) -> Done {
    let left: Vec<u64> = before.as_ref().map(|live| live.lane).into_iter().collect();
    let Some(before) = before else { return Done { desk, live: None, left, fault: None } };
    let ending = timeout(limits::AMQP_CALL_DEADLINE, cancel(&parts.inbox, before)).await;
    let fault = ending.is_err().then(|| Fault::Late(left.clone()));
    Done { desk, live: None, left, fault }
}

fn with(mut lanes: Vec<u64>, number: u64) -> Vec<u64> {
    lanes.push(number);
    lanes
}

async fn replace(parts: &Parts, job: Job, queue_type: Option<QueueType>) -> lapin::Result<Live> {
    let Job { desk, serial, source, prefetch, before, number, lane, is_plain: _ } = job;
    let shrinks = before.as_ref().is_some_and(|before| prefetch < before.prefetch);
    if let Some(before) = before {
        cancel(&parts.inbox, before).await;
    }
    parts.inbox.open(desk, prefetch);
    if shrinks {
        // The rest is for others.
        parts.inbox.trim(desk);
    }
    let (tag, arguments) = (ShortString::from(serial.to_string()), topology::consumer_arguments(queue_type));
    let (channel, consumer) =
        lane.consume(&parts.connection, source.queue()?, tag, prefetch, arguments).await?;
    let (inbox, metrics) = (parts.inbox.clone(), parts.metrics.clone());
    let sink =
        Sink { desk, tenant: source.tenant(), serial, channel, inbox, metrics, is_over: Arc::default() };
    consumer.set_delegate(sink.clone());
    Ok(Live { lane: number, sink, prefetch, consumer })
}

async fn cancel(inbox: &Inbox, live: Live) {
    let tag = live.consumer.tag();
    match live.sink.channel.basic_cancel(tag, BasicCancelOptions::default()).await {
        // What came while the cancel was under way has missed the sink, and is in the consumer still.
        Ok(()) => live.consumer.set_delegate(live.sink),
        Err(_) => inbox.forget(live.sink.desk),
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

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(down) => down.fmt(f),
            Self::Channel(error) => error.fmt(f),
            Self::Late(_) => f.write_str("the broker does not answer in time"),
        }
    }
}
