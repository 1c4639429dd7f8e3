//! The answers that calls share: problems, by the codes that they may have, and the headers of all.

use std::collections::BTreeMap;

use fairhook_common::delivery::DeliveryState;
use fairhook_common::key::Scope;
use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::super::event_batch::Outcome;
use super::super::problem::{Code, Fault, Problem};
use super::words;
use crate::limiter;

/// Every answer that is not a success (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
pub struct ProblemShape {
    /// A URI that names the code, or the registered type of a quota that is exceeded.
    #[schema(format = "uri")]
    pub r#type: String,
    /// The same for every problem of this code.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// Out of a closed list.
    pub code: Code,
    /// What it was this time, for people.
    pub detail: String,
    /// What is wrong with the request, and where.
    #[schema(nullable = false)]
    pub errors: Option<Vec<Fault>>,
    /// The scope that the key lacks.
    #[schema(nullable = false)]
    pub scope: Option<Scope>,
    /// The policies that refused it.
    #[schema(nullable = false, rename = "violated-policies")]
    pub violated_policies: Option<Vec<String>>,
    /// The limit that was reached.
    #[schema(nullable = false)]
    pub limit: Option<u64>,
    /// What is left of it.
    #[schema(nullable = false)]
    pub remaining: Option<u64>,
    /// When there is more, in milliseconds since 1970.
    #[schema(nullable = false)]
    pub reset: Option<u64>,
    /// The state of the delivery that does not allow it.
    #[schema(nullable = false)]
    pub state: Option<DeliveryState>,
    /// How many events of a batch were taken: none.
    #[schema(nullable = false)]
    pub accepted: Option<u64>,
    /// How many events of a batch were not taken.
    #[schema(nullable = false)]
    pub rejected: Option<u64>,
    /// What became of each event of a batch.
    #[schema(nullable = false)]
    pub results: Option<Vec<Outcome>>,
    /// The parts of the process and how they are, if one is not ready.
    #[schema(nullable = false)]
    pub parts: Option<BTreeMap<String, String>>,
    /// How the limiter stands, if the process is not ready.
    #[schema(nullable = false)]
    pub limiter: Option<limiter::Standing>,
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        words::one_of("What went wrong, out of a closed list.", Code::ALL.iter().map(|code| code.name()))
    }
}

impl ToSchema for Code {}

/// What a call needs and takes, of which follows how it may be refused.
pub(super) struct Traits {
    pub key: bool,
    pub body: bool,
    /// It acts on a tenant, which must be named if the path does not.
    pub tenant: bool,
    pub tenant_in_path: bool,
    /// The path names something else than a tenant.
    pub names_something: bool,
}

impl Traits {
    /// What any call like this may be refused with.
    pub(super) fn codes(&self) -> Vec<Code> {
        let groups: [(bool, &[Code]); 6] = [
            (true, &[Code::Internal]),
            (
                self.key,
                &[
                    Code::InvalidRequest,
                    Code::Unauthorized,
                    Code::MissingScope,
                    Code::QuotaExceeded,
                    Code::Unavailable,
                ],
            ),
            (
                self.body,
                &[Code::MalformedJson, Code::RequestTimeout, Code::TooLarge, Code::UnsupportedMediaType],
            ),
            (
                self.tenant || self.tenant_in_path,
                &[Code::TenantConflict, Code::WrongTenant, Code::UnknownTenant],
            ),
            (self.tenant && !self.tenant_in_path, &[Code::TenantRequired]),
            (self.names_something, &[Code::NotFound]),
        ];
        groups.into_iter().filter(|(is, _)| *is).flat_map(|(_, codes)| codes).copied().collect()
    }
}

/// The answers with these codes, one for each status: references to `shared`, where they are described once.
pub(super) fn problems(codes: Vec<Code>, shared: &mut Map<String, Value>) -> BTreeMap<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    // In the order of the list.
    for code in Code::ALL.iter().filter(|code| codes.contains(code)) {
        by_status.entry(code.status().as_u16()).or_default().push(*code);
    }
    let mut answers = BTreeMap::new();
    for (status, codes) in by_status {
        let name = codes.iter().map(|code| code.name()).collect::<Vec<_>>().join(".");
        answers.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/{name}") }));
        shared.entry(name).or_insert_with(|| problem(status, &codes));
    }
    answers
}

