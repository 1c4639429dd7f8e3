//! Several dispatchers over one store: shares, joins, leaves and deaths; and a queue that loses what it held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fairhook_common::ids::{DeliveryId, EventId, TenantId};
use fairhook_common::queue::memory::MemoryQueue;
use fairhook_common::queue::{
    Consumer, Message, Published, Queue, QueueAddress, QueueDown, Receipt, Received,
};
use fairhook_common::store::Nodes;
use fairhook_common::tenant::Tenant;
use tempfile::TempDir;
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

use super::receiver::{Answer, Arrival, Receiver};
use super::rig::{PATIENCE, Rig, Running, until};

async fn slow(wait: u64) -> Receiver {
    Receiver::start(move |_| Answer::After(Duration::from_millis(wait), 200)).await
}

fn attempts(running: &Running) -> u64 {
    running.counted("fairhook_attempts_total")
}

/// An event of each tenant's, which all arrive.
async fn post_round(rig: &Rig, tenants: &[Tenant], receiver: &mut Receiver, round: u64) {
    for tenant in tenants {
        rig.post(tenant, "order.paid", 1).await;
    }
    receiver.take(tenants.len()).await;
    for tenant in tenants {
        rig.until_delivered(tenant, round).await;
    }
}

fn assert_once(arrived: &[Arrival], posted: &[EventId]) {
    let mut times = BTreeMap::<_, u32>::new();
    arrived.iter().for_each(|arrival| *times.entry(arrival.event).or_default() += 1);
    assert_eq!(times.len(), posted.len());
    assert!(times.values().all(|n| *n == 1), "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_holds_while_dispatchers_join_and_leave() {
    let dir = TempDir::new().expect("a directory");
    let (rig, mut receiver) = (Rig::open(&dir).await, slow(20).await);
    let queue = || Arc::new(rig.queue.clone());
    let tenant = rig.tenant("acme", 6).await;
    // An endpoint may have half of a share at once: two use all of it.
    let mut posted = Vec::new();
    for kind in ["order", "user"] {
        rig.endpoint(&tenant, receiver.url(), &format!("{kind}.*"), &[0]).await;
        posted.extend(rig.post(&tenant, &format!("{kind}.new"), 750).await);
    }
    let first = rig.launch(queue());
    rig.until_counts("the first works", &tenant, |counts| counts.delivered >= 100).await;
    let second = rig.launch(queue());
    until("the second works", || async { attempts(&second) >= 50 }).await;
    first.drain().await;
    let third = rig.launch(queue());
    until("the third works", || async { attempts(&third) >= 50 }).await;
    rig.until_delivered(&tenant, 1_500).await;
    second.drain().await;
    third.drain().await;
    let most = receiver.most_at_once();
    assert!((4..=6).contains(&most), "{most} of 6 at once");
    assert_once(&receiver.take(1_500).await, &posted);
    assert!(receiver.rest().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_dispatcher_served_is_served_by_the_others() {
    let dir = TempDir::new().expect("a directory");
    let (rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    let mut tenants = Vec::new();
    for n in 0..12 {
        // One of two serves each.
        let tenant = rig.tenant(&format!("small-{n}"), 1).await;
        rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
        tenants.push(tenant);
    }
    let (dies, lives) = (rig.launch(Arc::new(rig.queue.clone())), rig.launch(Arc::new(rig.queue.clone())));
    // The second serves nobody before the first has made room for it.
    let began = Instant::now();
    let mut rounds = 0;
    while attempts(&dies) == 0 || attempts(&lives) == 0 {
        assert!(began.elapsed() < PATIENCE, "both serve some");
        rounds += 1;
        post_round(&rig, &tenants, &mut receiver, rounds).await;
    }
    dies.kill().await;
    post_round(&rig, &tenants, &mut receiver, rounds + 1).await;
    lives.drain().await;
    assert!(receiver.rest().is_empty(), "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_wiped_queue_held_is_delivered_all_the_same() {
    let dir = TempDir::new().expect("a directory");
    let (rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    let tenant = rig.tenant("acme", 10).await;
    rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    let before = rig.launch(Arc::new(rig.queue.clone()));
    let marked = || async { rig.store.queue_epoch().await.expect("a read").is_some() };
    until("the queue is marked", marked).await;
    before.drain().await;
    let mark = rig.store.queue_epoch().await.expect("a read");
    let posted = rig.post(&tenant, "order.paid", 50).await;

    let wiped = MemoryQueue::new();
    let after = rig.launch(Arc::new(wiped.clone()));
    rig.until_delivered(&tenant, 50).await;
    assert_once(&receiver.take(50).await, &posted);
    let anew = || async { rig.store.queue_epoch().await.expect("a read") != mark };
    until("it is marked anew", anew).await;
    let mark = rig.store.queue_epoch().await.expect("a read").expect("a mark");
    assert!(wiped.is_marked(mark).await.expect("it answers"));
    after.drain().await;
}

/// A queue that hands out as unroutable what it is told to.
struct Unroutable {
    queue: MemoryQueue,
    unrouted: Mutex<Option<mpsc::UnboundedReceiver<Received>>>,
}

struct Given(Mutex<mpsc::UnboundedReceiver<Received>>);

struct Acked(mpsc::UnboundedSender<()>);

#[async_trait]
impl Receipt for Acked {
    async fn ack(self: Box<Self>) {
        let _ = self.0.send(());
    }
}

#[async_trait]
impl Consumer for Given {
    async fn subscribe(&self, _: &QueueAddress, _: u32) -> Result<(), QueueDown> {
        Ok(())
    }

    async fn unsubscribe(&self, _: TenantId) -> Result<(), QueueDown> {
        Ok(())
    }

    async fn next(&self) -> Result<Received, QueueDown> {
        self.0.lock().await.recv().await.ok_or_else(|| QueueDown("the test has ended".into()))
    }
}

#[async_trait]
impl Queue for Unroutable {
    async fn publish(&self, messages: &[(QueueAddress, Message)]) -> Vec<Published> {
        self.queue.publish(messages).await
    }

    async fn consumer(&self) -> Result<Box<dyn Consumer>, QueueDown> {
        self.queue.consumer().await
    }

    async fn delete(&self, address: &QueueAddress) -> Result<(), QueueDown> {
        self.queue.delete(address).await
    }

    async fn depth(&self, address: &QueueAddress) -> Result<u64, QueueDown> {
        self.queue.depth(address).await
    }

    async fn unrouted(&self) -> Result<Box<dyn Consumer>, QueueDown> {
        let given = self.unrouted.lock().await.take();
        given
            .map(|given| Box::new(Given(Mutex::new(given))) as _)
            .ok_or_else(|| QueueDown("asked twice".into()))
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_found_no_queue_is_delivered_all_the_same() {
    let dir = TempDir::new().expect("a directory");
    let (rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    let tenant = rig.tenant("acme", 10).await;
    let endpoint = rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    // These go to a queue that nobody reads.
    let posted = rig.post(&tenant, "order.paid", 20).await;
    let (give, unrouted) = mpsc::unbounded_channel();
    let (acked, mut acks) = mpsc::unbounded_channel();
    for event in &posted {
        let delivery = DeliveryId { event: *event, ordinal: 0 };
        let message = Message { delivery, endpoint: endpoint.id, generation: 0 };
        let receipt = Box::new(Acked(acked.clone()));
        give.send(Received { tenant: tenant.id, message, waited: Duration::ZERO, receipt })
            .expect("it is open");
    }
    let queue = Unroutable { queue: MemoryQueue::new(), unrouted: Mutex::new(Some(unrouted)) };
    let running = rig.launch(Arc::new(queue));
    rig.until_delivered(&tenant, 20).await;
    assert_once(&receiver.take(20).await, &posted);
    for _ in 0..20 {
        acks.recv().await.expect("each is acked");
    }
    running.drain().await;
}
