//! Quotas.

use serde_json::{Value, json};

use crate::rig::{ROOT, Rig};

#[tokio::test]
async fn quotas_are_shown_changed_and_given_back_to_the_plan() {
    let rig = Rig::start().await;
    let (tenant, key) = rig.tenant("acme").await;
    rig.endpoint(&key).await;
    for _ in 0..2 {
        rig.call(&key, "POST /v1/events", json!({ "type": "a.b", "payload": 1 })).await.is(202);
    }
    let shown = rig.call(&key, "GET /v1/quotas/acme", Value::Null).await.is(200);
    assert_eq!((shown.text("tenant_id"), shown.text("plan")), (tenant, "starter".to_owned()));
    assert_eq!(
        shown.body["limits"],
        json!({ "max_events_per_sec": 100, "burst": 1000, "max_concurrent_deliveries": 50, "max_dlq_size": 100,
                "max_backlog": 100_000, "max_endpoints": 50 })
    );
    assert_eq!((&shown.body["dlq_overflow"], &shown.body["overrides"]), (&json!("drop_oldest"), &json!([])));
    let (usage, left) = (&shown.body["current_usage"], &shown.body["remaining"]);
    assert_eq!((&usage["backlog"], &left["backlog"]), (&json!(2), &json!(99_998)));
    assert_eq!((&usage["endpoints"], &left["endpoints"]), (&json!(1), &json!(49)));
    assert_eq!((&usage["dlq_count"], &usage["concurrent_deliveries"]), (&json!(0), &json!(0)));
    let (sent, events) = (usage["events_sent"].as_u64(), left["events"].as_u64());
    assert_eq!(sent.zip(events).map(|(sent, left)| sent + left), Some(100));
    let burst = left["burst"].as_u64().expect("a number");
    assert!((998..=1_000).contains(&burst), "{burst} of 1,000 after two");

    let changes = json!({ "max_dlq_size": 5, "burst": 20, "dlq_overflow": "reject_new" });
    let changed = rig.call(ROOT, "PATCH /v1/quotas/acme", changes).await.is(200);
    assert_eq!(
        (&changed.body["limits"]["max_dlq_size"], &changed.body["dlq_overflow"]),
        (&json!(5), &json!("reject_new"))
    );
    let nested = json!({ "limits": { "max_dlq_size": null, "max_endpoints": 0 } });
    let nested = rig.call(ROOT, "PATCH /v1/quotas/acme", nested).await.is(200);
    let limits = &nested.body["limits"];
    assert_eq!(
        (&limits["max_dlq_size"], &limits["burst"], &limits["max_endpoints"]),
        (&json!(100), &json!(20), &json!(0))
    );
    let full = rig.call(&key, "POST /v1/endpoints", json!({ "url": "https://example.com" })).await;
    assert_eq!(full.problem(), (409, "limit_reached"));
}

#[tokio::test]
async fn the_plan_and_rates_of_policies_change_in_one_step() {
    let rig = Rig::limited("").await;
    let (_, key) = rig.tenant("acme").await;
    let shown = rig.call(&key, "GET /v1/quotas/acme", Value::Null).await.is(200);
    let rate = |limit: u32, window: &str| json!({ "limit": limit, "window": window });
    let of_starter = json!({ "tier": rate(50, "10 s"), "api_requests": rate(1_000, "1 min"), "events_per_day": null,
                             "bytes_per_minute": null });
    assert_eq!(shown.body["policies"], of_starter);

    let changes = json!({ "plan": "pro", "policies": { "api_requests": rate(1, "1 h"), "events_per_day": rate(2, "1 d") } });
    let changed = rig.call(ROOT, "PATCH /v1/quotas/acme", changes).await.is(200);
    let policies = &changed.body["policies"];
    assert_eq!((&changed.body["plan"], &policies["tier"]), (&json!("professional"), &rate(200, "10 s")));
    assert_eq!((&policies["api_requests"], &policies["events_per_day"]), (&rate(1, "1 h"), &rate(2, "1 d")));
    let event = async || rig.call(&key, "POST /v1/events", json!({ "type": "a.b", "payload": 1 })).await;
    for _ in 0..2 {
        assert!(event().await.is(202).header("ratelimit-policy").contains("\"events_per_day\";q=2;w=86400"));
    }
    assert_eq!(event().await.body["violated-policies"], json!(["events_per_day"]));

    // An override comes before what the tenant has for good, and that comes back.
    rig.call(ROOT, "PUT /v1/quotas/acme/overrides/events_per_day", rate(9, "1 d")).await.is(201);
    event().await.is(202);
    rig.call(ROOT, "DELETE /v1/quotas/acme/overrides/events_per_day", Value::Null).await.is(204);
    assert_eq!(event().await.problem(), (429, "quota_exceeded"));

    let back = json!({ "policies": { "events_per_day": null } });
    let back = rig.call(ROOT, "PATCH /v1/quotas/acme", back).await.is(200);
    let policies = &back.body["policies"];
    assert_eq!((&policies["events_per_day"], &policies["api_requests"]), (&Value::Null, &rate(1, "1 h")));
    event().await.is(202);
}

