//! What an endpoint receives: signed as the standard says, and byte for byte what was posted.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fairhook_common::signature::SigningSecret;
use serde_json::json;
use standardwebhooks::Webhook;

use crate::harness::{Engine, LONG, Receiver};

#[tokio::test(flavor = "multi_thread")]
async fn the_official_library_verifies_what_a_receiver_got_and_the_payload_is_what_was_posted() {
    let (engine, receiver) = (Engine::start().await, Receiver::good().await);
    engine.api.tenant("acme").await;
    let headers = json!({"headers": {"x-token": "of the receiver's own"}});
    let endpoint = engine.api.endpoint("acme", &receiver.url(), headers).await;
    // Spacing, the order of members, escapes and numbers are the tenant's business.
    let payload = "{ \"b\":1.50,\n\"a\" : \"\\u00e9\u{e9}\", \"n\":12345678901234567890123 }";
    let body = format!(r#"{{"type":"order.paid","payload":{payload}}}"#);
    let accepted = engine.api.post_raw("/tenants/acme/events", body).await.expect(202);
    receiver.wait_for(1, LONG).await;

    let arrival = &receiver.arrivals()[0];
    assert_eq!(arrival.body, payload.as_bytes());
    assert_eq!(arrival.header("webhook-id"), accepted["id"]);
    assert_eq!(arrival.header("webhook-event-type"), "order.paid");
    assert_eq!(arrival.header("webhook-attempt"), "1");
    assert_eq!(arrival.header("content-type"), "application/json");
    assert_eq!(arrival.header("x-token"), "of the receiver's own");
    assert!(arrival.header("user-agent").starts_with("Fairhook/"));
    let webhook = Webhook::new(endpoint["secret"].as_str().expect("shown once")).expect("a secret");
    webhook.verify(&arrival.body, &arrival.headers).expect("the signature is right");
    webhook.verify(b"another body", &arrival.headers).expect_err("and says something");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_secret_is_rotated_both_sign() {
    let (engine, receiver) = (Engine::start().await, Receiver::good().await);
    engine.api.tenant("acme").await;
    let endpoint = engine.api.endpoint("acme", &receiver.url(), json!({"body": "envelope"})).await;
    let path = format!("/tenants/acme/endpoints/{}/secret", endpoint["id"].as_str().expect("an id"));
    let old = engine.api.get(&path).await.expect(200)["secret"].as_str().expect("a secret").to_owned();
    assert_eq!(endpoint["secret"], old);
    engine.api.post(&format!("{path}/rotate"), json!({"grace_period_s": 3600})).await;
    let new = engine.api.get(&path).await.expect(200)["secret"].as_str().expect("a secret").to_owned();
    assert_ne!(old, new);

    let event = json!({"type": "order.paid", "payload": {"id": 7}});
    engine.api.post("/tenants/acme/events", event).await.expect(202);
    receiver.wait_for(1, LONG).await;
    let arrival = &receiver.arrivals()[0];
    for secret in [old, new] {
        let webhook = Webhook::new(&secret).expect("a secret");
        webhook.verify(&arrival.body, &arrival.headers).expect("both sign");
    }
    let envelope: serde_json::Value = serde_json::from_slice(&arrival.body).expect("JSON");
    assert_eq!((&envelope["type"], &envelope["data"]), (&json!("order.paid"), &json!({"id": 7})));
    assert!(envelope["timestamp"].is_string());
    let signed_at: u64 = arrival.header("webhook-timestamp").parse().expect("Unix seconds");
    assert!(signed_at.abs_diff(unix_seconds()) < 60);
}

/// The document takes the secrets that the API takes, and no others.
#[test]
fn a_secret_that_the_document_takes_is_one() {
    let place = "https://fairhook.test/openapi.json";
    let document = serde_json::from_str(include_str!("../../docs/openapi.json")).expect("JSON");
    let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
    compiler.add_resource(place, document).expect("a resource");
    let address = format!("{place}#/components/schemas/Secret");
    let secret = compiler.compile(&address, &mut schemas).expect("a schema");
    let documented = |text: &str| schemas.validate(&json!(text), secret).is_ok();
    for length in 20..70 {
        for byte in [0, 0x5b, 0xff] {
            let text = format!("whsec_{}", STANDARD.encode(vec![byte; length]));
            assert_eq!(documented(&text), SigningSecret::parse(&text).is_ok(), "{length} bytes: {text}");
            let unpadded = text.trim_end_matches('=');
            assert_eq!(documented(unpadded), SigningSecret::parse(unpadded).is_ok(), "{unpadded}");
        }
    }
}

/// The wall clock, as a receiver has it.
#[allow(clippy::disallowed_methods)]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}
