//! Messages that nobody can read or route, and queues that somebody else deletes.

use std::sync::Arc;

use fairhook_common::ids::TenantId;
use fairhook_common::queue::rabbit::QueueType;
use fairhook_common::queue::{Queue, QueueAddress};
use futures_util::future::join;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::json;

use super::broker::Vhost;
use super::outages::until;
use crate::suite::{SOON, ack_all, consumer, next, publish, publish_together, said, silent, take, tenant};

/// Two processes' queues at one vhost.
async fn two() -> (Arc<dyn Queue>, Arc<dyn Queue>, Vhost) {
    let vhost = Vhost::new();
    let one = Arc::new(vhost.queue(QueueType::Classic).await);
    let other = Arc::new(vhost.queue(QueueType::Classic).await);
    (one, other, vhost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_whose_queue_was_deleted_is_made_again() {
    let (queue, other, _vhost) = two().await;
    let (address, bystander) = (tenant(), tenant());
    let mut consumer = consumer(&queue, &address, 10).await;
    consumer.subscribe(&bystander, 10).await.expect("subscribes");
    for _ in 0..3 {
        other.delete(&address).await.expect("deletes");
        for (address, count) in [(&address, 2), (&bystander, 1)] {
            let sent = publish(&other, address, count).await;
            let received = take(&mut consumer, usize::from(count)).await;
            assert_eq!(said(&received), sent);
            ack_all(received).await;
        }
    }
}

/// The broker notices after a deletion who consumed the queue, and then there may be one of that name again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_there_again_at_once_is_consumed_all_the_same() {
    let (queue, other, vhost) = two().await;
    let addresses: Vec<_> = (0..50).map(|_| tenant()).collect();
    let mut consumer = consumer(&queue, &addresses[0], 1).await;
    for address in &addresses {
        consumer.subscribe(address, 1).await.expect("subscribes");
    }
    let somebody = Connection::connect(vhost.url().as_str(), ConnectionProperties::default()).await;
    let channel = somebody.expect("connects").create_channel().await.expect("opens a channel");
    for address in &addresses {
        let deleting = channel.queue_delete(address.name.as_ref().into(), QueueDeleteOptions::default());
        let (durable, arguments) = (QueueDeclareOptions::durable(), FieldTable::default());
        let making = channel.queue_declare(address.name.as_ref().into(), durable, arguments);
        let (deleted, made) = join(deleting, making).await;
        deleted.and(made.map(drop)).expect("deletes it and makes it again");
    }
    for address in &addresses {
        let sent = publish(&other, address, 1).await;
        let received = take(&mut consumer, 1).await;
        assert_eq!(said(&received), sent);
        ack_all(received).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_of_a_queue_that_was_deleted_acks_nothing_of_the_next_one() {
    let (queue, other, _vhost) = two().await;
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 10).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        publish(&other, &address, 3).await;
        held = take(&mut consumer, 3).await;
        other.delete(&address).await.expect("deletes");
    }
    let sent = publish(&other, &address, 3).await;
    let new = take(&mut consumer, 3).await;
    assert_eq!(said(&new), sent);
    ack_all(held).await;
    drop((consumer, new));
    let mut next = self::consumer(&queue, &address, 10).await;
    assert_eq!(said(&take(&mut next, 3).await), sent, "none of them was acked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_queue_is_handed_out_as_unrouted_and_the_queue_can_be_made_again() {
    let (queue, other, _vhost) = two().await;
    let address = tenant();
    publish(&queue, &address, 1).await;
    other.delete(&address).await.expect("deletes");
    let sent = publish_together(&queue, &address, 3).await;
    let mut unrouted = other.unrouted().await.expect("a consumer");
    let received = take(&mut unrouted, 3).await;
    assert_eq!(said(&received), sent);
    for one in received {
        assert_eq!(one.tenant, address.tenant);
        one.receipt.ack().await;
    }
    assert_eq!(other.depth(&address).await.expect("makes the queue"), 0);
    let sent = publish(&queue, &address, 1).await;
    assert_eq!(next(&mut consumer(&queue, &address, 1).await).await.message, sent[0]);
    silent(&mut unrouted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_put_aside_and_stops_nobody() {
    let (queue, _other, vhost) = two().await;
    let address = tenant();
    assert_eq!(queue.depth(&address).await.expect("makes the queue"), 0);
    vhost.put(&address.name, "not one of ours");
    // A message of another tenant's is not this tenant's, whatever put it here.
    let stranger = QueueAddress { tenant: TenantId::generate(), name: address.name.clone() };
    publish(&queue, &stranger, 1).await;
    let sent = publish(&queue, &address, 1).await;
    let mut consumer = consumer(&queue, &address, 1).await;
    let received = next(&mut consumer).await;
    assert_eq!(received.message, sent[0]);
    received.receipt.ack().await;
    silent(&mut consumer).await;
    until("both are put aside", || async { vhost.look("fairhook.poison").len() == 2 }).await;
    let aside = vhost.look("fairhook.poison");
    assert_eq!(aside[0], json!("not one of ours"));
    drop(consumer);
    until("they are gone from the queue", || async {
        queue.depth(&address).await.is_ok_and(|ready| ready == 0)
    })
    .await;
    assert!(vhost.look(&address.name).is_empty(), "they were acked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_another_type_is_used_as_it_is() {
    for (first, then, asked) in [
        (QueueType::Classic, QueueType::Quorum, json!({"x-cancel-on-ha-failover": true})),
        (QueueType::Quorum, QueueType::Classic, json!({})),
    ] {
        let vhost = Vhost::new();
        let address = tenant();
        let before: Arc<dyn Queue> = Arc::new(vhost.queue(first).await);
        let sent = publish(&before, &address, 2).await;
        let now: Arc<dyn Queue> = Arc::new(vhost.queue(then).await);
        let more = publish(&now, &address, 1).await;
        let mut consumer = consumer(&now, &address, 5).await;
        assert_eq!(said(&take(&mut consumer, 3).await), [sent, more].concat());
        until("its consumer asks for what its type knows", || async {
            vhost.consumers(&address.name) == [asked.clone()]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_tenants_than_a_channel_takes_are_served_by_one_consumer() {
    const TENANTS: usize = 130;
    let (queue, other, _vhost) = two().await;
    let addresses: Vec<_> = (0..TENANTS).map(|_| tenant()).collect();
    let mut consumer = consumer(&queue, &addresses[0], 2).await;
    for (n, address) in addresses.iter().enumerate() {
        consumer.subscribe(address, 1 + (n % 3) as u32).await.expect("subscribes");
    }
    let mut sent = Vec::new();
    for address in &addresses {
        sent.extend(publish(&other, address, 1).await);
    }
    let mut received = tokio::time::timeout(SOON, take(&mut consumer, TENANTS)).await.expect("in time");
    received.sort_by_key(|one| one.message.delivery.event);
    assert_eq!(said(&received), sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefetch_lowered_by_much_leaves_the_rest_to_others() {
    let (queue, other, _vhost) = two().await;
    let address = tenant();
    let mut lowered = consumer(&queue, &address, 200).await;
    let sent = publish(&other, &address, 150).await;
    let held = take(&mut lowered, 10).await;
    lowered.subscribe(&address, 20).await.expect("subscribes");
    // It keeps what has room, and the new prefetch comes on top: the broker does not count what is held of before.
    let mut others = consumer(&other, &address, 200).await;
    let received = take(&mut others, 110).await;
    assert!(said(&received).iter().all(|message| sent[10..].contains(message)));
    drop(held);
}
