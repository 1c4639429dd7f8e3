//! Plans, and tenants that are of them.

use serde_json::{Value, json};

use crate::rig::{ROOT, Rig};

#[tokio::test]
async fn plans_are_listed_made_changed_and_shown() {
    let rig = Rig::start().await;
    let listed = rig.call(ROOT, "GET /v1/plans", Value::Null).await.is(200);
    let names: Vec<_> =
        listed.body["data"].as_array().expect("a list").iter().map(|plan| plan["name"].clone()).collect();
    assert_eq!(names, ["enterprise", "professional", "starter"]);
    assert_eq!(listed.body.get("next_cursor"), Some(&Value::Null));

    let body = json!({ "weight": 3, "burst": 7, "limits": { "max_endpoints": 0 }, "tier": { "limit": 9 } });
    let made = rig.call(ROOT, "PUT /v1/plans/gold", body).await.is(201);
    let mut expected = json!({
        "name": "gold",
        "weight": 3,
        "limits": { "max_events_per_sec": 100, "burst": 7, "max_concurrent_deliveries": 50, "max_dlq_size": 100,
                    "max_backlog": 100_000, "max_endpoints": 0 },
        "dlq_overflow": "drop_oldest",
        "tier": { "limit": 9, "window": "10 s" },
        "changed_at": made.body["changed_at"],
    });
    assert_eq!(made.body, expected);
    assert_eq!(rig.call(ROOT, "GET /v1/plans/gold", Value::Null).await.is(200).body, expected);

    let body = json!({ "tier": { "window": "1m" }, "dlq_overflow": "reject_new" });
    let changed = rig.call(ROOT, "PUT /v1/plans/gold", body).await.is(200);
    expected["tier"]["window"] = json!("1 min");
    expected["dlq_overflow"] = json!("reject_new");
    expected["changed_at"] = changed.body["changed_at"].clone();
    assert_eq!(changed.body, expected, "what is not named stays");

    let by_alias = rig.call(ROOT, "PUT /v1/plans/pro", json!({ "weight": 5 })).await.is(200);
    assert_eq!((&by_alias.body["name"], &by_alias.body["weight"]), (&json!("professional"), &json!(5)));
    let starter = rig.call(ROOT, "GET /v1/plans/free", Value::Null).await.is(200);
    assert_eq!(
        (&starter.body["name"], &starter.body["tier"]),
        (&json!("starter"), &json!({ "limit": 50, "window": "10 s" }))
    );
    for unknown in ["silver", "Gold", "g_d"] {
        let none = rig.call(ROOT, &format!("GET /v1/plans/{unknown}"), Value::Null).await;
        assert_eq!(none.problem(), (404, "not_found"));
    }
}

#[tokio::test]
async fn bad_plans_change_nothing() {
    let rig = Rig::start().await;
    let before = rig.call(ROOT, "GET /v1/plans", Value::Null).await.is(200).body;
    for (body, place) in [
        (json!({ "weight": 0 }), "/weight"),
        (json!({ "weight": 1_001 }), "/weight"),
        (json!({ "max_events_per_sec": 0 }), "/max_events_per_sec"),
        (json!({ "burst": -1 }), "/burst"),
        (json!({ "burst": null }), "/burst"),
        (json!({ "max_backlog": 1.5 }), "/max_backlog"),
        (json!({ "limits": { "max_dlq_size": 5_000_000_000_u64 } }), "/limits/max_dlq_size"),
        (json!({ "limits": { "bursts": 1 } }), "/limits/bursts"),
        (json!({ "max_endpoints": 2_001 }), "/max_endpoints"),
        (json!({ "dlq_overflow": "drop" }), "/dlq_overflow"),
        (json!({ "tier": 50 }), "/tier"),
        (json!({ "tier": { "limit": 0 } }), "/tier/limit"),
        (json!({ "tier": { "limit": -1 } }), "/tier/limit"),
        (json!({ "tier": { "limit": 18_446_744_073_709_551_615_u64 } }), "/tier/limit"),
        (json!({ "tier": { "window": "0 s" } }), "/tier/window"),
        (json!({ "tier": { "window": "-10 s" } }), "/tier/window"),
        (json!({ "tier": { "window": "25 h" } }), "/tier/window"),
        (json!({ "tier": { "window": "99999999999999999999 s" } }), "/tier/window"),
        (json!({ "tier": { "window": 10 } }), "/tier/window"),
        (json!({ "tier": { "windows": "10 s" } }), "/tier/windows"),
        (json!({ "name": "silver" }), "/name"),
    ] {
        for plan in ["starter", "gold"] {
            let refused = rig.call(ROOT, &format!("PUT /v1/plans/{plan}"), body.clone()).await;
            assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), vec![place]));
        }
    }
    for name in ["Gold", "g_d", "-g", "00000000-0000-7000-8000-000000000000"] {
        let refused = rig.call(ROOT, &format!("PUT /v1/plans/{name}"), json!({})).await;
        assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), vec!["plan"]));
    }
    assert_eq!(rig.call(ROOT, "GET /v1/plans", Value::Null).await.is(200).body, before);
}

