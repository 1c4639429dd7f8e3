//! What a receiver gets.

use std::time::Duration;

use fairhook_common::endpoint::{BodyForm, CustomHeader, Secrets};
use fairhook_common::signature::SigningSecret;
use fairhook_common::store::{EndpointSnapshot, Loaded};
use fairhook_common::time::Timestamp;
use standardwebhooks::Webhook;

use super::receiver::{Receiver, Seen, answer};
use super::{attempt, attempter, code, delivery, endpoint, to};

fn verifies(secret: &SigningSecret, seen: &Seen) -> bool {
    Webhook::new(&secret.reveal()).expect("its secret").verify(&seen.body, &seen.headers).is_ok()
}

async fn received(loaded: &Loaded, receiver: &mut Receiver) -> Seen {
    let attempted = attempt(&attempter(), loaded).await;
    assert_eq!(code(&attempted), None, "{attempted:?}");
    receiver.next().await
}

#[tokio::test]
async fn a_receiver_gets_the_payload_byte_for_byte_signed_and_named() {
    let mut receiver = Receiver::answering(answer("200 OK", "")).await;
    let loaded = delivery(&format!("http://{}/a/b?c=d#e", receiver.address));
    let before = Timestamp::now().unix_seconds();
    let seen = received(&loaded, &mut receiver).await;
    assert_eq!(seen.line, "POST /a/b?c=d HTTP/1.1");
    assert_eq!(seen.body, loaded.payload);
    assert_eq!(seen.header("host"), receiver.address.to_string());
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.header("user-agent"), format!("Fairhook/{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(seen.header("webhook-id"), loaded.delivery.event.to_string());
    assert_eq!(seen.header("webhook-event-type"), "order.paid");
    assert_eq!(seen.header("webhook-attempt"), "5");
    let at: i64 = seen.header("webhook-timestamp").parse().expect("seconds");
    assert!((before..=Timestamp::now().unix_seconds()).contains(&at));
    assert!(verifies(&loaded.endpoint.secrets.current, &seen));
    assert!(!verifies(&SigningSecret::generate(), &seen));
    for absent in ["accept-encoding", "referer", "cookie", "transfer-encoding"] {
        assert_eq!(seen.header(absent), "", "{absent}");
    }
}

#[tokio::test]
async fn during_a_rotation_both_secrets_sign_and_after_it_one_does() {
    let mut receiver = Receiver::answering(answer("200 OK", "")).await;
    let (new, old) = (SigningSecret::generate(), SigningSecret::generate());
    let until = |at| Secrets { current: new.clone(), previous: Some((old.clone(), at)) };
    let now = Timestamp::now();
    let rotating = to(EndpointSnapshot {
        secrets: until(now.after(Duration::from_secs(60))),
        ..endpoint(&receiver.url())
    });
    let seen = received(&rotating, &mut receiver).await;
    assert_eq!(seen.header("webhook-signature").split(' ').count(), 2);
    assert!(verifies(&new, &seen) && verifies(&old, &seen));
    let rotated = to(EndpointSnapshot { secrets: until(now), ..endpoint(&receiver.url()) });
    let seen = received(&rotated, &mut receiver).await;
    assert!(verifies(&new, &seen) && !verifies(&old, &seen));
}

#[tokio::test]
async fn an_envelope_holds_the_payload_byte_for_byte_and_is_what_is_signed() {
    let mut receiver = Receiver::answering(answer("200 OK", "")).await;
    let loaded = to(EndpointSnapshot { body: BodyForm::Envelope, ..endpoint(&receiver.url()) });
    let seen = received(&loaded, &mut receiver).await;
    let expected = "{\"type\":\"order.paid\",\"timestamp\":\"2023-11-14T22:13:20.000Z\",\"data\":{ \"id\":7,\t\"n\": 1.0 }}";
    assert_eq!(String::from_utf8_lossy(&seen.body), expected);
    assert!(verifies(&loaded.endpoint.secrets.current, &seen));
    let json: serde_json::Value = serde_json::from_slice(&seen.body).expect("JSON");
    assert_eq!(json["data"]["id"], 7);
}

#[tokio::test]
async fn a_payload_need_be_neither_text_nor_small() {
    let mut receiver = Receiver::answering(answer("200 OK", "")).await;
    let payload: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let loaded = Loaded { payload: payload.clone().into(), ..delivery(&receiver.url()) };
    let seen = received(&loaded, &mut receiver).await;
    assert_eq!(seen.body, payload);
}

#[tokio::test]
async fn custom_headers_are_sent_but_none_that_frames_the_message_or_is_ours() {
    let mut receiver = Receiver::answering(answer("200 OK", "")).await;
    let header = |name: &str, value: &str| CustomHeader { name: name.into(), value: value.into() };
    let headers = vec![
        header("authorization", "Bearer s3cr3t"),
        header("x-two", "1"),
        header("x-two", "2"),
        header("content-type", "application/cloudevents+json"),
        header("content-length", "1"),
        header("transfer-encoding", "chunked"),
        header("host", "elsewhere.example"),
        header("connection", "upgrade"),
        header("webhook-id", "evt_forged"),
        header("webhook-signature", "v1,forged"),
        header("not a name", "x"),
        header("x-split", "a\r\nwebhook-id: evt_forged"),
    ];
    let loaded = to(EndpointSnapshot { headers, ..endpoint(&receiver.url()) });
    let seen = received(&loaded, &mut receiver).await;
    assert_eq!(seen.header("authorization"), "Bearer s3cr3t");
    assert_eq!(seen.headers.get_all("x-two").iter().count(), 2);
    assert_eq!(seen.headers.get_all("content-type").iter().count(), 1);
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.header("host"), receiver.address.to_string());
    assert_eq!(seen.header("webhook-id"), loaded.delivery.event.to_string());
    assert_eq!(seen.headers.get_all("webhook-signature").iter().count(), 1);
    for absent in ["transfer-encoding", "connection", "x-split"] {
        assert_eq!(seen.header(absent), "", "{absent}");
    }
    assert_eq!(seen.body, loaded.payload);
}

#[tokio::test]
async fn an_endpoint_that_changed_is_sent_to_as_it_is_now() {
    let mut first = Receiver::answering(answer("200 OK", "")).await;
    let mut second = Receiver::answering(answer("200 OK", "")).await;
    let attempter = attempter();
    let before = delivery(&first.url());
    let id = before.endpoint.id;
    attempt(&attempter, &before).await;
    let headers = vec![CustomHeader { name: "x-new".into(), value: "1".into() }];
    let after = to(EndpointSnapshot { id, headers, ..endpoint(&second.url()) });
    attempt(&attempter, &after).await;
    assert_eq!(first.next().await.header("x-new"), "");
    assert_eq!(second.next().await.header("x-new"), "1");
    assert_eq!((first.connections(), second.connections()), (1, 1));
}
