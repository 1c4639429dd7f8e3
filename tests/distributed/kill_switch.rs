//! What an operator changes at one ingest is in force at the others within a second, whatever is in the way of their hearing of it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::black_box::{Api, until};
use crate::harness::{Cluster, Shape};

const WITHIN: Duration = Duration::from_secs(1);

/// Two ingests, and the APIs of both.
async fn two() -> (Cluster, Api, Api) {
    let cluster = Cluster::start(Shape { ingests: 2, dispatchers: 0, stops_servers: false }).await;
    let [one, other] = [0, 1].map(|n| cluster.ingests[n].api.clone().expect("an ingest has an API"));
    cluster.customer("acme", 10, 0, Duration::ZERO).await;
    (cluster, one, other)
}

async fn posted(api: &Api) -> u16 {
    api.post("/tenants/acme/events", json!({"type": "order.paid", "payload": {}})).await.status
}

/// Blocks or opens the tenant's way in.
async fn set(api: &Api, ingest: &str) {
    api.patch("/tenants/acme", json!({"ingest": ingest})).await.expect(200);
}

/// The tenant's events are answered so from now on, and soon enough.
async fn obeyed(api: &Api, status: u16) {
    let since = Instant::now();
    until("it is in force", || async { (posted(api).await == status).then_some(()) }).await;
    assert!(since.elapsed() < WITHIN, "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_hears_of_what_was_changed_at_another() {
    let (_cluster, one, other) = two().await;
    for _ in 0..3 {
        assert_eq!(posted(&other).await, 202);
        set(&one, "blocked").await;
        obeyed(&other, 403).await;
        set(&one, "open").await;
        obeyed(&other, 202).await;
        // So that something older is remembered the next time.
        tokio::time::sleep(WITHIN).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_that_hears_of_no_changes_obeys_all_the_same() {
    let (cluster, one, other) = two().await;
    assert_eq!(posted(&other).await, 202);
    tokio::time::sleep(WITHIN).await;
    assert_eq!(posted(&other).await, 202);
    cluster.ingests[1].store.silence_only("fairhook listen");
    set(&one, "blocked").await;
    obeyed(&other, 403).await;
    // And while it hears of none for long, and when it does again.
    for _ in 0..3 {
        set(&one, "open").await;
        obeyed(&other, 202).await;
        set(&one, "blocked").await;
        obeyed(&other, 403).await;
    }
    cluster.ingests[1].store.mend();
    set(&one, "open").await;
    obeyed(&other, 202).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_that_was_stopped_obeys_when_it_goes_on() {
    let (cluster, one, other) = two().await;
    for _ in 0..3 {
        assert_eq!(posted(&other).await, 202);
        cluster.ingests[1].freeze();
        // It is not to hear of the change before it is asked.
        cluster.ingests[1].store.silence_only("fairhook listen");
        set(&one, "blocked").await;
        // What is in force within a second is in force after one.
        tokio::time::sleep(WITHIN).await;
        cluster.ingests[1].go_on();
        assert_eq!(posted(&other).await, 403);
        cluster.ingests[1].store.mend();
        set(&one, "open").await;
        obeyed(&other, 202).await;
    }
}
