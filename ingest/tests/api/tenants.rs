//! Tenants, keys and the kill switch.

use std::time::Duration;

use fairhook_common::time::Timestamp;
use serde_json::{Value, json};

use crate::rig::{ROOT, Rig};

#[tokio::test]
async fn a_tenant_is_made_shown_changed_and_deleted() {
    let rig = Rig::start().await;
    let body = json!({ "name": "Acme & Söhne", "plan": "pro", "metadata": { "crm": 7 } });
    let made = rig.call(ROOT, "POST /v1/tenants", body).await.is(201);
    let slug = made.text("slug");
    assert!(slug.starts_with("acme-s-hne-"), "{slug}");
    assert_eq!((&made.body["plan"], &made.body["weight"]), (&json!("professional"), &json!(2)));
    assert_eq!((&made.body["status"], &made.body["metadata"]), (&json!("active"), &json!({ "crm": 7 })));
    let key = made.text("api_key");
    rig.call(&key, "GET /v1/endpoints", Value::Null).await.is(200);

    let shown = rig.call(ROOT, &format!("GET /v1/tenants/{slug}"), Value::Null).await.is(200);
    assert_eq!(shown.body["api_key"], Value::Null, "a key is shown once");
    assert_eq!(shown.text("id"), made.text("id"));
    assert!(Timestamp::parse(&shown.text("created_at")).is_some());

    let changes = json!({ "weight": 9, "metadata": null, "name": "Acme" });
    let changed = rig.call(ROOT, &format!("PATCH /v1/tenants/{slug}"), changes).await.is(200);
    assert_eq!((&changed.body["weight"], &changed.body["metadata"]), (&json!(9), &json!({})));
    assert_eq!((&changed.body["name"], &changed.body["plan"]), (&json!("Acme"), &json!("professional")));
    let back = rig.call(ROOT, &format!("PATCH /v1/tenants/{slug}"), json!({ "weight": null })).await.is(200);
    assert_eq!(back.body["weight"], 2, "null goes back to the plan's");

    let job = rig.call(ROOT, &format!("DELETE /v1/tenants/{slug}"), Value::Null).await.is(202);
    assert_eq!(job.body["kind"], "delete_tenant");
    let again = rig.call(ROOT, &format!("DELETE /v1/tenants/{slug}"), Value::Null).await.is(202);
    assert_eq!(again.text("id"), job.text("id"), "deleting again answers the same job");
    let put = rig.call(ROOT, &format!("PUT /v1/tenants/{slug}"), json!({ "name": "again" })).await;
    assert_eq!(put.problem(), (409, "already_exists"));
    assert!(put.text("detail").contains("being deleted"), "{put:?}");
    rig.call(ROOT, &format!("GET /v1/jobs/{}", job.text("id")), Value::Null).await.is(200);
    assert_eq!(rig.call(&key, "GET /v1/endpoints", Value::Null).await.problem(), (401, "unauthorized"));
}

#[tokio::test]
async fn put_makes_and_then_replaces_without_a_key() {
    let rig = Rig::start().await;
    let body = json!({ "name": "Acme", "plan": "enterprise", "metadata": { "a": 1 } });
    let made = rig.call(ROOT, "PUT /v1/tenants/acme", body).await.is(201);
    assert_eq!((&made.body["slug"], &made.body["api_key"]), (&json!("acme"), &Value::Null));
    let put = rig.call(ROOT, "PUT /v1/tenants/acme", json!({ "name": "Acme 2" })).await.is(200);
    assert_eq!(put.text("id"), made.text("id"));
    assert_eq!((&put.body["plan"], &put.body["metadata"]), (&json!("starter"), &json!({})));
    let taken = rig.call(ROOT, "POST /v1/tenants", json!({ "name": "x", "slug": "acme" })).await;
    assert_eq!(taken.problem(), (409, "already_exists"));
    let other = rig.call(ROOT, "PUT /v1/tenants/acme", json!({ "name": "x", "slug": "emca" })).await;
    assert_eq!((other.problem(), other.places()), ((400, "invalid_request"), vec!["/slug"]));
    for bad in ["Acme", "a_b", "-a", "00000000-0000-7000-8000-000000000000"] {
        let refused = rig.call(ROOT, &format!("PUT /v1/tenants/{bad}"), json!({ "name": "x" })).await;
        assert_eq!(refused.problem(), (400, "invalid_request"), "{bad}");
    }
    let none = json!({ "name": "No key", "slug": "no-key", "create_key": false });
    assert_eq!(rig.call(ROOT, "POST /v1/tenants", none).await.is(201).body["api_key"], Value::Null);
}

#[tokio::test]
async fn lists_come_in_pages_in_both_orders() {
    let rig = Rig::start().await;
    for i in 0..5 {
        rig.tenant(&format!("t{i}")).await;
    }
    for (order, expected) in
        [("desc", ["t4", "t3", "t2", "t1", "t0"]), ("asc", ["t0", "t1", "t2", "t3", "t4"])]
    {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let call = format!("GET /v1/tenants?limit=2&order={order}{cursor}");
            let page = rig.call(ROOT, &call, Value::Null).await.is(200);
            let data = page.body["data"].as_array().expect("a list");
            assert!(data.len() <= 2);
            seen.extend(data.iter().map(|tenant| tenant["slug"].as_str().expect("a slug").to_owned()));
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, expected);
    }
    let bad = rig.call(ROOT, "GET /v1/tenants?limit=251&cursor=zzz&sort=up", Value::Null).await;
    assert_eq!((bad.problem(), bad.places()), ((400, "invalid_request"), vec!["limit", "cursor", "sort"]));
    let none = rig.call(ROOT, "GET /v1/tenants?to=2020-01-01T00:00:00Z", Value::Null).await.is(200);
    assert_eq!(none.body, json!({ "data": [], "next_cursor": null }));
}

