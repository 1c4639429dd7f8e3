//! `kill -9` of one process while the others go on.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::black_box::LONG;
use crate::harness::{Cluster, Load, Shape, Tally, in_flight};

/// A killed dispatcher's claims come back by their lease and the longest attempt, which is the longest that anything takes.
const CLAIMS_COME_BACK: Duration = Duration::from_secs(240);
/// A killed ingest's outbox is finished by another process after this and the look for it.
const OUTBOX_IS_FINISHED: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_killed_in_mid_delivery_loses_nothing() {
    let mut cluster = Cluster::start(Shape { ingests: 1, dispatchers: 2, stops_servers: false }).await;
    let acme = cluster.customer("acme", 40, 1, Duration::from_millis(300)).await;
    let load = Load::start(&cluster.doors, [&acme], 40.0);
    acme.receivers[0].wait_for(100, LONG).await;
    let killed_at = Instant::now();
    cluster.dispatchers.remove(0).kill().await;
    let excused = in_flight([&acme], killed_at);
    assert!(excused > 0, "it was in mid-delivery");
    // The other one takes the rest, and what comes meanwhile.
    acme.receivers[0].wait_for(300, LONG).await;
    let answers = load.stop().await;
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&202], "an ingest does not notice: {answers:?}");
    cluster.settle(&acme, CLAIMS_COME_BACK, excused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_killed_between_commit_and_publish_loses_nothing() {
    let mut cluster = Cluster::start(Shape { ingests: 2, dispatchers: 1, stops_servers: false }).await;
    let acme = cluster.customer("acme", 40, 1, Duration::ZERO).await;
    // The settings are known everywhere, and the way is open.
    let first = cluster.take_ingest(0);
    let api = first.api.clone().expect("an ingest has an API");
    acme.ledger.post(&api, json!({"n": 0})).await.expect("accepted");
    acme.receivers[0].wait_for(1, LONG).await;
    first.broker.silence();
    for n in 1..=50 {
        acme.ledger.post(&api, json!({"n": n})).await.expect("accepted, for it is committed");
    }
    first.kill().await;
    let published = Tally::of(&acme.receivers).len();
    assert!(published < 50, "what could not be published has not arrived: {published}");
    println!("{} of 51 arrived before the kill", published);
    cluster.settle(&acme, OUTBOX_IS_FINISHED, 0).await;
}
