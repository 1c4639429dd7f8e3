//! The document against what it describes: the file in `docs/`, and the fields that each reader knows.

use std::collections::{BTreeSet, HashMap};

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
        let contents =
            |of: &'static Value| of["content"].as_object().into_iter().flat_map(|kinds| kinds.values());
        let answers = described["responses"].as_object().into_iter().flat_map(|answers| answers.values());
        for content in contents(&described["requestBody"]).chain(answers.flat_map(contents)) {
            let Some(name) = content["schema"]["$ref"].as_str() else { continue };
            let schema = document().pointer(name.trim_start_matches('#')).expect("it leads somewhere");
            let is_there = schema["example"].is_object() || schema["examples"][0].is_object();
            assert!(is_there || schema["type"] == "array", "{method} {path}: {name}");
        }
    }
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
        let answered = rig.send(&call, &headers, json!({"zzzzzzzz": 1}).to_string()).await;
        assert_eq!(answered.problem(), (400, "invalid_request"), "{call}");
        let (known, needed) = told(&answered.body);
        let documented: BTreeSet<_> =
            schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        let required: BTreeSet<_> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect();
        assert_eq!(documented, known, "what {call} knows");
        assert_eq!(required, needed, "what {call} needs");
        asked += 1;
    }
    assert!(asked > 30, "only {asked} calls have bodies");
}

/// The fields that a refusal says are known, and those that it says are needed.
fn told(problem: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut known, mut needed) = (BTreeSet::new(), BTreeSet::new());
    for error in problem["errors"].as_array().into_iter().flatten() {
        let detail = error["detail"].as_str().unwrap_or_default();
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
