//! Posting events one by one, and reading them.

use std::time::Duration;

use fairhook_common::time::Timestamp;
use serde_json::{Value, json};

use crate::rig::{Answered, ROOT, Rig};

fn ahead(seconds: u64) -> String {
    Timestamp::now().after(Duration::from_secs(seconds)).to_string()
}

/// The limits that every answer of a limited route tells: limit, remaining, reset.
fn rate(answered: &Answered) -> (u32, u32, i64) {
    let number = |name: &str| answered.header(name).parse::<i64>().unwrap_or_else(|_| panic!("{answered:?}"));
    let (limit, left) = (number("x-ratelimit-limit") as u32, number("x-ratelimit-remaining") as u32);
    assert_eq!(answered.header("ratelimit-policy"), format!("\"events\";q={limit};w=1"));
    let shown = answered.header("ratelimit");
    assert!(shown.starts_with(&format!("\"events\";r={left};t=")), "{shown}");
    (limit, left, number("x-ratelimit-reset"))
}

#[tokio::test]
async fn an_event_is_taken_and_shown_as_it_was_posted() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let endpoint = rig.endpoint(&key).await;
    let bearer = format!("Bearer {key}");
    let body = r#"{"type":"order.paid", "payload" : { "b":1.00,"a" : "\u00e4", "n":123456789012345678901234567890 } ,
        "metadata":{"who":"me"}}"#;
    let taken = rig.send("POST /v1/events", &[("authorization", &bearer)], body).await.is(202);
    assert!(taken.text("id").starts_with("evt_"));
    assert_eq!((taken.text("type"), &taken.body["deliveries"]), ("order.paid".into(), &json!(1)));
    assert!(Timestamp::parse(&taken.text("created_at")).is_some());
    let (limit, left, _) = rate(&taken);
    assert_eq!((limit, left), (100, 99));

    let path = format!("GET /v1/events/{}", taken.text("id"));
    let shown = rig.call(&key, &path, Value::Null).await.is(200);
    assert_eq!(shown.body["metadata"], json!({"who": "me"}));
    let delivery = &shown.body["deliveries"][0];
    assert_eq!((&delivery["endpoint_id"], &delivery["status"]), (&json!(endpoint), &json!("queued")));
    let event = taken.text("id").parse().expect("an id");
    let tenant = rig.store.tenant_of_event(event).await.expect("a store").expect("there");
    let stored = rig.store.find_event(tenant, event).await.expect("a store").expect("there");
    let posted = r#"{ "b":1.00,"a" : "\u00e4", "n":123456789012345678901234567890 }"#;
    assert_eq!(stored.payload, posted.as_bytes());
    for path in [&path[..], "GET /v1/events?type=order.paid"] {
        let shown = rig.call(&key, path, Value::Null).await.is(200);
        assert!(shown.raw.contains(posted), "{path}");
    }
    let none = rig.call(&key, "GET /v1/events?type=order", Value::Null).await.is(200);
    assert_eq!(none.body["data"], json!([]));
}

#[tokio::test]
async fn any_json_value_is_a_payload() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    for payload in [json!(null), json!([]), json!("text\u{0}"), json!(1.5), json!(false), json!({})] {
        let taken = rig.call(&key, "POST /v1/events", json!({"type": "a", "payload": payload})).await.is(202);
        let path = format!("GET /v1/events/{}", taken.text("id"));
        let shown = rig.call(&key, &path, Value::Null).await.is(200);
        assert_eq!(shown.body["payload"], payload);
    }
}

#[tokio::test]
async fn a_wrong_event_is_refused_with_every_place_and_takes_nothing() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let good = json!({"type": "a.b", "payload": {}});
    for (changes, places) in [
        (json!({"type": null}), &["/type"][..]),
        (json!({"type": "a..b"}), &["/type"]),
        (json!({"type": "a b", "metadata": [], "deliver_at": 7}), &["/type", "/deliver_at", "/metadata"]),
        (json!({"deliver_at": "tomorrow"}), &["/deliver_at"]),
        (json!({"deliver_at": ahead(15 * 24 * 3600)}), &["/deliver_at"]),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), &["/expires_at"]),
        (json!({"expires_at": ahead(31 * 24 * 3600)}), &["/expires_at"]),
        (json!({"deliver_at": ahead(60), "expires_at": ahead(30)}), &["/expires_at"]),
        (json!({"idempotency_key": ""}), &["/idempotency_key"]),
        (json!({"metadata": {"a": "\u{0}"}}), &["/metadata"]),
        (json!({"paylod": 1}), &["/paylod"]),
    ] {
        let mut body = good.clone();
        body.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let refused = rig.call(&key, "POST /v1/events", body).await;
        assert_eq!(
            (refused.problem(), refused.places()),
            ((400, "invalid_request"), places.to_vec()),
            "{changes}"
        );
        rate(&refused);
    }
    let without = rig.call(&key, "POST /v1/events", json!({"type": "a"})).await;
    assert_eq!(without.places(), ["/payload"]);
    let listed = rig.call(&key, "GET /v1/events", Value::Null).await.is(200);
    assert_eq!(listed.body["data"], json!([]));
}

