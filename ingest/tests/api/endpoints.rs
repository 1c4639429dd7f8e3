//! Endpoints: what can be set, what is refused, and what is never shown.

use fairhook_common::endpoint::{EndpointStatus, StatusReason};
use fairhook_common::store::EndpointChanges;
use fairhook_common::time::Timestamp;
use serde_json::{Value, json};

use crate::rig::{ROOT, Rig};

#[tokio::test]
async fn an_endpoint_is_made_with_its_defaults_and_its_secret_once() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let made =
        rig.call(&key, "POST /v1/endpoints", json!({ "url": "https://example.com/hook" })).await.is(201);
    assert!(made.text("id").starts_with("ep_") && made.text("secret").starts_with("whsec_"));
    let expected = json!({
        "uid": null, "url": "https://example.com/hook", "event_types": ["*"], "description": null,
        "metadata": null, "headers": [], "rate_limit_per_s": null, "timeout_ms": 15_000, "body": "raw",
        "status": "active", "status_reason": null, "circuit": "closed", "failing_since": null,
        "retry": { "schedule_s": [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400], "jitter": 0.2 },
    });
    for (member, value) in expected.as_object().expect("an object") {
        assert_eq!(&made.body[member], value, "{member}");
    }
    let path = format!("GET /v1/endpoints/{}", made.text("id"));
    let shown = rig.call(&key, &path, Value::Null).await.is(200);
    assert_eq!(shown.body["secret"], Value::Null);
    let secret = rig.call(&key, &format!("{path}/secret"), Value::Null).await.is(200);
    assert_eq!(secret.body, json!({ "secret": made.text("secret"), "previous": null }));
}

#[tokio::test]
async fn everything_can_be_set_and_header_values_are_never_shown() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let body = json!({
        "url": "https://example.com:8443/a?b=c", "uid": "billing", "event_types": ["order.*", "user.made"],
        "description": "Billing", "metadata": { "team": "b" }, "rate_limit_per_s": 5, "timeout_ms": 2_500,
        "headers": { "Authorization": "Bearer hidden-value", "X-Env": "prod" }, "body": "envelope",
        "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "retry": { "schedule_s": [1, 2], "jitter": 0 },
    });
    let made = rig.call(&key, "POST /v1/endpoints", body.clone()).await.is(201);
    assert_eq!(made.body["headers"], json!(["authorization", "x-env"]));
    assert_eq!(made.body["retry"], json!({ "schedule_s": [1, 2], "jitter": 0.0 }));
    for member in [
        "url",
        "uid",
        "event_types",
        "description",
        "metadata",
        "rate_limit_per_s",
        "timeout_ms",
        "body",
        "secret",
    ] {
        assert_eq!(made.body[member], body[member], "{member}");
    }
    let shown = rig.call(&key, "GET /v1/endpoints/billing", Value::Null).await.is(200);
    let listed = rig.call(&key, "GET /v1/endpoints", Value::Null).await.is(200);
    for answered in [&made, &shown, &listed] {
        assert!(!answered.body.to_string().contains("hidden-value"));
    }
    let twin = rig.call(&key, "POST /v1/endpoints", body).await;
    assert_eq!(twin.problem(), (409, "already_exists"));
}

#[tokio::test]
async fn put_makes_and_then_replaces_but_keeps_the_secret() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let body = json!({ "url": "https://a.example", "description": "one", "timeout_ms": 1_000 });
    let made = rig.call(&key, "PUT /v1/endpoints/billing", body).await.is(201);
    let put =
        rig.call(&key, "PUT /v1/endpoints/billing", json!({ "url": "https://b.example" })).await.is(200);
    assert_eq!((put.text("id"), put.text("url")), (made.text("id"), "https://b.example".to_owned()));
    assert_eq!((&put.body["description"], &put.body["timeout_ms"]), (&Value::Null, &json!(15_000)));
    assert_eq!(put.body["secret"], Value::Null);
    let secret = rig.call(&key, "GET /v1/endpoints/billing/secret", Value::Null).await.is(200);
    assert_eq!(secret.text("secret"), made.text("secret"));
    for bad in ["a%20b", "ep_billing", "%C3%A4", &"x".repeat(129)] {
        let refused =
            rig.call(&key, &format!("PUT /v1/endpoints/{bad}"), json!({ "url": "https://a.example" })).await;
        assert_eq!(refused.problem(), (400, "invalid_request"), "{bad}");
    }
    let other = json!({ "url": "https://a.example", "uid": "other" });
    assert_eq!(rig.call(&key, "PUT /v1/endpoints/billing", other).await.places(), ["/uid"]);
}

