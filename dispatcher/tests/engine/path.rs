//! The way of an event that nothing gets in the way of, and of many.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairhook_common::delivery::DeliveryState;
use fairhook_common::limits;
use fairhook_common::queue::{Queue, QueueAddress};
use fairhook_common::store::Control;
use tempfile::TempDir;

use super::receiver::{Answer, Receiver};
use super::rig::{Rig, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_posted_arrives_once_is_recorded_and_acked() {
    let dir = TempDir::new().expect("a directory");
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    rig.start();
    let tenant = rig.tenant("acme", 50).await;
    rig.endpoint(&tenant, receiver.url(), "order.*", &[0]).await;
    let posted = rig.post(&tenant, "order.paid", 200).await;

    let arrived = receiver.take(200).await;
    let by_event: BTreeMap<_, _> = arrived.iter().map(|a| (a.event, a.body.clone())).collect();
    for (n, event) in posted.iter().enumerate() {
        assert_eq!(by_event[event], format!("{{\"n\":{n}}}"), "byte for byte");
    }
    rig.until_delivered(&tenant, 200).await;
    let delivery = rig.delivery(tenant.id, posted[7]).await;
    assert_eq!(delivery.state, DeliveryState::Delivered);
    assert_eq!(delivery.attempts.len(), 1);
    assert_eq!((delivery.attempts[0].n, delivery.attempts[0].record.status_code), (1, Some(200)));

    rig.drain().await;
    assert!(receiver.rest().is_empty(), "each arrived once");
    let consumer = rig.queue.consumer().await.expect("a consumer");
    let address = QueueAddress { tenant: tenant.id, name: tenant.queue.as_str().into() };
    consumer.subscribe(&address, 1000).await.expect("subscribed");
    let left = tokio::time::timeout(Duration::from_millis(50), consumer.next()).await;
    assert!(left.is_err(), "every message was acked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_beyond_the_queue_drains_from_the_store() {
    let dir = TempDir::new().expect("a directory");
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    let tenant = rig.tenant("acme", 20).await;
    rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    let count = limits::MEMORY_QUEUE_MESSAGES * 3;
    let mut posted = BTreeSet::new();
    for _ in 0..count / 500 {
        posted.extend(rig.post(&tenant, "order.paid", 500).await);
    }
    rig.start();
    let arrived: BTreeSet<_> = receiver.take(count).await.into_iter().map(|a| a.event).collect();
    assert_eq!(arrived, posted);
    rig.until_delivered(&tenant, count as u64).await;
    rig.drain().await;
    assert!(receiver.rest().is_empty(), "each arrived once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_attempts_end_records_them_and_starts_none() {
    let dir = TempDir::new().expect("a directory");
    let slow = Receiver::start(|_| Answer::After(Duration::from_millis(300), 200));
    let (mut rig, mut receiver) = (Rig::open(&dir).await, slow.await);
    let tenant = rig.tenant("acme", 10).await;
    rig.start();
    rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    rig.post(&tenant, "order.paid", 200).await;
    receiver.next().await;
    rig.drain().await;

    let arrived = 1 + receiver.rest().len() as u64;
    assert!(arrived < 200, "it was in the middle");
    let counts = rig.counts(&tenant).await;
    assert_eq!((counts.delivered, counts.backlog), (arrived, 200 - arrived));

    rig.start();
    rig.until_delivered(&tenant, 200).await;
    assert_eq!(arrived + receiver.rest().len() as u64, 200, "what was recorded was not sent again");
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_shown_and_reported() {
    let dir = TempDir::new().expect("a directory");
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::start(|_| Answer::Never).await);
    let handle = rig.start();
    let mut table = handle.watch();
    let tenant = rig.tenant("acme", 8).await;
    rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    rig.post(&tenant, "order.paid", 1).await;
    receiver.next().await;
    let seen = table.wait_for(|now| now.tenants.iter().any(|t| &*t.slug == "acme" && t.in_flight == 1));
    tokio::time::timeout(super::rig::PATIENCE, seen).await.expect("in time").expect("it is shown");
    until("it is reported", || async { rig.store.usage(tenant.id).await.expect("usage").in_flight == 1 })
        .await;
    rig.kill().await;
}
