//! Deliveries, dead letters, replays and jobs.

use std::time::Duration;

use bytes::Bytes;
use fairhook_common::delivery::{
    AttemptError, AttemptErrorCode, AttemptRecord, DeliveryState, Outcome, Verdict,
};
use fairhook_common::ids::{DeliveryId, EndpointId, TenantId};
use fairhook_common::time::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rig::{ROOT, Rig};

/// A tenant with an endpoint.
struct Acme {
    rig: Rig,
    key: String,
    tenant: TenantId,
    endpoint: EndpointId,
}

impl Acme {
    async fn start() -> Self {
        let rig = Rig::start().await;
        let (tenant, key) = rig.tenant("acme").await;
        let endpoint = rig.endpoint(&key).await.parse().expect("an id");
        Self { rig, key, tenant: tenant.parse().expect("an id"), endpoint }
    }

    /// Posts an event and returns its delivery.
    async fn delivery(&self, event_type: &str) -> DeliveryId {
        let body = json!({"type": event_type, "payload": 1});
        let taken = self.rig.call(&self.key, "POST /v1/events", body).await.is(202);
        DeliveryId { event: taken.text("id").parse().expect("an id"), ordinal: 0 }
    }

    /// Records an attempt with this verdict.
    async fn end(&self, delivery: DeliveryId, verdict: Verdict) {
        let attempt = AttemptRecord {
            id: Uuid::now_v7(),
            started_at: Timestamp::now(),
            duration_ms: 12,
            status_code: Some(500),
            error: Some(AttemptError { code: AttemptErrorCode::HttpStatus, detail: "answered 500".into() }),
            response_snippet: Bytes::from_static(b"no\0\xff!"),
        };
        let outcome = Outcome {
            delivery,
            tenant: self.tenant,
            endpoint: self.endpoint,
            generation: 0,
            attempt: Some(attempt),
            verdict,
            disable: None,
            decided_at: Timestamp::now(),
        };
        self.rig.store.record(vec![outcome], Duration::from_secs(3600)).await.expect("recorded");
    }

    async fn get(&self, path: &str) -> Value {
        self.rig.call(&self.key, &format!("GET {path}"), Value::Null).await.is(200).body
    }

    async fn post(&self, path: &str, body: Value) -> crate::rig::Answered {
        self.rig.call(&self.key, &format!("POST {path}"), body).await
    }
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["data"].as_array().expect("a list");
    items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn a_delivery_is_shown_with_its_attempts() {
    let acme = Acme::start().await;
    let delivery = acme.delivery("a.b").await;
    let due_at = Timestamp::now().after(Duration::from_secs(60));
    acme.end(delivery, Verdict::Retry { due_at }).await;
    let shown = acme.get(&format!("/v1/deliveries/{delivery}")).await;
    assert_eq!((&shown["status"], &shown["attempt_count"]), (&json!("scheduled"), &json!(1)));
    assert_eq!(shown["next_attempt_at"], due_at.to_string());
    let attempt = &shown["attempts"][0];
    assert_eq!(
        (&attempt["n"], &attempt["duration_ms"], &attempt["status_code"]),
        (&json!(1), &json!(12), &json!(500))
    );
    assert_eq!(attempt["error"], json!({"code": "http_status", "detail": "answered 500"}));
    assert_eq!(attempt["response_snippet"], "no\0\u{fffd}!");
    let listed = acme.get("/v1/deliveries?status=scheduled,held").await;
    assert_eq!(ids(&listed), [delivery.to_string()]);
    assert_eq!(listed["data"][0]["attempts"], Value::Null);
}

#[tokio::test]
async fn deliveries_are_found_by_what_they_are() {
    let acme = Acme::start().await;
    let (one, two) = (acme.delivery("a.one").await, acme.delivery("a.two").await);
    acme.end(one, Verdict::Delivered).await;
    let endpoint = acme.endpoint;
    for (query, found) in [
        ("status=delivered".to_owned(), vec![one]),
        ("status=delivered,%20queued".to_owned(), vec![two, one]),
        ("status=dead".to_owned(), vec![]),
        ("type=a.two".to_owned(), vec![two]),
        (format!("event_id={}", one.event), vec![one]),
        (format!("endpoint_id={endpoint}&order=asc"), vec![one, two]),
        ("to=2020-01-01T00:00:00Z".to_owned(), vec![]),
    ] {
        let listed = acme.get(&format!("/v1/deliveries?{query}")).await;
        let found: Vec<_> = found.iter().map(DeliveryId::to_string).collect();
        assert_eq!(ids(&listed), found, "{query}");
    }
    let call = "GET /v1/deliveries?status=gone&endpoint_id=ep_1&event_id=x&type=&state=dead";
    let refused = acme.rig.call(&acme.key, call, Value::Null).await;
    let places = ["status", "endpoint_id", "event_id", "type", "state"];
    assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), places.to_vec()));
    // Another tenant's are not there.
    let (_, other) = acme.rig.tenant("other").await;
    for path in [format!("GET /v1/deliveries/{one}"), "GET /v1/deliveries/dlv_x".to_owned()] {
        assert_eq!(acme.rig.call(&other, &path, Value::Null).await.problem(), (404, "not_found"));
    }
}

