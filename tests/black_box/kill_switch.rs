//! An operator stops a tenant; it is in force within a second.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Engine, LONG, Ledger, Receiver, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_tenant_is_refused_within_a_second_and_others_are_not() {
    let (engine, receiver) = (Engine::start().await, Receiver::good().await);
    for tenant in ["bad", "good"] {
        engine.api.tenant(tenant).await;
        engine.api.endpoint(tenant, &receiver.url(), json!({})).await;
    }
    let event = json!({"type": "order.paid", "payload": {}});
    engine.api.post("/tenants/bad/events", event.clone()).await.expect(202);
    let blocked = json!({"ingest": "blocked", "reason": "floods us"});
    engine.api.patch("/tenants/bad", blocked).await.expect(200);
    let since = Instant::now();
    let told = engine.prints("kill switch was set").await;
    for part in
        ["WARN", "caller=operator_key", "tenant.slug=\"bad\"", "ingest=\"blocked\"", "reason=\"floods us\""]
    {
        assert!(told.contains(part), "{told} lacks {part}");
    }
    let refusal = until("the tenant is refused", || async {
        let answer = engine.api.post("/tenants/bad/events", event.clone()).await;
        (answer.status != 202).then_some(answer)
    });
    assert_eq!(refusal.await.problem(403), "tenant_suspended");
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    engine.api.post("/tenants/good/events", event.clone()).await.expect(202);
    engine.api.patch("/tenants/bad", json!({"ingest": "open"})).await.expect(200);
    until("the tenant is heard again", || async {
        (engine.api.post("/tenants/bad/events", event.clone()).await.status == 202).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_tenants_deliveries_are_held_and_go_out_once_it_is_open() {
    let (engine, receiver) = (Engine::start().await, Receiver::good().await);
    engine.api.tenant("acme").await;
    engine.api.endpoint("acme", &receiver.url(), json!({})).await;
    engine.api.patch("/tenants/acme", json!({"dispatch": "paused"})).await.expect(200);
    // What is in force within a second is in force after one.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ledger = Ledger::new("acme");
    for number in 0..20 {
        ledger.post(&engine.api, json!({"n": number})).await.expect("accepted");
    }
    let path = "/tenants/acme/deliveries?status=held";
    until("all are held", || async { (engine.api.list(path).await.len() == 20).then_some(()) }).await;
    assert!(receiver.arrivals().is_empty(), "nothing goes out");
    engine.api.patch("/tenants/acme", json!({"dispatch": "open"})).await.expect(200);
    receiver.wait_for(20, LONG).await;
    ledger.settled(&engine.api).await;
    let standing = ledger.account(&engine.api, Some(&receiver)).await;
    assert_eq!(standing["delivered"], 20, "{standing:?}");
}