#[tokio::test]
async fn a_repetition_is_answered_with_the_first_answer() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    rig.endpoint(&key).await;
    let bearer = format!("Bearer {key}");
    let post = async |header: Option<&str>, body: Value| {
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(header.map(|key| ("idempotency-key", key)));
        rig.send("POST /v1/events", &headers, body.to_string()).await
    };
    let body = json!({"type": "a", "payload": {"n": 1}});
    let first = post(Some("\"k-1\""), body.clone()).await.is(202);
    assert_eq!(first.header("idempotency-replayed"), "");
    // Bare, quoted and as a member it is the same key. A later endpoint does not change the answer.
    rig.endpoint(&key).await;
    for again in [
        post(Some("k-1"), body.clone()).await,
        post(None, json!({"type": "a", "payload": {"n": 1}, "idempotency_key": "k-1"})).await,
        post(Some("k-1"), json!({"type": "a", "payload": {"n": 1}, "idempotency_key": "k-1"})).await,
    ] {
        let again = again.is(202);
        assert_eq!((&again.body, again.header("idempotency-replayed")), (&first.body, "true"));
    }
    for other in [
        json!({"type": "b", "payload": {"n": 1}}),
        json!({"type": "a", "payload": {"n": 2}}),
        json!({"type": "a", "payload": {"n": 1}, "deliver_at": ahead(60)}),
    ] {
        assert_eq!(post(Some("k-1"), other).await.problem(), (422, "idempotency_conflict"));
    }
    let differs = post(Some("k-2"), json!({"type": "a", "payload": 1, "idempotency_key": "k-1"})).await;
    assert_eq!((differs.problem(), differs.places()), ((400, "invalid_request"), vec!["/idempotency_key"]));
    assert_eq!(post(Some("\"open"), body.clone()).await.places(), ["Idempotency-Key"]);
    // Keys are the tenant's own, and a refusal is not kept.
    let (_, other) = rig.tenant("other").await;
    let theirs = json!({"type": "z", "payload": 9, "idempotency_key": "k-1"});
    rig.call(&other, "POST /v1/events", theirs).await.is(202);
    assert_eq!(post(Some("k-3"), json!({"type": "", "payload": 1})).await.problem().0, 400);
    post(Some("k-3"), body).await.is(202);
}