#[tokio::test]
async fn an_unfinished_delivery_is_cancelled_and_a_finished_one_is_not() {
    let acme = Acme::start().await;
    let (waiting, ended) = (acme.delivery("a").await, acme.delivery("a").await);
    acme.end(ended, Verdict::Delivered).await;
    for _ in 0..2 {
        let cancelled = acme.post(&format!("/v1/deliveries/{waiting}/cancel"), Value::Null).await.is(200);
        assert_eq!(cancelled.text("status"), "discarded");
        assert_eq!(cancelled.text("discarded_reason"), "cancelled");
    }
    let refused = acme.post(&format!("/v1/deliveries/{ended}/cancel"), Value::Null).await;
    assert_eq!((refused.problem(), refused.text("state")), ((409, "wrong_state"), "delivered".into()));
    let refused = acme.post(&format!("/v1/deliveries/{waiting}/cancel"), json!({"why": 1})).await;
    assert_eq!(refused.places(), ["/why"]);
    let unknown = DeliveryId { ordinal: 9, ..waiting };
    let refused = acme.post(&format!("/v1/deliveries/{unknown}/cancel"), Value::Null).await;
    assert_eq!(refused.problem(), (404, "not_found"));
}

#[tokio::test]
async fn a_dead_delivery_is_replayed_itself_and_a_delivered_one_as_a_new_one() {
    let acme = Acme::start().await;
    let (dead, delivered, waiting) =
        (acme.delivery("a").await, acme.delivery("a").await, acme.delivery("a").await);
    acme.end(dead, Verdict::Dead).await;
    acme.end(delivered, Verdict::Delivered).await;
    let again = acme.post(&format!("/v1/deliveries/{dead}/replay"), Value::Null).await.is(202);
    assert_eq!((again.text("id"), again.text("status")), (dead.to_string(), "scheduled".into()));
    let copy = acme.post(&format!("/v1/deliveries/{delivered}/replay"), Value::Null).await.is(202);
    assert_ne!(copy.text("id"), delivered.to_string());
    assert_eq!(copy.text("replay_of"), delivered.to_string());
    let refused = acme.post(&format!("/v1/deliveries/{waiting}/replay"), Value::Null).await;
    assert_eq!((refused.problem(), refused.text("state")), ((409, "wrong_state"), "queued".into()));
    let reader = acme.rig.key("acme", &["events:read"]).await;
    let call = format!("POST /v1/deliveries/{dead}/replay");
    assert_eq!(acme.rig.call(&reader, &call, Value::Null).await.problem(), (403, "missing_scope"));
}