#[tokio::test]
async fn patch_merges_and_null_is_the_default() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let body = json!({
        "url": "https://a.example", "uid": "b", "description": "one", "timeout_ms": 1_000, "event_types": ["a.*"],
        "headers": { "x-a": "1", "x-b": "2" }, "retry": { "schedule_s": [1], "jitter": 0.5 }, "body": "envelope",
    });
    rig.call(&key, "POST /v1/endpoints", body).await.is(201);
    let patch = async |changes: Value| rig.call(&key, "PATCH /v1/endpoints/b", changes).await.is(200).body;

    let changed = patch(json!({ "headers": { "X-A": null, "x-c": "3" }, "retry": { "jitter": 0.1 } })).await;
    assert_eq!(changed["headers"], json!(["x-b", "x-c"]));
    assert_eq!(changed["retry"], json!({ "schedule_s": [1], "jitter": 0.1 }));
    assert_eq!((&changed["description"], &changed["timeout_ms"]), (&json!("one"), &json!(1_000)));

    let nulls = json!({ "description": null, "timeout_ms": null, "event_types": null, "headers": null, "retry": null, "body": null });
    let cleared = patch(nulls).await;
    assert_eq!((&cleared["event_types"], &cleared["timeout_ms"]), (&json!(["*"]), &json!(15_000)));
    assert_eq!((&cleared["description"], &cleared["headers"]), (&Value::Null, &json!([])));
    assert_eq!((&cleared["retry"]["jitter"], &cleared["body"]), (&json!(0.2), &json!("raw")));
    assert_eq!(cleared["url"], "https://a.example");

    let refused =
        rig.call(&key, "PATCH /v1/endpoints/b", json!({ "url": null, "status": null, "uid": "c" })).await;
    assert_eq!(
        (refused.problem(), refused.places()),
        ((400, "invalid_request"), vec!["/status", "/url", "/uid"])
    );
}

#[tokio::test]
async fn a_status_says_who_set_it_and_an_operators_stands() {
    let rig = Rig::start().await;
    let (tenant, key) = rig.tenant("acme").await;
    let id = rig.endpoint(&key).await;
    let own = format!("PATCH /v1/endpoints/{id}");
    let operators = format!("PATCH /v1/tenants/acme/endpoints/{id}");
    let paused = rig.call(&key, &own, json!({ "status": "paused" })).await.is(200);
    assert_eq!((&paused.body["status"], &paused.body["status_reason"]), (&json!("paused"), &json!("user")));
    let active = rig.call(&key, &own, json!({ "status": "active" })).await.is(200);
    assert_eq!((&active.body["status"], &active.body["status_reason"]), (&json!("active"), &Value::Null));
    let paused = rig.call(ROOT, &operators, json!({ "status": "paused" })).await.is(200);
    assert_eq!(paused.body["status_reason"], "operator");
    let refused = rig.call(&key, &own, json!({ "status": "active" })).await;
    assert_eq!(refused.problem(), (409, "wrong_state"));
    rig.call(ROOT, &operators, json!({ "status": "active" })).await.is(200);
    let refused = rig.call(&key, &own, json!({ "status": "disabled" })).await;
    assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), vec!["/status"]));

    // What the engine disabled is set going again by its tenant.
    let (tenant, endpoint) = (tenant.parse().expect("an id"), id.parse().expect("an id"));
    let status = Some((EndpointStatus::Disabled, Some(StatusReason::Gone)));
    let changes = EndpointChanges { status, ..EndpointChanges::default() };
    rig.store.update_endpoint(tenant, endpoint, changes, Timestamp::now()).await.expect("disabled");
    let listed = rig.call(&key, "GET /v1/endpoints?status=disabled,paused", Value::Null).await.is(200);
    assert_eq!(listed.body["data"][0]["status_reason"], "gone");
    rig.call(&key, &own, json!({ "status": "active" })).await.is(200);
    let listed = rig.call(&key, "GET /v1/endpoints?status=disabled,paused", Value::Null).await.is(200);
    assert_eq!(listed.body["data"], json!([]));
    let unknown = rig.call(&key, "GET /v1/endpoints?status=deleted", Value::Null).await;
    assert_eq!((unknown.problem(), unknown.places()), ((400, "invalid_request"), vec!["status"]));
}

