use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::ids::{DeliveryId, EndpointId, EventId, TenantId};
use fairhook_common::queue::{Consumer, Message, Published, Queue, QueueAddress, Received};
use tokio::time::timeout;
use uuid::Uuid;

/// Long enough for any backend on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
/// How long is listened for what must not arrive.
const SILENCE: Duration = Duration::from_millis(150);

pub type Consuming = Box<dyn Consumer>;

pub fn tenant() -> QueueAddress {
    let tenant = TenantId::generate();
    QueueAddress { tenant, name: format!("conformance.{tenant}").into() }
}

pub fn message(n: u16) -> Message {
    let delivery = DeliveryId { event: EventId::generate(), ordinal: n };
    Message { delivery, endpoint: EndpointId::generate(), generation: u32::from(n) * 70_000 }
}

/// Publishes so many, a call each: what is published together may come back together.
pub async fn publish(queue: &Arc<dyn Queue>, address: &QueueAddress, count: u16) -> Vec<Message> {
    let mut sent = Vec::new();
    for n in 0..count {
        let one = message(n);
        assert_eq!(queue.publish(&[(address.clone(), one)]).await, [Published::Confirmed]);
        sent.push(one);
    }
    sent
}

/// Publishes so many in one call.
pub async fn publish_together(queue: &Arc<dyn Queue>, address: &QueueAddress, count: u16) -> Vec<Message> {
    let batch: Vec<_> = (0..count).map(|n| (address.clone(), message(n))).collect();
    let published = queue.publish(&batch).await;
    assert_eq!(published, vec![Published::Confirmed; usize::from(count)]);
    batch.into_iter().map(|(_, message)| message).collect()
}

pub async fn consumer(queue: &Arc<dyn Queue>, address: &QueueAddress, prefetch: u32) -> Consuming {
    let consumer = queue.consumer().await.expect("a consumer");
    consumer.subscribe(address, prefetch).await.expect("subscribes");
    consumer
}

pub async fn next(consumer: &mut Consuming) -> Received {
    timeout(SOON, consumer.next()).await.expect("a message arrives").expect("the queue is there")
}

pub async fn take(consumer: &mut Consuming, count: usize) -> Vec<Received> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(next(consumer).await);
    }
    taken
}

pub async fn silent(consumer: &mut Consuming) {
    if let Ok(received) = timeout(SILENCE, consumer.next()).await {
        panic!("nothing was to arrive, but {:?} did", received.map(|r| r.message).ok());
    }
}

pub fn said(received: &[Received]) -> Vec<Message> {
    received.iter().map(|r| r.message).collect()
}

pub async fn ack_all(received: Vec<Received>) {
    for one in received {
        one.receipt.ack().await;
    }
}

pub async fn it_answers_a_ping(queue: Arc<dyn Queue>) {
    queue.ping().await.expect("it is there");
}

pub async fn messages_arrive_whole_and_in_order(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 100).await;
    let sent = publish(&queue, &address, 50).await;
    let received = take(&mut consumer, 50).await;
    assert_eq!(said(&received), sent);
    assert!(received.iter().all(|r| r.tenant == address.tenant));
    ack_all(received).await;
    silent(&mut consumer).await;
}

pub async fn what_was_published_together_arrives_whole_and_in_order_within_the_prefetch(
    queue: Arc<dyn Queue>,
) {
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 5).await;
    let sent = publish_together(&queue, &address, 50).await;
    for some in sent.chunks(5) {
        let received = take(&mut consumer, 5).await;
        assert_eq!(said(&received), some);
        silent(&mut consumer).await;
        ack_all(received).await;
    }
    silent(&mut consumer).await;
}

pub async fn nothing_of_what_was_published_together_is_lost_with_its_consumer(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut first = consumer(&queue, &address, 5).await;
    let sent = publish_together(&queue, &address, 20).await;
    let mut held = take(&mut first, 5).await;
    held.remove(0).receipt.ack().await;
    drop((first, held));
    let mut second = consumer(&queue, &address, 20).await;
    let mut missing: HashSet<_> = sent[1..].iter().copied().collect();
    while !missing.is_empty() {
        // What was acked may come again, for it travelled with what was not.
        let received = next(&mut second).await;
        missing.remove(&received.message);
        received.receipt.ack().await;
    }
}

