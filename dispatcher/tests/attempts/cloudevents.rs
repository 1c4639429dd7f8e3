//! What a receiver gets that wants CloudEvents.

use std::collections::BTreeMap;

use fairhook_common::cloudevent::{Attribute, Context};
use fairhook_common::endpoint::{BodyForm, CustomHeader};
use fairhook_common::store::{EndpointSnapshot, Loaded};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::receiver::{Receiver, Seen, answer};
use super::{attempt, attempter, code, endpoint, to};

async fn received(loaded: &Loaded) -> Seen {
    let mut receiver = Receiver::answering(answer("200 OK", "")).await;
    let form = loaded.endpoint.body;
    let headers = loaded.endpoint.headers.clone();
    let to_it = to(EndpointSnapshot { body: form, headers, ..endpoint(&receiver.url()) });
    let loaded = Loaded { endpoint: to_it.endpoint, ..loaded.clone() };
    let attempted = attempt(&attempter(), &loaded).await;
    assert_eq!(code(&attempted), None, "{attempted:?}");
    let seen = receiver.next().await;
    let secret = loaded.endpoint.secrets.current.reveal();
    assert!(Webhook::new(&secret).expect("its secret").verify(&seen.body, &seen.headers).is_ok());
    assert_eq!(seen.header("webhook-id"), loaded.delivery.event.to_string());
    seen
}

fn of_form(body: BodyForm) -> Loaded {
    to(EndpointSnapshot { body, ..endpoint("http://unused.test/") })
}

fn posted() -> Context {
    let text = |text: &str| Attribute::Text(text.into());
    Context::of(&BTreeMap::from([
        ("specversion".to_owned(), text("1.0")),
        ("id".to_owned(), text("A-1")),
        ("source".to_owned(), text("/shop/1")),
        ("type".to_owned(), text("order.paid")),
        ("subject".to_owned(), text("order 7 – \"ä\"")),
        ("sequence".to_owned(), Attribute::Number(5)),
        ("datacontenttype".to_owned(), text("application/vnd.shop+json")),
    ]))
}

#[tokio::test]
async fn a_structured_one_holds_the_payload_byte_for_byte() {
    let mut loaded = of_form(BodyForm::CloudEvents);
    loaded.cloudevent = Some(posted());
    let seen = received(&loaded).await;
    assert_eq!(seen.header("content-type"), "application/cloudevents+json");
    assert!(seen.body.windows(loaded.payload.len()).any(|part| part == loaded.payload));
    let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
    let expected = json!({
        "specversion": "1.0", "id": "A-1", "source": "/shop/1", "type": "order.paid", "sequence": 5,
        "subject": "order 7 – \"ä\"", "datacontenttype": "application/vnd.shop+json", "data": { "id": 7, "n": 1.0 },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_binary_one_has_its_attributes_as_headers_and_the_payload_as_its_body() {
    let mut loaded = of_form(BodyForm::CloudEventsBinary);
    loaded.cloudevent = Some(posted());
    let seen = received(&loaded).await;
    assert_eq!(seen.body, loaded.payload);
    for (name, value) in [
        ("content-type", "application/vnd.shop+json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "A-1"),
        ("ce-source", "/shop/1"),
        ("ce-type", "order.paid"),
        ("ce-subject", "order%207%20%E2%80%93%20%22%C3%A4%22"),
        ("ce-sequence", "5"),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert!(!seen.headers.contains_key("ce-datacontenttype"));
}

#[tokio::test]
async fn an_event_that_came_as_none_is_one_of_its_tenants() {
    let loaded = of_form(BodyForm::CloudEvents);
    let body: Value = serde_json::from_slice(&received(&loaded).await.body).expect("JSON");
    let expected = json!({
        "specversion": "1.0", "id": loaded.delivery.event, "source": format!("urn:fairhook:tenant:{}", loaded.tenant),
        "type": "order.paid", "time": "2023-11-14T22:13:20.000Z", "datacontenttype": "application/json",
        "data": { "id": 7, "n": 1.0 },
    });
    assert_eq!(body, expected);
    let mut binary = of_form(BodyForm::CloudEventsBinary);
    binary.delivery = loaded.delivery;
    let seen = received(&binary).await;
    assert_eq!(seen.header("ce-id"), loaded.delivery.event.to_string(), "the same by whatever attempt");
    assert_eq!((seen.header("content-type"), &seen.body[..]), ("application/json", &loaded.payload[..]));
}

#[tokio::test]
async fn what_says_what_it_is_no_header_of_the_tenants_replaces() {
    for form in [BodyForm::CloudEvents, BodyForm::CloudEventsBinary] {
        let custom = |name: &str| CustomHeader { name: name.into(), value: "forged".into() };
        let headers = vec![custom("content-type"), custom("ce-id"), custom("x-mine")];
        let loaded = to(EndpointSnapshot { body: form, headers, ..endpoint("http://unused.test/") });
        let seen = received(&loaded).await;
        assert_ne!(seen.header("content-type"), "forged");
        assert_eq!(seen.header("x-mine"), "forged");
        if form == BodyForm::CloudEventsBinary {
            assert_eq!(seen.headers.get_all("ce-id").iter().count(), 1);
            assert_ne!(seen.header("ce-id"), "forged");
        }
    }
}

#[tokio::test]
async fn one_who_wants_no_cloudevents_gets_the_payload_of_one() {
    let mut loaded = of_form(BodyForm::Raw);
    loaded.cloudevent = Some(posted());
    let seen = received(&loaded).await;
    assert_eq!((seen.header("content-type"), &seen.body[..]), ("application/json", &loaded.payload[..]));
    assert!(seen.headers.keys().all(|name| !name.as_str().starts_with("ce-")));
}
