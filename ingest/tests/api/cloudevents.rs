//! Events that come as CloudEvents, and endpoints that want them.

use serde_json::{Value, json};

use crate::rig::{Answered, ROOT, Rig};

const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";
const BATCH: &str = "application/cloudevents-batch+json";

/// Posts what `headers` say to a path.
async fn post(rig: &Rig, key: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
    let bearer = format!("Bearer {key}");
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend_from_slice(headers);
    rig.send(&format!("POST {path}"), &all, body.to_owned()).await
}

async fn structured(rig: &Rig, key: &str, body: &str) -> Answered {
    post(rig, key, "/v1/events", &[("content-type", STRUCTURED)], body).await
}

/// The required attributes, as headers of the binary form, with others.
fn binary<'a>(others: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/shop"),
        ("ce-type", "order.paid"),
        ("content-type", "application/json"),
    ];
    headers.retain(|(name, _)| others.iter().all(|(other, _)| other != name));
    headers.extend_from_slice(others);
    headers.retain(|(_, value)| *value != "-");
    headers
}

/// What is stored of the event that was taken: its payload and its context.
async fn stored(rig: &Rig, taken: &Answered) -> (String, Value) {
    let event = taken.text("id").parse().expect("an id");
    let tenant = rig.store.tenant_of_event(event).await.expect("a store").expect("there");
    let stored = rig.store.find_event(tenant, event).await.expect("a store").expect("there");
    let context = stored.cloudevent.expect("it came as a CloudEvent");
    let payload = String::from_utf8(stored.payload.to_vec()).expect("text");
    (payload, serde_json::from_str(&context).expect("JSON"))
}

#[tokio::test]
async fn a_structured_one_is_taken_with_all_it_says() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let data = r#"{ "b":1.00,"a" : "\u00e4" }"#;
    let body = format!(
        r#"{{"specversion":"1.0","id":"A-1","source":"/shop","type":"order.paid","subject":"7","unset":null,
            "time":"2026-01-31T12:00:00+01:00","dataschema":"https://a.test/s","datacontenttype":"application/vnd.a+json",
            "sequence":5,"sampled":false,"data" : {data} }}"#
    );
    let taken = structured(&rig, &key, &body).await.is(202);
    assert_eq!(taken.text("type"), "order.paid");
    let (payload, context) = stored(&rig, &taken).await;
    assert_eq!(payload, data);
    let expected = json!({
        "specversion": "1.0", "id": "A-1", "source": "/shop", "type": "order.paid", "subject": "7",
        "time": "2026-01-31T12:00:00+01:00", "dataschema": "https://a.test/s",
        "datacontenttype": "application/vnd.a+json", "sequence": 5, "sampled": false,
    });
    assert_eq!(context, expected);
    let shown = rig.call(&key, &format!("GET /v1/events/{}", taken.text("id")), Value::Null).await.is(200);
    assert_eq!((&shown.body["cloudevent"], &shown.body["metadata"]), (&expected, &Value::Null));
    let ours = rig.call(&key, "POST /v1/events", json!({"type": "a", "payload": 1})).await.is(202);
    let shown = rig.call(&key, &format!("GET /v1/events/{}", ours.text("id")), Value::Null).await.is(200);
    assert_eq!(shown.body["cloudevent"], Value::Null);
}

#[tokio::test]
async fn a_binary_one_is_taken_with_its_headers_decoded_and_its_body_as_it_is() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let headers = binary(&[
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("ce-old", r#""a \"b\"""#),
        ("ce-sequence", "5"),
        ("content-type", "application/json; charset=utf-8"),
    ]);
    let body = " {\"n\" : 1.0}\n";
    let taken = post(&rig, &key, "/v1/events", &headers, body).await.is(202);
    let (payload, context) = stored(&rig, &taken).await;
    assert_eq!(payload, body);
    let expected = json!({
        "specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid", "subject": "Euro € 😀", "old": "a \"b\"",
        "sequence": "5", "datacontenttype": "application/json; charset=utf-8",
    });
    assert_eq!(context, expected);
    let shown = rig.call(&key, &format!("GET /v1/events/{}", taken.text("id")), Value::Null).await.is(200);
    assert_eq!(shown.body["payload"], json!({"n": 1.0}));
}

#[tokio::test]
async fn one_without_data_has_null_as_its_payload() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let body = r#"{"specversion":"1.0","id":"1","source":"/a","type":"a"}"#;
    let taken = structured(&rig, &key, body).await.is(202);
    assert_eq!(stored(&rig, &taken).await.0, "null");
    let headers = binary(&[("ce-id", "2"), ("content-type", "-")]);
    let taken = post(&rig, &key, "/v1/events", &headers, "").await.is(202);
    assert_eq!(stored(&rig, &taken).await.0, "null");
}

