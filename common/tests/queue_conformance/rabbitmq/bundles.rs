//! Deliveries that travel in one message of the broker's.

use std::time::{Duration, Instant};

use fairhook_common::limits;
use fairhook_common::queue::rabbit::QueueType;

use super::open;
use crate::suite::{ack_all, consumer, depth_becomes, next, publish_together, said, silent, take, tenant};

const BUNDLE: u16 = limits::AMQP_BUNDLE as u16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_together_travels_in_few_messages() {
    let (queue, _vhost) = open(QueueType::Classic).await;
    let address = tenant();
    publish_together(&queue, &address, 2 * BUNDLE + 1).await;
    depth_becomes(&queue, &address, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_acked_once_all_that_it_names_are() {
    let (queue, _vhost) = open(QueueType::Classic).await;
    let address = tenant();
    let mut first = consumer(&queue, &address, 10).await;
    publish_together(&queue, &address, 3).await;
    ack_all(take(&mut first, 3).await).await;
    // The broker has seen the ack once it has answered something asked after it.
    first.unsubscribe(address.tenant).await.expect("unsubscribes");
    drop(first);
    silent(&mut consumer(&queue, &address, 10).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_given_back_brings_all_of_its_message_back_but_not_before_the_others_have_ended() {
    let (queue, _vhost) = open(QueueType::Classic).await;
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 10).await;
    let sent = publish_together(&queue, &address, 3).await;
    let mut held = take(&mut consumer, 3).await;
    drop(held.remove(1));
    held.remove(0).receipt.ack().await;
    silent(&mut consumer).await;
    ack_all(held).await;
    let again = take(&mut consumer, 3).await;
    assert_eq!(said(&again), sent);
    ack_all(again).await;
    silent(&mut consumer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_prefetch_gives_back_whole_messages_only_and_a_larger_one_nothing() {
    let (queue, _vhost) = open(QueueType::Classic).await;
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 100).await;
    let sent = publish_together(&queue, &address, 20 * BUNDLE).await;
    let held = take(&mut consumer, 3).await;
    // A larger one, then one that is smaller by so much that the broker has to hear of it.
    consumer.subscribe(&address, 200).await.expect("subscribes");
    depth_becomes(&queue, &address, 0).await;
    consumer.subscribe(&address, 5).await.expect("subscribes");
    let others = queue.consumer().await.expect("a consumer");
    others.subscribe(&address, 200).await.expect("subscribes");
    let mut others: crate::suite::Consuming = others;
    // What of a message is held here, the rest of it is, too; five messages more come for the new prefetch.
    let elsewhere = take(&mut others, usize::from(14 * BUNDLE)).await;
    assert!(said(&elsewhere).iter().all(|message| sent[usize::from(BUNDLE)..].contains(message)));
    ack_all(held).await;
    let rest = take(&mut consumer, usize::from(BUNDLE) - 3).await;
    assert_eq!(said(&rest), sent[3..usize::from(BUNDLE)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_one_waited_for_room_is_told() {
    let (queue, _vhost) = open(QueueType::Classic).await;
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 1).await;
    publish_together(&queue, &address, 2).await;
    let first = next(&mut consumer).await;
    // Its companion is here as well by now, and waits.
    let here = Instant::now();
    while here.elapsed() < Duration::from_millis(20) {
        tokio::task::yield_now().await;
    }
    let waits = here.elapsed();
    first.receipt.ack().await;
    let second = next(&mut consumer).await;
    assert!(second.waited >= waits, "{:?}, but it waited for {waits:?}", second.waited);
}
