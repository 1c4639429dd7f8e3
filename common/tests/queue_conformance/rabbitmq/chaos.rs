//! Many tenants, three consumers, a publisher, and connections that are cut at random.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fairhook_common::queue::rabbit::QueueType;
use fairhook_common::queue::{Consumer, Message, Published, Queue, QueueAddress, QueueDown};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use super::broker::{Vhost, connect};
use super::outages::until;
use super::proxy::Proxy;
use crate::suite::{SOON, message, tenant};

const MESSAGES: usize = 2_000;
const TENANTS: usize = 50;
const CONSUMERS: usize = 3;
/// A connection is cut after every so many acks, while messages are published.
const ACKS_PER_CUT: usize = 120;

/// One life of a consumer, until its connection is lost.
type Life = u64;

enum Told {
    /// About to be acked in this life.
    Acking(Message, Life),
    /// This life is over.
    Over(Life),
}

/// Consumes for ever, acks everything, and tells of it.
async fn work(
    queue: Arc<dyn Queue>,
    tenants: Arc<Vec<QueueAddress>>,
    lives: Arc<AtomicU64>,
    told: mpsc::Sender<Told>,
) {
    loop {
        let life = lives.fetch_add(1, Ordering::Relaxed);
        let Ok(consumer) = queue.consumer().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let over = serve(consumer.as_ref(), &tenants, life, &told).await;
        assert!(over.is_err());
        told.send(Told::Over(life)).await.expect("it is listened to");
    }
}

async fn serve(
    consumer: &dyn Consumer,
    tenants: &[QueueAddress],
    life: Life,
    told: &mpsc::Sender<Told>,
) -> Result<(), QueueDown> {
    for address in tenants {
        consumer.subscribe(address, 8).await?;
    }
    loop {
        let received = consumer.next().await?;
        told.send(Told::Acking(received.message, life)).await.expect("it is listened to");
        received.receipt.ack().await;
    }
}

/// Publishes until so many are confirmed. What was refused may be there all the same, and is not published again.
async fn offer(
    queue: Arc<dyn Queue>,
    tenants: Arc<Vec<QueueAddress>>,
    mut rng: SmallRng,
) -> HashSet<Message> {
    let mut confirmed = HashSet::new();
    while confirmed.len() < MESSAGES {
        let batch: Vec<_> =
            (0..20).map(|n| (tenants[rng.random_range(0..TENANTS)].clone(), message(n))).collect();
        let published = queue.publish(&batch).await;
        let taken = batch.into_iter().zip(published).filter(|(_, became)| *became == Published::Confirmed);
        confirmed.extend(taken.map(|((_, message), _)| message));
        tokio::task::yield_now().await;
    }
    confirmed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_and_nothing_acked_comes_again_but_for_cuts() {
    let seed = Uuid::now_v7().as_u128() as u64;
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let vhost = Vhost::new();
    let proxy = Proxy::start(vhost.url(), true).await;
    let queue: Arc<dyn Queue> = Arc::new(connect(proxy.url(), QueueType::Classic).await);
    let tenants: Arc<Vec<_>> = Arc::new((0..TENANTS).map(|_| tenant()).collect());
    let (told, mut tells) = mpsc::channel(64);
    let (lives, mut workers) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for _ in 0..CONSUMERS {
        workers.spawn(work(queue.clone(), tenants.clone(), lives.clone(), told.clone()));
    }
    let mut offering = tokio::spawn(offer(queue.clone(), tenants, SmallRng::seed_from_u64(seed + 1)));
    let mut confirmed: Option<HashSet<Message>> = None;
    let mut acked: HashMap<Message, Vec<Life>> = HashMap::new();
    let mut over = HashSet::new();
    let mut acks = 0;
    while confirmed.as_ref().is_none_or(|all| !all.iter().all(|message| acked.contains_key(message))) {
        let tell = timeout(SOON, async {
            tokio::select! {
                tell = tells.recv() => tell,
                offered = &mut offering, if confirmed.is_none() => {
                    confirmed = Some(offered.expect("it publishes"));
                    None
                }
            }
        });
        match tell.await.expect("something happens in time") {
            Some(Told::Acking(message, life)) => {
                acked.entry(message).or_default().push(life);
                acks += 1;
                if confirmed.is_none() && acks % ACKS_PER_CUT == 0 {
                    proxy.cut(rng.random_range(0..64));
                }
            }
            Some(Told::Over(life)) => drop(over.insert(life)),
            None => {}
        }
    }
    let again = acked.values().filter(|lives| lives.len() > 1);
    for lives in again {
        let cut = &lives[..lives.len() - 1];
        assert!(
            cut.iter().all(|life| over.contains(life)),
            "it came again in {lives:?}, but only {over:?} were cut"
        );
    }
    println!("{acks} acks, {} lives were cut", over.len());
    assert!(!over.is_empty(), "some consumer was cut");
    workers.shutdown().await;
    until("its connections are closed", || async { proxy.connections() <= 2 }).await;
}
