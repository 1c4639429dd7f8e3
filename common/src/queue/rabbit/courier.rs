//! Keeps one consumer's subscriptions what they are ordered to be. One task decides; what talks to the broker goes on beside
//! it, for several tenants at once, so that a queue that does not answer keeps nobody waiting but its own tenant.

use std::collections::{BTreeSet, HashMap, VecDeque};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::dial;
use super::inbox::{Ended, Spoiled};
use super::lanes::Lanes;
use super::serving::{Done, Fault, Job, Live, Parts, Source, leave, serve};
use crate::ids::TenantId;
use crate::limits;
use crate::queue::{QueueAddress, QueueDown};

/// Told once an order is carried out, or will be tried again and again.
type Answer = oneshot::Sender<Result<(), QueueDown>>;

/// What a consumer wants.
pub enum Order {
    /// A tenant's queue, with a prefetch.
    Subscribe(QueueAddress, u32, Answer),
    /// The queue of what could not be routed.
    Unrouted(Answer),
    /// No more of this tenant's.
    Unsubscribe(TenantId, Answer),
}

/// One consumer's subscriptions.
pub struct Courier {
    parts: Parts,
    subscriptions: HashMap<TenantId, Subscription>,
    lanes: Lanes,
    serials: u64,
    /// Who is to be seen to next.
    line: VecDeque<TenantId>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Who could not be subscribed, and when that is tried again.
    unserved: BTreeSet<TenantId>,
    retry_at: Instant,
    /// Messages on their way to the poison queue.
    aside: JoinSet<()>,
}

struct Subscription {
    source: Source,
    prefetch: u16,
    /// Nobody wants it any more: it goes as soon as the broker has heard.
    is_over: bool,
    live: Option<Live>,
    stage: Stage,
    /// Its consumer has ended a channel, so that the next gets one alone.
    is_suspect: bool,
    /// What its consumer asked for may be what its queue does not take: the next ones ask for nothing special.
    is_plain: bool,
    /// The lane on which the broker ended it last. What is held of then may be acked there still, and the broker would take that
    /// for what it sends there of a queue that has the same name.
    shunned: Option<u64>,
    /// What the broker ended while something was under way.
    ended_meanwhile: Option<u64>,
    waiting: Vec<Answer>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    InLine,
    UnderWay,
    /// And what is under way is not what is wanted any more.
    Outdated,
}