#[tokio::test]
async fn source_and_id_are_its_key_in_whatever_form() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let body = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.paid","data":{"n":1}}"#;
    let first = structured(&rig, &key, body).await.is(202);
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = post(&rig, &key, "/v1/events", &binary(&[]), r#"{"n":1}"#).await.is(202);
    assert_eq!((again.header("idempotency-replayed"), again.text("id")), ("true", first.text("id")));
    let other = structured(&rig, &key, &body.replace("/shop", "/other")).await.is(202);
    assert_ne!(other.text("id"), first.text("id"));
    let differs = structured(&rig, &key, &body.replace("\"n\":1", "\"n\":2")).await;
    assert_eq!(differs.problem(), (422, "idempotency_conflict"));
    assert!(differs.text("detail").contains("`source` and `id`"), "in its own words: {differs:?}");
    let long = body.replace("/shop", &format!("/{}", "x".repeat(1_000)));
    let first = structured(&rig, &key, &long).await.is(202);
    assert_eq!(structured(&rig, &key, &long).await.is(202).text("id"), first.text("id"));
}

#[tokio::test]
async fn no_other_event_has_the_key_of_a_cloudevent() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let event = |key: &str| json!({"type": "order.paid", "payload": {}, "idempotency_key": key}).to_string();
    let plain = [("content-type", "application/json")];
    let hashed = format!("ce:sha256:{}", "0".repeat(64));
    for taken in ["ce:5:/shop:1", &hashed] {
        let refused = post(&rig, &key, "/v1/events", &plain, &event(taken)).await;
        assert_eq!(
            (refused.problem(), refused.places()),
            ((400, "invalid_request"), vec!["/idempotency_key"])
        );
        let header = [("content-type", "application/json"), ("idempotency-key", taken)];
        let refused = post(&rig, &key, "/v1/events", &header, r#"{"type":"a","payload":1}"#).await;
        assert_eq!(refused.problem(), (400, "invalid_request"));
    }
    for free in ["ce:order-1", "ce:5:/shop", "ce:sha256:0"] {
        post(&rig, &key, "/v1/events", &plain, &event(free)).await.is(202);
    }
}

#[tokio::test]
async fn a_wrong_one_is_refused_with_every_attribute_that_is_wrong() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let good = json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "a", "data": 1});
    for (changes, places) in [
        (json!({"specversion": "0.3"}), &["/specversion"][..]),
        (json!({"specversion": null}), &["/specversion"]),
        (json!({"specversion": 1}), &["/specversion"]),
        (json!({"id": "", "source": "a b", "type": "a b"}), &["/id", "/source", "/type"]),
        (json!({"id": null, "source": null, "type": null}), &["/id", "/source", "/type"]),
        (json!({"time": "noon"}), &["/time"]),
        (json!({"datacontenttype": "text/plain"}), &["/datacontenttype"]),
        (json!({"data_base64": "MQ=="}), &["/data_base64"]),
        (json!({"my_ext": "x"}), &["/my_ext"]),
        (json!({"a/b": "x"}), &["/a~1b"]),
        (json!({"ext": {"a": 1}}), &["/ext"]),
        (json!({"ext": 1.5}), &["/ext"]),
        (json!({"ext": 2_147_483_648_u32}), &["/ext"]),
        (json!({"ext": "a\u{0}"}), &["/ext"]),
    ] {
        let mut body = good.clone();
        body.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let refused = structured(&rig, &key, &body.to_string()).await;
        assert_eq!(
            (refused.problem(), refused.places()),
            ((400, "invalid_request"), places.to_vec()),
            "{changes}"
        );
    }
    for attribute in ["specversion", "id", "source", "type"] {
        let mut body = good.clone();
        body.as_object_mut().expect("an object").remove(attribute);
        let refused = structured(&rig, &key, &body.to_string()).await;
        assert_eq!(refused.places(), [format!("/{attribute}")]);
        assert!(refused.text("detail").contains(attribute), "{refused:?}");
        let header = format!("ce-{attribute}");
        let refused = post(&rig, &key, "/v1/events", &binary(&[(&header, "-")]), "1").await;
        assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), vec![header.as_str()]));
    }
    let large =
        json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "a", "ext": "x".repeat(65_536)});
    assert_eq!(structured(&rig, &key, &large.to_string()).await.problem(), (413, "too_large"));
    for body in ["", "[]", "{", "\"a\""] {
        assert_eq!(structured(&rig, &key, body).await.status, 400, "{body}");
    }
    nothing_was_taken(&rig, &key).await;
}

async fn nothing_was_taken(rig: &Rig, key: &str) {
    let listed = rig.call(key, "GET /v1/events", Value::Null).await.is(200);
    assert_eq!(listed.body["data"], json!([]));
}

#[tokio::test]
async fn a_wrong_one_in_headers_is_refused_with_the_header_that_is_wrong() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    for (others, body, answer, places) in [
        (&[("ce-subject", "%C0%A0")][..], "1", (400, "invalid_request"), &["ce-subject"][..]),
        (&[("ce-subject", "50%")], "1", (400, "invalid_request"), &["ce-subject"]),
        (&[("ce-a_b", "x")], "1", (400, "invalid_request"), &["ce-a_b"]),
        (&[("ce-data", "x")], "1", (400, "invalid_request"), &["ce-data"]),
        (&[("ce-a", "x"), ("ce-a", "y")], "1", (400, "invalid_request"), &["ce-a"]),
        (&[("ce-datacontenttype", "application/json")], "1", (400, "invalid_request"), &["Content-Type"]),
        (&[], "{", (400, "malformed_json"), &[]),
        (&[], "1 2", (400, "malformed_json"), &[]),
        (&[("content-type", "text/xml")], "<a/>", (415, "unsupported_media_type"), &[]),
    ] {
        let refused = post(&rig, &key, "/v1/events", &binary(others), body).await;
        assert_eq!((refused.problem(), refused.places()), (answer, places.to_vec()), "{others:?} {body}");
    }
    nothing_was_taken(&rig, &key).await;
}

