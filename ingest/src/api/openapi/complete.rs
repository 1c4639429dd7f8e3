//! What the attributes of handlers leave out because all calls have it alike is written into the document here, once:
//! the prefix, the variants under a tenant, parameters of paths, problems, headers.

use std::collections::BTreeMap;

use fairhook_common::ids::{DeliveryId, EventId, JobId, KeyId, SourceId};
use fairhook_common::plan::PlanName;
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::super::problem::Code;
use super::answers::{self, ProblemShape, Traits};
use super::requests::ListOrder;
use super::shapes;
use super::words::{Cursor, EndpointName, PageLimit, PolicyName, SourceTokenText, TenantName, TestWaitS};

/// The calls that a document is made of, as their handlers describe them.
pub struct Described {
    /// Open to anybody, at the root.
    pub open: utoipa::openapi::OpenApi,
    /// Behind a key.
    pub behind_a_key: utoipa::openapi::OpenApi,
    /// The same, each acting for a tenant; under `/tenants/{tenant}` too.
    pub of_a_tenant: utoipa::openapi::OpenApi,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Open,
    BehindAKey,
    OfATenant,
}

/// The whole document.
pub(super) fn complete(described: Described, frame: Value) -> Value {
    let mut assembly = Assembly::default();
    assembly.take(described.open, Group::Open);
    assembly.take(described.behind_a_key, Group::BehindAKey);
    assembly.take(described.of_a_tenant, Group::OfATenant);
    let mut document = frame;
    assembly.know::<ProblemShape>();
    assembly.know::<PageLimit>();
    assembly.know::<ListOrder>();
    assembly.know::<Cursor>();
    assembly.know::<TestWaitS>();
    let Assembly { paths, mut schemas, responses, parameters } = assembly;
    shapes::settle(&mut schemas, &paths, &responses);
    let calls = paths.values().flat_map(Map::values);
    let referring = calls.chain(responses.values()).chain(parameters.values());
    let schemas = shapes::referred_to(&schemas, referring);
    document["paths"] = json!(paths);
    document["components"]["schemas"] = schemas.into();
    document["components"]["responses"] = responses.into();
    document["components"]["headers"] = answers::shared_headers();
    document["components"]["parameters"] = parameters.into();
    document
}

#[derive(Default)]
struct Assembly {
    paths: BTreeMap<String, Map<String, Value>>,
    schemas: Map<String, Value>,
    responses: Map<String, Value>,
    parameters: Map<String, Value>,
}

