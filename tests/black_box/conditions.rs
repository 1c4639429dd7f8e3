//! What an operator sees of tenants: conditions, the events that tell of them, figures, `top`, and the switch.

use std::time::Duration;

use serde_json::{Value, json};

use crate::alerts::shown_by;
use crate::harness::{Api, Engine, LONG, Options, Receiver, Reply, fairhook, until, until_within};

/// Conditions last a while before they are told of.
const A_WHILE: Duration = Duration::from_secs(90);

/// Runs the command on the engine and returns what it printed; it must succeed.
fn ran(engine: &Engine, words: &[&str]) -> String {
    let at = engine.api.base();
    let output = tokio::task::block_in_place(|| {
        let command = &mut fairhook();
        command.args(words).args(["--url", at]).arg("--data-dir").arg(&engine.data_dir).output()
    });
    let output = output.expect("it runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

async fn held(api: &Api, condition: &str) -> Option<Value> {
    api.list("/conditions").await.into_iter().find(|one| one["condition"] == condition)
}

/// How many tenants are in these conditions, as the metrics say.
async fn counted<const N: usize>(engine: &Engine, conditions: [&str; N]) -> [Option<f64>; N] {
    let shown = shown_by(engine).await;
    conditions.map(|condition| {
        let series = format!("fairhook_tenants_in_condition{{condition=\"{condition}\"}} ");
        shown.lines().find_map(|line| line.strip_prefix(&series)).and_then(|number| number.parse().ok())
    })
}

/// What an event said, once it has arrived.
async fn told(operator: &Receiver, event_type: &str) -> Value {
    let arrived = until_within(A_WHILE, event_type, || async {
        operator.arrivals().into_iter().find(|one| one.header("webhook-event-type") == event_type)
    });
    serde_json::from_slice(&arrived.await.body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_noisy_tenant_is_named_told_of_paused_and_forgotten() {
    let operator = Receiver::good().await;
    let url = operator.url();
    let engine = Engine::start_with(Options::args(&["--slots", "40", "--operator-webhook-url", &url])).await;
    let hanging = Receiver::scripted(|_| Reply::late(Duration::from_secs(600))).await;
    let good = Receiver::good().await;
    for (tenant, receiver) in [("bad", &hanging), ("good", &good)] {
        engine.api.tenant(tenant).await;
        engine.api.endpoint(tenant, &receiver.url(), json!({"timeout_ms": 60_000})).await;
    }
    let event = json!({"type": "order.paid", "payload": {}});
    for _ in 0..60 {
        engine.api.post("/tenants/bad/events", event.clone()).await.expect(202);
    }
    let beside = async {
        loop {
            engine.api.post("/tenants/good/events", event.clone()).await.expect(202);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let seen = async {
        let raised = until_within(A_WHILE, "it is noisy", || held(&engine.api, "tenant.noisy")).await;
        assert_eq!((&raised["tenant"], &raised["cleared_at"]), (&json!("bad"), &Value::Null), "{raised}");
        let told = told(&operator, "fairhook.tenant.noisy").await;
        assert_eq!((&told["id"], &told["remedy"]), (&raised["id"], &json!("fairhook tenant pause bad")));
        engine.prints("condition raised: bad uses").await;

        let stats = engine.api.get("/tenants/bad/stats").await.expect(200);
        assert!(stats["in_flight"].as_u64() >= Some(2) && stats["waiting"].as_u64() >= Some(1), "{stats}");
        assert!(stats["slot_share"].as_f64() > Some(0.5), "{stats}");
        assert_eq!(stats["drain"]["predicted_s"], Value::Null, "nothing of it ends: {stats}");
        assert_eq!(stats["conditions"][0]["condition"], "tenant.noisy", "{stats}");
        let stats = until("the good one's figures", || async {
            let stats = engine.api.get("/tenants/good/stats").await.expect(200);
            (stats["deliveries_per_s"].as_f64() > Some(1.0)).then_some(stats)
        });
        let stats = stats.await;
        assert_eq!((&stats["error_rate"], &stats["hurt"]), (&json!(0.0), &json!(false)), "{stats}");
        assert!(stats["dispatch_delay_ms"].is_number(), "{stats}");

        let top = ran(&engine, &["top", "--once"]);
        for part in ["CULPRIT  bad: uses ", "to pause it: fairhook tenant pause bad", "Nobody else is hurt"] {
            assert!(top.contains(part), "{part} is missing in\n{top}");
        }
        let paused = ran(&engine, &["tenant", "pause", "bad", "--reason", "it hangs"]);
        assert!(paused.contains("fairhook tenant resume bad"), "{paused}");
        let tenant = engine.api.get("/tenants/bad").await.expect(200);
        assert_eq!((&tenant["dispatch"], &tenant["reason"]), (&json!("paused"), &json!("it hangs")));
        ran(&engine, &["tenant", "resume", "bad"]);
        assert_eq!(engine.api.get("/tenants/bad").await.expect(200)["dispatch"], "open");
        // What is in flight hangs on until its timeout, unless its tenant goes.
        engine.api.delete("/tenants/bad").await.expect(202);
    };
    tokio::select! {
        () = seen => {}
        () = beside => {}
    }
    let cleared = told(&operator, "fairhook.tenant.noisy.cleared").await;
    assert!(cleared["cleared_at"].is_string(), "{cleared}");
    engine.prints("condition cleared").await;
    until("it is forgotten", || async { held(&engine.api, "tenant.noisy").await.is_none().then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_dead_letters_and_disabled_endpoints_are_told_of_over_a_restart_once() {
    let operator = Receiver::good().await;
    let engine = Engine::start().await;
    // The operator's own endpoint, made by the API.
    engine.api.tenant("fairhook-operator").await;
    engine.api.endpoint("fairhook-operator", &operator.url(), json!({"event_types": ["fairhook.*"]})).await;
    let dead = Receiver::scripted(|_| Reply::status(410)).await;
    engine.api.tenant("acme").await;
    let quotas = json!({"max_dlq_size": 1, "max_endpoints": 1});
    engine.api.patch("/quotas/acme", quotas).await.expect(200);
    let endpoint = engine.api.endpoint("acme", &dead.url(), json!({})).await;
    engine.api.post("/tenants/acme/events", json!({"type": "order.paid", "payload": {}})).await.expect(202);

    let disabled = told(&operator, "fairhook.endpoint.disabled").await;
    assert_eq!(
        (&disabled["endpoint_id"], &disabled["reason"]),
        (&endpoint["id"], &json!("gone")),
        "{disabled}"
    );
    let dlq = told(&operator, "fairhook.dlq.warning").await;
    assert_eq!((&dlq["value"], &dlq["limit"]), (&json!(1.0), &json!(1.0)), "{dlq}");
    let quota = told(&operator, "fairhook.quota.warning").await;
    assert_eq!((&quota["tenant"], &quota["quota"]), (&json!("acme"), &json!("endpoints")), "{quota}");
    let key = engine.api.post("/tenants/acme/keys", json!({"scopes": ["events:read"]})).await.expect(201);
    let own = engine.api.with_key(key["api_key"].as_str().expect("a key"));
    assert_eq!(own.list("/conditions").await.len(), 3, "a tenant sees its own");
    let three = ["endpoint.disabled", "dlq.warning", "quota.warning"];
    assert_eq!(counted(&engine, three).await, [Some(1.0); 3]);

    let engine = engine.terminate().await.1.start_again().await;
    let changes = json!({"max_dlq_size": null, "max_endpoints": null});
    engine.api.patch("/quotas/acme", changes).await.expect(200);
    for event_type in ["fairhook.dlq.warning.cleared", "fairhook.quota.warning.cleared"] {
        told(&operator, event_type).await;
    }
    assert_eq!(counted(&engine, three).await, [Some(1.0), Some(0.0), Some(0.0)]);
    let left: Vec<_> = engine.api.list("/conditions").await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((&left[0]["id"], &left[0]["condition"]), (&disabled["id"], &json!("endpoint.disabled")));
    let path = format!("/tenants/acme/endpoints/{}", endpoint["id"].as_str().expect("an id"));
    engine.api.patch(&path, json!({"status": "active"})).await.expect(200);
    told(&operator, "fairhook.endpoint.disabled.cleared").await;
    assert_eq!(counted(&engine, three).await, [Some(0.0); 3]);
    operator.wait_for(6, LONG).await;
    let mut types: Vec<_> =
        operator.arrivals().iter().map(|one| one.header("webhook-event-type").to_owned()).collect();
    types.sort();
    types.dedup();
    assert_eq!((types.len(), operator.arrivals().len()), (6, 6), "each is told of once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_what_fails_and_what_dies_is_in_a_tenants_figures() {
    let engine = Engine::start().await;
    let failing = Receiver::scripted(|_| Reply::status(500)).await;
    engine.api.tenant("acme").await;
    engine.api.patch("/quotas/acme", json!({"max_events_per_sec": 1, "burst": 1})).await.expect(200);
    engine.api.endpoint("acme", &failing.url(), json!({"retry": {"schedule_s": []}})).await;
    let stats = until("the figures of what was posted", || async {
        // The next one is refused until a second has passed.
        engine.api.post("/tenants/acme/events", json!({"type": "order.paid", "payload": {}})).await;
        let stats = engine.api.get("/tenants/acme/stats").await.expect(200);
        let rates = ["events_per_s", "throttled_per_s", "attempts_per_s", "error_rate", "dead_per_s"];
        rates.iter().all(|rate| stats[*rate].as_f64() > Some(0.0)).then_some(stats)
    });
    let stats = stats.await;
    assert_eq!((&stats["error_rate"], &stats["deliveries_per_s"]), (&json!(1.0), &json!(0.0)), "{stats}");
    assert!(stats["dead_letters"].as_u64() > Some(0), "{stats}");
}
