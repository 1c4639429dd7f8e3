//! Bad input: a problem that says what and where, and nothing half done.

use serde_json::{Value, json};

use crate::harness::{Answer, Engine, Receiver, until};

/// A request that must be refused: its name, path, body, status, code, and the pointer of its only fault, if it has one.
struct Bad(&'static str, &'static str, String, u16, &'static str, Option<&'static str>);

fn event(json: &str) -> String {
    json.to_owned()
}

fn table() -> Vec<Bad> {
    let events = "/tenants/acme/events";
    let endpoints = "/tenants/acme/endpoints";
    let (malformed, invalid) = ("malformed_json", "invalid_request");
    let url = |url: &str| json!({"url": url}).to_string();
    vec![
        Bad("no JSON", events, event("{nonsense"), 400, malformed, None),
        Bad("nothing", events, event(""), 400, malformed, None),
        Bad("two values", events, event(r#"{"type":"a","payload":{}} {}"#), 400, malformed, None),
        Bad(
            "half a character",
            events,
            event(r#"{"type":"a\ud800","payload":{}}"#),
            400,
            invalid,
            Some("/type"),
        ),
        Bad("a list", events, event("[]"), 400, invalid, None),
        Bad("a wrong type", events, event(r#"{"type":7,"payload":{}}"#), 400, invalid, Some("/type")),
        Bad("no payload", events, event(r#"{"type":"a"}"#), 400, invalid, Some("/payload")),
        Bad(
            "a slip",
            events,
            event(r#"{"type":"a","paylod":{},"payload":{}}"#),
            400,
            invalid,
            Some("/paylod"),
        ),
        Bad("a bad type", events, event(r#"{"type":"a..b","payload":{}}"#), 400, invalid, Some("/type")),
        Bad("a space", events, event(r#"{"type":"a b","payload":{}}"#), 400, invalid, Some("/type")),
        Bad("a NUL", events, event(r#"{"type":"a\u0000","payload":{}}"#), 400, invalid, Some("/type")),
        Bad(
            "no time",
            events,
            event(r#"{"type":"a","payload":{},"deliver_at":"soon"}"#),
            400,
            invalid,
            Some("/deliver_at"),
        ),
        Bad(
            "too far",
            events,
            event(r#"{"type":"a","payload":{},"deliver_at":"2999-01-01T00:00:00Z"}"#),
            400,
            invalid,
            Some("/deliver_at"),
        ),
        Bad(
            "too large",
            events,
            format!(r#"{{"type":"a","payload":"{}"}}"#, "x".repeat(1 << 20)),
            413,
            "too_large",
            None,
        ),
        Bad(
            "unknown tenant",
            "/tenants/nobody/events",
            event(r#"{"type":"a","payload":{}}"#),
            404,
            "unknown_tenant",
            None,
        ),
        Bad(
            "two tenants",
            events,
            event(r#"{"type":"a","payload":{},"tenant_id":"other"}"#),
            400,
            "tenant_conflict",
            None,
        ),
        Bad("no tenant", "/events", event(r#"{"type":"a","payload":{}}"#), 400, "tenant_required", None),
        Bad("no URL", endpoints, event("{}"), 400, invalid, Some("/url")),
        Bad("half a URL", endpoints, url("example.com/hook"), 400, invalid, Some("/url")),
        Bad("a file", endpoints, url("file:///etc/passwd"), 400, invalid, Some("/url")),
        Bad("metadata", endpoints, url("http://169.254.169.254/latest"), 400, invalid, Some("/url")),
        Bad("a password", endpoints, url("https://u:p@example.com/"), 400, invalid, Some("/url")),
        Bad(
            "a bad pattern",
            endpoints,
            event(r#"{"url":"https://example.com/","event_types":["a*"]}"#),
            400,
            invalid,
            Some("/event_types/0"),
        ),
        Bad(
            "our header",
            endpoints,
            event(r#"{"url":"https://example.com/","headers":{"webhook-id":"x"}}"#),
            400,
            invalid,
            None,
        ),
        Bad(
            "a long wait",
            endpoints,
            event(r#"{"url":"https://example.com/","timeout_ms":61000}"#),
            400,
            invalid,
            Some("/timeout_ms"),
        ),
        Bad(
            "a bad slug",
            "/tenants",
            event(r#"{"name":"X","slug":"Not a slug"}"#),
            400,
            invalid,
            Some("/slug"),
        ),
        Bad("a taken slug", "/tenants", event(r#"{"name":"X","slug":"acme"}"#), 409, "already_exists", None),
        Bad("no such path", "/nothing", event("{}"), 404, "not_found", None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_answered_with_what_and_where_and_changes_nothing() {
    let (engine, receiver) = (Engine::start().await, Receiver::good().await);
    for tenant in ["acme", "other"] {
        engine.api.tenant(tenant).await;
    }
    engine.api.endpoint("acme", &receiver.url(), json!({})).await;
    for Bad(name, path, body, status, code, pointer) in table() {
        let answer = engine.api.post_raw(path, body).await;
        assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{name}: {}", answer.body);
        assert_eq!(answer.problem(status), code);
        assert!(answer.headers.contains_key("x-request-id"), "{name}");
        if let Some(pointer) = pointer {
            assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{name}: {}", answer.body);
        }
    }
    let slip = engine.api.post_raw("/tenants/acme/events", r#"{"type":"a","paylod":{},"payload":{}}"#).await;
    assert!(slip.body.to_string().contains("did you mean `payload`"), "{}", slip.body);
    assert!(engine.api.list("/tenants/acme/events").await.is_empty(), "nothing half done");
    assert_eq!(engine.api.list("/tenants/acme/endpoints").await.len(), 1);
    assert!(receiver.arrivals().is_empty());
}

async fn post_event(engine: &Engine, key: &str) -> Answer {
    engine.api.with_key(key).post("/events", json!({"type": "a", "payload": {}})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_unknown_revoked_expired_or_too_weak_is_refused() {
    let engine = Engine::start().await;
    engine.api.tenant("acme").await;
    let key = |body: Value| {
        let api = engine.api.clone();
        async move { api.post("/tenants/acme/keys", body).await.expect(201) }
    };
    let text = |made: &Value| {
        let found = ["key", "api_key"].iter().find_map(|name| made[*name].as_str().map(str::to_owned));
        found.unwrap_or_else(|| panic!("the key is shown once: {made}"))
    };
    let good = key(json!({"name": "good"})).await;
    post_event(&engine, &text(&good)).await.expect(202);

    for unknown in ["fhk_1_2", "not a key at all", &text(&good).replace("fhk_", "fhx_")] {
        assert_eq!(post_event(&engine, unknown).await.problem(401), "unauthorized");
    }
    for header in [None, Some("Basic Zm9v"), Some("Bearer ")] {
        let answer = engine.api.post_with_authorization("/events", header).await;
        assert_eq!(answer.problem(401), "unauthorized", "{header:?}");
        assert!(answer.headers.contains_key("www-authenticate"), "{header:?}");
    }

    let reader = key(json!({"scopes": ["events:read"]})).await;
    assert_eq!(post_event(&engine, &text(&reader)).await.problem(403), "missing_scope");
    let own = engine.api.with_key(&text(&good));
    assert_eq!(own.post("/tenants", json!({"name": "mine"})).await.problem(403), "operator_required");
    engine.api.tenant("other").await;
    assert_eq!(own.get("/tenants/other/events").await.problem(403), "wrong_tenant");

    let id = good["id"].as_str().expect("its id");
    let revoked = engine.api.delete(&format!("/tenants/acme/keys/{id}")).await;
    assert!([200, 204].contains(&revoked.status), "{}", revoked.body);
    let refused = until("the revoked key is refused", || async {
        let answer = post_event(&engine, &text(&good)).await;
        (answer.status != 202).then_some(answer)
    });
    assert_eq!(refused.await.problem(401), "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_objects_are_not_there() {
    let (engine, receiver) = (Engine::start().await, Receiver::good().await);
    for tenant in ["acme", "other"] {
        engine.api.tenant(tenant).await;
    }
    let endpoint = engine.api.endpoint("acme", &receiver.url(), json!({})).await;
    let event =
        engine.api.post("/tenants/acme/events", json!({"type": "a", "payload": {}})).await.expect(202);
    for path in [
        format!("/tenants/other/endpoints/{}", endpoint["id"].as_str().expect("an id")),
        format!("/tenants/other/events/{}", event["id"].as_str().expect("an id")),
    ] {
        assert_eq!(engine.api.get(&path).await.problem(404), "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_quota_is_429_and_says_when_to_come_again() {
    let engine = Engine::start().await;
    engine.api.put("/tenants/small", json!({"name": "small"})).await.expect(201);
    let limits = json!({"max_events_per_sec": 1, "burst": 2});
    engine.api.patch("/quotas/small", limits).await.expect(200);
    let refused = until("the quota is used up", || async {
        let answer = engine.api.post("/tenants/small/events", json!({"type": "a", "payload": {}})).await;
        (answer.status != 202).then_some(answer)
    })
    .await;
    assert_eq!(refused.problem(429), "quota_exceeded");
    let seconds: u64 = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=2).contains(&seconds), "{seconds}");
    assert_eq!(refused.body["violated-policies"], json!(["events"]));
}