/// When the burst is used up there are fewer left than the second's events less those sent.
#[tokio::test]
async fn what_was_sent_is_counted_and_not_inferred_from_what_is_left() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    rig.call(ROOT, "PATCH /v1/quotas/acme", json!({ "burst": 1 })).await.is(200);
    rig.call(&key, "POST /v1/events", json!({ "type": "a.b", "payload": 1 })).await.is(202);
    let shown = rig.call(&key, "GET /v1/quotas/acme", Value::Null).await.is(200);
    let sent = shown.body["current_usage"]["events_sent"].as_u64().expect("a number");
    assert!(sent <= 1, "{sent} of one");
}

#[tokio::test]
async fn bad_limits_change_nothing() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    for (body, place) in [
        (json!({ "max_events_per_sec": 0 }), "/max_events_per_sec"),
        (json!({ "burst": -1 }), "/burst"),
        (json!({ "burst": "many" }), "/burst"),
        (json!({ "max_backlog": 1.5 }), "/max_backlog"),
        (json!({ "max_dlq_size": 5_000_000_000_u64 }), "/max_dlq_size"),
        (json!({ "max_endpoints": 2_001 }), "/max_endpoints"),
        (json!({ "dlq_overflow": "drop" }), "/dlq_overflow"),
        (json!({ "max_dlq": 1, "burst": 1 }), "/max_dlq"),
        (json!({ "limits": { "bursts": 1 } }), "/limits/bursts"),
        (json!({ "burst": 1, "limits": { "burst": 2 } }), "/limits/burst"),
        (json!({ "burst": 1, "limits": { "burst": null } }), "/limits/burst"),
        (
            json!({ "dlq_overflow": "reject_new", "limits": { "dlq_overflow": "drop_oldest" } }),
            "/limits/dlq_overflow",
        ),
        (json!({ "policies": { "tiers": null } }), "/policies/tiers"),
        (json!({ "policies": { "events": { "limit": 1, "window": "1 s" } } }), "/policies/events"),
        (json!({ "policies": { "tier": { "limit": 0, "window": "1 s" } } }), "/policies/tier/limit"),
        (json!({ "policies": { "tier": { "limit": 1, "window": "0 s" } } }), "/policies/tier/window"),
        (json!({ "policies": { "tier": { "limit": 1 } } }), "/policies/tier/window"),
    ] {
        let refused = rig.call(ROOT, "PATCH /v1/quotas/acme", body).await;
        assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), vec![place]));
    }
    let shown = rig.call(&key, "GET /v1/quotas/acme", Value::Null).await.is(200);
    assert_eq!(shown.body["limits"]["burst"], 1000);
    let own = rig.call(&key, "PATCH /v1/quotas/acme", json!({ "burst": 1 })).await;
    assert_eq!(own.problem(), (403, "operator_required"));
    rig.tenant("other").await;
    assert_eq!(rig.call(&key, "GET /v1/quotas/other", Value::Null).await.problem(), (403, "wrong_tenant"));
}
