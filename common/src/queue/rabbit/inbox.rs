//! Where `lapin`'s thread leaves what a consumer's connection brings: messages to take, and news for the courier. It is
//! bounded by the prefetches, which the broker keeps, and by how much is in a message.

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};
use std::time::Instant;

use lapin::message::{Delivery, DeliveryResult};
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Channel, ConsumerDelegate};
use tokio::sync::Notify;

use super::body;
use super::desks::{Desks, Ticket};
use super::metrics::Metrics;
use crate::ids::TenantId;
use crate::queue::{Message, QueueDown};

/// The right to ack one message of a channel.
#[derive(Clone)]
pub struct Tag {
    channel: Arc<Channel>,
    number: u64,
}

impl Tag {
    /// Acks it. Nobody waits: the frame is written after all that was asked before, and if the channel is gone, the
    /// message has gone back.
    pub fn ack(&self) {
        begin(self.channel.basic_ack(self.number, BasicAckOptions::default()));
    }

    /// Gives it back to its queue, where it takes its old place.
    pub fn give_back(&self) {
        let options = BasicNackOptions { multiple: false, requeue: true };
        begin(self.channel.basic_nack(self.number, options));
    }

    /// Whether it can still be acked.
    pub fn is_alive(&self) -> bool {
        self.channel.status().connected()
    }
}

/// The first poll hands the frame to the writing thread; what comes after only tells that it was written.
pub fn begin(sending: impl Future) {
    let _ = pin!(sending).as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

/// One delivery's part in a message that names several. The message is acked once all of them are; if one is given back, all
/// of it goes back, but not before the others have come to their end: nobody else is to attempt what is attempted here.
pub struct Share(Arc<Bundle>);

struct Bundle {
    tag: Tag,
    left: AtomicUsize,
    goes_back: AtomicBool,
}

impl Share {
    /// The parts of a message that names so many deliveries.
    fn of(tag: Tag, deliveries: usize) -> impl Iterator<Item = Self> {
        let (left, goes_back) = (AtomicUsize::new(deliveries), AtomicBool::new(false));
        let bundle = Arc::new(Bundle { tag, left, goes_back });
        std::iter::repeat_with(move || Self(bundle.clone())).take(deliveries)
    }

    /// This delivery is done with.
    pub fn ack(self) {
        // All that others did before is seen by whoever is the last.
        let is_last = self.0.left.fetch_sub(1, Ordering::AcqRel) == 1;
        match self.0.goes_back.load(Ordering::Acquire) {
            _ if !is_last => {}
            true => self.0.tag.give_back(),
            false => self.0.tag.ack(),
        }
    }

    /// This delivery is to come again.
    pub fn give_back(self) {
        self.0.goes_back.store(true, Ordering::Release);
        self.ack();
    }
}

/// A delivery that waits to be taken.
pub struct Arrival {
    pub tenant: TenantId,
    pub message: Message,
    pub share: Share,
    /// Its message begins with it.
    pub is_first: bool,
    pub since: Instant,
}

/// Bytes that nobody can read.
pub struct Spoiled {
    pub body: Vec<u8>,
    pub tag: Tag,
}

/// A subscription of the broker's that is over.
pub struct Ended {
    pub desk: TenantId,
    pub serial: u64,
}

/// Shared by a consumer, its courier, its receipts and `lapin`'s thread.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<State>,
    /// There may be something to take, or it is over.
    arrived: Notify,
    /// There is news for the courier.
    happened: Notify,
}

#[derive(Default)]
struct State {
    desks: Desks<Arrival>,
    ended: Vec<Ended>,
    spoiled: Vec<Spoiled>,
    end: Option<QueueDown>,
}

impl Inbox {
    /// The next delivery. Cancel safe: nothing is awaited once one is taken.
    pub async fn next(&self) -> Result<(Ticket, Arrival), QueueDown> {
        loop {
            if let Some(taken) = self.ready()? {
                return Ok(taken);
            }
            self.arrived.notified().await;
        }
    }

    /// The next delivery if there is one.
    pub fn ready(&self) -> Result<Option<(Ticket, Arrival)>, QueueDown> {
        let mut state = self.state();
        match &state.end {
            Some(end) => Err(end.clone()),
            None => Ok(state.desks.take()),
        }
    }

