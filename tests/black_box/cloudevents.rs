//! A CloudEvent from whoever posts it to whoever wants CloudEvents, through the real binary.

use axum::http::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::harness::{Engine, LONG, Options, Receiver, until};

const DATA: &str = "{ \"total\":1.50,\n\"currency\" : \"\\u20ac\" }";

/// As it was posted, without its data.
fn attributes() -> Value {
    json!({
        "specversion": "1.0", "id": "A-1", "source": "/shop/1", "type": "order.paid", "subject": "order 7",
        "time": "2026-01-31T12:00:00+01:00", "datacontenttype": "application/json", "region": "eu",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_as_a_cloudevent_arrives_as_the_same_in_either_form_behind_a_handshake() {
    let engine = Engine::start_with(Options::args(&["--base-domain", "hooks.test"])).await;
    let (structured, binary) = (Receiver::good().await, Receiver::good().await);
    engine.api.tenant("acme").await;
    let settings = json!({"body": "cloudevents", "handshake": true});
    let endpoint = engine.api.endpoint("acme", &structured.url(), settings).await;
    engine.api.endpoint("acme", &binary.url(), json!({"body": "cloudevents_binary"})).await;

    let mut body = attributes().to_string();
    body.truncate(body.len() - 1);
    let events = "/tenants/acme/events";
    let form = [("content-type", "application/cloudevents+json")];
    let body = format!("{body},\"data\":{DATA}}}");
    let first = engine.api.post_with_headers(events, &form, body).await.expect(202);
    structured.wait_for(2, LONG).await;
    binary.wait_for(1, LONG).await;

    let asked = &structured.arrivals()[0];
    assert_eq!((&asked.method, asked.header("webhook-request-origin")), (&Method::OPTIONS, "hooks.test"));
    let arrival = &structured.arrivals()[1];
    assert_eq!(arrival.header("content-type"), "application/cloudevents+json");
    assert_eq!(arrival.header("webhook-request-origin"), "hooks.test");
    let webhook = Webhook::new(endpoint["secret"].as_str().expect("shown once")).expect("a secret");
    webhook.verify(&arrival.body, &arrival.headers).expect("what is sent is what is signed");
    assert!(arrival.body.windows(DATA.len()).any(|part| part == DATA.as_bytes()), "byte for byte");
    let mut arrived: Value = serde_json::from_slice(&arrival.body).expect("JSON");
    let data = arrived.as_object_mut().expect("an object").remove("data").expect("data");
    assert_eq!((arrived, &data["total"]), (attributes(), &json!(1.5)));

    let arrival = &binary.arrivals()[0];
    assert_eq!((&arrival.method, &arrival.body[..]), (&Method::POST, DATA.as_bytes()));
    assert_eq!((arrival.header("ce-subject"), arrival.header("ce-region")), ("order%207", "eu"));

    // What was sent on is the same CloudEvent: it is taken as a repetition of itself.
    let forwarded = arrival.headers.keys().filter(|name| name.as_str().starts_with("ce-"));
    let forwarded = forwarded.map(|name| (name.as_str(), arrival.header(name.as_str())));
    let headers: Vec<_> = forwarded.chain([("content-type", "application/json")]).collect();
    let again = engine.api.post_with_headers(events, &headers, DATA).await.expect(202);
    assert_eq!(again["id"], first["id"]);

    // A replay is the same again.
    let deliveries = engine.api.list("/tenants/acme/deliveries").await;
    for delivery in &deliveries {
        let path = format!("/tenants/acme/deliveries/{}", delivery["id"].as_str().expect("an id"));
        until("it is delivered", || async {
            (engine.api.get(&path).await.expect(200)["status"] == "delivered").then_some(())
        })
        .await;
        engine.api.post(&format!("{path}/replay"), json!({})).await.expect(202);
    }
    structured.wait_for(3, LONG).await;
    binary.wait_for(2, LONG).await;
    assert_eq!(structured.arrivals()[2].method, Method::POST, "it has consented");
    assert_eq!(structured.arrivals()[2].body, structured.arrivals()[1].body);
    assert_eq!(binary.arrivals()[1].header("ce-id"), "A-1");
}