#[tokio::test]
async fn plans_are_shown_to_operators() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    for call in ["GET /v1/plans", "GET /v1/plans/starter"] {
        assert_eq!(rig.call(&key, call, Value::Null).await.problem(), (403, "operator_required"), "{call}");
    }
    let reader = json!({ "scopes": ["events:read"] });
    let reader = rig.call(ROOT, "POST /v1/operator-keys", reader).await.is(201).text("api_key");
    rig.call(&reader, "GET /v1/plans/starter", Value::Null).await.is(200);
}

#[tokio::test]
async fn a_changed_plan_is_in_force_at_the_next_request() {
    let rig = Rig::start().await;
    rig.call(ROOT, "PUT /v1/plans/gold", json!({ "max_events_per_sec": 20 })).await.is(201);
    let body = json!({ "name": "Acme", "slug": "acme", "plan": "gold" });
    let key = rig.call(ROOT, "POST /v1/tenants", body).await.is(201).text("api_key");
    let event = json!({ "type": "a.b", "payload": {} });
    let posted = rig.call(&key, "POST /v1/events", event.clone()).await.is(202);
    assert_eq!(posted.header("x-ratelimit-limit"), "20");

    let changes = json!({ "max_events_per_sec": 30, "max_endpoints": 0, "weight": 6 });
    rig.call(ROOT, "PUT /v1/plans/gold", changes).await.is(200);
    let posted = rig.call(&key, "POST /v1/events", event).await.is(202);
    assert_eq!(posted.header("x-ratelimit-limit"), "30");
    let endpoint = json!({ "url": "https://example.com" });
    assert_eq!(rig.call(&key, "POST /v1/endpoints", endpoint).await.problem(), (409, "limit_reached"));
    let shown = rig.call(&key, "GET /v1/quotas/acme", Value::Null).await.is(200);
    assert_eq!((&shown.body["plan"], &shown.body["limits"]["max_endpoints"]), (&json!("gold"), &json!(0)));
    assert_eq!(rig.call(ROOT, "GET /v1/tenants/acme", Value::Null).await.is(200).body["weight"], 6);
}

#[tokio::test]
async fn a_changed_tier_holds_from_the_next_call_on() {
    let rig = Rig::limited("api_requests=off").await;
    let (_, key) = rig.tenant("acme").await;
    let first = rig.call(&key, "GET /v1/endpoints", Value::Null).await.is(200);
    assert_eq!(first.header("ratelimit-policy"), "\"tier\";q=50;w=10");
    rig.call(ROOT, "PUT /v1/plans/starter", json!({ "tier": { "limit": 1, "window": "1 h" } })).await.is(200);
    rig.call(&key, "GET /v1/endpoints", Value::Null).await;
    let refused = rig.call(&key, "GET /v1/endpoints", Value::Null).await;
    assert_eq!(refused.header("ratelimit-policy"), "\"tier\";q=1;w=3600");
    assert_eq!(refused.problem(), (429, "quota_exceeded"));
}

#[tokio::test]
async fn a_plan_that_there_is_not_is_named() {
    let rig = Rig::start().await;
    rig.tenant("acme").await;
    let before = rig.call(ROOT, "GET /v1/tenants/acme", Value::Null).await.is(200).body;
    for (call, mut body) in [
        ("POST /v1/tenants", json!({ "name": "x" })),
        ("PUT /v1/tenants/acme", json!({ "name": "x" })),
        ("PUT /v1/tenants/other", json!({ "name": "x" })),
        ("PATCH /v1/tenants/acme", json!({ "name": "x" })),
        ("PATCH /v1/quotas/acme", json!({ "burst": 7 })),
    ] {
        body["plan"] = json!("gold");
        let refused = rig.call(ROOT, call, body.clone()).await;
        assert_eq!(
            (refused.problem(), refused.places()),
            ((400, "invalid_request"), vec!["/plan"]),
            "{call}"
        );
        assert_eq!(refused.text("detail"), "there is no plan `gold`");
        body["plan"] = json!("Gold plan");
        let refused = rig.call(ROOT, call, body).await;
        assert_eq!(
            (refused.problem(), refused.places()),
            ((400, "invalid_request"), vec!["/plan"]),
            "{call}"
        );
    }
    assert_eq!(rig.call(ROOT, "GET /v1/tenants/acme", Value::Null).await.is(200).body, before);
    let quota = rig.call(ROOT, "GET /v1/quotas/acme", Value::Null).await.is(200);
    assert_eq!(quota.body["limits"]["burst"], 1_000);
}

#[tokio::test]
async fn plan_and_limits_of_a_tenant_change_in_one_step() {
    let rig = Rig::start().await;
    rig.tenant("acme").await;
    let body = json!({ "plan": "pro", "burst": 20, "limits": { "max_endpoints": 3 } });
    let changed = rig.call(ROOT, "PATCH /v1/quotas/acme", body).await.is(200);
    let limits = &changed.body["limits"];
    assert_eq!(changed.body["plan"], "professional");
    assert_eq!(
        (&limits["burst"], &limits["max_endpoints"], &limits["max_backlog"]),
        (&json!(20), &json!(3), &json!(1_000_000))
    );
    let back =
        rig.call(ROOT, "PATCH /v1/quotas/acme", json!({ "plan": "free", "burst": null })).await.is(200);
    assert_eq!((&back.body["plan"], &back.body["limits"]["burst"]), (&json!("starter"), &json!(1_000)));
    assert_eq!(back.body["limits"]["max_endpoints"], 3, "its own limit stays");
}
