//! The in-process queue of the embedded engine. It forgets everything when the process ends: the store makes it due again.
//!
//! Messages are pushed, as a broker does it: each goes to the tenant's next consumer that has room, and waits in its inbox
//! until it is taken. One lock covers all queues; every step under it is short (no waiting, no I/O), and a tenant without
//! messages and consumers costs nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Consumer, Message, Published, Queue, QueueAddress, QueueDown, Receipt, Received};
use crate::ids::TenantId;
use crate::limits;

/// In-process queues, one per tenant. Clones are the same queues.
#[derive(Clone, Default)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
}

impl MemoryQueue {
    /// Empty queues.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn publish(&self, messages: &[(QueueAddress, Message)]) -> Vec<Published> {
        let mut queues = self.shared.lock();
        messages.iter().map(|(address, message)| queues.publish(address.tenant, *message)).collect()
    }

    async fn consumer(&self) -> Result<Box<dyn Consumer>, QueueDown> {
        let arrived = Arc::new(Notify::new());
        let id = self.shared.lock().add_consumer(Arc::clone(&arrived));
        Ok(Box::new(MemoryConsumer { shared: Arc::clone(&self.shared), id, arrived }))
    }

    async fn delete(&self, address: &QueueAddress) -> Result<(), QueueDown> {
        self.shared.lock().delete(address.tenant);
        Ok(())
    }

    async fn depth(&self, address: &QueueAddress) -> Result<u64, QueueDown> {
        Ok(self.shared.lock().tenants.get(&address.tenant).map_or(0, |queue| queue.ready.len() as u64))
    }

    /// Every message has its queue here: this consumer waits for ever.
    async fn unrouted(&self) -> Result<Box<dyn Consumer>, QueueDown> {
        self.consumer().await
    }

    async fn is_marked(&self, epoch: Uuid) -> Result<bool, QueueDown> {
        Ok(self.shared.lock().epochs.contains(&epoch))
    }

    async fn mark(&self, epoch: Uuid) -> Result<(), QueueDown> {
        self.shared.lock().mark(epoch);
        Ok(())
    }

    async fn ping(&self) -> Result<(), QueueDown> {
        Ok(())
    }
}

struct MemoryConsumer {
    shared: Arc<Shared>,
    id: ConsumerId,
    arrived: Arc<Notify>,
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn subscribe(&self, address: &QueueAddress, prefetch: u32) -> Result<(), QueueDown> {
        self.shared.lock().subscribe(self.id, address.tenant, prefetch);
        Ok(())
    }

    async fn unsubscribe(&self, tenant: TenantId) -> Result<(), QueueDown> {
        self.shared.lock().unsubscribe(self.id, tenant);
        Ok(())
    }

    async fn next(&self) -> Result<Received, QueueDown> {
        loop {
            // Nothing is awaited between taking a message and returning it: cancelled, it has taken none. A notice given
            // before it is awaited is kept, so none is missed.
            if let Some(received) = self.ready() {
                return Ok(received);
            }
            self.arrived.notified().await;
        }
    }

    fn ready(&self) -> Option<Received> {
        let (tenant, place, message) = self.shared.lock().take(self.id)?;
        let shared = Some(Arc::clone(&self.shared));
        let receipt = Box::new(MemoryReceipt { shared, consumer: self.id, tenant, place });
        Some(Received { tenant, message, waited: Duration::ZERO, receipt })
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.shared.lock().remove_consumer(self.id);
    }
}

struct MemoryReceipt {
    /// `None` once acked.
    shared: Option<Arc<Shared>>,
    consumer: ConsumerId,
    tenant: TenantId,
    place: Place,
}

#[async_trait]
impl Receipt for MemoryReceipt {
    async fn ack(mut self: Box<Self>) {
        if let Some(shared) = self.shared.take() {
            shared.lock().settle(self.consumer, self.tenant, self.place, Settled::Acked);
        }
    }
}

impl Drop for MemoryReceipt {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.lock().settle(self.consumer, self.tenant, self.place, Settled::Returned);
        }
    }
}

/// A message's place in its queue, in the order of publication. What comes back takes its old place.
type Place = u64;
type ConsumerId = u64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Settled {
    Acked,
    Returned,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().expect("no step under this lock can panic")
    }
}

#[derive(Default)]
struct Queues {
    tenants: HashMap<TenantId, TenantQueue>,
    consumers: HashMap<ConsumerId, ConsumerState>,
    next_place: Place,
    next_consumer: ConsumerId,
    /// The sum of `ready` over all tenants.
    ready: usize,
    /// The latest marks, oldest first.
    epochs: VecDeque<Uuid>,
}

#[derive(Default)]
struct TenantQueue {
    ready: BTreeMap<Place, Message>,
    /// Who is subscribed; the first is the next in turn.
    subscribers: VecDeque<ConsumerId>,
}

struct ConsumerState {
    /// What it holds of each tenant. Kept after an unsubscribe until nothing is unacked.
    held: HashMap<TenantId, Held>,
    /// The tenants with something in their inbox, in turn.
    turn: VecDeque<TenantId>,
    arrived: Arc<Notify>,
}

#[derive(Default)]
struct Held {
    /// 0: not subscribed any more.
    prefetch: usize,
    /// Not taken yet.
    inbox: BTreeMap<Place, Message>,
    /// Taken and not acked.
    unacked: BTreeMap<Place, Message>,
}

impl Held {
    fn has_room(&self) -> bool {
        self.inbox.len() + self.unacked.len() < self.prefetch
    }
}

