//! Many tenants at one consumer, of whom some are trouble.

use std::sync::Arc;
use std::time::Instant;

use fairhook_common::metrics::Families;
use fairhook_common::queue::rabbit::{QueueType, RabbitQueue, RabbitSettings};
use fairhook_common::queue::{Queue, QueueAddress};
use futures_util::future::join_all;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use prometheus::Registry;
use serde_json::json;

use super::broker::Vhost;
use super::outages::until;
use crate::suite::{SOON, ack_all, next, publish, said, silent, take, tenant};

async fn made(queue: &Arc<dyn Queue>, count: usize) -> Vec<QueueAddress> {
    let addresses: Vec<_> = (0..count).map(|_| tenant()).collect();
    for some in addresses.chunks(16) {
        for depth in join_all(some.iter().map(|address| queue.depth(address))).await {
            assert_eq!(depth.expect("makes the queue"), 0);
        }
    }
    addresses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_subscriptions_are_made_at_once_in_much_less_time_than_one_after_another() {
    const TENANTS: usize = 100;
    let vhost = Vhost::new();
    let queue: Arc<dyn Queue> = Arc::new(vhost.queue(QueueType::Classic).await);
    let (some, others) = (made(&queue, TENANTS).await, made(&queue, TENANTS).await);
    let mut consumer = queue.consumer().await.expect("a consumer");
    let began = Instant::now();
    for address in &some {
        consumer.subscribe(address, 2).await.expect("subscribes");
    }
    let in_turn = began.elapsed();
    let began = Instant::now();
    for done in join_all(others.iter().map(|address| consumer.subscribe(address, 2))).await {
        done.expect("subscribes");
    }
    let at_once = began.elapsed();
    println!("{TENANTS} in turn: {in_turn:?}; at once: {at_once:?}");
    assert!(at_once < in_turn * 2 / 3, "{at_once:?} at once, {in_turn:?} in turn");
    let mut sent = Vec::new();
    for address in some.iter().chain(&others) {
        sent.extend(publish(&queue, address, 1).await);
    }
    let taking = take(&mut consumer, sent.len());
    let mut received = tokio::time::timeout(SOON, taking).await.expect("in time");
    received.sort_by_key(|one| one.message.delivery.event);
    assert_eq!(said(&received), sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_refuses_its_consumer_again_and_again_disturbs_nobody_else() {
    let vhost = Vhost::new();
    let registry = Registry::new();
    let families = Some(Families::new(registry.clone()));
    let settings =
        RabbitSettings { queue_type: QueueType::Classic, connection_name: "tests".into(), families };
    let queue: Arc<dyn Queue> =
        Arc::new(RabbitQueue::connect(vhost.url().as_str(), settings).await.expect("it is a URL"));
    let bystanders = made(&queue, 24).await;
    let trouble = made(&queue, 1).await.remove(0);
    let stranger = Connection::connect(vhost.url().as_str(), ConnectionProperties::default());
    let stranger = stranger.await.expect("the broker is there");
    let channel = stranger.create_channel().await.expect("a channel");
    let alone = BasicConsumeOptions { exclusive: true, ..Default::default() };
    let taken = channel.basic_consume(trouble.name.as_ref().into(), "".into(), alone, FieldTable::default());
    let taken = taken.await.expect("nobody else consumes it");

    let mut consumer = queue.consumer().await.expect("a consumer");
    for address in bystanders.iter().chain([&trouble]) {
        consumer.subscribe(address, 2).await.expect("subscribes, in the end");
    }
    let failures = || {
        let of = |family: &prometheus::proto::MetricFamily| {
            family.name() == "fairhook_amqp_consume_failures_total"
        };
        let found = registry.gather().into_iter().find(of).expect("it is counted");
        found.get_metric()[0].get_counter().get_value()
    };
    // The first one ended a channel that it had with others. From then on it is alone.
    until("it was tried again", || async { failures() >= 2.0 }).await;
    let mut sent = Vec::new();
    for address in &bystanders {
        sent.extend(publish(&queue, address, 1).await);
    }
    let received = take(&mut consumer, sent.len()).await;
    let tried = failures();
    until("it is tried again and again", || async { failures() >= tried + 2.0 }).await;
    silent(&mut consumer).await;
    ack_all(received).await;

    drop(taken);
    channel.close(200, "done".into()).await.expect("closes");
    let sent = publish(&queue, &trouble, 1).await;
    assert_eq!(next(&mut consumer).await.message, sent[0]);
    // It was not refused for what it asks for.
    let asked = json!({"x-cancel-on-ha-failover": true});
    until("it asks again", || async { vhost.consumers(&trouble.name) == [asked.clone()] }).await;
}