impl Assembly {
    /// Takes up a schema that only parameters or problems refer to, which are not looked through for any.
    fn know<T: ToSchema>(&mut self) {
        let mut found = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut found);
        for (name, schema) in found {
            self.schemas.insert(name, serde_json::to_value(schema).expect("a schema is JSON"));
        }
    }

    fn take(&mut self, described: utoipa::openapi::OpenApi, group: Group) {
        let mut described = serde_json::to_value(described).expect("a document is JSON");
        if let Value::Object(schemas) = described["components"]["schemas"].take() {
            self.schemas.extend(schemas);
        }
        let Value::Object(paths) = described["paths"].take() else { return };
        for (path, item) in paths {
            let Value::Object(item) = item else { continue };
            for (method, call) in item {
                self.add(&path, &method, call, group);
            }
        }
    }

    fn add(&mut self, path: &str, method: &str, call: Value, group: Group) {
        let place = match group {
            Group::Open => path.to_owned(),
            _ => format!("/v1{path}"),
        };
        if group == Group::OfATenant {
            let mut variant = call.clone();
            let id = variant["operationId"].as_str().expect("each call has one");
            variant["operationId"] = format!("{id}OfTenant").into();
            self.finish(format!("/v1/tenants/{{tenant}}{path}"), method, variant, group);
        }
        self.finish(place, method, call, group);
    }

    fn finish(&mut self, place: String, method: &str, mut call: Value, group: Group) {
        let named: Vec<&str> =
            place.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let traits = Traits {
            key: group != Group::Open,
            body: call.get("requestBody").is_some(),
            tenant: group == Group::OfATenant,
            tenant_in_path: named.contains(&"tenant"),
            names_something: named.iter().any(|name| *name != "tenant"),
        };
        let parameters = call.as_object_mut().expect("a call is an object").entry("parameters");
        let parameters = parameters.or_insert_with(|| json!([])).as_array_mut().expect("a list");
        let in_path: Vec<_> = named.iter().map(|name| path_parameter(name)).collect();
        parameters.splice(0..0, in_path);
        if traits.tenant && !traits.tenant_in_path {
            parameters.push(tenant_header());
        }
        for parameter in parameters {
            *parameter = self.shared_parameter(parameter.take());
        }
        if let Some(schema) = call.pointer_mut("/requestBody/content/application~1json/schema") {
            // A body may be left out, but not be `null`.
            if let Some(body) = schema.get("oneOf").and_then(|either| either.get(1)).cloned() {
                *schema = body;
            }
        }
        self.answer(&mut call, &traits);
        self.paths.entry(place).or_default().insert(method.to_owned(), call);
    }

    /// A reference to this parameter, which is described once; of others with the same name the second is told by a number.
    fn shared_parameter(&mut self, parameter: Value) -> Value {
        let name = parameter["name"].as_str().expect("a parameter has a name");
        let numbered = (2..).map(|n| format!("{name}.{n}"));
        for key in std::iter::once(name.to_owned()).chain(numbered) {
            let known = self.parameters.entry(&key).or_insert_with(|| parameter.clone());
            if *known == parameter {
                return json!({ "$ref": format!("#/components/parameters/{key}") });
            }
        }
        unreachable!("the numbers do not end")
    }

    /// Adds headers to the answers that the call describes, and the answers that follow from its traits.
    fn answer(&mut self, call: &mut Value, traits: &Traits) {
        let mut codes = traits.codes();
        if let Some(own) = call.as_object_mut().and_then(|call| call.remove("x-problems")) {
            codes.extend(own.as_array().into_iter().flatten().map(named_code));
        }
        let limited = codes.contains(&Code::QuotaExceeded);
        let problems = answers::problems(codes, &mut self.responses);
        let responses = call["responses"].as_object_mut().expect("each call describes its answers");
        for response in responses.values_mut() {
            let mut headers = answers::headers(limited);
            if let Some(Value::Object(own)) = response.get("headers") {
                headers.extend(own.clone());
            }
            response["headers"] = headers.into();
        }
        responses.extend(problems);
    }
}

fn named_code(name: &Value) -> Code {
    let found = Code::ALL.iter().find(|code| name == code.name());
    *found.unwrap_or_else(|| panic!("{name} is no code of a problem"))
}

fn tenant_header() -> Value {
    json!({
        "name": "X-Tenant-ID",
        "in": "header",
        "description": "For which tenant an operator acts. With a tenant's key it may be left out, or name that tenant.",
        "schema": { "$ref": "#/components/schemas/TenantName" },
    })
}

fn path_parameter(name: &str) -> Value {
    let (description, schema) = match name {
        "tenant" => ("The tenant.", TenantName::schema()),
        "endpoint" => ("The endpoint.", EndpointName::schema()),
        "event" => ("The event.", EventId::schema()),
        "delivery" => ("The delivery; a dead letter's id is its delivery's.", DeliveryId::schema()),
        "job" => ("The job.", JobId::schema()),
        "key" => ("The key.", KeyId::schema()),
        "source" => ("The source.", SourceId::schema()),
        "token" => ("The end of the source's URL.", SourceTokenText::schema()),
        "plan" => ("The plan.", PlanName::schema()),
        "policy" => ("The policy.", PolicyName::schema()),
        other => panic!("the parameter `{other}` of a path is not described"),
    };
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}
