//! The document against what it describes: the file in `docs/`, and the fields that each reader knows.

use std::collections::{BTreeSet, HashMap};

use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_ingest::api::openapi::document;
use serde_json::{Value, json};

use crate::rig::{ROOT, Rig, filled};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

/// A call as the document has it.
struct Call {
    method: String,
    path: &'static str,
    described: &'static Value,
}

fn calls() -> Vec<Call> {
    let paths = document()["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&'static String, &'static Value)| {
        let item = item.as_object().expect("a path has calls");
        item.iter().map(|(method, described)| Call { method: method.to_uppercase(), path, described })
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
#[allow(clippy::disallowed_methods)]
fn the_file_in_docs_is_the_document() {
    let wanted = format!("{:#}\n", document());
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(FILE, &wanted).expect("written");
    }
    let is = std::fs::read_to_string(FILE).unwrap_or_default();
    let renew = "RENEW=1 cargo test -p fairhook-ingest --test api the_file_in_docs";
    assert!(is == wanted, "docs/openapi.json is stale; this renews it: {renew}");
}

#[test]
fn each_call_has_an_id_of_its_own_and_says_what_it_does() {
    let mut ids = BTreeSet::new();
    for Call { method, path, described } in calls() {
        let id = described["operationId"].as_str().unwrap_or_default();
        assert!(!id.is_empty() && ids.insert(id), "{method} {path}: {id}");
        assert!(described["summary"].is_string(), "{method} {path} has no summary");
        let tag = &described["tags"][0];
        let tags = document()["tags"].as_array().expect("tags");
        assert!(tags.iter().any(|known| known["name"] == *tag), "{method} {path}: {tag} is not described");
        let answers = described["responses"].as_object().expect("answers");
        assert!(answers.keys().any(|status| status.starts_with('2')), "{method} {path} never succeeds");
    }
}

/// Parameters are not looked through for schemas by whoever puts the document together.
#[test]
fn every_reference_leads_somewhere() {
    let mut open = vec![document()];
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let place = reference.strip_prefix('#').expect("within the document");
            assert!(document().pointer(place).is_some(), "{reference} leads nowhere");
        }
        match value {
            Value::Object(members) => open.extend(members.values()),
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
}

#[test]
fn each_request_and_each_answer_has_an_example() {
    for Call { method, path, described } in calls() {
        // The page for people has none, and the document is its own.
        if ["/docs", "/openapi.json"].iter().any(|own| path.ends_with(own)) {
            continue;
        }
        let contents =
            |of: &'static Value| of["content"].as_object().into_iter().flat_map(|kinds| kinds.values());
        let answers = described["responses"].as_object().into_iter().flat_map(|answers| answers.values());
        for content in contents(&described["requestBody"]).chain(answers.map(resolved).flat_map(contents)) {
            let own = !content["example"].is_null() || content["examples"].is_object();
            let is_there = own || has_example(&content["schema"]);
            assert!(is_there, "{method} {path}: {content}");
        }
    }
}

/// Whether it, or what it is a list of, has one.
fn has_example(schema: &'static Value) -> bool {
    let schema = resolved(schema);
    let items = || schema["type"] == "array" && has_example(&schema["items"]);
    !schema["example"].is_null() || !schema["examples"][0].is_null() || items()
}

/// What a reference leads to, also one that may be `null` instead.
fn resolved(value: &'static Value) -> &'static Value {
    if let Some(place) = value["$ref"].as_str() {
        return document().pointer(place.trim_start_matches('#')).expect("it leads somewhere");
    }
    let one_of = value["oneOf"].as_array().into_iter().flatten();
    let mut others = one_of.filter(|one| one["type"] != "null");
    match (others.next(), others.next()) {
        (Some(only), None) => resolved(only),
        _ => value,
    }
}

/// What is refused beyond a number is refused in the document, too.
#[test]
fn lists_are_as_long_as_their_readers_take() {
    for (schema, field, most) in [
        ("EventBatch", "events", limits::BATCH_EVENTS),
        ("NewEndpoint", "event_types", limits::ENDPOINT_EVENT_TYPES),
        ("EndpointChanges", "event_types", limits::ENDPOINT_EVENT_TYPES),
        ("Retry", "schedule_s", limits::RETRY_STEPS),
        ("NewKey", "scopes", Scope::ALL.len()),
        ("NewOperatorKey", "scopes", Scope::ALL.len()),
        ("DeadLettersToReplay", "ids", limits::JOB_DELIVERIES),
        ("DeadLettersToPurge", "ids", limits::JOB_DELIVERIES),
    ] {
        let field = &document()["components"]["schemas"][schema]["properties"][field];
        assert_eq!(field["maxItems"].as_u64(), Some(most as u64), "{schema}: {field}");
    }
    let batch = &document()["components"]["schemas"]["CloudEventBatch"];
    assert_eq!(batch["maxItems"].as_u64(), Some(limits::BATCH_EVENTS as u64));
    let call = calls().into_iter().find(|one| one.described["operationId"] == "sendEvent");
    let parameters = call.expect("it is there").described["parameters"].as_array().into_iter().flatten();
    let key = parameters.map(resolved).find(|one| one["name"] == "Idempotency-Key").expect("it is there");
    let most = resolved(&key["schema"])["maxLength"].as_u64();
    assert_eq!(most, Some(limits::IDEMPOTENCY_KEY_CHARS as u64), "{key}");
}

/// The schema of a call's body.
fn body_schema(described: &'static Value) -> Option<&'static Value> {
    let schema = described.pointer("/requestBody/content/application~1json/schema")?;
    let name = schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")?;
    Some(&document()["components"]["schemas"][name])
}

/// Every reader tells which fields it knows when it is given one that it does not know, and which it needs.
#[tokio::test]
async fn the_fields_of_requests_are_those_that_their_readers_know() {
    let rig = Rig::start().await;
    let (tenant, key) = rig.tenant("acme").await;
    let endpoint = rig.endpoint(&key).await;
    let event = json!({"type": "a", "payload": 1});
    let event = rig.call(&key, "POST /v1/events", event).await.is(202).text("id");
    let deliveries =
        rig.call(&key, &format!("GET /v1/deliveries?event_id={event}"), Value::Null).await.is(200);
    let delivery = deliveries.body["data"][0]["id"].as_str().expect("one delivery").to_owned();
    let job = rig.call(&key, "POST /v1/dead-letters/replay", json!({"all": true})).await.is(202).text("id");
    let named = [
        ("tenant", tenant),
        ("endpoint", endpoint),
        ("source", rig.source(&key).await),
        ("event", event),
        ("delivery", delivery),
        ("job", job),
        ("plan", "gold".into()),
        ("policy", "public_form".into()),
    ];
    let named = HashMap::from(named);
    let mut asked = 0;
    for Call { method, path, described } in calls() {
        let Some(schema) = body_schema(described) else { continue };
        let (path, by) = match path {
            // The path names an endpoint's uid, and a policy that a tenant has.
            "/v1/endpoints/{endpoint}" | "/v1/tenants/{tenant}/endpoints/{endpoint}" if method == "PUT" => {
                (path.replace("{endpoint}", "a-uid"), ROOT)
            }
            "/v1/quotas/{tenant}/overrides/{policy}" => (path.replace("{policy}", "tier"), ROOT),
            "/v1/tenants/{tenant}" if method == "PUT" => (path.replace("{tenant}", "acme"), ROOT),
            path => (path.to_owned(), ROOT),
        };
        let call = format!("{method} {}", filled(&path, &named));
        let headers = [("authorization", &*format!("Bearer {by}")), ("x-tenant-id", "acme")];
        let mut open = vec![(schema, Vec::new())];
        while let Some((schema, way)) = open.pop() {
            let body = way.iter().rev().fold(json!({"zzzzzzzz": 1}), |inner, step| match step {
                Step::Member(name) => json!({ *name: inner }),
                Step::Item => json!([inner]),
            });
            let answered = rig.send(&call, &headers, body.to_string()).await;
            assert_eq!(answered.problem(), (400, "invalid_request"), "{call} {body}");
            let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
            let properties = || schema["properties"].as_object().into_iter().flatten();
            let documented = names(properties().map(|(name, _)| name.as_str()).collect());
            let required = schema["required"].as_array().into_iter().flatten();
            let required = names(required.map(|name| name.as_str().expect("a name")).collect());
            let (known, needed) = told(&answered.body, &way);
            assert_eq!(documented, known, "what {call} knows: {body}");
            assert_eq!(required, needed, "what {call} needs: {body}");
            asked += 1;
            for (name, property) in properties() {
                let property = resolved(property);
                let mut inner = [way.clone(), vec![Step::Member(name)]].concat();
                let object = match property["type"] == "array" {
                    true => {
                        inner.push(Step::Item);
                        resolved(&property["items"])
                    }
                    false => property,
                };
                if object["properties"].is_object() {
                    open.push((object, inner));
                }
            }
        }
    }
    assert!(asked > 50, "only {asked} objects are in requests");
}

/// Into an object of a request.
#[derive(Clone, Copy)]
enum Step {
    Member(&'static str),
    /// The first of a list.
    Item,
}

/// The fields that a refusal says are known at the end of this way, and those that it says are needed there.
fn told(problem: &Value, way: &[Step]) -> (BTreeSet<String>, BTreeSet<String>) {
    let step = |step: &Step| match step {
        Step::Member(name) => format!("/{name}"),
        Step::Item => "/0".to_owned(),
    };
    let place: String = way.iter().map(step).collect();
    // Of a batch each event has a problem of its own.
    let results = problem["results"].as_array().into_iter().flatten().map(|result| &result["problem"]);
    let errors =
        [problem].into_iter().chain(results).filter_map(|problem| problem["errors"].as_array()).flatten();
    let (mut known, mut needed) = (BTreeSet::new(), BTreeSet::new());
    for error in errors {
        let detail = error["detail"].as_str().unwrap_or_default();
        let pointer = error["pointer"].as_str().unwrap_or_default();
        if pointer.rsplit_once('/').is_none_or(|(parent, _)| parent != place) {
            continue;
        }
        if let Some((_, names)) = detail.split_once("; known are ") {
            known.extend(names.split(", ").map(str::to_owned));
        }
        if let Some(name) = detail.strip_suffix("` is needed") {
            needed.insert(name.trim_start_matches('`').to_owned());
        }
    }
    (known, needed)
}

#[tokio::test]
async fn the_document_is_served_to_anybody() {
    let rig = Rig::start().await;
    for path in ["/openapi.json", "/v1/openapi.json"] {
        let answered = rig.send(&format!("GET {path}"), &[], "").await.is(200);
        assert_eq!(answered.body, *document());
    }
}
