//! What comes in at sources: by whom it is signed, what is made of it, and what is not.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fairhook_common::limits;
use fairhook_common::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::rig::{Answered, ROOT, Rig};

const SECRET: &str = "It's a Secret to Everybody";

/// A source with its door.
struct Door<'r> {
    rig: &'r Rig,
    key: String,
    id: String,
    url: String,
}

impl<'r> Door<'r> {
    async fn of(rig: &'r Rig, key: &str, body: Value) -> Self {
        let made = rig.call(key, "POST /v1/sources", body).await.is(201);
        Self { rig, key: key.to_owned(), id: made.text("id"), url: made.text("url") }
    }

    /// One of a tenant of its own, and that tenant's.
    async fn new(rig: &'r Rig, slug: &str, body: Value) -> Self {
        let (_, key) = rig.tenant(slug).await;
        Self::of(rig, &key, body).await
    }

    async fn github(rig: &'r Rig, slug: &str) -> Self {
        Self::new(rig, slug, json!({ "verification": { "scheme": "github", "secret": SECRET } })).await
    }

    async fn send(&self, headers: &[(&str, &str)], body: &str) -> Answered {
        self.rig.send(&format!("POST {}", self.url), headers, body.to_owned()).await
    }

    /// As GitHub sends it, with this id.
    async fn push(&self, id: &str, body: &str) -> Answered {
        self.push_signed(id, body, SECRET).await
    }

    async fn push_signed(&self, id: &str, body: &str, secret: &str) -> Answered {
        let signature = format!("sha256={}", hex(&mac(secret, body)));
        let headers = [
            ("x-hub-signature-256", signature.as_str()),
            ("x-github-event", "push"),
            ("x-github-delivery", id),
        ];
        self.send(&headers, body).await
    }

    async fn patch(&self, changes: Value) -> Answered {
        self.rig.call(&self.key, &format!("PATCH /v1/sources/{}", self.id), changes).await
    }

    /// The types of the tenant's events, the first one first.
    async fn events(&self) -> Vec<String> {
        let listed = self.rig.call(&self.key, "GET /v1/events?order=asc", Value::Null).await.is(200).body;
        let types = listed["data"].as_array().expect("a list").iter();
        types.map(|event| event["type"].as_str().expect("a type").to_owned()).collect()
    }
}

fn mac(secret: &str, body: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unix_seconds() -> i64 {
    Timestamp::now().0 / 1_000
}

#[tokio::test]
async fn what_github_sends_becomes_an_event_once() {
    let rig = Rig::start().await;
    let door = Door::github(&rig, "acme").await;
    let prefix = json!({ "event_type": { "header": "X-GitHub-Event", "prefix": "github." } });
    door.patch(prefix).await.is(200);
    let body = "{ \"ref\" : \"refs/heads/\\u00e9é\",\n \"size\": 1.50 }\n";
    let taken = door.push("72d3162e-cc78-11e3-81ab-4c9367dc0958", body).await.is(202);
    assert_eq!((taken.text("type"), &taken.body["deliveries"]), ("github.push".into(), &json!(0)));
    assert!(taken.header("ratelimit-policy").contains("\"source_ingest\";q=100;w=60"), "{taken:?}");
    assert!(taken.header("ratelimit-policy").contains("\"events\""), "{taken:?}");
    let shown =
        rig.call(&door.key, &format!("GET /v1/events/{}", taken.text("id")), Value::Null).await.is(200);
    assert!(shown.raw.contains(body.trim()), "{}", shown.raw);
    assert_eq!(shown.body["metadata"], json!({ "source_id": door.id }));

    for again in [body, "{}"] {
        let replayed = door.push("72d3162e-cc78-11e3-81ab-4c9367dc0958", again).await.is(202);
        assert_eq!(
            (replayed.header("idempotency-replayed"), replayed.text("id")),
            ("true", taken.text("id"))
        );
    }
    let next = door.push("72d3162e-cc78-11e3-81ab-4c9367dc0959", body).await.is(202);
    assert_ne!(next.text("id"), taken.text("id"));
    assert_eq!(door.events().await, ["github.push", "github.push"]);
}

#[tokio::test]
async fn what_is_not_signed_is_refused_and_counted_and_nothing_is_made() {
    let rig = Rig::start().await;
    let door = Door::github(&rig, "acme").await;
    let wrong = door.push_signed("1", "{}", "another secret").await;
    assert_eq!(wrong.problem(), (401, "signature_invalid"));
    assert!(wrong.header("www-authenticate").starts_with("Signature "), "{wrong:?}");
    let unsigned = door.send(&[("x-github-event", "push"), ("x-github-delivery", "1")], "{}").await;
    assert_eq!(unsigned.problem(), (401, "signature_invalid"));
    // GitHub's own example: signed, and no JSON.
    let hello = door.push("1", "Hello, World!").await;
    assert_eq!(hello.problem(), (400, "malformed_json"));
    let signature = format!("sha256={}", hex(&mac(SECRET, "{}")));
    let signed = ("x-hub-signature-256", signature.as_str());
    let (event, delivery) = (("x-github-event", "push"), ("x-github-delivery", "1"));
    for (headers, place) in [
        (&[signed, delivery][..], "x-github-event"),
        (&[signed, delivery, ("x-github-event", "/ :")], "x-github-event"),
        (&[signed, event], "x-github-delivery"),
        (&[signed, event, ("x-github-delivery", &"x".repeat(257))], "x-github-delivery"),
    ] {
        let refused = door.send(headers, "{}").await;
        assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), vec![place]));
    }
    assert!(door.events().await.is_empty());
    for (reason, count) in [
        ("mismatch", 1),
        ("unsigned", 1),
        ("not_json", 1),
        ("no_type", 2),
        ("no_delivery_id", 2),
        ("stale", 0),
    ] {
        assert_eq!(rig.refused_at_sources("github", reason), count, "{reason}");
    }
}

