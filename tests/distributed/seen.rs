//! What dispatchers count, one of them watches, and an ingest shows.

use std::time::Duration;

use serde_json::{Value, json};

use crate::black_box::{LONG, Receiver, Reply, until, until_within};
use crate::harness::{Cluster, Load, Shape};

/// More than a hundredth of the slots of two dispatchers.
const HANGING: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn a_noisy_tenant_is_seen_over_all_processes_and_whoever_watches_next_goes_on() {
    let mut cluster = Cluster::start(Shape { ingests: 2, dispatchers: 2, stops_servers: false }).await;
    let operator = Receiver::good().await;
    let api = cluster.api();
    api.tenant("fairhook-operator").await;
    api.endpoint("fairhook-operator", &operator.url(), json!({})).await;
    let good = cluster.customer("good", 20, 1, Duration::ZERO).await;
    let hanging = Receiver::scripted(|_| Reply::late(Duration::from_secs(600))).await;
    api.tenant("bad").await;
    for _ in 0..4 {
        api.endpoint("bad", &hanging.url(), json!({"timeout_ms": 60_000})).await;
    }
    let load = Load::start(&cluster.doors, [&good], 10.0);
    for _ in 0..HANGING {
        api.post("/tenants/bad/events", json!({"type": "order.paid", "payload": {}})).await.expect(202);
    }
    let told = |event_type: &'static str| {
        let operator = &operator;
        until_within(LONG * 2, event_type, move || async move {
            let arrivals = operator.arrivals();
            let found = arrivals.iter().find(|one| one.header("webhook-event-type") == event_type);
            found.map(|one| serde_json::from_slice::<Value>(&one.body).expect("JSON"))
        })
    };
    let raised = told("fairhook.tenant.noisy").await;
    assert_eq!(raised["tenant"], "bad", "{raised}");
    for node in &cluster.ingests {
        let api = node.api.clone().expect("an ingest has an API");
        let held = api.list("/conditions").await;
        assert!(held.iter().any(|one| one["id"] == raised["id"]), "any ingest shows it: {held:?}");
        let stats = until("the figures of both dispatchers", || async {
            let stats = api.get("/tenants/bad/stats").await.expect(200);
            (stats["slot_seconds_per_s"].as_f64() > Some(40.0)).then_some(stats)
        });
        let stats = stats.await;
        assert!(stats["slot_share"].as_f64() > Some(0.9), "{stats}");
        let top = api.get("/top").await.expect(200);
        assert_eq!(top["tenants"][0]["tenant"], "bad", "{top}");
        // As many as either may use now: fewer than it has while the machine is busy.
        assert!(top["slots"].as_u64() > Some(0), "{top}");
    }
    // Perhaps the one that watches, perhaps the other.
    cluster.dispatchers.remove(0).kill().await;
    api.delete("/tenants/bad").await.expect(202);
    let cleared = told("fairhook.tenant.noisy.cleared").await;
    assert_eq!(cleared["id"], raised["id"], "it is the same");
    let noisy = |one: &&Value| one["condition"] == "tenant.noisy" && one["cleared_at"].is_null();
    let told: Vec<Value> =
        operator.arrivals().iter().map(|one| serde_json::from_slice(&one.body).expect("JSON")).collect();
    assert_eq!(told.iter().filter(noisy).count(), 1, "it was raised once");
    load.stop().await;
    cluster.settle(&good, LONG * 2, usize::MAX).await;
}