impl Courier {
    /// Without subscriptions.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            subscriptions: HashMap::new(),
            lanes: Lanes::default(),
            serials: 0,
            line: VecDeque::new(),
            under_way: FuturesUnordered::new(),
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
            self.begin();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => break,
                },
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => self.done(done),
                (ended, spoiled) = inbox.news() => {
                    spoiled.into_iter().for_each(|spoiled| self.set_aside(spoiled));
                    self.all_ended(ended);
                }
                () = sleep_until(self.retry_at), if !self.unserved.is_empty() => {
                    std::mem::take(&mut self.unserved).into_iter().for_each(|desk| self.line_up(desk));
                }
                Some(_) = self.aside.join_next(), if !self.aside.is_empty() => {}
                () = dial::lost(&connection) => break,
            }
        }
        inbox.end(lost());
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Subscribe(address, prefetch, answer) => {
                self.subscribe(address.tenant, Source::Tenant(address), prefetch, answer);
            }
            Order::Unrouted(answer) => {
                let nobody = TenantId::from_uuid(uuid::Uuid::nil());
                self.subscribe(nobody, Source::Unrouted, limits::AMQP_UNROUTED_PREFETCH, answer);
            }
            Order::Unsubscribe(tenant, answer) => self.unsubscribe(tenant, answer),
        }
    }

    fn subscribe(&mut self, desk: TenantId, source: Source, prefetch: u32, answer: Answer) {
        let prefetch = prefetch.clamp(1, limits::AMQP_PREFETCH_MAX);
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        let new = || Subscription::new(source, prefetch);
        let subscription = self.subscriptions.entry(desk).or_insert_with(new);
        (subscription.prefetch, subscription.is_over) = (prefetch, false);
        let is_at_rest = matches!(subscription.stage, Stage::Idle | Stage::InLine);
        if is_at_rest && subscription.live.as_ref().is_some_and(|live| live.suits(prefetch)) {
            self.parts.inbox.open(desk, prefetch);
            return self.tell(answer);
        }
        subscription.waiting.push(answer);
        self.line_up(desk);
    }

    fn unsubscribe(&mut self, tenant: TenantId, answer: Answer) {
        let Some(subscription) = self.subscriptions.get_mut(&tenant) else { return self.tell(answer) };
        subscription.is_over = true;
        subscription.waiting.push(answer);
        self.unserved.remove(&tenant);
        self.line_up(tenant);
    }

    /// Who gave the order may have stopped to wait.
    fn tell(&self, answer: Answer) {
        let _ = answer.send(self.alive());
    }

    fn alive(&self) -> Result<(), QueueDown> {
        self.parts.connection.status().connected().then_some(()).ok_or_else(lost)
    }

    fn line_up(&mut self, desk: TenantId) {
        let Some(subscription) = self.subscriptions.get_mut(&desk) else { return };
        match subscription.stage {
            Stage::Idle => {
                subscription.stage = Stage::InLine;
                self.line.push_back(desk);
            }
            Stage::UnderWay => subscription.stage = Stage::Outdated,
            Stage::InLine | Stage::Outdated => {}
        }
    }

    /// Sees to the next in line, as many at once as may be.
    fn begin(&mut self) {
        while self.under_way.len() < limits::AMQP_SUBSCRIBING
            && let Some(desk) = self.line.pop_front()
        {
            let Some(subscription) = self.subscriptions.get_mut(&desk) else { continue };
            subscription.stage = Stage::UnderWay;
            let before = subscription.live.take();
            if subscription.is_over {
                self.under_way.push(Box::pin(leave(self.parts.clone(), desk, before)));
                continue;
            }
            let wanted = before.as_ref().map(|live| live.lane);
            let (number, lane) = self.lanes.choose(wanted, subscription.shunned, subscription.is_suspect);
            self.serials += 1;
            let Subscription { ref source, prefetch, is_plain, .. } = *subscription;
            let (serial, source) = (self.serials, source.clone());
            let job = Job { desk, serial, source, prefetch, is_plain, before, number, lane };
            self.under_way.push(Box::pin(serve(self.parts.clone(), job)));
        }
    }

    /// A queue that cannot be consumed now is tried again later: it must not end what the others have.
    fn done(&mut self, done: Done) {
        let Done { desk, live, left, fault } = done;
        left.into_iter().for_each(|lane| self.lanes.leave(lane));
        match &fault {
            Some(fault) => self.tell_fault(desk, fault),
            None => live.iter().for_each(|live| self.lanes.trust(live.lane)),
        }
        let alive = self.alive();
        let Some(subscription) = self.subscriptions.get_mut(&desk) else { return };
        let is_outdated = std::mem::replace(&mut subscription.stage, Stage::Idle) == Stage::Outdated;
        let was_alone = subscription.is_suspect;
        subscription.is_suspect = matches!(fault, Some(Fault::Channel(_) | Fault::Late(_)));
        subscription.is_plain |= was_alone && fault.as_ref().is_some_and(Fault::is_of_its_queue);
        subscription.shunned = subscription.shunned.filter(|_| live.is_none());
        let ended = subscription.ended_meanwhile.take();
        let ended = ended.filter(|serial| live.as_ref().is_some_and(|live| live.sink.serial == *serial));
        subscription.live = live;
        if !is_outdated {
            let waiting = std::mem::take(&mut subscription.waiting);
            if subscription.is_over {
                self.subscriptions.remove(&desk);
                self.parts.inbox.close(desk);
            }
            for answer in waiting {
                let _ = answer.send(alive.clone());
            }
        }
        if let Some(serial) = ended {
            self.all_ended(vec![Ended { desk, serial }]);
        } else if is_outdated {
            self.line_up(desk);
        } else if fault.is_some() {
            self.try_later(desk);
        }
        if let Some(Fault::Late(lanes)) = fault {
            lanes.into_iter().for_each(|lane| self.give_up(lane));
        }
    }

    fn tell_fault(&self, desk: TenantId, fault: &Fault) {
        self.parts.metrics.unserved.inc();
        // One line for all that fail at the same time: with a broker in trouble that may be every tenant's.
        if self.unserved.is_empty() && self.alive().is_ok() {
            tracing::warn!(queue.desk = %desk, error.detail = %fault, "a queue cannot be consumed now and is tried again");
        } else {
            tracing::debug!(queue.desk = %desk, error.detail = %fault, "a queue cannot be consumed now and is tried again");
        }
    }

    fn try_later(&mut self, desk: TenantId) {
        if !self.subscriptions.contains_key(&desk) {
            return;
        }
        if self.unserved.is_empty() {
            self.retry_at = Instant::now() + limits::AMQP_RETRY_PAUSE;
        }
        self.unserved.insert(desk);
    }

    /// A channel does not answer: whoever was on it goes elsewhere.
    fn give_up(&mut self, number: u64) {
        self.lanes.give_up(number);
        let on_it = |(desk, subscription): (&TenantId, &Subscription)| {
            let live = subscription.live.as_ref().filter(|live| live.lane == number)?;
            Some(Ended { desk: *desk, serial: live.sink.serial })
        };
        let ended = self.subscriptions.iter().filter_map(on_it).collect();
        self.all_ended(ended);
    }

    /// The broker has ended them: their queues were deleted, or their channel had an error. They are made again.
    fn all_ended(&mut self, ended: Vec<Ended>) {
        let mut again = 0;
        for Ended { desk, serial } in ended {
            let Some(subscription) = self.subscriptions.get_mut(&desk) else { continue };
            let Some(live) = subscription.live.take_if(|live| live.sink.serial == serial) else {
                subscription.ended_meanwhile = Some(serial);
                continue;
            };
            self.lanes.leave(live.lane);
            subscription.shunned = Some(live.lane);
            if !live.sink.channel.status().connected() {
                // What came over it is in its queue again.
                self.parts.inbox.forget(desk);
            }
            self.line_up(desk);
            again += 1;
        }
        if again > 0 && self.alive().is_ok() {
            tracing::info!(subscriptions = again, "the broker ended subscriptions; they are made again");
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

impl Subscription {
    fn new(source: Source, prefetch: u16) -> Self {
        Self {
            source,
            prefetch,
            is_over: false,
            live: None,
            stage: Stage::Idle,
            is_suspect: false,
            is_plain: false,
            shunned: None,
            ended_meanwhile: None,
            waiting: Vec::new(),
        }
    }
}

fn lost() -> QueueDown {
    QueueDown("the connection to the broker was lost".into())
}