#[tokio::test]
async fn what_stripe_sends_is_taken_while_it_is_fresh_and_once_whatever_it_carries_again() {
    let rig = Rig::start().await;
    let body = json!({ "verification": { "scheme": "stripe", "secret": SECRET, "tolerance_s": 60 } });
    let door = Door::new(&rig, "acme", body).await;
    let send = async |at: i64, body: &str| {
        let signature = hex(&mac(SECRET, &format!("{at}.{body}")));
        let header = format!("t={at},v1={signature},v0={}", "0".repeat(64));
        door.send(&[("stripe-signature", &header)], body).await
    };
    let (now, event) = (unix_seconds(), r#"{"id":"evt_1","type":"invoice.paid","pending_webhooks":1}"#);
    let taken = send(now, event).await.is(202);
    assert_eq!(taken.text("type"), "invoice.paid");
    let again = send(now, r#"{"id":"evt_1","type":"invoice.paid","pending_webhooks":0}"#).await.is(202);
    assert_eq!((again.header("idempotency-replayed"), again.text("id")), ("true", taken.text("id")));
    for at in [now - 120, now + 120] {
        assert_eq!(send(at, event).await.problem(), (401, "signature_invalid"));
    }
    assert_eq!(rig.refused_at_sources("stripe", "stale"), 2);
    assert_eq!(door.events().await, ["invoice.paid"]);
}

#[tokio::test]
async fn what_a_standard_webhooks_library_signs_is_taken() {
    let rig = Rig::start().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = json!({ "verification": { "scheme": "standard_webhooks", "secret": secret } });
    let door = Door::new(&rig, "acme", body).await;
    let library = standardwebhooks::Webhook::new(secret).expect("a secret");
    let send = async |id: &str, at: i64, body: &str| {
        let signature = library.sign(id, at, body.as_bytes()).expect("signs");
        let at = at.to_string();
        let headers = [("webhook-id", id), ("webhook-timestamp", &at), ("webhook-signature", &signature)];
        door.send(&headers, body).await
    };
    let (now, event) = (unix_seconds(), r#"{"type":"user.created","data":{}}"#);
    let taken = send("msg_1", now, event).await.is(202);
    let again = send("msg_1", now + 1, event).await.is(202);
    assert_eq!((again.header("idempotency-replayed"), again.text("id")), ("true", taken.text("id")));
    assert_eq!(send("msg_2", now - 301, event).await.problem(), (401, "signature_invalid"));
    assert_eq!(door.events().await, ["user.created"]);
}

#[tokio::test]
async fn an_hmac_in_any_header_is_verified_and_an_id_at_any_place_is_compared_with_its_body() {
    let rig = Rig::start().await;
    let body = json!({
        "verification": { "scheme": "hmac", "secret": SECRET, "header": "X-Shop-Hmac", "encoding": "base64" },
        "event_type": { "header": "X-Shop-Topic", "prefix": "shop." }, "delivery_id": { "pointer": "/order/id" },
    });
    let door = Door::new(&rig, "acme", body).await;
    let send = async |body: &str| {
        let signature = STANDARD.encode(mac(SECRET, body));
        door.send(&[("x-shop-hmac", &signature), ("x-shop-topic", "orders/create")], body).await
    };
    let taken = send(r#"{"order":{"id":7},"n":1}"#).await.is(202);
    let again = send(r#"{"order":{"id":7},"n":1}"#).await.is(202);
    assert_eq!((again.header("idempotency-replayed"), again.text("id")), ("true", taken.text("id")));
    // What was taken for an id of the delivery is none: events must not be swallowed in silence.
    let differs = send(r#"{"order":{"id":7},"n":2}"#).await;
    assert_eq!(differs.problem(), (422, "idempotency_conflict"));
    assert!(differs.text("detail").contains("a delivery with this id"), "in its own words: {differs:?}");
    assert_eq!(send(r#"{"order":{}}"#).await.places(), ["/order/id"]);
    assert_eq!(door.events().await, ["shop.orders.create"]);
}

#[tokio::test]
async fn ids_of_two_sources_and_keys_of_the_tenant_do_not_meet() {
    let rig = Rig::start().await;
    let first = Door::github(&rig, "acme").await;
    let body = json!({ "verification": { "scheme": "github", "secret": SECRET } });
    let second = Door::of(&rig, &first.key, body).await;
    first.push("1", "{}").await.is(202);
    assert_eq!(second.push("1", "{}").await.is(202).header("idempotency-replayed"), "");
    let post = async |key: &str| {
        let event = json!({ "type": "push", "payload": {}, "idempotency_key": key });
        rig.call(&first.key, "POST /v1/events", event).await
    };
    post("1").await.is(202);
    assert_eq!(post(&format!("{}:1", first.id)).await.places(), ["/idempotency_key"]);
    post(&first.id).await.is(202);
    assert_eq!(first.events().await.len(), 4);
}

#[tokio::test]
async fn a_secret_that_was_replaced_counts_for_its_grace() {
    let rig = Rig::start().await;
    let door = Door::github(&rig, "acme").await;
    door.push("1", "{}").await.is(202);
    door.patch(json!({ "verification": { "secret": "the next one" } })).await.is(200);
    door.push("2", "{}").await.is(202);
    door.push_signed("3", "{}", "the next one").await.is(202);
    door.patch(json!({ "verification": { "secret": "the last one", "grace_period_s": 0 } })).await.is(200);
    for secret in [SECRET, "the next one"] {
        assert_eq!(door.push_signed("4", "{}", secret).await.problem(), (401, "signature_invalid"));
    }
    door.push_signed("5", "{}", "the last one").await.is(202);
}

#[tokio::test]
async fn whoever_has_no_door_is_a_stranger() {
    let rig = Rig::limited("anonymous=4 / 60 s").await;
    let mut door = Door::github(&rig, "acme").await;
    let ask = async |path: &str| rig.send(&format!("POST {path}"), &[], "{}").await;
    let unknown = format!("/in/fhs_{}", "0".repeat(52));
    for path in ["/in/x", &unknown, &door.url.to_uppercase().replace("/IN/FHS", "/in/fhs")] {
        assert_eq!(ask(path).await.problem(), (404, "not_found"), "{path}");
    }
    door.push("1", "{}").await.is(202);
    let old = door.url.clone();
    let rotated =
        rig.call(&door.key, &format!("POST /v1/sources/{}/token/rotate", door.id), Value::Null).await;
    door.url = rotated.is(200).text("url");
    assert_eq!(ask(&old).await.problem(), (404, "not_found"), "at once");
    let guessed = ask(&unknown).await;
    assert_eq!(guessed.problem(), (429, "quota_exceeded"));
    assert_eq!(guessed.body["violated-policies"], json!(["anonymous"]));
    door.push("2", "{}").await.is(202);
    rig.call(&door.key, &format!("DELETE /v1/sources/{}", door.id), Value::Null).await.is(204);
    assert_eq!(door.push("3", "{}").await.problem().0, 429, "it is a stranger's now");
}

#[tokio::test]
async fn a_source_is_at_the_root_and_takes_posts() {
    let rig = Rig::start().await;
    let door = Door::github(&rig, "acme").await;
    assert_eq!(rig.send(&format!("GET {}", door.url), &[], "").await.problem(), (405, "method_not_allowed"));
    assert_eq!(rig.send(&format!("POST /v1{}", door.url), &[], "{}").await.problem().0, 404);
    assert_eq!(rig.send("POST /in/", &[], "{}").await.problem().0, 404);
    assert_eq!(rig.send(&format!("POST {}/x", door.url), &[], "{}").await.problem().0, 404);
    door.patch(json!({ "status": "paused" })).await.is(200);
    assert_eq!(door.push("1", "{}").await.problem(), (403, "source_paused"));
    assert_eq!(rig.refused_at_sources("github", "paused"), 1);
    door.patch(json!({ "status": "active" })).await.is(200);
    door.push("1", "{}").await.is(202);
    rig.call(ROOT, "DELETE /v1/tenants/acme", Value::Null).await.is(202);
    assert_eq!(door.push("2", "{}").await.problem(), (404, "not_found"));
}

#[tokio::test]
async fn each_source_has_its_rate_and_recovers() {
    let rig = Rig::limited("source_ingest=2 / 1 s").await;
    let door = Door::github(&rig, "acme").await;
    let other = json!({ "verification": { "scheme": "none" }, "event_type": { "fixed": "a.b" } });
    let other = Door::of(&rig, &door.key, other).await;
    door.push("1", "{}").await.is(202);
    // What is forged counts: the signature is looked at behind the rate.
    door.push_signed("2", "{}", "forged").await.is(401);
    let refused = door.push("3", "{}").await;
    assert_eq!(refused.problem(), (429, "quota_exceeded"));
    assert_eq!(refused.body["violated-policies"], json!(["source_ingest"]));
    assert!(refused.header("retry-after").parse::<u64>().expect("seconds") >= 1);
    other.send(&[], "[1]").await.is(202);
    let begin = Instant::now();
    while door.push("3", "{}").await.status.as_u16() == 429 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_tenants_limits_hold_for_what_is_signed_and_only_that_uses_them_up() {
    let rig = Rig::limited("events_per_day=2 / 60 s,bytes_per_minute=2000 / 60 s").await;
    let door = Door::github(&rig, "acme").await;
    for n in 0..10 {
        door.push_signed(&n.to_string(), "{}", "forged").await.is(401);
    }
    let big = format!("[\"{}\"]", "x".repeat(1_500));
    door.push("1", &big).await.is(202);
    let bytes = door.push("2", &big).await;
    assert_eq!(bytes.body["violated-policies"], json!(["bytes_per_minute"]), "{bytes:?}");
    door.push("2", "{}").await.is(202);
    let events = door.push("3", "{}").await;
    assert_eq!(events.body["violated-policies"], json!(["events_per_day"]), "{events:?}");

    let large = format!("[\"{}\"]", "x".repeat(limits::REQUEST_BODY_BYTES));
    assert_eq!(door.push("4", &large).await.problem(), (413, "too_large"));
    let blocked = json!({ "ingest": "blocked", "reason": "unpaid" });
    rig.call(ROOT, "PATCH /v1/tenants/acme", blocked).await.is(200);
    assert_eq!(door.push("5", "{}").await.problem(), (403, "tenant_suspended"));
    assert_eq!(door.events().await.len(), 2);
}

#[tokio::test]
async fn an_events_quota_and_a_backlog_are_limits_here_too() {
    let rig = Rig::start().await;
    let door = Door::github(&rig, "acme").await;
    rig.endpoint(&door.key).await;
    let quota = json!({ "max_events_per_sec": 1, "burst": 1 });
    rig.call(ROOT, "PATCH /v1/quotas/acme", quota).await.is(200);
    door.push("1", "{}").await.is(202);
    let refused = door.push("2", "{}").await;
    assert_eq!(refused.body["violated-policies"], json!(["events"]), "{refused:?}");
    let quota = json!({ "max_events_per_sec": 100, "burst": 100, "max_backlog": 1 });
    rig.call(ROOT, "PATCH /v1/quotas/acme", quota).await.is(200);
    // How large a backlog is, is known a second late at most.
    let begin = Instant::now();
    loop {
        let answered = door.push("3", "{}").await;
        if answered.status.as_u16() == 429 {
            assert_eq!(answered.body["violated-policies"], json!(["backlog"]), "{answered:?}");
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{answered:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
