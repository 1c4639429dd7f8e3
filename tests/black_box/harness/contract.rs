//! Every answer that a test receives is held against the document of the API (`docs/openapi.json`): the call is described, and
//! with this status, these headers, this kind of body, of this shape. Members that are not described are refused: answers may
//! gain some, but not unnoticed.

use std::collections::HashMap;
use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value, json};

/// Where the document is, for those who compile its schemas.
const PLACE: &str = "https://fairhook.test/openapi.json";

/// Fails the test if the document does not describe this answer.
#[track_caller]
pub fn hold(method: &Method, path: &str, status: u16, headers: &HeaderMap, body: &str) {
    if let Err(breach) = CONTRACT.check(method, path, status, headers, body) {
        panic!(
            "the API's document does not allow this answer to {method} {path}: {breach}\n{status} {headers:?}\n{body}"
        );
    }
}

static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let document =
        serde_json::from_str(include_str!("../../../docs/openapi.json")).expect("the document is JSON");
    Contract::of(document)
});

struct Contract {
    document: Value,
    schemas: Schemas,
    /// What is compiled, by the place of the schema.
    compiled: HashMap<String, SchemaIndex>,
}

impl Contract {
    fn of(mut document: Value) -> Self {
        let schemas = document["components"]["schemas"].as_object_mut().expect("there are schemas");
        for schema in schemas.values_mut().filter_map(Value::as_object_mut) {
            if schema.contains_key("properties") {
                schema.entry("additionalProperties").or_insert(json!(false));
            }
        }
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource(PLACE, document.clone()).expect("the document is a resource");
        let (mut schemas, mut compiled) = (Schemas::new(), HashMap::new());
        for place in places(&document) {
            let address = format!("{PLACE}#{}", place.replace('{', "%7B").replace('}', "%7D"));
            let index = compiler.compile(&address, &mut schemas);
            compiled.insert(place, index.unwrap_or_else(|e| panic!("{address} is no schema: {e:#}")));
        }
        Self { document, schemas, compiled }
    }

    fn check(
        &self,
        method: &Method,
        path: &str,
        status: u16,
        headers: &HeaderMap,
        body: &str,
    ) -> Result<(), String> {
        let place = match self.call(method, path) {
            Some(call) => format!("{call}/responses/{status}"),
            // A path or a method that is not there: the document says what that is in its description.
            None if [404, 405].contains(&status) => "/components/responses/not_found".to_owned(),
            None => return Err("no such call is described".into()),
        };
        let response = self.at(&place).ok_or("this status is not described")?;
        let place = match response["$ref"].as_str() {
            Some(shared) => shared.trim_start_matches('#').to_owned(),
            None => place,
        };
        let response = self.at(&place).ok_or("its description leads nowhere")?;
        self.check_headers(&place, &response["headers"], headers)?;
        let is_described = self.call(method, path).is_some();
        self.check_body(&place, response["content"].as_object(), headers, body, is_described)
    }

    fn check_headers(&self, place: &str, described: &Value, headers: &HeaderMap) -> Result<(), String> {
        for name in described.as_object().into_iter().flat_map(Map::keys) {
            let own = format!("{place}/headers/{name}");
            let header = &described[name];
            let own = header["$ref"].as_str().map_or(own, |shared| shared.trim_start_matches('#').to_owned());
            let header = self.at(&own).ok_or(format!("the description of {name} leads nowhere"))?;
            let Some(value) = headers.get(name) else {
                if header["required"] == true {
                    return Err(format!("the header {name} is missing"));
                }
                continue;
            };
            let text = value.to_str().map_err(|_| format!("the header {name} is no text"))?;
            let value = match header["schema"]["type"].as_str() {
                Some("string") => Value::from(text),
                _ => serde_json::from_str(text).map_err(|e| format!("the header {name}: {e}"))?,
            };
            self.validate(&format!("{own}/schema"), &value).map_err(|e| format!("the header {name}: {e}"))?;
        }
        Ok(())
    }

    fn check_body(
        &self,
        place: &str,
        described: Option<&Map<String, Value>>,
        headers: &HeaderMap,
        body: &str,
        is_described: bool,
    ) -> Result<(), String> {
        let Some(kinds) = described else {
            return if body.is_empty() { Ok(()) } else { Err("a body is not described".into()) };
        };
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        if !kinds.contains_key(kind) {
            return Err(format!("the content type {kind:?} is not described"));
        }
        if !kind.ends_with("json") {
            return Ok(());
        }
        let body: Value = serde_json::from_str(body).map_err(|e| format!("the body is no JSON: {e}"))?;
        let schema = match is_described {
            true => format!("{place}/content/{}/schema", kind.replace('/', "~1")),
            false => "/components/schemas/Problem".to_owned(),
        };
        self.validate(&schema, &body)
    }