    /// As [`Desks::open`].
    pub fn open(&self, desk: TenantId, prefetch: u16) {
        self.state().desks.open(desk, usize::from(prefetch));
        self.arrived.notify_one();
    }

    /// As [`Desks::trim`]; what has no room goes back, in whole messages.
    pub fn trim(&self, desk: TenantId) {
        let surplus = self.state().desks.trim(desk, |arrival| arrival.is_first);
        give_back(surplus);
    }

    /// As [`Desks::close`]; what waited goes back.
    pub fn close(&self, desk: TenantId) {
        let waiting = self.state().desks.close(desk);
        give_back(waiting);
    }

    /// As [`Desks::forget`].
    pub fn forget(&self, desk: TenantId) {
        self.state().desks.forget(desk);
    }

    /// As [`Desks::settle`].
    pub fn settle(&self, ticket: Ticket) {
        if self.state().desks.settle(ticket) {
            self.arrived.notify_one();
        }
    }

    /// It is over: everything goes back by itself.
    pub fn end(&self, why: QueueDown) {
        let mut state = self.state();
        state.end.get_or_insert(why);
        state.desks.clear();
        state.spoiled.clear();
        drop(state);
        self.arrived.notify_one();
    }

    /// What the courier has to see to.
    pub async fn news(&self) -> (Vec<Ended>, Vec<Spoiled>) {
        self.happened.notified().await;
        let mut state = self.state();
        (std::mem::take(&mut state.ended), std::mem::take(&mut state.spoiled))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn give_back(arrivals: VecDeque<Arrival>) {
    for arrival in arrivals {
        arrival.share.give_back();
    }
}

/// Takes what one subscription brings. `lapin`'s thread calls it, in order.
#[derive(Clone)]
pub struct Sink {
    pub desk: TenantId,
    /// Whose messages they must be; `None` where anybody's are.
    pub tenant: Option<TenantId>,
    pub serial: u64,
    pub channel: Arc<Channel>,
    pub inbox: Arc<Inbox>,
    pub metrics: Arc<Metrics>,
    /// Nothing more will come.
    pub is_over: Arc<AtomicBool>,
}

impl ConsumerDelegate for Sink {
    fn on_new_delivery(&self, delivery: DeliveryResult) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let unwanted = match delivery {
            Ok(Some(delivery)) => self.received(delivery),
            Ok(None) | Err(_) => self.ended(),
        };
        // Not here: `lapin` holds the lock of the channel's status while it calls, and a frame that is sent from here would wait for
        // that lock for ever, then every other connection of the process behind it. It runs what is returned on its own.
        match unwanted {
            Some(tag) => Box::pin(async move { tag.give_back() }),
            None => Box::pin(ready(())),
        }
    }
}

impl Sink {
    /// Returns what nobody wants here any more.
    fn received(&self, delivery: Delivery) -> Option<Tag> {
        let tag = Tag { channel: self.channel.clone(), number: delivery.delivery_tag };
        let read = body::decode(&delivery.data);
        let ours = read.filter(|(tenant, _)| self.tenant.is_none_or(|wanted| wanted == *tenant));
        let Some((tenant, messages)) = ours else {
            self.metrics.poison.inc();
            tracing::warn!(queue.desk = %self.desk, bytes = delivery.data.len(), "a message that cannot be read is put aside");
            self.inbox.state().spoiled.push(Spoiled { body: delivery.data, tag });
            self.inbox.happened.notify_one();
            return None;
        };
        if self.tenant.is_none() {
            self.metrics.unrouted.inc_by(messages.len() as u64);
        }
        let (shares, since) = (Share::of(tag.clone(), messages.len()), Instant::now());
        let arrivals = messages
            .into_iter()
            .zip(shares)
            .enumerate()
            .map(|(place, (message, share))| Arrival { tenant, message, share, is_first: place == 0, since });
        if !self.inbox.state().desks.accept(self.desk, arrivals) {
            return Some(tag);
        }
        self.inbox.arrived.notify_one();
        None
    }

    /// Whether the broker has ended the subscription.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn ended(&self) -> Option<Tag> {
        self.is_over.store(true, Ordering::Release);
        self.inbox.state().ended.push(Ended { desk: self.desk, serial: self.serial });
        self.inbox.happened.notify_one();
        None
    }
}