fn problem(status: u16, codes: &[Code]) -> Value {
    let names: Vec<_> = codes.iter().map(|code| code.name()).collect();
    let described: Vec<_> =
        codes.iter().map(|code| format!("`{}`: {}.", code.name(), code.title())).collect();
    let mut schema = json!({
        "$ref": "#/components/schemas/Problem",
        "properties": { "code": { "enum": names }, "status": { "const": status } },
    });
    if codes == [Code::QuotaExceeded] {
        schema["required"] = json!(["violated-policies", "limit", "remaining", "reset"]);
    }
    let examples: Map<String, Value> =
        codes.iter().map(|code| (code.name().to_owned(), json!({ "value": example(*code) }))).collect();
    let mut headers = headers(true);
    let more = match status {
        401 => &["WWW-Authenticate"][..],
        429 | 503 => &["Retry-After"],
        _ => &[],
    };
    headers.extend(more.iter().map(|name| (name.to_string(), header_ref(name))));
    json!({
        "description": described.join(" "),
        "headers": headers,
        "content": { "application/problem+json": { "schema": schema, "examples": examples } },
    })
}

fn example(code: Code) -> Value {
    let limit = 100;
    let detail = match code {
        Code::QuotaExceeded => {
            let (detail, now) =
                ("more than 100 events per second, and the burst is used up", 1_769_860_800_000);
            let after = std::time::Duration::from_secs(1);
            let reset = fairhook_common::time::Timestamp(now).after(after);
            return Problem::quota(detail, "events", (limit, 0), (reset, after)).to_json();
        }
        Code::InvalidRequest => {
            return Problem::invalid(vec![Fault::at(
                "/paylod",
                "unknown field `paylod`; did you mean `payload`?",
            )])
            .to_json();
        }
        Code::NotFound => "there is no such endpoint".to_owned(),
        Code::WrongTenant => "the key does not belong to the tenant `acme`".to_owned(),
        Code::LimitReached => {
            return Problem::new(code, "there are 50 already").member("limit", 50.into()).to_json();
        }
        code => code.title().to_lowercase(),
    };
    Problem::new(code, detail).to_json()
}

/// The headers of any answer, and of one that `limits` had a say in.
pub(super) fn headers(limits: bool) -> Map<String, Value> {
    let of_limits =
        ["RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];
    let names = of_limits.into_iter().filter(|_| limits).chain(["X-Request-Id"]);
    names.map(|name| (name.to_owned(), header_ref(name))).collect()
}

fn header_ref(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

/// The headers that answers have in common.
pub(super) fn shared_headers() -> Value {
    let header = |required: bool, description: &str, schema: Value, example: Value| json!({ "description": description, "required": required, "schema": schema, "example": example });
    let text = |required, description, example: &str| {
        header(required, description, json!({ "type": "string" }), example.into())
    };
    let number = |required, description, example: u64| {
        header(required, description, json!({ "type": "integer", "minimum": 0 }), example.into())
    };
    json!({
        "X-Request-Id": text(true, "The request's own id if it has a sane one, else a new one.", "req_01kz0z5m4he58vf3j2c4q9w7xd"),
        "RateLimit-Policy": text(false, "Every policy that decided about the request (draft-ietf-httpapi-ratelimit-headers).",
            "\"events\";q=100;w=1"),
        "RateLimit": text(false, "The tightest of them: what is left, and the seconds until there is more.", "\"events\";r=97;t=1"),
        "X-RateLimit-Limit": number(false, "The limit of the tightest policy.", 100),
        "X-RateLimit-Remaining": number(false, "What is left of it.", 97),
        "X-RateLimit-Reset": number(false, "When there is more, in milliseconds since 1970.", 1_769_860_801_000),
        "Retry-After": number(true, "Seconds; an earlier try is refused again.", 1),
        "WWW-Authenticate": text(true, "How to say who calls.", "Bearer"),
    })
}
