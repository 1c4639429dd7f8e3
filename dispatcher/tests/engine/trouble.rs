//! A locked store, a crash, a receiver that hangs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fairhook_common::delivery::DeliveryState;
use fairhook_common::limits;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use super::receiver::{Answer, Receiver};
use super::rig::{Rig, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_written_for_a_while_loses_nothing() {
    let dir = TempDir::new().expect("a directory");
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    let tenant = rig.tenant("acme", 10).await;
    rig.start();
    rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    let posted = rig.post(&tenant, "order.paid", 300).await;
    let mut arrived = vec![receiver.next().await];

    // Somebody else holds the database for longer than a commit waits for it.
    let options = SqliteConnectOptions::new().filename(dir.path().join("fairhook.db"));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.expect("a connection");
    sqlx::raw_sql("PRAGMA busy_timeout = 20000; BEGIN IMMEDIATE").execute(&mut other).await.expect("a lock");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("released");
    other.close().await.expect("closed");

    rig.until_delivered(&tenant, 300).await;
    rig.drain().await;
    arrived.extend(receiver.rest());
    let mut times = BTreeMap::new();
    for arrival in arrived {
        *times.entry(arrival.event).or_insert(0) += 1;
    }
    assert_eq!(times.len(), posted.len());
    assert!(times.values().all(|n| *n == 1), "what was attempted is recorded later, not attempted again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_everything_accepted_is_delivered() {
    let dir = TempDir::new().expect("a directory");
    let slow = Receiver::start(|_| Answer::After(Duration::from_millis(20), 200));
    let (mut rig, mut receiver) = (Rig::open(&dir).await, slow.await);
    let tenant = rig.tenant("acme", 10).await;
    rig.start();
    rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    let posted = rig.post(&tenant, "order.paid", 300).await;
    let mut arrived = receiver.take(50).await;
    rig.kill().await;
    drop(rig);

    let mut rig = Rig::open(&dir).await;
    let before = rig.counts(&tenant).await;
    assert!(before.delivered < 300, "it was in the middle");
    assert_eq!(before.delivered + before.waiting(), 300);
    rig.start();
    rig.until_delivered(&tenant, 300).await;
    rig.drain().await;
    arrived.extend(receiver.rest());
    let mut events: Vec<_> = arrived.iter().map(|a| a.event).collect();
    events.sort_unstable();
    events.dedup();
    assert_eq!(events, posted, "all of them, and in the order of their ids");
    let twice = arrived.len() - posted.len();
    assert!(twice <= 300 - before.delivered as usize, "{twice} again, only what was not recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_endpoint_does_not_take_the_tenants_others_with_it() {
    let dir = TempDir::new().expect("a directory");
    let mut rig = Rig::open(&dir).await;
    let (mut good, mut bad) = (Receiver::good().await, Receiver::start(|_| Answer::Never).await);
    let tenant = rig.tenant("acme", 8).await;
    rig.start();
    rig.endpoint(&tenant, bad.url(), "*", &[60]).await;
    rig.endpoint(&tenant, good.url(), "*", &[60]).await;
    let began = Instant::now();
    rig.post(&tenant, "order.paid", 300).await;
    good.take(300).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}: less than one timeout of the other");
    bad.next().await;
    rig.until_delivered(&tenant, 300).await;
    rig.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_that_is_lowered_below_what_hangs_does_not_stop_the_tenants_other_endpoints() {
    let dir = TempDir::new().expect("a directory");
    let mut rig = Rig::open(&dir).await;
    let (mut good, mut bad) = (Receiver::good().await, Receiver::start(|_| Answer::Never).await);
    let tenant = rig.tenant("acme", 40).await;
    rig.start();
    rig.endpoint(&tenant, bad.url(), "*", &[60]).await;
    rig.endpoint(&tenant, good.url(), "*", &[60]).await;
    rig.post(&tenant, "order.paid", 100).await;
    good.take(100).await;
    bad.take(10).await;

    rig.set_concurrent(&tenant, 4).await;
    let began = Instant::now();
    // The dispatcher hears of it in the middle of this.
    while began.elapsed() < 2 * limits::CONTROL_CACHE_TTL {
        rig.post(&tenant, "order.paid", 1).await;
        good.next().await;
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}: less than one timeout of the other");
    rig.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_keeps_nobody_else_from_being_served() {
    let dir = TempDir::new().expect("a directory");
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    let (good, bad) = (rig.tenant("good", 10).await, rig.tenant("bad", 10).await);
    rig.endpoint(&good, receiver.url(), "*", &[0]).await;
    let damaged = rig.endpoint(&bad, receiver.url(), "*", &[0]).await;
    let options = SqliteConnectOptions::new().filename(dir.path().join("fairhook.db"));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.expect("a connection");
    let damage = sqlx::query("UPDATE endpoints SET retry = '{' WHERE id = ?");
    let damage = damage.bind(damaged.id.uuid().as_bytes().to_vec());
    assert_eq!(damage.execute(&mut other).await.expect("damaged").rows_affected(), 1);
    other.close().await.expect("closed");

    let unread = rig.post(&bad, "order.paid", 5).await;
    rig.post(&good, "order.paid", 50).await;
    rig.start();
    rig.until_delivered(&good, 50).await;
    assert_eq!(receiver.take(50).await.len(), 50);
    until("they wait", || async {
        let mut scheduled = 0;
        for event in &unread {
            let delivery = rig.delivery(bad.id, *event).await;
            scheduled +=
                usize::from(delivery.state == DeliveryState::Scheduled && delivery.attempts.is_empty());
        }
        scheduled == unread.len()
    })
    .await;
    rig.drain().await;
}