#[tokio::test]
async fn what_is_no_form_of_a_cloudevent_there_is_refused() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let one = r#"{"specversion":"1.0","id":"1","source":"/a","type":"a"}"#;
    let unsupported = (415, "unsupported_media_type");
    for (path, headers, body) in [
        ("/v1/events", vec![("content-type", "application/cloudevents+xml")], "<event/>"),
        ("/v1/events", vec![("content-type", BATCH)], "[]"),
        ("/v1/events/batch", vec![("content-type", STRUCTURED)], one),
        ("/v1/events/batch", binary(&[]), "1"),
    ] {
        assert_eq!(post(&rig, &key, path, &headers, body).await.problem(), unsupported, "{path} {headers:?}");
    }
    let keyed = [("content-type", STRUCTURED), ("idempotency-key", "k")];
    let refused = post(&rig, &key, "/v1/events", &keyed, one).await;
    assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), vec!["Idempotency-Key"]));
    // It names no tenant, so an operator does.
    assert_eq!(structured(&rig, ROOT, one).await.problem(), (400, "tenant_required"));
    let named = [("content-type", STRUCTURED), ("x-tenant-id", "acme")];
    post(&rig, ROOT, "/v1/events", &named, one).await.is(202);
    post(&rig, ROOT, "/v1/tenants/acme/events", &binary(&[]), "1").await.is(202);
}

#[tokio::test]
async fn each_of_a_batch_stands_alone() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let one =
        |id: &str| json!({"specversion": "1.0", "id": id, "source": "/a", "type": "a", "data": {"id": id}});
    let mut wrong = one("3");
    wrong["type"] = json!("a b");
    let body = json!([one("1"), wrong, one("1"), 7, one("2")]).to_string();
    let batch = [("content-type", BATCH)];
    let taken = post(&rig, &key, "/v1/events/batch", &batch, &body).await.is(202);
    assert_eq!((&taken.body["accepted"], &taken.body["rejected"]), (&json!(3), &json!(2)));
    let results = taken.body["results"].as_array().expect("a list");
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_str().expect("text")).collect();
    assert_eq!(statuses, ["accepted", "rejected", "replayed", "rejected", "accepted"]);
    assert_eq!(results[1]["problem"]["errors"][0]["pointer"], "/1/type");
    assert_eq!(results[3]["problem"]["errors"][0]["pointer"], "/3");
    let path = format!("GET /v1/events/{}", results[4]["id"].as_str().expect("an id"));
    assert_eq!(rig.call(&key, &path, Value::Null).await.is(200).body["cloudevent"]["id"], "2");
    for (body, problem) in [
        ("[]", (400, "invalid_request")),
        ("{}", (400, "invalid_request")),
        ("[", (400, "malformed_json")),
        ("", (400, "malformed_json")),
    ] {
        assert_eq!(post(&rig, &key, "/v1/events/batch", &batch, body).await.problem(), problem, "{body}");
    }
    let whose = post(&rig, ROOT, "/v1/events/batch", &batch, &body).await;
    assert_eq!(whose.problem(), (400, "tenant_required"));
}

#[tokio::test]
async fn an_endpoint_may_want_cloudevents_and_to_be_asked_first() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let url = "https://example.com/hook";
    let made = rig.call(&key, "POST /v1/endpoints", json!({"url": url})).await.is(201);
    assert_eq!((made.text("body"), &made.body["handshake"]), ("raw".into(), &json!(false)));
    let path = format!("PATCH /v1/endpoints/{}", made.text("id"));
    for form in ["cloudevents", "cloudevents_binary", "envelope", "raw"] {
        let changed = rig.call(&key, &path, json!({"body": form, "handshake": true})).await.is(200);
        assert_eq!((changed.text("body"), &changed.body["handshake"]), (form.into(), &json!(true)));
    }
    let back = rig.call(&key, &path, json!({"handshake": null})).await.is(200);
    assert_eq!(back.body["handshake"], json!(false));
    for (body, place) in [(json!({"body": "cloud"}), "/body"), (json!({"handshake": "yes"}), "/handshake")] {
        assert_eq!(rig.call(&key, &path, body).await.places(), [place]);
    }
    let nameless = Rig::nameless().await;
    let (_, key) = nameless.tenant("acme").await;
    let refused = nameless.call(&key, "POST /v1/endpoints", json!({"url": url, "handshake": true})).await;
    assert_eq!((refused.problem(), refused.places()), ((400, "invalid_request"), vec!["/handshake"]));
    nameless.call(&key, "POST /v1/endpoints", json!({"url": url, "handshake": false})).await.is(201);
}