#[tokio::test]
async fn a_key_never_mints_more_than_it_has_and_is_shown_once() {
    let rig = Rig::start().await;
    let (tenant, _) = rig.tenant("acme").await;
    let small = rig.key(&tenant, &["keys:write", "events:read"]).await;
    let refused = rig.call(&small, "POST /v1/keys", json!({ "scopes": ["events:write"] })).await;
    assert_eq!((refused.problem(), &refused.body["scope"]), ((403, "missing_scope"), &json!("events:write")));
    let same = rig.call(&small, "POST /v1/keys", json!({ "name": "child" })).await.is(201);
    assert_eq!(same.body["scopes"], json!(["events:read", "keys:write"]), "all that its maker has");
    let listed = rig.call(&small, "GET /v1/keys", Value::Null).await.is(200);
    assert_eq!(listed.body["data"].as_array().map(Vec::len), Some(3));
    let secret = same.text("api_key");
    assert!(!listed.body.to_string().contains(secret.rsplit('_').next().expect("a secret")));

    let foreign = rig.call(ROOT, "POST /v1/tenants/acme/keys", json!({ "scopes": ["tenants:write"] })).await;
    assert_eq!((foreign.problem(), foreign.places()), ((400, "invalid_request"), vec!["/scopes"]));
    let typo = rig
        .call(ROOT, "POST /v1/tenants/acme/keys", json!({ "scopes": ["events:raed", "keys:write"] }))
        .await;
    assert_eq!((typo.problem(), typo.places()), ((400, "invalid_request"), vec!["/scopes/0"]));
    let past = json!({ "expires_at": "2020-01-01T00:00:00Z", "scopes": [] });
    let past = rig.call(ROOT, "POST /v1/tenants/acme/keys", past).await;
    assert_eq!((past.problem(), past.places()), ((400, "invalid_request"), vec!["/scopes", "/expires_at"]));

    let maker = json!({ "scopes": ["tenants:write"] });
    let maker = rig.call(ROOT, "POST /v1/operator-keys", maker).await.is(201).text("api_key");
    let made = rig.call(&maker, "POST /v1/tenants", json!({ "name": "a" })).await.is(201);
    assert_eq!(made.body["api_key"], Value::Null, "who may not make keys makes none");
    let wanted = rig.call(&maker, "POST /v1/tenants", json!({ "name": "b", "create_key": true })).await;
    assert_eq!(wanted.problem(), (403, "missing_scope"));
}

#[tokio::test]
async fn a_revoked_or_expired_key_is_refused_at_once() {
    let rig = Rig::start().await;
    let (tenant, _) = rig.tenant("acme").await;
    let made = rig.call(ROOT, "POST /v1/tenants/acme/keys", json!({})).await.is(201);
    let key = made.text("api_key");
    rig.call(&key, "GET /v1/events", Value::Null).await.is(200);
    rig.call(ROOT, &format!("DELETE /v1/tenants/acme/keys/{}", made.text("id")), Value::Null).await.is(204);
    let refused = rig.call(&key, "GET /v1/events", Value::Null).await;
    assert_eq!(refused.problem(), (401, "unauthorized"));
    assert!(refused.text("detail").contains("revoked"));
    rig.call(ROOT, &format!("DELETE /v1/tenants/acme/keys/{}", made.text("id")), Value::Null).await.is(204);
    let unknown =
        rig.call(ROOT, "DELETE /v1/tenants/acme/keys/key_00000000000000000000000000", Value::Null).await;
    assert_eq!(unknown.problem(), (404, "not_found"));

    // One that has expired cannot be made through the API.
    let text = fairhook_common::key::KeyText::generate();
    let now = Timestamp::now();
    let expired = fairhook_common::key::ApiKey {
        id: text.id,
        tenant: tenant.parse().ok(),
        name: None,
        scopes: vec![fairhook_common::key::Scope::EventsRead],
        secret_hash: text.hash(),
        created_at: now.before(Duration::from_secs(60)),
        expires_at: Some(now.before(Duration::from_secs(1))),
        revoked_at: None,
    };
    rig.store.add_key(expired).await.expect("kept");
    let refused = rig.call(&text.reveal(), "GET /v1/events", Value::Null).await;
    assert_eq!(refused.problem(), (401, "unauthorized"));
    assert!(refused.text("detail").contains("expired"));

    let (id, _) = key.rsplit_once('_').expect("a key");
    for stranger in [format!("{id}_{}", "0".repeat(52)), "fhk_x".into(), "whatever".into()] {
        let refused = rig.call(&stranger, "GET /v1/events", Value::Null).await;
        assert_eq!(refused.problem(), (401, "unauthorized"));
    }
}

#[tokio::test]
async fn the_kill_switch_is_in_force_at_the_next_request() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let event = json!({ "type": "a.b", "payload": {} });
    rig.call(&key, "POST /v1/events", event.clone()).await.is(202);
    let block = json!({ "ingest": "blocked", "dispatch": "paused", "reason": "unpaid" });
    let blocked = rig.call(ROOT, "PATCH /v1/tenants/acme", block).await.is(200);
    assert_eq!((&blocked.body["ingest"], &blocked.body["reason"]), (&json!("blocked"), &json!("unpaid")));
    let refused = rig.call(&key, "POST /v1/events", event.clone()).await;
    assert_eq!(refused.problem(), (403, "tenant_suspended"));
    rig.call(ROOT, "PATCH /v1/tenants/acme", json!({ "ingest": "open", "reason": null })).await.is(200);
    rig.call(&key, "POST /v1/events", event).await.is(202);
}