impl Queues {
    fn publish(&mut self, tenant: TenantId, message: Message) -> Published {
        let crowded = self.ready >= limits::MEMORY_QUEUE_MESSAGES_TOTAL;
        let bound = if crowded { limits::MEMORY_QUEUE_MESSAGES_FLOOR } else { limits::MEMORY_QUEUE_MESSAGES };
        let queue = self.tenants.entry(tenant).or_default();
        if queue.ready.len() >= bound {
            return Published::Refused;
        }
        queue.ready.insert(self.next_place, message);
        self.next_place += 1;
        self.ready += 1;
        self.hand_out(tenant);
        Published::Confirmed
    }

    /// Gives what is ready to the tenant's consumers in turn, as far as they have room.
    fn hand_out(&mut self, tenant: TenantId) {
        let Some(queue) = self.tenants.get_mut(&tenant) else { return };
        let mut without_room = 0;
        while without_room < queue.subscribers.len() && !queue.ready.is_empty() {
            let id = queue.subscribers[0];
            queue.subscribers.rotate_left(1);
            let consumer = self.consumers.get_mut(&id);
            let held = consumer.and_then(|c| c.held.get_mut(&tenant).map(|h| (h, &mut c.turn, &c.arrived)));
            match held {
                Some((held, turn, arrived)) if held.has_room() => {
                    let Some((place, message)) = queue.ready.pop_first() else { return };
                    self.ready -= 1;
                    if held.inbox.is_empty() {
                        turn.push_back(tenant);
                    }
                    held.inbox.insert(place, message);
                    arrived.notify_one();
                    without_room = 0;
                }
                _ => without_room += 1,
            }
        }
    }

    fn take(&mut self, id: ConsumerId) -> Option<(TenantId, Place, Message)> {
        let consumer = self.consumers.get_mut(&id)?;
        let tenant = consumer.turn.pop_front()?;
        let held = consumer.held.get_mut(&tenant)?;
        let (place, message) = held.inbox.pop_first()?;
        if !held.inbox.is_empty() {
            consumer.turn.push_back(tenant);
        }
        held.unacked.insert(place, message);
        Some((tenant, place, message))
    }

    /// A receipt's end. It does nothing if the message has gone back before, with its consumer, or with its queue.
    fn settle(&mut self, id: ConsumerId, tenant: TenantId, place: Place, settled: Settled) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let Some(held) = consumer.held.get_mut(&tenant) else { return };
        let Some(message) = held.unacked.remove(&place) else { return };
        if held.prefetch == 0 && held.unacked.is_empty() {
            consumer.held.remove(&tenant);
        }
        if settled == Settled::Returned {
            self.give_back(tenant, BTreeMap::from([(place, message)]));
        }
        self.hand_out(tenant);
    }

    /// What comes back was once accepted: the queue's bound does not apply to it.
    fn give_back(&mut self, tenant: TenantId, mut messages: BTreeMap<Place, Message>) {
        if !messages.is_empty() {
            self.ready += messages.len();
            self.tenants.entry(tenant).or_default().ready.append(&mut messages);
        }
    }

    fn add_consumer(&mut self, arrived: Arc<Notify>) -> ConsumerId {
        self.next_consumer += 1;
        let consumer = ConsumerState { held: HashMap::new(), turn: VecDeque::new(), arrived };
        self.consumers.insert(self.next_consumer, consumer);
        self.next_consumer
    }

    fn remove_consumer(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.remove(&id) else { return };
        for (tenant, held) in consumer.held {
            self.leave(id, tenant);
            self.give_back(tenant, held.inbox);
            self.give_back(tenant, held.unacked);
            self.hand_out(tenant);
        }
    }

    fn subscribe(&mut self, id: ConsumerId, tenant: TenantId, prefetch: u32) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        consumer.held.entry(tenant).or_default().prefetch = (prefetch as usize).max(1);
        let subscribers = &mut self.tenants.entry(tenant).or_default().subscribers;
        if !subscribers.contains(&id) {
            subscribers.push_back(id);
        }
        self.hand_out(tenant);
    }

    fn unsubscribe(&mut self, id: ConsumerId, tenant: TenantId) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let Some(held) = consumer.held.get_mut(&tenant) else { return };
        held.prefetch = 0;
        let inbox = std::mem::take(&mut held.inbox);
        if held.unacked.is_empty() {
            consumer.held.remove(&tenant);
        }
        consumer.turn.retain(|t| *t != tenant);
        self.give_back(tenant, inbox);
        self.leave(id, tenant);
        self.hand_out(tenant);
    }

    /// Takes a consumer off a queue, and the queue away if that leaves nothing of it.
    fn leave(&mut self, id: ConsumerId, tenant: TenantId) {
        let Some(queue) = self.tenants.get_mut(&tenant) else { return };
        queue.subscribers.retain(|subscriber| *subscriber != id);
        if queue.subscribers.is_empty() && queue.ready.is_empty() {
            self.tenants.remove(&tenant);
        }
    }

    fn mark(&mut self, epoch: Uuid) {
        if !self.epochs.contains(&epoch) {
            self.epochs.push_back(epoch);
        }
        if self.epochs.len() > limits::MEMORY_QUEUE_EPOCHS {
            self.epochs.pop_front();
        }
    }

    fn delete(&mut self, tenant: TenantId) {
        if let Some(queue) = self.tenants.remove(&tenant) {
            self.ready -= queue.ready.len();
        }
        for consumer in self.consumers.values_mut() {
            if consumer.held.remove(&tenant).is_some() {
                consumer.turn.retain(|t| *t != tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests;
