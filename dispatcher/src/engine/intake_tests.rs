use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fairhook_common::ids::{DeliveryId, EndpointId, EventId, TenantId};
use fairhook_common::queue::memory::MemoryQueue;
use fairhook_common::queue::{Message, Published, QueueAddress};
use tokio::time::timeout;
use uuid::Uuid;

use super::*;

/// Queues of which one never answers a subscription and cannot be deleted.
struct Troubled {
    queue: MemoryQueue,
    trouble: TenantId,
    consumers: AtomicUsize,
    deletes: AtomicUsize,
}

struct Patient {
    consumer: Box<dyn Consumer>,
    trouble: TenantId,
}

#[async_trait]
impl Consumer for Patient {
    async fn subscribe(&self, address: &QueueAddress, prefetch: u32) -> Result<(), QueueDown> {
        if address.tenant == self.trouble {
            pending::<()>().await;
        }
        self.consumer.subscribe(address, prefetch).await
    }

    async fn unsubscribe(&self, tenant: TenantId) -> Result<(), QueueDown> {
        self.consumer.unsubscribe(tenant).await
    }

    async fn next(&self) -> Result<Received, QueueDown> {
        self.consumer.next().await
    }
}

#[async_trait]
impl Queue for Troubled {
    async fn publish(&self, messages: &[(QueueAddress, Message)]) -> Vec<Published> {
        self.queue.publish(messages).await
    }

    async fn consumer(&self) -> Result<Box<dyn Consumer>, QueueDown> {
        self.consumers.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Patient { consumer: self.queue.consumer().await?, trouble: self.trouble }))
    }

    async fn delete(&self, address: &QueueAddress) -> Result<(), QueueDown> {
        if address.tenant == self.trouble {
            self.deletes.fetch_add(1, Ordering::Relaxed);
            return Err(QueueDown("it cannot be deleted".into()));
        }
        self.queue.delete(address).await
    }

    async fn depth(&self, address: &QueueAddress) -> Result<u64, QueueDown> {
        self.queue.depth(address).await
    }

    async fn unrouted(&self) -> Result<Box<dyn Consumer>, QueueDown> {
        self.queue.unrouted().await
    }

    async fn is_marked(&self, epoch: Uuid) -> Result<bool, QueueDown> {
        self.queue.is_marked(epoch).await
    }

    async fn mark(&self, epoch: Uuid) -> Result<(), QueueDown> {
        self.queue.mark(epoch).await
    }

    async fn ping(&self) -> Result<(), QueueDown> {
        self.queue.ping().await
    }
}

struct Rig {
    queue: Arc<Troubled>,
    subscriptions: Arc<Subscriptions>,
    messages: mpsc::Receiver<Received>,
    shutdown: Shutdown,
}

fn rig(trouble: TenantId) -> Rig {
    let (consumers, deletes) = Default::default();
    let queue = Arc::new(Troubled { queue: MemoryQueue::new(), trouble, consumers, deletes });
    let subscriptions = Arc::new(Subscriptions::default());
    let (inbox, messages) = mpsc::channel(1);
    let (outage, shutdown) = (Outage::new("queue"), Shutdown::new());
    let intake = Intake { queue: queue.clone(), subscriptions: subscriptions.clone(), outage, inbox };
    tokio::spawn(intake.run(shutdown.clone()));
    Rig { queue, subscriptions, messages, shutdown }
}

fn address(tenant: TenantId) -> QueueAddress {
    QueueAddress { tenant, name: "a queue".into() }
}

impl Rig {
    /// Another tenant, from its first wish to its first message.
    async fn serves_another(&mut self) {
        let other = TenantId::generate();
        self.subscriptions.want(address(other), 4);
        let delivery = DeliveryId { event: EventId::generate(), ordinal: 0 };
        let message = Message { delivery, endpoint: EndpointId::generate(), generation: 0 };
        self.queue.publish(&[(address(other), message)]).await;
        let received = timeout(Duration::from_secs(20), self.messages.recv()).await.expect("in time");
        let received = received.expect("it runs");
        assert_eq!(received.message, message);
        received.receipt.ack().await;
    }
}

#[tokio::test]
async fn a_queue_that_does_not_answer_keeps_nobody_else_waiting() {
    let trouble = TenantId::generate();
    let mut rig = rig(trouble);
    rig.subscriptions.want(address(trouble), 4);
    for _ in 0..50 {
        rig.serves_another().await;
    }
    assert_eq!(rig.queue.consumers.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_queue_that_cannot_be_deleted_is_tried_again_and_ends_nothing() {
    let trouble = TenantId::generate();
    let mut rig = rig(trouble);
    rig.subscriptions.delete(address(trouble));
    while rig.queue.deletes.load(Ordering::Relaxed) < 3 {
        rig.serves_another().await;
        tokio::time::sleep(limits::STORE_RETRY_MAX / 2).await;
    }
    assert_eq!(rig.queue.consumers.load(Ordering::Relaxed), 1, "nobody's messages went back");
}

#[tokio::test]
async fn what_has_not_begun_goes_to_others_when_the_drain_begins_and_what_has_may_still_be_acked() {
    let (mut rig, tenant) = (rig(TenantId::generate()), TenantId::generate());
    rig.subscriptions.want(address(tenant), 4);
    for ordinal in 0..3 {
        let delivery = DeliveryId { event: EventId::generate(), ordinal };
        let message = Message { delivery, endpoint: EndpointId::generate(), generation: 0 };
        rig.queue.publish(&[(address(tenant), message)]).await;
    }
    let begun =
        timeout(Duration::from_secs(20), rig.messages.recv()).await.expect("in time").expect("it runs");
    rig.shutdown.drain();
    let other = rig.queue.consumer().await.expect("a consumer");
    other.subscribe(&address(tenant), 4).await.expect("subscribes");
    let mut elsewhere = Vec::new();
    while elsewhere.len() < 2 {
        // What comes here yet is dropped, as an engine does that drains.
        let comes = async {
            tokio::select! {
                Some(_) = rig.messages.recv() => None,
                received = other.next() => Some(received.expect("the queue is there")),
            }
        };
        elsewhere.extend(timeout(Duration::from_secs(20), comes).await.expect("in time"));
    }
    assert!(elsewhere.iter().all(|received| received.message != begun.message));
    begun.receipt.ack().await;
    drop(rig.messages);
    assert!(timeout(Duration::from_millis(100), other.next()).await.is_err(), "it was acked");
}
