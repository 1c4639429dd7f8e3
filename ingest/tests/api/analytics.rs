//! What limits did.

use std::time::Duration;

use fairhook_common::ids::TenantId;
use fairhook_common::store::{CountedBy, LimitCount, Tally};
use fairhook_common::time::Timestamp;
use serde_json::{Value, json};

use crate::rig::{ROOT, Rig};

const LIMITS: &str = "GET /v1/analytics/limits";

#[tokio::test]
async fn what_was_just_refused_is_seen_with_its_route() {
    let rig = Rig::start().await;
    let (acme, key) = rig.tenant("acme").await;
    rig.call(ROOT, "PATCH /v1/quotas/acme", json!({ "max_backlog": 0 })).await.is(200);
    for _ in 0..3 {
        rig.call(&key, "POST /v1/tenants/acme/events", json!({ "type": "a.b", "payload": 1 })).await.is(429);
    }
    rig.call(&key, "POST /events", json!({ "type": "a.b", "payload": 1 })).await.is(429);
    rig.call(&key, "GET /v1/nowhere", Value::Null).await.is(404);
    let seen = rig.call(ROOT, LIMITS, Value::Null).await.is(200);
    assert_eq!((&seen.body["total_requests"], &seen.body["blocked_requests"]), (&json!(7), &json!(4)));
    assert_eq!(seen.body["blocked_by_policy"], json!({ "backlog": 4 }));
    let tenants = json!([{ "tenant_id": acme, "slug": "acme", "total": 5, "blocked": 4 }]);
    assert_eq!(seen.body["top_tenants"], tenants);
    let routes = seen.body["top_routes"].as_array().expect("a list");
    let first = json!({ "route": "POST /v1/tenants/{tenant}/events", "total": 3, "blocked": 3 });
    assert_eq!((routes.len(), &routes[0]), (5, &first), "{routes:?}");
    assert!(routes.contains(&json!({ "route": "POST /v1/events", "total": 1, "blocked": 1 })), "{routes:?}");
    let refused = rig.call(&key, LIMITS, Value::Null).await;
    assert_eq!(refused.problem(), (403, "operator_required"));
}

/// One key for all customers is how a backend begins: what it is refused is seen with the tenant for which it asked.
#[tokio::test]
async fn an_operators_request_counts_for_its_tenant_and_a_batchs_events_for_the_policy() {
    let rig = Rig::start().await;
    let (acme, _) = rig.tenant("acme").await;
    let slow = json!({ "max_events_per_sec": 1, "burst": 2 });
    rig.call(ROOT, "PATCH /v1/quotas/acme", slow).await.is(200);
    let event = json!({ "type": "a.b", "payload": 1 });
    let batch = json!({ "tenant_id": "acme", "events": vec![event.clone(); 900] });
    rig.call(ROOT, "POST /v1/events/batch", batch).await.is(202);
    let named = json!({ "tenant_id": "acme", "type": "a.b", "payload": 1 });
    let (mut refused, mut asked) = (0, 2);
    while refused < 2 {
        refused += u64::from(rig.call(ROOT, "POST /v1/events", named.clone()).await.status == 429);
        asked += 1;
    }
    let seen = rig.call(ROOT, LIMITS, Value::Null).await.is(200);
    assert_eq!(seen.body["blocked_requests"], 2, "the batch was taken in part");
    let events = seen.body["blocked_by_policy"]["events"].as_u64().expect("a number");
    // Every second of a slow machine lets one more pass.
    assert!((850..=900).contains(&events), "{events} of 900, but for one a second");
    let tenants = json!([{ "tenant_id": acme, "slug": "acme", "total": asked, "blocked": 2 }]);
    assert_eq!(seen.body["top_tenants"], tenants);
}

#[tokio::test]
async fn a_span_of_minutes_is_looked_at_and_tenants_are_named() {
    let rig = Rig::start().await;
    let (acme, _) = rig.tenant("acme").await;
    let gone = TenantId::generate().to_string();
    let count =
        |by, name: &str, total| LimitCount { by, name: name.into(), tally: Tally { total, blocked: 2 } };
    let minute = Timestamp::parse("2026-01-31T12:00:00Z").expect("a time");
    let mut counts = vec![
        count(CountedBy::Route, "GET /v1/jobs", 30),
        count(CountedBy::Policy, "tier", 2),
        count(CountedBy::Tenant, &acme, 20),
        count(CountedBy::Tenant, &gone, 10),
    ];
    counts.extend((0..12).map(|n| count(CountedBy::Route, &format!("GET /v1/{n}"), n)));
    rig.store.add_limit_counts(minute, &counts).await.expect("added");
    rig.store.add_limit_counts(minute.before(Duration::from_secs(60)), &counts).await.expect("added");
    let call = format!("{LIMITS}?from=2026-01-31T12:00:59Z&to=2026-01-31T12:01:00Z");
    let seen = rig.call(ROOT, &call, Value::Null).await.is(200);
    assert_eq!(
        (seen.text("from"), seen.text("to")),
        ("2026-01-31T12:00:00.000Z".into(), "2026-01-31T12:01:00.000Z".into())
    );
    assert_eq!(
        (&seen.body["total_requests"], &seen.body["blocked_by_policy"]),
        (&json!(96), &json!({ "tier": 2 }))
    );
    assert_eq!(seen.body["top_routes"].as_array().map(Vec::len), Some(10));
    let tenants = json!([
        { "tenant_id": acme, "slug": "acme", "total": 20, "blocked": 2 },
        { "tenant_id": gone, "slug": null, "total": 10, "blocked": 2 },
    ]);
    assert_eq!(seen.body["top_tenants"], tenants);
    for (query, parameter) in [
        ("from=2026-01-31T12:00:00Z&to=2026-01-31T12:00:00Z", "from"),
        ("from=2026-01-31T12:00:00Z&to=2026-02-07T12:00:01Z", "from"),
        ("from=yesterday", "from"),
        ("form=2026-01-31T12:00:00Z", "form"),
    ] {
        let refused = rig.call(ROOT, &format!("{LIMITS}?{query}"), Value::Null).await;
        assert_eq!(
            (refused.problem(), refused.places()),
            ((400, "invalid_request"), vec![parameter]),
            "{query}"
        );
    }
}
