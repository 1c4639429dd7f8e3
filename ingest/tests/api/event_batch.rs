//! Posting many events in one request.

use serde_json::{Value, json};

use crate::rig::{Answered, ROOT, Rig};

async fn post(rig: &Rig, key: &str, events: Value) -> Answered {
    rig.call(key, "POST /v1/events/batch", json!({ "events": events })).await
}

#[tokio::test]
async fn each_event_stands_alone() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    rig.endpoint(&key).await;
    let mut events: Vec<Value> = (0..100).map(|n| json!({"type": "a.b", "payload": n})).collect();
    events[37] = json!({"type": "a..b", "payload": 1, "nope": 2});
    events[38] = json!("no object");
    events[39]["idempotency_key"] = json!("one");
    events[40] = events[39].clone();
    events[41] = json!({"type": "other", "payload": 1, "idempotency_key": "one"});
    let answered = post(&rig, &key, Value::Array(events)).await.is(202);
    assert_eq!((&answered.body["accepted"], &answered.body["rejected"]), (&json!(97), &json!(3)));
    let results = answered.body["results"].as_array().expect("a list");
    assert_eq!(results.len(), 100);
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result["index"], n);
        let status = result["status"].as_str().expect("a text");
        match n {
            37 => {
                let places: Vec<_> = result["problem"]["errors"].as_array().expect("a list").iter().collect();
                assert_eq!(places[0]["pointer"], "/events/37/type");
                assert_eq!(places[1]["pointer"], "/events/37/nope");
            }
            38 => assert_eq!(result["problem"]["errors"][0]["pointer"], "/events/38"),
            40 => assert_eq!((status, &result["id"]), ("replayed", &results[39]["id"])),
            41 => assert_eq!(result["problem"]["code"], "idempotency_conflict"),
            _ => assert_eq!(status, "accepted"),
        }
        assert_eq!(status == "rejected", [37, 38, 41].contains(&n));
        assert_eq!(result["id"].is_string(), status != "rejected");
    }
    let listed = rig.call(&key, "GET /v1/events?limit=250&order=asc", Value::Null).await.is(200);
    let payloads: Vec<_> =
        listed.body["data"].as_array().expect("a list").iter().map(|e| e["payload"].clone()).collect();
    let expected: Vec<_> = (0..100).filter(|n| !matches!(n, 37 | 38 | 40 | 41)).map(|n| json!(n)).collect();
    assert_eq!(payloads, expected, "in the order in which they were posted");
}

#[tokio::test]
async fn a_quota_is_applied_to_each_event() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    rig.call(ROOT, "PATCH /v1/quotas/acme", json!({"max_events_per_sec": 1, "burst": 3})).await.is(200);
    let event = |n: u32| json!({"type": "a", "payload": n});
    // What is not valid costs nothing of the quota.
    let events = json!([{"type": "", "payload": 0}, event(1), event(2), event(3), event(4), event(5)]);
    let answered = post(&rig, &key, events).await.is(202);
    assert_eq!((&answered.body["accepted"], &answered.body["rejected"]), (&json!(3), &json!(3)));
    let problem = &answered.body["results"][5]["problem"];
    assert_eq!((&problem["code"], &problem["status"]), (&json!("quota_exceeded"), &json!(429)));
    assert_eq!(answered.header("x-ratelimit-remaining"), "0");
    let refused = post(&rig, &key, json!([event(6)])).await;
    assert_eq!(refused.problem(), (429, "quota_exceeded"));
    assert!(!refused.header("retry-after").is_empty());
}

#[tokio::test]
async fn a_batch_of_which_nothing_is_taken_is_refused() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let refused = post(&rig, &key, json!([{"type": "a"}, 7])).await;
    assert_eq!(refused.problem(), (400, "invalid_request"));
    assert_eq!((&refused.body["accepted"], &refused.body["rejected"]), (&json!(0), &json!(2)));
    assert_eq!(refused.body["results"][0]["problem"]["errors"][0]["pointer"], "/events/0/payload");
    for (events, place) in [(json!([]), "/events"), (json!(7), "/events"), (json!(vec![1; 1_001]), "/events")]
    {
        let refused = post(&rig, &key, events).await;
        assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), vec![place]));
    }
    let listed = rig.call(&key, "GET /v1/events", Value::Null).await.is(200);
    assert_eq!(listed.body["data"], json!([]));
}

#[tokio::test]
async fn an_operator_may_name_a_tenant_with_each_event() {
    let rig = Rig::start().await;
    let (_, acme) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    let event = |tenant: &str| json!({"type": "a", "payload": tenant, "tenant_id": tenant});
    let answered = post(&rig, ROOT, json!([event("acme"), event("other"), event("nobody")])).await.is(202);
    assert_eq!((&answered.body["accepted"], &answered.body["rejected"]), (&json!(2), &json!(1)));
    assert_eq!(answered.body["results"][2]["problem"]["code"], "unknown_tenant");
    for (key, payload) in [(&acme, "acme"), (&other, "other")] {
        let listed = rig.call(key, "GET /v1/events", Value::Null).await.is(200);
        assert_eq!(listed.body["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(listed.body["data"][0]["payload"], payload);
    }
    let body = json!({"tenant_id": "acme", "events": [event("acme"), event("other")]});
    let mixed = rig.call(ROOT, "POST /v1/events/batch", body).await.is(202);
    assert_eq!(mixed.body["results"][1]["problem"]["code"], "tenant_conflict");
    let foreign = post(&rig, &acme, json!([event("other")])).await;
    assert_eq!(foreign.body["results"][0]["problem"]["code"], "wrong_tenant");
}

#[tokio::test]
async fn a_key_for_a_whole_batch_is_refused_rather_than_ignored() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "once")];
    let body = r#"{"events": [{"type": "a.b", "payload": 1}]}"#;
    let refused = rig.send("POST /v1/events/batch", &headers, body).await;
    assert_eq!(refused.problem(), (400, "invalid_request"));
    assert!(refused.text("detail").contains("each event its own `idempotency_key`"), "{refused:?}");
    assert_eq!(refused.body["errors"][0]["parameter"], "Idempotency-Key");
    let listed = rig.call(&key, "GET /v1/events", Value::Null).await.is(200);
    assert_eq!(listed.body["data"], json!([]));
}