pub async fn what_was_published_before_the_subscription_arrives(queue: Arc<dyn Queue>) {
    let address = tenant();
    drop(consumer(&queue, &address, 1).await);
    let sent = publish(&queue, &address, 3).await;
    let mut consumer = consumer(&queue, &address, 10).await;
    assert_eq!(said(&take(&mut consumer, 3).await), sent);
}

pub async fn each_tenant_has_a_queue_of_its_own(queue: Arc<dyn Queue>) {
    let (mine, other) = (tenant(), tenant());
    let mut mine_only = consumer(&queue, &mine, 1).await;
    let mut both = consumer(&queue, &other, 10).await;
    let of_mine = publish(&queue, &mine, 2).await;
    let of_other = publish(&queue, &other, 2).await;
    let held = next(&mut mine_only).await;
    assert_eq!(held.message, of_mine[0]);
    let others = take(&mut both, 2).await;
    assert_eq!(said(&others), of_other);
    silent(&mut mine_only).await;
    both.subscribe(&mine, 1).await.expect("subscribes");
    let second = next(&mut both).await;
    assert_eq!((second.tenant, second.message), (mine.tenant, of_mine[1]));
    held.receipt.ack().await;
}

pub async fn no_more_than_the_prefetch_is_handed_out(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 3).await;
    let sent = publish(&queue, &address, 5).await;
    let mut held = take(&mut consumer, 3).await;
    silent(&mut consumer).await;
    held.remove(1).receipt.ack().await;
    let fourth = next(&mut consumer).await;
    assert_eq!(fourth.message, sent[3]);
    silent(&mut consumer).await;
}

pub async fn a_larger_prefetch_hands_out_more_at_once(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 1).await;
    let sent = publish(&queue, &address, 3).await;
    let _first = next(&mut consumer).await;
    silent(&mut consumer).await;
    consumer.subscribe(&address, 3).await.expect("subscribes");
    assert_eq!(said(&take(&mut consumer, 2).await), sent[1..]);
}

pub async fn a_smaller_prefetch_takes_effect_as_messages_are_acked(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 3).await;
    publish(&queue, &address, 5).await;
    let mut held = take(&mut consumer, 3).await;
    consumer.subscribe(&address, 1).await.expect("subscribes");
    for _ in 0..2 {
        held.remove(0).receipt.ack().await;
        silent(&mut consumer).await;
    }
    held.remove(0).receipt.ack().await;
    let _fourth = next(&mut consumer).await;
    silent(&mut consumer).await;
}

pub async fn a_dropped_receipt_brings_its_message_back_before_the_others(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 2).await;
    let sent = publish(&queue, &address, 4).await;
    let mut held = take(&mut consumer, 2).await;
    drop(held.remove(0));
    let again = next(&mut consumer).await;
    assert_eq!(again.message, sent[0]);
    again.receipt.ack().await;
    assert_eq!(next(&mut consumer).await.message, sent[2]);
}

pub async fn a_dropped_consumer_gives_back_what_it_held(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut first = consumer(&queue, &address, 3).await;
    let sent = publish(&queue, &address, 5).await;
    let held = take(&mut first, 2).await;
    drop(first);
    let mut second = consumer(&queue, &address, 10).await;
    let received = take(&mut second, 5).await;
    assert_eq!(said(&received), sent);
    drop(held);
    silent(&mut second).await;
}

pub async fn an_ack_after_the_consumer_is_gone_does_no_harm(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut first = consumer(&queue, &address, 1).await;
    let sent = publish(&queue, &address, 2).await;
    let held = next(&mut first).await;
    drop(first);
    let mut second = consumer(&queue, &address, 1).await;
    let again = next(&mut second).await;
    assert_eq!(again.message, sent[0]);
    held.receipt.ack().await;
    silent(&mut second).await;
    again.receipt.ack().await;
    assert_eq!(next(&mut second).await.message, sent[1]);
}

pub async fn an_acked_message_never_comes_again(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut first = consumer(&queue, &address, 10).await;
    publish(&queue, &address, 5).await;
    let received = take(&mut first, 5).await;
    ack_all(received).await;
    // A broker has seen the acks once it has answered something asked after them.
    first.unsubscribe(address.tenant).await.expect("unsubscribes");
    drop(first);
    silent(&mut consumer(&queue, &address, 10).await).await;
}

