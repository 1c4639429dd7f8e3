//! Who may do what: every route, with the right scope, without it, without a key, and as another tenant.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::rig::{ROOT, Rig, filled};

struct Row {
    call: &'static str,
    scope: &'static str,
    body: &'static str,
    status: u16,
}

const fn row(call: &'static str, scope: &'static str, body: &'static str, status: u16) -> Row {
    Row { call, scope, body, status }
}

/// What a tenant may do, under `/v1/tenants/{tenant}`, `/tenants/{tenant}`, `/v1` and the root alike.
const TENANT_CALLS: &[Row] = &[
    row("POST /keys", "keys:write", r#"{"scopes": ["keys:write"]}"#, 201),
    row("GET /keys", "keys:write", "", 200),
    row("DELETE /keys/{key}", "keys:write", "", 204),
    row("POST /endpoints", "endpoints:write", r#"{"url": "https://example.com/"}"#, 201),
    row("PUT /endpoints/my-uid", "endpoints:write", r#"{"url": "https://example.com/"}"#, 201),
    row("GET /endpoints", "endpoints:read", "", 200),
    row("GET /endpoints/{endpoint}", "endpoints:read", "", 200),
    row("PATCH /endpoints/{endpoint}", "endpoints:write", r#"{"description": "x"}"#, 200),
    row("DELETE /endpoints/{endpoint}", "endpoints:write", "", 204),
    row("GET /endpoints/{endpoint}/secret", "secrets:read", "", 200),
    row("POST /endpoints/{endpoint}/secret/rotate", "secrets:read", "", 200),
    row("POST /endpoints/{endpoint}/test", "endpoints:write", "", 202),
    row(
        "POST /sources",
        "endpoints:write",
        r#"{"verification": {"scheme": "none"}, "event_type": {"fixed": "a"}}"#,
        201,
    ),
    row("GET /sources", "endpoints:read", "", 200),
    row("GET /sources/{source}", "endpoints:read", "", 200),
    row("PATCH /sources/{source}", "endpoints:write", r#"{"name": "x"}"#, 200),
    row("DELETE /sources/{source}", "endpoints:write", "", 204),
    row("POST /sources/{source}/token/rotate", "endpoints:write", "", 200),
    row("POST /events", "events:write", r#"{"type": "a.b", "payload": {}}"#, 202),
    row("POST /events/batch", "events:write", r#"{"events": [{"type": "a.b", "payload": 1}]}"#, 202),
    row("GET /events", "events:read", "", 200),
    row("GET /events/{event}", "events:read", "", 200),
    row("GET /deliveries", "events:read", "", 200),
    row("GET /deliveries/{delivery}", "events:read", "", 200),
    row("POST /deliveries/{delivery}/cancel", "replays:write", "", 200),
    row("POST /deliveries/{cancelled}/replay", "replays:write", "", 409),
    row("GET /dead-letters", "events:read", "", 200),
    row("POST /dead-letters/replay", "replays:write", r#"{"type": "a.b"}"#, 202),
    row("POST /dead-letters/purge", "replays:write", r#"{"type": "a.b"}"#, 202),
    row(
        "POST /replays",
        "replays:write",
        r#"{"from": "2026-01-01T00:00:00Z", "to": "2126-01-01T00:00:00Z"}"#,
        202,
    ),
    row("GET /stats", "events:read", "", 200),
    row("GET /conditions", "events:read", "", 200),
    row("GET /jobs", "events:read", "", 200),
    row("GET /jobs/{job}", "events:read", "", 200),
    row("POST /jobs/{job}/cancel", "replays:write", "", 200),
];

const TENANT_SCOPES: [&str; 7] = [
    "events:write",
    "events:read",
    "endpoints:write",
    "endpoints:read",
    "secrets:read",
    "replays:write",
    "keys:write",
];

/// One of everything that a path can name.
async fn objects(rig: &Rig, tenant: &str, key: &str) -> HashMap<&'static str, String> {
    let endpoint = rig.endpoint(key).await;
    let event = json!({ "type": "a.b", "payload": {} });
    let event = rig.call(key, "POST /v1/events", event).await.is(202).text("id");
    let shown = rig.call(key, &format!("GET /v1/events/{event}"), Value::Null).await.is(200);
    let delivery = shown.body["deliveries"][0]["id"].as_str().expect("a delivery").to_owned();
    let test = rig.call(key, &format!("POST /v1/endpoints/{endpoint}/test"), Value::Null).await.is(202);
    let cancelled = test.text("delivery_id");
    rig.call(key, &format!("POST /v1/deliveries/{cancelled}/cancel"), Value::Null).await.is(200);
    let spare = rig.call(key, "POST /v1/keys", json!({ "name": "spare" })).await.is(201).text("id");
    let purge = json!({ "type": "a.b" });
    let job = rig.call(key, "POST /v1/dead-letters/purge", purge).await.is(202).text("id");
    HashMap::from([
        ("tenant", tenant.to_owned()),
        ("endpoint", endpoint),
        ("source", rig.source(key).await),
        ("event", event),
        ("delivery", delivery),
        ("cancelled", cancelled),
        ("key", spare),
        ("job", job),
    ])
}

fn body(row: &Row) -> Value {
    if row.body.is_empty() { Value::Null } else { serde_json::from_str(row.body).expect("JSON") }
}

#[tokio::test]
async fn a_scope_is_needed_and_enough() {
    let rig = Rig::start().await;
    for (i, row) in TENANT_CALLS.iter().enumerate() {
        let (tenant, all) = rig.tenant(&format!("t{i}")).await;
        let objects = objects(&rig, &tenant, &all).await;
        let (method, path) = row.call.split_once(' ').expect("a method");
        let call = filled(&format!("{method} /v1{path}"), &objects);

        let refused = rig.send(&call, &[], row.body).await;
        assert_eq!(refused.problem(), (401, "unauthorized"), "{call}");
        assert!(refused.header("www-authenticate").starts_with("Bearer"), "{call}");

        let others: Vec<_> = TENANT_SCOPES.into_iter().filter(|scope| *scope != row.scope).collect();
        let lacking = rig.key(&tenant, &others).await;
        let refused = rig.call(&lacking, &call, body(row)).await;
        assert_eq!(refused.problem(), (403, "missing_scope"), "{call}");
        assert_eq!(refused.body["scope"], row.scope, "{call}");

        let just_enough = rig.key(&tenant, &[row.scope]).await;
        let answered = rig.call(&just_enough, &call, body(row)).await;
        assert_eq!(answered.status.as_u16(), row.status, "{call}: {answered:?}");
    }
}

#[tokio::test]
async fn an_operator_names_the_tenant_and_both_prefixes_do() {
    let rig = Rig::start().await;
    for (i, row) in TENANT_CALLS.iter().enumerate() {
        let slug = format!("t{i}");
        let (tenant, all) = rig.tenant(&slug).await;
        let objects = objects(&rig, &tenant, &all).await;
        let (method, path) = row.call.split_once(' ').expect("a method");

        let unnamed = rig.call(ROOT, &filled(&format!("{method} /v1{path}"), &objects), body(row)).await;
        if path.starts_with("/jobs/") || path == "/conditions" {
            assert_eq!(unnamed.status, 200, "an operator sees those of any tenant: {unnamed:?}");
            continue;
        }
        // In a batch each event may name its tenant, so that the refusal is each event's.
        let code = if path == "/events/batch" { "invalid_request" } else { "tenant_required" };
        assert_eq!(unnamed.problem(), (400, code), "{path}");

        let prefix = if i % 2 == 0 { "/tenants/" } else { "/v1/tenants/" };
        let call = filled(&format!("{method} {prefix}{slug}{path}"), &objects);
        let answered = rig.call(ROOT, &call, body(row)).await;
        assert_eq!(answered.status.as_u16(), row.status, "{call}: {answered:?}");
    }
}

#[tokio::test]
async fn another_tenants_objects_are_not_there_and_its_name_is_refused() {
    let rig = Rig::start().await;
    let (tenant, key) = rig.tenant("mine").await;
    let (_, stranger) = rig.tenant("stranger").await;
    let objects = objects(&rig, &tenant, &key).await;
    for row in TENANT_CALLS {
        let (method, path) = row.call.split_once(' ').expect("a method");
        if path.contains('{') {
            let call = filled(&format!("{method} /v1{path}"), &objects);
            let answered = rig.call(&stranger, &call, body(row)).await;
            assert_eq!(answered.problem(), (404, "not_found"), "{call}");
        }
        let call = filled(&format!("{method} /v1/tenants/{{tenant}}{path}"), &objects);
        let answered = rig.call(&stranger, &call, body(row)).await;
        assert_eq!(answered.problem(), (403, "wrong_tenant"), "{call}");
    }
    // Nothing of all that did anything.
    let endpoint = filled("GET /v1/endpoints/{endpoint}", &objects);
    rig.call(&key, &endpoint, Value::Null).await.is(200);
    let keys = rig.call(&key, "GET /v1/keys", Value::Null).await.is(200);
    assert_eq!(keys.body["data"].as_array().map(Vec::len), Some(2));
}

const OPERATOR_CALLS: &[Row] = &[
    row("POST /tenants", "tenants:write", r#"{"name": "New"}"#, 201),
    row("PUT /tenants/put-here", "tenants:write", r#"{"name": "Put"}"#, 201),
    row("GET /tenants", "tenants:write", "", 200),
    row("GET /tenants/{tenant}", "tenants:write", "", 200),
    row("PATCH /tenants/{tenant}", "tenants:write", r#"{"name": "Patched"}"#, 200),
    row("PATCH /quotas/{tenant}", "quotas:write", r#"{"burst": 7}"#, 200),
    row("PUT /quotas/{tenant}/overrides/tier", "quotas:write", r#"{"limit": 7, "window": "10 s"}"#, 201),
    row("GET /quotas/{tenant}/overrides", "quotas:write", "", 200),
    row("DELETE /quotas/{tenant}/overrides/tier", "quotas:write", "", 204),
    row("PUT /plans/gold", "quotas:write", r#"{"weight": 7}"#, 201),
    row("POST /operator-keys", "keys:write", r#"{"scopes": ["keys:write"]}"#, 201),
    row("GET /operator-keys", "keys:write", "", 200),
    row("DELETE /operator-keys/{operator_key}", "keys:write", "", 204),
    row("DELETE /tenants/{tenant}", "tenants:write", "", 202),
];

#[tokio::test]
async fn operators_calls_are_for_operators_with_the_scope() {
    let rig = Rig::start().await;
    let (tenant, tenants_key) = rig.tenant("acme").await;
    let spare = rig.call(ROOT, "POST /v1/operator-keys", Value::Null).await.is(201);
    let names = HashMap::from([("tenant", tenant), ("operator_key", spare.text("id"))]);
    for row in OPERATOR_CALLS {
        let (method, path) = row.call.split_once(' ').expect("a method");
        let call = filled(&format!("{method} /v1{path}"), &names);
        assert_eq!(rig.send(&call, &[], row.body).await.problem().0, 401, "{call}");
        let refused = rig.call(&tenants_key, &call, body(row)).await;
        assert_eq!(refused.problem(), (403, "operator_required"), "{call}");

        let lacking = json!({ "scopes": ["events:read", "events:write"] });
        let lacking = rig.call(ROOT, "POST /v1/operator-keys", lacking).await.is(201).text("api_key");
        let refused = rig.call(&lacking, &call, body(row)).await;
        assert_eq!(refused.problem(), (403, "missing_scope"), "{call}");
        assert_eq!(refused.body["scope"], row.scope, "{call}");

        let enough = json!({ "scopes": [row.scope] });
        let enough = rig.call(ROOT, "POST /v1/operator-keys", enough).await.is(201).text("api_key");
        let answered = rig.call(&enough, &call, body(row)).await;
        assert_eq!(answered.status.as_u16(), row.status, "{call}: {answered:?}");
    }
}

#[tokio::test]
async fn a_tenant_is_named_in_four_ways_that_must_agree() {
    let rig = Rig::start().await;
    let (acme, acme_key) = rig.tenant("acme").await;
    let (other, _) = rig.tenant("other").await;
    let uuid = acme.parse::<fairhook_common::ids::TenantId>().expect("an id").uuid().to_string();
    let bearer = format!("Bearer {ROOT}");
    let root = ("authorization", bearer.as_str());
    let get = "GET /v1/endpoints";
    for name in ["acme", &acme, &uuid] {
        rig.send(&format!("GET /v1/tenants/{name}/endpoints"), &[root], "").await.is(200);
        rig.send(get, &[root, ("x-tenant-id", name)], "").await.is(200);
        rig.send(&format!("GET /v1/quotas/{name}"), &[root], "").await.is(200);
        let body = json!({ "url": "https://example.com", "tenant_id": name });
        rig.call(ROOT, "POST /v1/endpoints", body).await.is(201);
    }
    rig.send(get, &[root, ("host", "acme.hooks.test:3000")], "").await.is(200);
    rig.send(get, &[root, ("host", "acme.hooks.test"), ("x-tenant-id", &acme)], "").await.is(200);

    let disagree = [
        rig.send("GET /v1/tenants/acme/endpoints", &[root, ("x-tenant-id", "other")], "").await,
        rig.send(get, &[root, ("x-tenant-id", &acme), ("x-tenant-id", "other")], "").await,
        rig.send(get, &[root, ("x-tenant-id", &acme), ("host", "other.hooks.test")], "").await,
        rig.call(
            ROOT,
            "POST /v1/tenants/acme/endpoints",
            json!({ "url": "https://a.example", "tenant_id": other }),
        )
        .await,
    ];
    for answered in disagree {
        assert_eq!(answered.problem(), (400, "tenant_conflict"));
    }
    for unknown in
        ["nobody", "ten_00000000000000000000000000", "Not A Slug", "00000000-0000-7000-8000-000000000000"]
    {
        let answered = rig.send(get, &[root, ("x-tenant-id", unknown)], "").await;
        assert_eq!(answered.problem(), (404, "unknown_tenant"), "{unknown}");
    }
    // A tenant's key acts for its tenant whatever the ways, and never for another.
    let bearer = format!("Bearer {acme_key}");
    let own = ("authorization", bearer.as_str());
    rig.send(get, &[own, ("x-tenant-id", "acme"), ("host", "acme.hooks.test")], "").await.is(200);
    for foreign in ["other", "nobody", &other] {
        let answered = rig.send(get, &[own, ("x-tenant-id", foreign)], "").await;
        assert_eq!(answered.problem(), (403, "wrong_tenant"), "{foreign}");
    }
}

#[tokio::test]
async fn a_key_makes_none_that_outlives_it() {
    let rig = Rig::start().await;
    rig.tenant("acme").await;
    let made = |key: &str, body: Value| {
        let (rig, key) = (&rig, key.to_owned());
        async move { rig.call(&key, "POST /v1/tenants/acme/keys", body).await }
    };
    let ends = "2999-01-01T00:00:00Z";
    let short = made(ROOT, json!({ "expires_at": ends })).await.is(201);
    let key = short.text("api_key");
    let child = made(&key, Value::Null).await.is(201);
    assert_eq!(child.text("expires_at"), short.text("expires_at"), "the end is inherited");
    let longer = made(&key, json!({ "expires_at": "2999-01-01T00:00:01Z" })).await;
    assert_eq!((longer.problem(), longer.places()), ((400, "invalid_request"), vec!["/expires_at"]));
    made(&key, json!({ "expires_at": "2998-01-01T00:00:00Z" })).await.is(201);
}
