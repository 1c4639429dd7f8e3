//! What the control plane changes while deliveries are on their way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairhook_common::delivery::{DeliveryState, DiscardReason};
use fairhook_common::endpoint::EndpointStatus;
use fairhook_common::ids::DeliveryId;
use fairhook_common::store::{Browse, Control, Deliveries, JobStatus};
use fairhook_common::tenant::Dispatch;
use fairhook_common::time::Timestamp;
use tempfile::TempDir;

use super::receiver::{Answer, Receiver};
use super::rig::{Rig, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_while_queued_it_is_held_until_the_endpoint_is_active() {
    let dir = TempDir::new().expect("a directory");
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    let tenant = rig.tenant("acme", 50).await;
    let endpoint = rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    let posted = rig.post(&tenant, "order.paid", 3).await;
    rig.set_status(&endpoint, EndpointStatus::Paused).await;
    rig.start();
    until("all are held", || async {
        let mut held = 0;
        for event in &posted {
            held += usize::from(rig.delivery(tenant.id, *event).await.state == DeliveryState::Held);
        }
        held == 3
    })
    .await;
    assert!(receiver.rest().is_empty());

    rig.set_status(&endpoint, EndpointStatus::Active).await;
    receiver.take(3).await;
    rig.until_delivered(&tenant, 3).await;
    rig.drain().await;
    assert!(receiver.rest().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_switch_holds_and_releases() {
    let dir = TempDir::new().expect("a directory");
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    rig.start();
    let tenant = rig.tenant("acme", 50).await;
    rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    rig.set_dispatch(&tenant, Dispatch::Paused).await;
    let posted = rig.post(&tenant, "order.paid", 2).await;
    until("they are held", || async {
        let a = rig.delivery(tenant.id, posted[0]).await.state;
        let b = rig.delivery(tenant.id, posted[1]).await.state;
        (a, b) == (DeliveryState::Held, DeliveryState::Held)
    })
    .await;
    assert!(receiver.rest().is_empty());
    rig.set_dispatch(&tenant, Dispatch::Open).await;
    receiver.take(2).await;
    rig.until_delivered(&tenant, 2).await;
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_or_cancelled_while_queued_it_is_never_sent() {
    let dir = TempDir::new().expect("a directory");
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    let tenant = rig.tenant("acme", 50).await;
    let deleted = rig.endpoint(&tenant, receiver.url(), "a", &[0]).await;
    rig.endpoint(&tenant, receiver.url(), "b", &[0]).await;
    let to_deleted = rig.post(&tenant, "a", 3).await;
    let cancelled = rig.post(&tenant, "b", 1).await[0];
    assert!(rig.store.delete_endpoint(tenant.id, deleted.id, Timestamp::now()).await.expect("deleted"));
    let delivery = DeliveryId { event: cancelled, ordinal: 0 };
    let state = rig.store.cancel(tenant.id, delivery, Timestamp::now()).await.expect("cancelled");
    assert_eq!(state, Some(DeliveryState::Discarded));
    rig.start();
    // What comes behind them in the same queue arrives, so that they have been passed.
    let sent = rig.post(&tenant, "b", 1).await;
    assert_eq!(receiver.next().await.event, sent[0]);
    rig.until_counts("all are at their end", &tenant, |c| c.discarded == 4 && c.delivered == 1).await;
    for event in to_deleted {
        let reason = rig.delivery(tenant.id, event).await.discarded_reason;
        assert_eq!(reason, Some(DiscardReason::EndpointDeleted));
    }
    let reason = rig.delivery(tenant.id, cancelled).await.discarded_reason;
    assert_eq!(reason, Some(DiscardReason::Cancelled));
    rig.drain().await;
    assert!(receiver.rest().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_gone_is_disabled_and_the_rest_is_held() {
    let dir = TempDir::new().expect("a directory");
    // All but the first answer take so long that the first is recorded before the rest could have been attempted.
    let first = AtomicBool::new(true);
    let receiver = Receiver::start(move |_| match first.swap(false, Ordering::Relaxed) {
        true => Answer::Status(410),
        false => Answer::After(Duration::from_secs(1), 410),
    });
    let (mut rig, receiver) = (Rig::open(&dir).await, receiver.await);
    let tenant = rig.tenant("acme", 1).await;
    rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    // Not before: a dispatcher learns of a cap that is lowered a moment later.
    rig.start();
    rig.post(&tenant, "order.paid", 20).await;
    rig.until_counts("the first is dead", &tenant, |counts| counts.dead >= 1).await;
    until("the rest is held", || async {
        let filter = fairhook_common::store::DeliveryFilter {
            states: vec![DeliveryState::Held],
            ..Default::default()
        };
        let page = fairhook_common::store::PageRequest { limit: 100, ..Default::default() };
        let held = rig.store.list_deliveries(tenant.id, &filter, &page).await.expect("a list").items.len();
        held as u64 + rig.counts(&tenant).await.dead == 20 && held > 0
    })
    .await;
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_tenant_gets_nothing_more_and_its_data_goes() {
    let dir = TempDir::new().expect("a directory");
    let (mut rig, mut receiver) = (Rig::open(&dir).await, Receiver::good().await);
    let tenant = rig.tenant("acme", 50).await;
    rig.endpoint(&tenant, receiver.url(), "*", &[0]).await;
    rig.post(&tenant, "order.paid", 20).await;
    let job = rig.store.delete_tenant(tenant.id, Timestamp::now()).await.expect("a job");
    rig.start();
    until("the job is done", || async {
        let found = rig.store.find_job(None, job.id).await.expect("a read");
        found.is_none_or(|job| job.status == JobStatus::Succeeded)
    })
    .await;
    // Another tenant is served as before.
    let other = rig.tenant("other", 50).await;
    rig.endpoint(&other, receiver.url(), "*", &[0]).await;
    let sent = rig.post(&other, "order.paid", 1).await;
    assert_eq!(receiver.next().await.event, sent[0]);
    rig.drain().await;
    assert!(receiver.rest().is_empty());
}