pub async fn nothing_is_handed_out_after_an_unsubscribe(queue: Arc<dyn Queue>) {
    let (address, other) = (tenant(), tenant());
    let mut leaving = consumer(&queue, &address, 10).await;
    leaving.subscribe(&other, 10).await.expect("subscribes");
    let sent = publish(&queue, &address, 2).await;
    leaving.unsubscribe(address.tenant).await.expect("unsubscribes");
    let of_other = publish(&queue, &other, 1).await;
    let from_other = next(&mut leaving).await;
    assert_eq!(from_other.message, of_other[0]);
    silent(&mut leaving).await;
    let mut staying = consumer(&queue, &address, 10).await;
    assert_eq!(said(&take(&mut staying, 2).await), sent);
}

pub async fn what_was_handed_out_may_be_acked_after_an_unsubscribe(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut leaving = consumer(&queue, &address, 10).await;
    let sent = publish(&queue, &address, 2).await;
    let mut held = take(&mut leaving, 2).await;
    leaving.unsubscribe(address.tenant).await.expect("unsubscribes");
    held.remove(0).receipt.ack().await;
    drop(held);
    let mut staying = consumer(&queue, &address, 10).await;
    let second = next(&mut staying).await;
    assert_eq!(second.message, sent[1]);
    silent(&mut staying).await;
}

pub async fn a_consumer_may_subscribe_again(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 2).await;
    let sent = publish(&queue, &address, 3).await;
    let held = next(&mut consumer).await;
    consumer.unsubscribe(address.tenant).await.expect("unsubscribes");
    consumer.subscribe(&address, 2).await.expect("subscribes");
    let second = next(&mut consumer).await;
    assert_eq!(second.message, sent[1]);
    held.receipt.ack().await;
    assert_eq!(next(&mut consumer).await.message, sent[2]);
}

pub async fn consumers_that_leave_while_messages_come_stall_nobody(queue: Arc<dyn Queue>) {
    let address = tenant();
    let sent = publish(&queue, &address, 500).await;
    for _ in 0..30 {
        drop(consumer(&queue, &address, 500).await);
    }
    let mut last = consumer(&queue, &address, 500).await;
    let distinct: HashSet<_> = said(&take(&mut last, sent.len()).await).into_iter().collect();
    assert_eq!(distinct, sent.into_iter().collect());
}

pub async fn consumers_share_a_queue_in_turn(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut first = consumer(&queue, &address, 10).await;
    let mut second = consumer(&queue, &address, 10).await;
    let sent = publish(&queue, &address, 6).await;
    let mut all = take(&mut first, 3).await;
    all.extend(take(&mut second, 3).await);
    let distinct: HashSet<_> = said(&all).into_iter().collect();
    assert_eq!(distinct, sent.into_iter().collect());
}

pub async fn a_full_consumer_leaves_messages_to_the_others(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut full = consumer(&queue, &address, 1).await;
    let sent = publish(&queue, &address, 4).await;
    let held = next(&mut full).await;
    let mut second = consumer(&queue, &address, 10).await;
    let others = take(&mut second, 3).await;
    assert_eq!(said(&others), sent[1..]);
    drop(held);
    // It is back in the queue and goes to whichever is next in turn.
    let again = tokio::select! {
        received = next(&mut full) => received,
        received = next(&mut second) => received,
    };
    assert_eq!(again.message, sent[0]);
}

pub async fn a_cancelled_next_loses_nothing(queue: Arc<dyn Queue>) {
    let address = tenant();
    let consumer = consumer(&queue, &address, 100).await;
    let publisher = {
        let (queue, address) = (Arc::clone(&queue), address.clone());
        tokio::spawn(async move {
            let mut sent = Vec::new();
            for _ in 0..40 {
                sent.extend(publish(&queue, &address, 1).await);
                tokio::task::yield_now().await;
            }
            sent
        })
    };
    let mut received = Vec::new();
    let taking = async {
        while received.len() < 40 {
            // Polled once and dropped, many times over.
            tokio::select! {
                biased;
                one = consumer.next() => received.push(one.expect("the queue is there")),
                () = tokio::task::yield_now() => {}
            }
        }
    };
    timeout(SOON, taking).await.expect("all arrive");
    assert_eq!(said(&received), publisher.await.expect("publishes"));
}

