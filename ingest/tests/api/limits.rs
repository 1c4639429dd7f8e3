//! What may be asked of the API: every policy is reached and recovers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::rig::{Answered, ROOT, Rig, Stalled};

/// The rig's requests have no socket; this is what stands for its address.
const PROXIED: &str = "x-forwarded-for";

async fn from(rig: &Rig, address: &str, key: &str, call: &str) -> Answered {
    let bearer = format!("Bearer {key}");
    rig.send(call, &[("authorization", &bearer), (PROXIED, address)], "").await
}

#[track_caller]
fn refused(answered: &Answered, policy: &str) {
    assert_eq!(answered.problem(), (429, "quota_exceeded"));
    assert_eq!(answered.body["violated-policies"], json!([policy]), "{answered:?}");
    assert!(answered.header("retry-after").parse::<u64>().expect("seconds") >= 1);
    assert!(answered.header("ratelimit").starts_with(&format!("\"{policy}\";r=")), "{answered:?}");
}

/// Asks again until it is answered otherwise, as long as was told and some.
async fn recovers(told: &Answered, mut ask: impl AsyncFnMut() -> Answered) -> Answered {
    let seconds: u64 = told.header("retry-after").parse().expect("seconds");
    let begin = Instant::now();
    loop {
        let answered = ask().await;
        if answered.status.as_u16() != 429 {
            return answered;
        }
        assert!(begin.elapsed() < Duration::from_secs(seconds + 5), "{answered:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn strangers_reach_their_limit_and_whoever_has_a_key_does_not() {
    let rig = Rig::limited("anonymous=3 / 1 s").await;
    let (_, key) = rig.tenant("acme").await;
    let ask = async || rig.send("GET /v1/jobs", &[], "").await;
    for left in [2, 1, 0] {
        let answered = ask().await.is(401);
        assert_eq!(answered.header("ratelimit-policy"), "\"anonymous\";q=3;w=1");
        assert_eq!(answered.header("x-ratelimit-remaining"), left.to_string());
    }
    let told = ask().await;
    refused(&told, "anonymous");
    rig.call(&key, "GET /v1/jobs", Value::Null).await.is(200);
    from(&rig, "192.0.2.9", "", "GET /v1/jobs").await.is(401);
    recovers(&told, ask).await.is(401);
}

#[tokio::test]
async fn invalid_keys_reach_a_limit_of_their_own() {
    let rig = Rig::limited("anonymous=off,auth_failures=2 / 1 s").await;
    let (_, key) = rig.tenant("acme").await;
    let ask = async || rig.call("fh_not_a_key", "GET /v1/jobs", Value::Null).await;
    ask().await.is(401);
    ask().await.is(401);
    let told = ask().await;
    refused(&told, "auth_failures");
    rig.send("GET /v1/jobs", &[], "").await.is(401);
    rig.call(&key, "GET /v1/jobs", Value::Null).await.is(200);
    recovers(&told, ask).await.is(401);
}

#[tokio::test]
async fn every_plan_has_its_tier_of_calls_for_a_tenant_and_an_address() {
    let rig = Rig::limited("api_requests=off").await;
    let reached = async |plan: &str, calls: u32| {
        let (_, key) = rig.tenant(plan).await;
        rig.call(ROOT, &format!("PATCH /v1/tenants/{plan}"), json!({ "plan": plan })).await.is(200);
        let ask = async || from(&rig, "192.0.2.1", &key, "GET /v1/jobs").await;
        let answered = ask().await.is(200);
        assert_eq!(answered.header("ratelimit-policy"), format!("\"tier\";q={calls};w=10"));
        for _ in 1..calls {
            ask().await.is(200);
        }
        // If so many calls take longer than the window, some of the first are free again.
        let begin = Instant::now();
        let told = loop {
            let next = ask().await;
            if next.status.as_u16() == 429 {
                break next;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "the limit of {plan} is never reached");
        };
        refused(&told, "tier");
        from(&rig, "192.0.2.2", &key, "GET /v1/jobs").await.is(200);
        rig.call(&key, "POST /v1/events", json!({ "type": "a.b", "payload": 1 })).await.is(202);
        recovers(&told, ask).await.is(200);
    };
    tokio::join!(reached("starter", 50), reached("professional", 200), reached("enterprise", 1_000));
    for _ in 0..300 {
        rig.call(ROOT, "GET /v1/tenants", Value::Null).await.is(200);
    }
}

#[tokio::test]
async fn calls_of_a_tenant_are_limited_from_all_addresses_together() {
    let rig = Rig::limited("api_requests=4 / 1 s").await;
    let (_, key) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    for address in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"] {
        let answered = from(&rig, address, &key, "GET /v1/jobs").await.is(200);
        assert_eq!(answered.header("ratelimit-policy"), "\"tier\";q=50;w=10, \"api_requests\";q=4;w=1");
        assert!(
            answered.header("ratelimit").starts_with("\"api_requests\";r="),
            "the tightest: {answered:?}"
        );
        assert_eq!(answered.header("x-ratelimit-limit"), "4");
    }
    let ask = async || from(&rig, "192.0.2.3", &key, "GET /v1/jobs").await;
    let told = ask().await;
    refused(&told, "api_requests");
    rig.call(&other, "GET /v1/jobs", Value::Null).await.is(200);
    rig.call(&key, "POST /v1/events", json!({ "type": "a.b", "payload": 1 })).await.is(202);
    recovers(&told, ask).await.is(200);
}

/// The longest window is asked last: whoever is refused by a short one uses nothing of it up for others.
#[tokio::test]
async fn what_a_short_window_refuses_costs_nothing_of_a_long_one() {
    let rig = Rig::limited("api_requests=4 / 1 h,anonymous=2 / 1 s,auth_failures=4 / 1 h").await;
    let (_, key) = rig.tenant("acme").await;
    let tier = json!({ "limit": 2, "window": "1 h" });
    rig.call(ROOT, "PUT /v1/quotas/acme/overrides/tier", tier).await.is(201);
    for address in ["192.0.2.1", "192.0.2.2"] {
        for _ in 0..2 {
            from(&rig, address, &key, "GET /v1/jobs").await.is(200);
        }
        for _ in 0..5 {
            refused(&from(&rig, address, &key, "GET /v1/jobs").await, "tier");
        }
    }
    refused(&from(&rig, "192.0.2.3", &key, "GET /v1/jobs").await, "api_requests");

    let guess = async || from(&rig, "192.0.2.1", "fh_not_a_key", "GET /v1/jobs").await;
    guess().await.is(401);
    guess().await.is(401);
    let told = guess().await;
    refused(&told, "anonymous");
    for _ in 0..5 {
        refused(&guess().await, "anonymous");
    }
    let again = recovers(&told, guess).await.is(401);
    assert!(again.header("ratelimit-policy").contains("\"auth_failures\";q=4;w=3600"), "{again:?}");
}

#[tokio::test]
async fn an_address_that_is_forged_is_not_counted() {
    let rig = Rig::limited("anonymous=2 / 60 s").await;
    for forged in 0..2 {
        from(&rig, &format!("198.51.100.{forged}, 192.0.2.1"), "", "GET /v1/jobs").await.is(401);
    }
    refused(&from(&rig, "198.51.100.3, 192.0.2.1", "", "GET /v1/jobs").await, "anonymous");
    from(&rig, "192.0.2.1, 192.0.2.2", "", "GET /v1/jobs").await.is(401);
}

#[tokio::test]
async fn events_a_day_and_bytes_a_minute_are_limited_where_that_is_wanted() {
    let rig = Rig::limited("events_per_day=3 / 2 s,bytes_per_minute=300 / 2 s").await;
    let (_, key) = rig.tenant("acme").await;
    let event = |pad: usize| json!({ "type": "a.b", "payload": { "pad": "x".repeat(pad) } });
    let sent = async |call: &str, body: Value| {
        let (bearer, body) = (format!("Bearer {key}"), body.to_string());
        rig.send(call, &[("authorization", &bearer), ("content-length", &body.len().to_string())], body).await
    };
    let big = sent("POST /v1/events", event(200)).await.is(202);
    assert!(big.header("ratelimit-policy").contains("\"bytes_per_minute\";q=300;w=2"), "{big:?}");
    let told = sent("POST /v1/events", event(200)).await;
    refused(&told, "bytes_per_minute");
    recovers(&told, async || sent("POST /v1/events", event(200)).await).await.is(202);

    // An operator may name a batch's tenant in its body, which is read before anybody can be asked.
    let rig = Rig::limited("bytes_per_minute=300 / 1 h").await;
    rig.tenant("acme").await;
    let batch = json!({ "tenant_id": "acme", "events": [event(100), event(1)] }).to_string();
    let headers = [("authorization", format!("Bearer {ROOT}")), ("content-length", batch.len().to_string())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    rig.send("POST /v1/events/batch", &headers, batch.clone()).await.is(202);
    refused(&rig.send("POST /v1/events/batch", &headers, batch).await, "bytes_per_minute");

    let rig = Rig::limited("events_per_day=3 / 2 s").await;
    let (_, key) = rig.tenant("acme").await;
    let two = json!({ "events": [event(1), event(1)] });
    let first = rig.call(&key, "POST /v1/events/batch", two.clone()).await.is(202);
    assert_eq!((&first.body["accepted"], first.header("x-ratelimit-remaining")), (&json!(2), "1"));
    let second = rig.call(&key, "POST /v1/events/batch", two).await.is(202);
    assert_eq!((&second.body["accepted"], &second.body["rejected"]), (&json!(1), &json!(1)));
    let ask = async || rig.call(&key, "POST /v1/events", event(1)).await;
    let told = ask().await;
    refused(&told, "events_per_day");
    recovers(&told, ask).await.is(202);
}

#[tokio::test]
async fn events_of_a_tenant_are_limited_by_its_quota() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let quota = json!({ "max_events_per_sec": 1, "burst": 1, "max_backlog": 1 });
    rig.call(ROOT, "PATCH /v1/quotas/acme", quota).await.is(200);
    let ask = async || rig.call(&key, "POST /v1/events", json!({ "type": "a.b", "payload": 1 })).await;
    let until_refused = async || loop {
        let answered = ask().await;
        if answered.status.as_u16() == 429 {
            break answered;
        }
        answered.is(202);
    };
    let told = until_refused().await;
    refused(&told, "events");
    recovers(&told, ask).await.is(202);

    rig.call(ROOT, "PATCH /v1/quotas/acme", json!({ "max_events_per_sec": null, "burst": null }))
        .await
        .is(200);
    rig.endpoint(&key).await;
    let told = until_refused().await;
    assert_eq!(told.body["violated-policies"], json!(["backlog"]), "{told:?}");
    loop {
        let queued = rig.call(&key, "GET /v1/deliveries?status=queued&limit=250", Value::Null).await.is(200);
        let queued = queued.body["data"].as_array().expect("a list").clone();
        if queued.is_empty() {
            break;
        }
        for delivery in queued {
            let cancel = format!("POST /v1/deliveries/{}/cancel", delivery["id"].as_str().expect("an id"));
            rig.call(&key, &cancel, Value::Null).await.is(200);
        }
    }
    recovers(&told, ask).await.is(202);
}

/// A request of which the body never ends, once it is read.
async fn unended(rig: &Arc<Rig>, call: &str, key: &str) -> JoinSet<Answered> {
    let (rig, call, key) = (rig.clone(), call.to_owned(), format!("Bearer {key}"));
    let (tell, told) = oneshot::channel();
    let body = Body::new(Stalled(None, Some(tell)));
    let mut under_way = JoinSet::new();
    under_way.spawn(async move { rig.send(&call, &[("authorization", &key)], body).await });
    told.await.expect("it is under way");
    under_way
}

#[tokio::test]
async fn requests_of_a_tenant_at_once_are_limited_with_a_key_and_at_its_sources_apart() {
    let rig = Arc::new(Rig::at_once(1).await);
    let (_, key) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    let source = json!({ "verification": { "scheme": "none" }, "event_type": { "fixed": "a.b" } });
    let door = rig.call(&key, "POST /v1/sources", source).await.is(201).text("url");
    let (call, push) = ("GET /v1/jobs".to_owned(), format!("POST {door}"));
    let held = [("POST /v1/events".to_owned(), call.clone(), push.clone()), (push.clone(), push, call)];
    for (holds, refuses, goes_on) in held {
        let ask =
            async |call: &str| rig.send(call, &[("authorization", &format!("Bearer {key}"))], "{}").await;
        let mut under_way = unended(&rig, &holds, &key).await;
        let told = ask(&refuses).await;
        assert_eq!(told.body["violated-policies"], json!(["concurrent_requests"]), "{told:?}");
        assert_eq!((&told.body["limit"], told.header("retry-after")), (&json!(1), "1"));
        assert!(ask(&goes_on).await.status.is_success(), "{holds} is no reason to refuse {goes_on}");
        rig.call(&other, "GET /v1/jobs", Value::Null).await.is(200);
        under_way.shutdown().await;
        assert!(recovers(&told, async || ask(&refuses).await).await.status.is_success());
    }
}

#[tokio::test]
async fn what_only_operators_ask_about_recovers() {
    let rig = Rig::limited("source_ingest=2 / 1 s,public_form=2 / 1 s").await;
    for policy in ["source_ingest", "public_form"] {
        let check = async || {
            let call = format!("POST /v1/limits/{policy}/check");
            let answered = rig.call(ROOT, &call, json!({ "key": "somebody" })).await.is(200);
            answered.body["allowed"] == json!(true)
        };
        assert!(check().await && check().await && !check().await, "{policy}");
        let begin = Instant::now();
        while !check().await {
            assert!(begin.elapsed() < Duration::from_secs(10), "{policy} does not recover");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn an_operator_asks_the_limiter_for_what_is_its_own() {
    let rig = Rig::limited("").await;
    let (_, key) = rig.tenant("acme").await;
    let check = async |policy: &str, body: Value| {
        rig.call(ROOT, &format!("POST /v1/limits/{policy}/check"), body).await
    };
    let form = check("public_form", json!({ "key": "192.0.2.1", "cost": 4 })).await.is(200);
    assert_eq!(
        (&form.body["allowed"], &form.body["limit"], &form.body["remaining"]),
        (&json!(true), &json!(5), &json!(1))
    );
    assert_eq!(form.header("ratelimit-policy"), "\"public_form\";q=5;w=3600");
    let over = check("public_form", json!({ "key": "192.0.2.1", "cost": 2 })).await.is(200);
    assert_eq!(
        (&over.body["allowed"], &over.body["remaining"]),
        (&json!(false), &json!(1)),
        "nothing of it is taken"
    );
    assert!(over.body["reset"].is_string());
    check("public_form", json!({ "key": "192.0.2.2" })).await.is(200);

    for (body, field) in [
        (json!({}), "/key"),
        (json!({ "key": "" }), "/key"),
        (json!({ "key": "a", "cost": 0 }), "/cost"),
        (json!({ "key": "a", "cost": 6 }), "/cost"),
        (json!({ "key": "a", "cost": -1 }), "/cost"),
        (json!({ "key": "a", "costs": 1 }), "/costs"),
    ] {
        let bad = check("public_form", body).await.is(400);
        assert_eq!(bad.places(), [field]);
    }
    check("nothing", json!({ "key": "a" })).await.is(404);
    check("events", json!({ "key": "a" })).await.is(404);
    let tenants = rig.call(&key, "POST /v1/limits/public_form/check", json!({ "key": "a" })).await;
    assert_eq!(tenants.problem(), (403, "operator_required"));
}

#[tokio::test]
async fn an_override_is_in_force_at_once_and_ends() {
    let rig = Rig::limited("api_requests=off").await;
    let (_, key) = rig.tenant("acme").await;
    let put = async |policy: &str, body: Value| {
        let call = format!("PUT /v1/quotas/acme/overrides/{policy}");
        rig.call(ROOT, &call, body).await.is(201)
    };
    put("tier", json!({ "limit": 2, "window": "1 h", "ttl_s": 2 })).await;
    put("events", json!({ "limit": 1, "window": "1 h" })).await;
    let call = async || rig.call(&key, "GET /v1/jobs", Value::Null).await;
    let first = call().await.is(200);
    assert_eq!(first.header("ratelimit-policy"), "\"tier\";q=2;w=3600");
    call().await.is(200);
    refused(&call().await, "tier");
    let event = async || rig.call(&key, "POST /v1/events", json!({ "type": "a.b", "payload": 1 })).await;
    event().await.is(202);
    refused(&event().await, "events");
    rig.call(ROOT, "DELETE /v1/quotas/acme/overrides/events", Value::Null).await.is(204);
    event().await.is(202);
    let begin = Instant::now();
    while call().await.status.as_u16() == 429 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