#[tokio::test]
async fn dead_letters_are_listed_and_end_by_jobs_that_say_which() {
    let acme = Acme::start().await;
    let mut dead = Vec::new();
    for event_type in ["a.one", "a.two"] {
        let delivery = acme.delivery(event_type).await;
        acme.end(delivery, Verdict::Dead).await;
        dead.push(delivery.to_string());
    }
    acme.delivery("a.waits").await;
    assert_eq!(ids(&acme.get("/v1/dead-letters?order=asc").await), dead);
    assert_eq!(ids(&acme.get("/v1/dead-letters?type=a.two").await), dead[1..]);
    for call in ["/v1/dead-letters/replay", "/v1/dead-letters/purge"] {
        for (body, place) in [
            (Value::Null, "/all"),
            (json!({}), "/all"),
            (json!({"all": false}), "/all"),
            (json!({"all": true, "type": "a"}), "/all"),
            (json!({"ids": []}), "/ids"),
            (json!({"ids": ["dlv_1"]}), "/ids/0"),
            (json!({"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}), "/to"),
            (json!({"all": true, "endpoint": 1}), "/endpoint"),
        ] {
            let refused = acme.post(call, body.clone()).await;
            assert_eq!(
                (refused.problem(), refused.places()),
                ((400, "invalid_request"), vec![place]),
                "{body}"
            );
        }
    }
    let purge = acme.post("/v1/dead-letters/purge", json!({"ids": [dead[0]]})).await.is(202);
    assert_eq!((purge.text("kind"), purge.text("status")), ("purge".into(), "queued".into()));
    assert_eq!(purge.body["filter"], json!({"status": ["dead"], "ids": [dead[0]]}));
    assert_eq!(purge.body["total"], 1);
    let job = purge.text("id").parse().expect("an id");
    let step = async || acme.rig.store.advance_job(job, 10, Timestamp::now()).await.expect("a step");
    while step().await.ended_at.is_none() {}
    let ended = acme.get(&format!("/v1/jobs/{job}")).await;
    assert_eq!((&ended["status"], &ended["done"]), (&json!("succeeded"), &json!(1)));
    assert_eq!(ids(&acme.get("/v1/dead-letters").await), dead[1..]);
    let gone = acme.get(&format!("/v1/deliveries/{}", dead[0])).await;
    assert_eq!((&gone["status"], &gone["discarded_reason"]), (&json!("discarded"), &json!("purged")));
}

#[tokio::test]
async fn a_replay_is_counted_made_shown_and_cancelled() {
    let acme = Acme::start().await;
    let (dead, delivered) = (acme.delivery("a.b").await, acme.delivery("a.b").await);
    acme.end(dead, Verdict::Dead).await;
    acme.end(delivered, Verdict::Delivered).await;
    let span = json!({"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"});
    let with = |more: Value| {
        let mut body = span.clone();
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let counted = acme.post("/v1/replays", with(json!({"dry_run": true}))).await.is(200);
    assert_eq!((&counted.body["total"], &counted.body["dry_run"]), (&json!(1), &json!(true)));
    let both = with(json!({"dry_run": true, "status": ["dead", "delivered"]}));
    assert_eq!(acme.post("/v1/replays", both).await.is(200).body["total"], 2);
    let none = with(json!({"dry_run": true, "type": "a.c"}));
    assert_eq!(acme.post("/v1/replays", none).await.is(200).body["total"], 0);
    assert_eq!(acme.get("/v1/jobs").await["data"], json!([]), "nothing was made");

    for (body, places) in [
        (json!({}), vec!["/from", "/to"]),
        (json!({"from": "2020-01-01T00:00:00Z"}), vec!["/to"]),
        (with(json!({"status": ["queued"]})), vec!["/status/0"]),
        (with(json!({"status": []})), vec!["/status"]),
        (with(json!({"rate_per_s": 0})), vec!["/rate_per_s"]),
        (with(json!({"dryrun": true})), vec!["/dryrun"]),
    ] {
        let refused = acme.post("/v1/replays", body).await;
        assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), places));
    }
    let made = acme.post("/v1/replays", with(json!({"rate_per_s": 5, "type": "a.b"}))).await.is(202);
    assert_eq!((made.text("kind"), &made.body["filter"]["rate_per_s"]), ("replay".into(), &json!(5)));
    let path = format!("/v1/jobs/{}", made.text("id"));
    assert_eq!(acme.get(&path).await["status"], "queued");
    assert_eq!(ids(&acme.get("/v1/jobs").await), [made.text("id")]);
    let (_, other) = acme.rig.tenant("other").await;
    for call in [format!("GET {path}"), format!("POST {path}/cancel")] {
        assert_eq!(acme.rig.call(&other, &call, Value::Null).await.problem(), (404, "not_found"));
    }
    acme.rig.call(ROOT, &format!("GET {path}"), Value::Null).await.is(200);
    let cancelled = acme.post(&format!("{path}/cancel"), Value::Null).await.is(200);
    assert_eq!(cancelled.text("status"), "cancelled");
    assert_eq!(acme.post(&format!("{path}/cancel"), Value::Null).await.is(200).text("status"), "cancelled");
    let state = acme.rig.store.find_delivery(acme.tenant, dead).await.expect("a store").expect("there").state;
    assert_eq!(state, DeliveryState::Dead);
}