#[tokio::test]
async fn a_rotated_secret_stays_beside_the_new_one_for_its_grace() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let id = rig.endpoint(&key).await;
    let path = format!("/v1/endpoints/{id}/secret");
    let first = rig.call(&key, &format!("GET {path}"), Value::Null).await.is(200).text("secret");
    let rotated = rig.call(&key, &format!("POST {path}/rotate"), Value::Null).await.is(200);
    assert_ne!(rotated.text("secret"), first);
    assert_eq!(rotated.body["previous"]["secret"], first);
    assert!(Timestamp::parse(rotated.body["previous"]["expires_at"].as_str().expect("a time")).is_some());
    let at_once =
        rig.call(&key, &format!("POST {path}/rotate"), json!({ "grace_period_s": 0 })).await.is(200);
    assert_eq!(at_once.body["previous"], Value::Null);
    for bad in [json!(-1), json!(604_801), json!("1 h"), json!(1.5)] {
        let refused = rig.call(&key, &format!("POST {path}/rotate"), json!({ "grace_period_s": bad })).await;
        assert_eq!(
            (refused.problem(), refused.places()),
            ((400, "invalid_request"), vec!["/grace_period_s"])
        );
    }
}

#[tokio::test]
async fn a_deleted_endpoint_is_gone_and_its_uid_is_free() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let body = json!({ "url": "https://a.example", "uid": "b" });
    let first = rig.call(&key, "POST /v1/endpoints", body.clone()).await.is(201).text("id");
    rig.call(&key, "DELETE /v1/endpoints/b", Value::Null).await.is(204);
    for call in ["GET", "DELETE"] {
        for name in ["b", &first] {
            let gone = rig.call(&key, &format!("{call} /v1/endpoints/{name}"), Value::Null).await;
            assert_eq!(gone.problem(), (404, "not_found"));
        }
    }
    assert_ne!(rig.call(&key, "POST /v1/endpoints", body).await.is(201).text("id"), first);
}

#[tokio::test]
async fn a_test_goes_to_its_endpoint_whatever_it_subscribes_to() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let body = json!({ "url": "https://a.example", "uid": "b", "event_types": ["never.sent"] });
    rig.call(&key, "POST /v1/endpoints", body).await.is(201);
    rig.endpoint(&key).await;
    let sent = rig.call(&key, "POST /v1/endpoints/b/test", json!({})).await.is(202);
    let event =
        rig.call(&key, &format!("GET /v1/events/{}", sent.text("event_id")), Value::Null).await.is(200);
    assert_eq!(event.text("type"), "fairhook.test");
    let deliveries = event.body["deliveries"].as_array().expect("a list");
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0]["id"], sent.text("delivery_id"));
    // Nobody attempts anything here: the wait ends, and the answer says so.
    let waited = rig.call(&key, "POST /v1/endpoints/b/test?wait_s=1", Value::Null).await.is(202);
    let delivery = &waited.body["delivery"];
    assert_eq!((&delivery["status"], &delivery["attempt_count"]), (&json!("queued"), &json!(0)));
    // Nor will anybody while it is paused, which is said before the wait is over.
    rig.call(&key, "PATCH /v1/endpoints/b", json!({ "status": "paused" })).await.is(200);
    let began = std::time::Instant::now();
    let held = rig.call(&key, "POST /v1/endpoints/b/test?wait_s=20", Value::Null).await.is(202);
    assert_eq!(held.body["delivery"]["status"], "held");
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
    rig.call(&key, "PATCH /v1/endpoints/b", json!({ "status": "active" })).await.is(200);
    for bad in ["wait_s=21", "wait_s=x", "wait=1"] {
        let refused = rig.call(&key, &format!("POST /v1/endpoints/b/test?{bad}"), Value::Null).await;
        assert_eq!(refused.problem(), (400, "invalid_request"), "{bad}");
    }
    // A paused endpoint's test waits as every delivery does, and is seen as soon as it is tried or cancelled.
    let cancel = format!("POST /v1/deliveries/{}/cancel", sent.text("delivery_id"));
    rig.call(&key, &cancel, Value::Null).await.is(200);
}

