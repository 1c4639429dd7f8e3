//! The broker is away, cut off, short of memory, or wiped.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::queue::rabbit::QueueType;
use fairhook_common::queue::{Published, Queue, QueueAddress};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::broker::{Vhost, connect};
use super::proxy::Proxy;
use crate::suite::{Consuming, SOON, ack_all, consumer, message, next, publish, said, silent, take, tenant};

/// Asks again until the answer is yes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut asks: impl FnMut() -> F) {
    let reached = async {
        while !asks().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, reached).await.unwrap_or_else(|_| panic!("{what}, but it does not come to that"));
}

/// A queue behind a proxy, one straight at the same vhost, and the vhost.
async fn behind_a_proxy(open: bool) -> (Proxy, Arc<dyn Queue>, Arc<dyn Queue>, Vhost) {
    let vhost = Vhost::new();
    let proxy = Proxy::start(vhost.url(), open).await;
    let behind = Arc::new(connect(proxy.url(), QueueType::Classic).await);
    let straight = Arc::new(vhost.queue(QueueType::Classic).await);
    (proxy, behind, straight, vhost)
}

async fn is_confirmed(queue: &Arc<dyn Queue>, address: &QueueAddress) -> bool {
    queue.publish(&[(address.clone(), message(0))]).await == [Published::Confirmed]
}

async fn consumer_again(queue: &Arc<dyn Queue>, address: &QueueAddress) -> Consuming {
    until("a consumer is there", || async { queue.consumer().await.is_ok() }).await;
    consumer(queue, address, 50).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_it_starts_refuses_at_once_and_connects_when_there_is_one() {
    let (proxy, queue, _, _vhost) = behind_a_proxy(false).await;
    let address = tenant();
    let asked = Instant::now();
    assert!(!is_confirmed(&queue, &address).await);
    assert!(asked.elapsed() < Duration::from_secs(1), "a refusal takes no time");
    assert!(queue.can_publish().await.is_err());
    assert!(queue.consumer().await.is_err());
    proxy.open();
    until("it connects", || async { queue.can_publish().await.is_ok() }).await;
    let sent = publish(&queue, &address, 2).await;
    assert_eq!(said(&take(&mut consumer(&queue, &address, 5).await, 2).await), sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_survives_cuts_in_the_middle_of_publishing() {
    const CUTS: usize = 8;
    let (proxy, queue, straight, _vhost) = behind_a_proxy(true).await;
    let address = tenant();
    let mut confirmed = HashSet::new();
    for _ in 0..CUTS {
        let batch: Vec<_> = (0..300).map(|n| (address.clone(), message(n))).collect();
        let (published, ()) = tokio::join!(queue.publish(&batch), async {
            tokio::task::yield_now().await;
            proxy.cut_all();
        });
        let taken = batch.iter().zip(published).filter(|(_, became)| *became == Published::Confirmed);
        confirmed.extend(taken.map(|((_, message), _)| *message));
        until("it publishes again", || is_confirmed(&queue, &address)).await;
    }
    let mut consumer = consumer(&straight, &address, 500).await;
    while !confirmed.is_empty() {
        let received = next(&mut consumer).await;
        confirmed.remove(&received.message);
        received.receipt.ack().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_ends_with_its_connection_and_the_next_gets_what_was_unacked() {
    let (proxy, queue, straight, _vhost) = behind_a_proxy(true).await;
    let address = tenant();
    let sent = publish(&straight, &address, 5).await;
    let mut first = consumer(&queue, &address, 4).await;
    let mut held = take(&mut first, 3).await;
    held.remove(0).receipt.ack().await;
    // The broker has seen the ack once it hands out what the ack made room for.
    held.extend(take(&mut first, 2).await);
    proxy.cut_all();
    let end = timeout(SOON, first.next()).await.expect("it is told in time");
    assert!(end.is_err(), "nothing comes over a connection that is gone");
    let mut second = consumer_again(&queue, &address).await;
    let again = take(&mut second, 4).await;
    assert_eq!(said(&again), sent[1..]);
    ack_all(held).await;
    silent(&mut second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_short_of_memory_refuses_publishes_and_serves_consumers() {
    let (proxy, queue, straight, _vhost) = behind_a_proxy(true).await;
    let address = tenant();
    let mut consumer = consumer(&straight, &address, 2).await;
    assert!(is_confirmed(&queue, &address).await);
    next(&mut consumer).await.receipt.ack().await;
    proxy.block().await;
    until("it refuses", || async { !is_confirmed(&queue, &address).await }).await;
    let asked = Instant::now();
    assert!(!is_confirmed(&queue, &address).await);
    assert!(asked.elapsed() < Duration::from_secs(1), "a refusal takes no time");
    let sent = publish(&straight, &address, 1).await;
    let received = next(&mut consumer).await;
    assert!(received.message == sent[0] || received.message.delivery.ordinal == 0);
    proxy.unblock().await;
    until("it takes messages again", || is_confirmed(&queue, &address)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_broker_is_made_whole_again() {
    let vhost = Vhost::new();
    let queue: Arc<dyn Queue> = Arc::new(vhost.queue(QueueType::Classic).await);
    let (address, epoch) = (tenant(), Uuid::now_v7());
    queue.mark(epoch).await.expect("marks");
    publish(&queue, &address, 3).await;
    let before = consumer(&queue, &address, 1).await;
    vhost.wipe();
    assert!(timeout(SOON, before.next()).await.is_ok(), "it ends, or has one message more");
    until("it is connected again", || async { queue.can_publish().await.is_ok() }).await;
    until("the mark is gone", || async { queue.is_marked(epoch).await.is_ok_and(|marked| !marked) }).await;
    until("it publishes again", || is_confirmed(&queue, &address)).await;
    let mut after = consumer_again(&queue, &address).await;
    next(&mut after).await.receipt.ack().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_error_quotes_the_password() {
    let vhost = Vhost::new();
    let mut url = vhost.url().clone();
    url.set_password(Some("hush-hush")).expect("a URL with a host");
    let queue = connect(&url, QueueType::Classic).await;
    let refused = queue.consumer().await.err().expect("the login is wrong");
    assert!(!format!("{refused} {refused:?}").contains("hush-hush"));
    let settings = fairhook_common::queue::rabbit::RabbitSettings::default();
    let text = "http://somebody:hush-hush@127.0.0.1";
    let refused = fairhook_common::queue::rabbit::RabbitQueue::connect(text, settings)
        .await
        .err()
        .expect("no such scheme");
    assert!(!format!("{refused} {refused:?}").contains("hush-hush"));
}
