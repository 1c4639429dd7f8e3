//! Postgres goes away under load.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::black_box::{LONG, until};
use crate::harness::{Cluster, Load, Service, Shape, Tally, in_flight};

const OUTAGE: Duration = Duration::from_secs(5);
/// What was committed although the answer was lost with the connection is published by whoever looks after the outbox,
/// which is this late.
const OUTBOX_IS_FINISHED: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_accepted_without_the_store_and_nothing_accepted_is_lost() {
    let cluster = Cluster::start(Shape { ingests: 2, dispatchers: 2, stops_servers: true }).await;
    let acme = cluster.customer("acme", 40, 1, Duration::from_millis(50)).await;
    let load = Load::start(&cluster.doors, [&acme], 40.0);
    acme.receivers[0].wait_for(100, LONG).await;

    let stopped_at = Instant::now();
    cluster.order("kill", Service::Postgres).await;
    let excused = in_flight([&acme], stopped_at);
    let accepted = load.accepted();
    let api = cluster.api();
    let event = json!({"type": "order.paid", "payload": {}});
    let refusal = api.post("/tenants/acme/events", event).await;
    assert_eq!(refusal.status, 503, "{}", refusal.body);
    assert!(refusal.headers.contains_key("retry-after"), "{:?}", refusal.headers);
    tokio::time::sleep(OUTAGE).await;
    assert_eq!(load.accepted(), accepted, "nothing can be made durable");

    cluster.order("start", Service::Postgres).await;
    let again = Tally::of(&acme.receivers).len();
    acme.receivers[0].wait_for(again + 200, LONG).await;
    let answers = load.stop().await;
    println!("{answers:?}");
    assert!(answers.keys().all(|status| [0, 202, 503].contains(status)), "{answers:?}");
    for node in cluster.ingests.iter().chain(&cluster.dispatchers) {
        node.ready().await;
    }
    until("an event is accepted", || acme.ledger.post(&api, json!({}))).await;
    cluster.settle(&acme, OUTBOX_IS_FINISHED, excused).await;
}