#[tokio::test]
async fn twins_at_the_same_moment_are_one_event() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    rig.endpoint(&key).await;
    let body = |n: u32| json!({"type": "a", "payload": {"n": n}, "idempotency_key": "twin"});
    let (a, b, c, d) = tokio::join!(
        rig.call(&key, "POST /v1/events", body(1)),
        rig.call(&key, "POST /v1/events", body(1)),
        rig.call(&key, "POST /v1/events", body(1)),
        rig.call(&key, "POST /v1/events", body(2)),
    );
    let twins = [a.is(202), b.is(202), c.is(202)];
    assert!(twins.iter().all(|twin| twin.body == twins[0].body));
    let replayed = twins.iter().filter(|twin| twin.header("idempotency-replayed") == "true").count();
    assert_eq!(replayed, 2);
    assert_eq!(d.problem(), (422, "idempotency_conflict"));
    let listed = rig.call(&key, "GET /v1/events", Value::Null).await.is(200);
    assert_eq!(listed.body["data"].as_array().map(Vec::len), Some(1));
    let deliveries = rig.call(&key, "GET /v1/deliveries", Value::Null).await.is(200);
    assert_eq!(deliveries.body["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_quota_refuses_before_the_body_is_read_and_says_when() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    rig.call(ROOT, "PATCH /v1/quotas/acme", json!({"max_events_per_sec": 1, "burst": 3})).await.is(200);
    let event = json!({"type": "a", "payload": 1});
    for _ in 0..3 {
        rig.call(&key, "POST /v1/events", event.clone()).await.is(202);
    }
    // The body is no JSON: it is not looked at.
    let bearer = format!("Bearer {key}");
    let before = Timestamp::now();
    for call in ["POST /v1/events", "POST /v1/events/batch"] {
        let refused = rig.send(call, &[("authorization", &bearer)], "{").await;
        assert_eq!(refused.problem(), (429, "quota_exceeded"));
        assert_eq!(refused.text("type"), "https://iana.org/assignments/http-problem-types#quota-exceeded");
        assert_eq!(refused.body["violated-policies"], json!(["events"]));
        assert_eq!((&refused.body["limit"], &refused.body["remaining"]), (&json!(1), &json!(0)));
        assert_eq!(refused.header("retry-after"), "1");
        let (limit, left, reset) = rate(&refused);
        assert_eq!((limit, left, json!(reset)), (1, 0, refused.body["reset"].clone()));
        assert!((before.0..=before.0 + 3_000).contains(&reset), "{reset}");
    }
    // Nobody else is refused. An operator's tenant may be known from the body only.
    rig.call(&other, "POST /v1/events", event.clone()).await.is(202);
    let named = json!({"type": "a", "payload": 1, "tenant_id": "acme"});
    assert_eq!(rig.call(ROOT, "POST /v1/events", named).await.problem(), (429, "quota_exceeded"));
    let named = json!({"type": "a", "payload": 1, "tenant_id": "other"});
    rig.call(ROOT, "POST /v1/events", named).await.is(202);
    assert_eq!(rig.call(ROOT, "POST /v1/events", event).await.problem(), (400, "tenant_required"));
}

#[tokio::test]
async fn a_backlog_that_is_full_refuses() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    rig.endpoint(&key).await;
    rig.call(ROOT, "PATCH /v1/quotas/acme", json!({"max_backlog": 1})).await.is(200);
    let post = async || rig.call(&key, "POST /v1/events", json!({"type": "a", "payload": 1})).await;
    post().await.is(202);
    // What is known of the backlog is at most a second old: within it a few more may pass.
    let refused = loop {
        let answered = post().await;
        if answered.status.as_u16() != 202 {
            break answered;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(refused.problem(), (429, "quota_exceeded"));
    assert_eq!(refused.body["violated-policies"], json!(["backlog"]));
    assert_eq!(refused.body["limit"], 1);
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
    rate(&refused);
}

#[tokio::test]
async fn a_blocked_tenant_sends_nothing() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let event = json!({"type": "a", "payload": 1});
    rig.call(ROOT, "PATCH /v1/tenants/acme", json!({"ingest": "blocked", "reason": "abuse"})).await.is(200);
    for call in ["POST /v1/events", "POST /v1/events/batch"] {
        let refused = rig.call(&key, call, event.clone()).await;
        assert_eq!(refused.problem(), (403, "tenant_suspended"));
        assert!(refused.text("detail").contains("abuse"));
        rate(&refused);
    }
    rig.call(ROOT, "PATCH /v1/tenants/acme", json!({"ingest": "open"})).await.is(200);
    rig.call(&key, "POST /v1/events", event).await.is(202);
}

#[tokio::test]
async fn scopes_and_other_tenants_are_kept_apart() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    let reader = rig.key("acme", &["events:read"]).await;
    let writer = rig.key("acme", &["events:write"]).await;
    let event = json!({"type": "a", "payload": 1});
    assert_eq!(rig.call(&reader, "POST /v1/events", event.clone()).await.problem(), (403, "missing_scope"));
    let taken = rig.call(&writer, "POST /v1/events", event).await.is(202);
    let path = format!("GET /v1/events/{}", taken.text("id"));
    assert_eq!(rig.call(&writer, &path, Value::Null).await.problem(), (403, "missing_scope"));
    rig.call(&key, &path, Value::Null).await.is(200);
    rig.call(ROOT, &path.replace("/v1", "/v1/tenants/acme"), Value::Null).await.is(200);
    assert_eq!(rig.call(&other, &path, Value::Null).await.problem(), (404, "not_found"));
    assert_eq!(rig.call(&key, "GET /v1/events/evt_x", Value::Null).await.problem(), (404, "not_found"));
}