pub async fn a_waiting_next_is_woken(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut consumer = consumer(&queue, &address, 1).await;
    let (received, sent) = tokio::join!(next(&mut consumer), async {
        tokio::task::yield_now().await;
        publish(&queue, &address, 1).await
    });
    assert_eq!(received.message, sent[0]);
}

pub async fn a_deleted_queue_is_empty_and_deleting_it_again_is_fine(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut first = consumer(&queue, &address, 1).await;
    publish(&queue, &address, 3).await;
    let held = next(&mut first).await;
    drop(first);
    drop(held);
    for _ in 0..2 {
        queue.delete(&address).await.expect("deletes");
    }
    let mut later = consumer(&queue, &address, 10).await;
    silent(&mut later).await;
    let sent = publish(&queue, &address, 1).await;
    assert_eq!(next(&mut later).await.message, sent[0]);
}

pub async fn every_message_is_acked_once_among_many_consumers(queue: Arc<dyn Queue>) {
    const MESSAGES: u16 = 400;
    let address = tenant();
    let (done, mut results) = tokio::sync::mpsc::channel(usize::from(MESSAGES));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..4usize {
        let consumer = consumer(&queue, &address, 8).await;
        let done = done.clone();
        workers.spawn(async move {
            for n in worker.. {
                let received = consumer.next().await.expect("the queue is there");
                // Every third is dropped, as by a task that died, and comes again.
                if n % 3 != 0 {
                    let message = received.message;
                    received.receipt.ack().await;
                    done.send(message).await.expect("it is collected");
                }
            }
        });
    }
    let sent: HashSet<_> = publish(&queue, &address, MESSAGES).await.into_iter().collect();
    let mut acked = HashSet::new();
    for _ in 0..MESSAGES {
        let message = timeout(SOON, results.recv()).await.expect("in time").expect("a worker lives");
        assert!(acked.insert(message), "{message:?} was acked twice");
    }
    assert_eq!(acked, sent);
    workers.shutdown().await;
}

/// Waits until the depth is `wanted`: a broker counts a message as ready a moment after it came back.
pub async fn depth_becomes(queue: &Arc<dyn Queue>, address: &QueueAddress, wanted: u64) {
    let reached = async {
        while queue.depth(address).await.expect("the queue is there") != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if timeout(SOON, reached).await.is_err() {
        panic!("the depth is {:?}, not {wanted}", queue.depth(address).await);
    }
}

pub async fn the_depth_is_what_nobody_was_handed(queue: Arc<dyn Queue>) {
    let address = tenant();
    assert_eq!(queue.depth(&address).await.expect("makes the queue"), 0);
    publish(&queue, &address, 5).await;
    depth_becomes(&queue, &address, 5).await;
    let mut consumer = consumer(&queue, &address, 2).await;
    let held = take(&mut consumer, 2).await;
    depth_becomes(&queue, &address, 3).await;
    drop(consumer);
    depth_becomes(&queue, &address, 5).await;
    drop(held);
    queue.delete(&address).await.expect("deletes");
    depth_becomes(&queue, &address, 0).await;
}

pub async fn a_mark_is_remembered_and_no_other(queue: Arc<dyn Queue>) {
    let (mine, other) = (Uuid::now_v7(), Uuid::now_v7());
    for _ in 0..2 {
        queue.mark(mine).await.expect("marks");
    }
    assert!(queue.is_marked(mine).await.expect("answers"));
    assert!(!queue.is_marked(other).await.expect("answers"));
    assert!(queue.is_marked(mine).await.expect("a no does no harm"));
}

pub async fn an_unrouted_consumer_waits_while_every_message_has_its_queue(queue: Arc<dyn Queue>) {
    let address = tenant();
    let mut unrouted = queue.unrouted().await.expect("a consumer");
    let sent = publish(&queue, &address, 2).await;
    let mut consumer = consumer(&queue, &address, 2).await;
    assert_eq!(said(&take(&mut consumer, 2).await), sent);
    silent(&mut unrouted).await;
}
