//! What is due later: retries, dead letters and replays, delivery times, expiry, jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairhook_common::delivery::{DeliveryState, DiscardReason, Lane};
use fairhook_common::endpoint::EndpointStatus;
use fairhook_common::event::{EventType, NewEvent};
use fairhook_common::store::{Browse, Claim, ClaimFrom, Deliveries, JobFilter, JobKind, JobStatus, Replayed};
use fairhook_common::tenant::Tenant;
use fairhook_common::time::Timestamp;
use tempfile::TempDir;

use super::receiver::{Answer, Receiver};
use super::rig::{Rig, until};

fn event(tenant: &Tenant, deliver_at: Option<Timestamp>, expires_at: Timestamp) -> NewEvent {
    NewEvent {
        tenant: tenant.id,
        event_type: EventType::parse("order.paid").expect("a type"),
        payload: "{}".into(),
        metadata: None,
        cloudevent: None,
        deliver_at,
        expires_at,
        idempotency: None,
        only_endpoint: None,
    }
}

/// A receiver that fails until the flag is set.
async fn switched() -> (Receiver, Arc<AtomicBool>) {
    let works = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&works);
    let status = move || if asked.load(Ordering::Relaxed) { 200 } else { 500 };
    (Receiver::start(move |_| Answer::Status(status())).await, works)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_tried_again_by_the_schedule_until_it_works() {
    let dir = TempDir::new().expect("a directory");
    let fails_twice = |a: &super::receiver::Arrival| Answer::Status(if a.attempt < 3 { 500 } else { 200 });
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::start(fails_twice).await);
    rig.start();
    let tenant = rig.tenant("acme", 50).await;
    rig.endpoint(&tenant, receiver.url(), "*", &[0, 1]).await;
    let posted = rig.post(&tenant, "order.paid", 1).await;
    let arrived = receiver.take(3).await;
    assert_eq!(arrived.iter().map(|a| a.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(arrived.iter().all(|a| a.event == posted[0]));
    rig.until_delivered(&tenant, 1).await;
    let delivery = rig.delivery(tenant.id, posted[0]).await;
    let seen: Vec<_> = delivery.attempts.iter().map(|a| (a.n, a.record.status_code)).collect();
    assert_eq!(seen, [(1, Some(500)), (2, Some(500)), (3, Some(200))]);
    let waited = delivery.attempts[2].record.started_at.since(delivery.attempts[1].record.started_at);
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&waited), "{waited:?}");
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_fails_dies_and_a_replay_delivers_it() {
    let dir = TempDir::new().expect("a directory");
    let (receiver, works) = switched().await;
    let mut rig = Rig::open(&dir).await;
    rig.start();
    let tenant = rig.tenant("acme", 50).await;
    rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    let posted = rig.post(&tenant, "order.paid", 1).await;
    rig.until_counts("it is dead", &tenant, |counts| counts.dead == 1).await;

    works.store(true, Ordering::Relaxed);
    let delivery = rig.delivery(tenant.id, posted[0]).await.id;
    let replayed = rig.store.replay(tenant.id, delivery, Timestamp::now()).await.expect("replayed");
    assert_eq!(replayed, Some(Replayed::Due(delivery)));
    rig.until_delivered(&tenant, 1).await;
    let attempts = rig.delivery(tenant.id, posted[0]).await.attempts;
    assert_eq!(attempts.iter().map(|a| a.n).collect::<Vec<_>>(), [1, 2, 3], "numbers never restart");
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_job_runs_to_its_end() {
    let dir = TempDir::new().expect("a directory");
    let (receiver, works) = switched().await;
    let mut rig = Rig::open(&dir).await;
    rig.start();
    let tenant = rig.tenant("acme", 50).await;
    rig.endpoint(&tenant, receiver.url(), "*", &[]).await;
    rig.post(&tenant, "order.paid", 30).await;
    rig.until_counts("all are dead", &tenant, |counts| counts.dead == 30).await;

    works.store(true, Ordering::Relaxed);
    let filter =
        JobFilter { states: vec![DeliveryState::Dead], rate_per_s: Some(20), ..JobFilter::default() };
    let began = Timestamp::now();
    let job = rig.store.create_job(tenant.id, JobKind::Replay, filter, began).await.expect("a job");
    until("the job is done", || async {
        let job = rig.store.find_job(Some(tenant.id), job.id).await.expect("a read").expect("it is there");
        job.status == JobStatus::Succeeded && job.done == 30
    })
    .await;
    assert!(Timestamp::now().since(began) >= Duration::from_secs(1), "not faster than its rate");
    rig.until_delivered(&tenant, 30).await;
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_event_to_a_slow_endpoint_does_not_wait_behind_a_replay_that_was_parked_before_it() {
    const REPLAYED: usize = 80;
    let dir = TempDir::new().expect("a directory");
    let is_slow = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_slow);
    let takes = move || Duration::from_millis(if asked.load(Ordering::Relaxed) { 1_100 } else { 0 });
    let receiver = Receiver::start(move |_| Answer::After(takes(), 200));
    let (rig, mut receiver) = (Rig::open(&dir).await, receiver.await);
    let running = rig.launch(Arc::new(rig.queue.clone()));
    let tenant = rig.tenant("acme", 8).await;
    rig.endpoint(&tenant, receiver.url(), "*", &[]).await;
    rig.post(&tenant, "order.paid", REPLAYED).await;
    receiver.take(REPLAYED).await;
    rig.until_delivered(&tenant, REPLAYED as u64).await;

    is_slow.store(true, Ordering::Relaxed);
    let filter = JobFilter { states: vec![DeliveryState::Delivered], ..JobFilter::default() };
    rig.store.create_job(tenant.id, JobKind::Replay, filter, Timestamp::now()).await.expect("a job");
    until("most of it is parked", || async { running.counted("fairhook_not_attempted_total") >= 40 }).await;
    receiver.rest();
    let live = rig.post(&tenant, "order.new", 1).await[0];
    let mut before = 0;
    while receiver.next().await.event != live {
        before += 1;
    }
    assert!(before < REPLAYED / 4, "{before} of the replay arrived before it");
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_delivered_before_its_time() {
    let dir = TempDir::new().expect("a directory");
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    rig.start();
    let tenant = rig.tenant("acme", 50).await;
    rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    let at = Timestamp::now().after(Duration::from_millis(700));
    rig.admit(&tenant, vec![event(&tenant, Some(at), at.after(Duration::from_secs(3600)))]).await;
    receiver.next().await;
    assert!(Timestamp::now() >= at);
    rig.until_delivered(&tenant, 1).await;
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_ends_when_its_time_is_over() {
    let dir = TempDir::new().expect("a directory");
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    rig.start();
    let tenant = rig.tenant("acme", 50).await;
    let endpoint = rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    rig.set_status(&endpoint, EndpointStatus::Paused).await;
    let soon = Timestamp::now().after(Duration::from_millis(500));
    let posted = rig.admit(&tenant, vec![event(&tenant, None, soon)]).await;
    rig.until_counts("it is discarded", &tenant, |counts| counts.discarded == 1).await;
    let delivery = rig.delivery(tenant.id, posted[0]).await;
    assert_eq!(delivery.discarded_reason, Some(DiscardReason::Expired));
    assert!(receiver.rest().is_empty());
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_claimed_and_not_begun_is_due_at_once_after_a_drain() {
    let dir = TempDir::new().expect("a directory");
    let slow = Receiver::start(|_| Answer::After(Duration::from_millis(400), 200));
    let (mut rig, mut receiver) = (Rig::open(&dir).await, slow.await);
    let tenant = rig.tenant("acme", 2).await;
    let endpoint = rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    rig.set_status(&endpoint, EndpointStatus::Paused).await;
    rig.post(&tenant, "order.paid", 30).await;
    rig.start();
    rig.set_status(&endpoint, EndpointStatus::Active).await;
    // Two are under way then, and as many as are claimed ahead wait.
    receiver.take(2).await;
    rig.drain().await;

    let left = rig.counts(&tenant).await.waiting();
    assert!(left >= 20, "{left} are left");
    let now = Timestamp::now();
    let parked = ClaimFrom::Parked { endpoint: endpoint.id, lanes: Lane::ALL };
    let mut wants = vec![Claim { tenant: tenant.id, from: parked, limit: 100 }];
    wants.extend(Lane::ALL.map(|lane| Claim { tenant: tenant.id, from: ClaimFrom::Due(lane), limit: 100 }));
    let again = rig.store.claim(&wants, Duration::from_secs(60), now).await.expect("claimed");
    assert_eq!(again.len() as u64, left, "none waits for the end of a lease");
}
