//! What is the same for every route.

use axum::body::Body;
use fairhook_common::limits;
use serde_json::{Value, json};

use crate::rig::{ROOT, Rig};

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let rig = Rig::start().await;
    for path in ["/", "/v1", "/v2/events", "/v1/tenants/a/b/c", "/v1/v1/events"] {
        assert_eq!(rig.send(&format!("GET {path}"), &[], "").await.problem(), (404, "not_found"), "{path}");
    }
    let wrong = rig.send("DELETE /v1/events", &[], "").await;
    assert_eq!(wrong.problem(), (405, "method_not_allowed"));
    assert!(wrong.header("allow").contains("POST"), "{wrong:?}");
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_is_made_anew() {
    let rig = Rig::start().await;
    let id = |answered: crate::rig::Answered| answered.header("x-request-id").to_owned();
    let kept = rig.send("GET /healthz", &[("x-request-id", "abc-1.2_3")], "").await.is(200);
    assert_eq!(id(kept), "abc-1.2_3");
    for bad in ["", "a b", "<script>", &"x".repeat(limits::REQUEST_ID_CHARS + 1)] {
        let made = id(rig.send("GET /nowhere", &[("x-request-id", bad)], "").await);
        assert!(made.starts_with("req_"), "{made}");
    }
}

#[tokio::test]
async fn readiness_names_each_part() {
    let rig = Rig::start().await;
    rig.health.add("store", || Box::pin(async { Ok(()) }));
    let ready = rig.send("GET /readyz", &[], "").await.is(200);
    let limiter = json!({
        "backend": "process", "connected": true, "active_policies": 3, "errors": 0, "fallback_since": null,
    });
    let shown = json!({ "status": "ready", "parts": { "store": "ready" }, "limiter": limiter });
    assert_eq!(ready.body, shown);
    rig.health.add_helper("redis", || Box::pin(async { Err("away since noon".to_owned()) }));
    let less_well = rig.send("GET /readyz", &[], "").await.is(200);
    assert_eq!(less_well.body["parts"], json!({ "store": "ready", "redis": "degraded" }));
    rig.health.add("lease", || Box::pin(async { Err("the database at 10.0.0.1 is away".to_owned()) }));
    let not = rig.send("GET /v1/readyz", &[], "").await;
    assert_eq!(not.problem(), (503, "unavailable"));
    assert_eq!(not.body["parts"], json!({ "store": "ready", "redis": "degraded", "lease": "not_ready" }));
    assert_eq!(not.body["limiter"], shown["limiter"]);
    assert!(!not.body.to_string().contains("10.0.0.1"), "strangers learn names and states only");
    rig.send("GET /healthz", &[], "").await.is(200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let rig = Rig::start().await;
    rig.tenant("acme").await;
    let bearer = format!("Bearer {ROOT}");
    let root = ("authorization", bearer.as_str());
    let large = || Body::from(vec![b' '; limits::REQUEST_BODY_BYTES + 1]);
    let calls = [
        "POST /v1/tenants",
        "PATCH /v1/tenants/acme",
        "POST /v1/tenants/acme/endpoints",
        "POST /v1/tenants/acme/events",
        "POST /v1/tenants/acme/replays",
    ];
    for call in calls {
        let refused = rig.send(call, &[root], large()).await;
        assert_eq!(refused.problem(), (413, "too_large"), "{call}");
        assert_eq!(refused.body["limit"], limits::REQUEST_BODY_BYTES);
        assert_eq!(rig.send(call, &[], large()).await.problem().0, 401, "strangers are not read from");
    }
}

#[tokio::test]
async fn malformed_json_says_where() {
    let rig = Rig::start().await;
    let bearer = format!("Bearer {ROOT}");
    let root = [("authorization", bearer.as_str())];
    for (body, says) in [
        (&b"{\"name\": \"a\",\n  \"plan\": starter}"[..], "line 2 column"),
        (b"{\"name\": \"a\"", "EOF"),
        (b"", "empty"),
        (b"name=a", "line 1 column"),
        (b"{\"name\": \"\xff\"}", "UTF-8"),
    ] {
        let refused = rig.send("POST /v1/tenants", &root, body.to_vec()).await;
        assert_eq!(refused.problem(), (400, "malformed_json"));
        assert!(refused.text("detail").contains(says), "{refused:?}");
    }
    let list = rig.call(ROOT, "POST /v1/tenants", json!([1])).await;
    assert_eq!(list.problem(), (400, "invalid_request"));
    let none = rig.call(ROOT, "GET /v1/tenants", Value::Null).await.is(200);
    assert_eq!(none.body["data"], json!([]), "nothing half done");
}