#[tokio::test]
async fn what_an_endpoint_may_not_have_is_refused_with_its_place() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let headers = |name: &str, value: Value| json!({ "headers": { name: value } });
    let many: serde_json::Map<_, _> = (0..33).map(|i| (format!("x-{i}"), json!("v"))).collect();
    let table = [
        (json!({ "url": "ftp://example.com" }), "/url"),
        (json!({ "url": "example.com/hook" }), "/url"),
        (json!({ "url": "https://user:pw@example.com" }), "/url"),
        (json!({ "url": "http://127.0.0.1/" }), "/url"),
        (json!({ "url": "http://169.254.169.254/latest" }), "/url"),
        (json!({ "url": "http://[::1]/" }), "/url"),
        (json!({ "url": format!("https://example.com/{}", "x".repeat(2_048)) }), "/url"),
        (json!({ "uid": "ep_1" }), "/uid"),
        (json!({ "uid": "a/b" }), "/uid"),
        (json!({ "event_types": [] }), "/event_types"),
        (json!({ "event_types": "order.*" }), "/event_types"),
        (json!({ "event_types": ["ok", "a..b"] }), "/event_types/1"),
        (json!({ "event_types": ["*.paid"] }), "/event_types/0"),
        (json!({ "event_types": vec!["a"; 65] }), "/event_types"),
        (json!({ "timeout_ms": 60_001 }), "/timeout_ms"),
        (json!({ "timeout_ms": 99 }), "/timeout_ms"),
        (json!({ "rate_limit_per_s": 0 }), "/rate_limit_per_s"),
        (json!({ "retry": { "schedule_s": [0] } }), "/retry/schedule_s/0"),
        (json!({ "retry": { "schedule_s": [604_801] } }), "/retry/schedule_s/0"),
        (json!({ "retry": { "schedule_s": vec![1; 31] } }), "/retry/schedule_s"),
        (json!({ "retry": { "jitter": 1.01 } }), "/retry/jitter"),
        (json!({ "retry": { "schedule": [1] } }), "/retry/schedule"),
        (json!({ "retry": [1] }), "/retry"),
        (json!({ "body": "xml" }), "/body"),
        (json!({ "secret": "whsec_short" }), "/secret"),
        (json!({ "metadata": [] }), "/metadata"),
        (json!({ "metadata": { "a": "x".repeat(8_192) } }), "/metadata"),
        (headers("Host", json!("x")), "/headers/Host"),
        (headers("content-length", json!("1")), "/headers/content-length"),
        (headers("Webhook-Signature", json!("x")), "/headers/Webhook-Signature"),
        (headers("transfer-encoding", json!("chunked")), "/headers/transfer-encoding"),
        (headers("a b", json!("x")), "/headers/a b"),
        (headers("x-a", json!("a\r\nx-b: c")), "/headers/x-a"),
        (headers("x-a", json!("ä")), "/headers/x-a"),
        (headers("x-a", json!(1)), "/headers/x-a"),
        (headers("x-a", json!("x".repeat(4_096))), "/headers/x-a"),
        (json!({ "headers": { "x-a": "1", "X-A": "2" } }), "/headers/x-a"),
        (json!({ "headers": many }), "/headers"),
    ];
    for (mut body, place) in table {
        let given = body.as_object_mut().expect("an object");
        given.entry("url").or_insert_with(|| json!("https://example.com"));
        let shown: String = body.to_string().chars().take(80).collect();
        let refused = rig.call(&key, "POST /v1/endpoints", body).await;
        assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), vec![place]), "{shown}");
    }
    let none = rig.call(&key, "GET /v1/endpoints", Value::Null).await.is(200);
    assert_eq!(none.body["data"], json!([]), "nothing half done");
    let private = rig.call(&key, "POST /v1/endpoints", json!({ "url": "http://10.0.0.1/" })).await;
    let said = private.body["errors"][0]["detail"].as_str().unwrap_or_default();
    assert!(said.contains("(private)") && said.contains("`allowed_networks`"), "{said}");
}