    fn validate(&self, place: &str, value: &Value) -> Result<(), String> {
        let index = self.compiled.get(place).ok_or_else(|| format!("there is no schema at {place}"))?;
        self.schemas.validate(value, *index).map_err(|e| e.to_string())
    }

    /// The place of the call; the path may be with or without `/v1`.
    fn call(&self, method: &Method, path: &str) -> Option<String> {
        let other = path.strip_prefix("/v1").map_or_else(|| format!("/v1{path}"), str::to_owned);
        let paths = self.document["paths"].as_object().expect("there are paths");
        let template = [path, &other].into_iter().find_map(|path| {
            // What is spelled out goes before what is a parameter.
            let fitting = paths.keys().filter(|template| fits(template, path));
            fitting.min_by_key(|template| template.matches('{').count())
        })?;
        let method = method.as_str().to_ascii_lowercase();
        paths[template].get(&method)?;
        Some(format!("/paths/{}/{method}", template.replace('~', "~0").replace('/', "~1")))
    }

    fn at(&self, place: &str) -> Option<&Value> {
        self.document.pointer(place)
    }
}

/// Where schemas are: those with a name, and those of bodies, headers and parameters.
fn places(document: &Value) -> Vec<String> {
    let named = document["components"]["schemas"].as_object().into_iter().flat_map(Map::keys);
    let mut places: Vec<_> = named.map(|name| format!("/components/schemas/{name}")).collect();
    let mut open = vec![(String::new(), document)];
    while let Some((place, value)) = open.pop() {
        for (name, member) in value.as_object().into_iter().flatten() {
            let inner = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
            if name == "schema" {
                places.push(inner.clone());
            }
            open.push((inner, member));
        }
    }
    places
}

fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given => {}
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(status: u16, id: bool, kind: &'static str, body: &str) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().expect("a value"));
        if id {
            headers.insert("x-request-id", "req_1".parse().expect("a value"));
        }
        CONTRACT.check(&Method::GET, "/v1/healthz", status, &headers, body)
    }

    #[test]
    fn an_answer_that_is_not_described_is_told_from_one_that_is() {
        let (json, good) = ("application/json", r#"{"status": "live"}"#);
        assert_eq!(health(200, true, json, good), Ok(()));
        for (breach, says) in [
            (health(201, true, json, good), "status"),
            (health(200, false, json, good), "X-Request-Id is missing"),
            (health(200, true, "text/html", good), "content type"),
            (health(200, true, json, r#"{"status": 1}"#), "/status"),
            (health(200, true, json, "{}"), "status"),
            (health(200, true, json, r#"{"status": "live", "more": 1}"#), "more"),
            (health(200, true, json, "live"), "no JSON"),
        ] {
            let said = breach.expect_err(says);
            assert!(said.contains(says), "{said} lacks {says}");
        }
        let nowhere = CONTRACT.check(&Method::GET, "/v1/nowhere", 200, &HeaderMap::new(), "{}");
        assert!(nowhere.is_err_and(|said| said.contains("no such call")));
    }

    /// What the document gives as an example is one.
    #[test]
    fn every_example_is_what_its_schema_says() {
        let mut looked_at = 0;
        for (name, schema) in CONTRACT.document["components"]["schemas"].as_object().expect("schemas") {
            let listed = schema["examples"].as_array().into_iter().flatten();
            for example in schema.get("example").into_iter().chain(listed) {
                let fits = CONTRACT.validate(&format!("/components/schemas/{name}"), example);
                assert_eq!(fits, Ok(()), "{name}: {example}");
                looked_at += 1;
            }
        }
        for (name, response) in CONTRACT.document["components"]["responses"].as_object().expect("answers") {
            let content = "/content/application~1problem+json";
            let schema = format!("/components/responses/{name}{content}/schema");
            for example in response
                .pointer(&format!("{content}/examples"))
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                let fits = CONTRACT.validate(&schema, &example.1["value"]);
                assert_eq!(fits, Ok(()), "{name}: {}", example.0);
                looked_at += 1;
            }
        }
        assert!(looked_at > 60, "only {looked_at}");
    }
}
