//! Every answer that is not a success: `application/problem+json` (RFC 9457). The one place for their status codes.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use fairhook_common::limits;
use fairhook_common::store::{ControlError, StoreError};
use fairhook_common::time::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::analytics::Violated;

/// The type of a refusal over a quota, which IANA registers.
const QUOTA_TYPE: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident, $title:literal;)+) => {
        /// What went wrong, out of a closed list. The names are part of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// The whole list.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in answers.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The status that goes with it.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            /// The same for every problem of this code.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

codes! {
    /// The body is no JSON.
    MalformedJson = "malformed_json", BAD_REQUEST, "The body is not JSON";
    /// Something in the body, the query or a header is not as it has to be; `errors` says what and where.
    InvalidRequest = "invalid_request", BAD_REQUEST, "The request is not valid";
    /// The call acts on a tenant, and none is named.
    TenantRequired = "tenant_required", BAD_REQUEST, "No tenant is named";
    /// Two tenants are named.
    TenantConflict = "tenant_conflict", BAD_REQUEST, "Two different tenants are named";
    /// No key, or one that is unknown, expired or revoked.
    Unauthorized = "unauthorized", UNAUTHORIZED, "A valid API key is needed";
    /// What came to a source is not signed as it has to be.
    SignatureInvalid = "signature_invalid", UNAUTHORIZED, "The signature is not valid";
    /// The key lacks a scope.
    MissingScope = "missing_scope", FORBIDDEN, "The key does not allow this";
    /// Only operators may do this.
    OperatorRequired = "operator_required", FORBIDDEN, "An operator's key is needed";
    /// A tenant's key names another tenant.
    WrongTenant = "wrong_tenant", FORBIDDEN, "The key belongs to another tenant";
    /// An operator has blocked the tenant's events.
    TenantSuspended = "tenant_suspended", FORBIDDEN, "The tenant is suspended";
    /// The source takes nothing while its tenant says so.
    SourcePaused = "source_paused", FORBIDDEN, "The source is paused";
    /// There is no such thing, or it is another tenant's.
    NotFound = "not_found", NOT_FOUND, "Not found";
    /// There is no such tenant.
    UnknownTenant = "unknown_tenant", NOT_FOUND, "There is no such tenant";
    /// The path does not take this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The request was not sent in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "The request took too long to arrive";
    /// The slug or uid is taken.
    AlreadyExists = "already_exists", CONFLICT, "It exists already";
    /// As many as there may be.
    LimitReached = "limit_reached", CONFLICT, "The limit is reached";
    /// Somebody else changed it at the same time.
    Conflict = "conflict", CONFLICT, "It was changed meanwhile";
    /// What is asked for cannot be done in the state in which it is.
    WrongState = "wrong_state", CONFLICT, "Its state does not allow this";
    /// The body is larger than is read.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is of a media type that is not taken here.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The media type is not supported";
    /// The idempotency key was used for another request.
    IdempotencyConflict = "idempotency_conflict", UNPROCESSABLE_ENTITY, "The idempotency key was used for something else";
    /// Over a quota; `violated-policies` says which.
    QuotaExceeded = "quota_exceeded", TOO_MANY_REQUESTS, "A quota is exceeded";
    /// A mistake of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something went wrong here";
    /// Not now: try again.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Not available right now";
}

/// A sentence about what has this name: what is said of it, or beside it.
pub fn said_of(name: &str, detail: &str) -> String {
    const VERBS: [&str; 7] = ["must", "is", "has", "holds", "names", "belongs", "does"];
    let about = detail.split(' ').next().is_some_and(|word| VERBS.contains(&word));
    format!("`{name}`{} {detail}", if about { "" } else { ":" })
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// What is wrong, for people.
    pub detail: String,
    /// Where in the body, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub pointer: Option<String>,
    /// Or which parameter of the query, or which header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub parameter: Option<String>,
}

impl Fault {
    /// A fault of the body.
    pub fn at(pointer: impl Into<String>, detail: impl ToString) -> Self {
        Self { detail: detail.to_string(), pointer: Some(pointer.into()), parameter: None }
    }

    /// A fault of the query.
    pub fn of_parameter(parameter: impl Into<String>, detail: impl ToString) -> Self {
        Self { detail: detail.to_string(), pointer: None, parameter: Some(parameter.into()) }
    }
}

/// A refusal or a failure on its way to the caller. Says nothing that the caller may not know.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    code: Code,
    detail: String,
    errors: Vec<Fault>,
    members: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    violated: Option<&'static str>,
}

impl Problem {
    /// A problem; `detail` is one sentence for people.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (errors, members, headers) = (Vec::new(), Vec::new(), Vec::new());
        Self(Box::new(Parts { code, detail: detail.into(), errors, members, headers, violated: None }))
    }

    /// A request with faults, of which there is at least one.
    pub fn invalid(mut faults: Vec<Fault>) -> Self {
        let detail = match &faults[..] {
            [only] => only.detail.clone(),
            _ => format!("{} faults; `errors` lists them", faults.len()),
        };
        faults.truncate(limits::PROBLEM_FAULTS);
        let mut problem = Self::new(Code::InvalidRequest, detail);
        problem.0.errors = faults;
        problem
    }

    /// There is no such thing, or the caller may not know of it.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// Try again after a while.
    pub fn unavailable(detail: impl Into<String>, after: Duration) -> Self {
        Self::new(Code::Unavailable, detail).retry_after(after)
    }

    /// Over the limit of a policy, with the members that the registered type has and `Retry-After`: `remaining` is less than what was
    /// asked for, and there is more at `reset`, after `after`.
    pub fn quota(
        detail: impl Into<String>,
        policy: &'static str,
        (limit, remaining): (u32, u32),
        (reset, after): (Timestamp, Duration),
    ) -> Self {
        let mut problem = Self::new(Code::QuotaExceeded, detail)
            .member("violated-policies", json!([policy]))
            .member("limit", limit.into())
            .member("remaining", remaining.into())
            .member("reset", reset.0.into())
            .retry_after(after);
        problem.0.violated = Some(policy);
        problem
    }

    /// Adds `Retry-After`: whole seconds, at least 1, never less than `after`.
    pub fn retry_after(self, after: Duration) -> Self {
        let seconds = (after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1);
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Adds a header to the answer.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Adds a member to the body.
    pub fn member(mut self, name: &'static str, value: Value) -> Self {
        self.0.members.push((name, value));
        self
    }

    /// What went wrong.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The policy over whose limit it was.
    pub fn violated(&self) -> Option<&'static str> {
        self.0.violated
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The body.
    pub fn to_json(&self) -> Value {
        json!(self)
    }
}

/// The body.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Parts { code, detail, errors, members, .. } = &*self.0;
        let mut body = serializer.serialize_map(None)?;
        match code {
            Code::QuotaExceeded => body.serialize_entry("type", QUOTA_TYPE)?,
            _ => body.serialize_entry("type", &format_args!("urn:fairhook:problem:{}", code.name()))?,
        }
        body.serialize_entry("title", code.title())?;
        body.serialize_entry("status", &code.status().as_u16())?;
        body.serialize_entry("code", code.name())?;
        body.serialize_entry("detail", detail)?;
        if !errors.is_empty() {
            body.serialize_entry("errors", errors)?;
        }
        for (name, value) in members {
            body.serialize_entry(name, value)?;
        }
        body.end()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let body = serde_json::to_vec(&self).expect("texts and numbers are JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.0.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.0.headers);
        if let Some(name) = self.0.violated {
            response.extensions_mut().insert(Violated(name));
        }
        response
    }
}

impl From<StoreError> for Problem {
    /// What the store says stays in the log: it may name files and statements.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Internal(reason) => {
                tracing::error!(error.detail = reason, "the store failed");
                Self::new(Code::Internal, "the request could not be answered; the log says why")
            }
            retryable => {
                tracing::debug!(error.detail = %retryable, "the store is not available");
                Self::unavailable("the store is not available right now; try again", Duration::from_secs(1))
            }
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::SlugTaken | ControlError::UidTaken => {
                Self::new(Code::AlreadyExists, error.to_string())
            }
            ControlError::LimitReached(limit) => {
                Self::new(Code::LimitReached, error.to_string()).member("limit", limit.into())
            }
            // Wherever a tenant's plan is named, it is in the field of this name.
            ControlError::NoPlan(_) => Self::invalid(vec![Fault::at("/plan", error)]),
            ControlError::NotFound => Self::new(Code::NotFound, "it is not there, or is being deleted"),
            ControlError::Conflict => {
                Self::new(Code::Conflict, "it was changed at the same time; read it again")
            }
            ControlError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_statuses_are_errors() {
        for (i, code) in Code::ALL.iter().enumerate() {
            assert!(code.status().is_client_error() || code.status().is_server_error());
            assert!(Code::ALL[..i].iter().all(|other| other.name() != code.name()), "{code:?}");
        }
    }

    #[test]
    fn the_list_is_documented_and_closed() {
        let documented: Vec<_> = include_str!("../../../docs/PROBLEMS.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .filter_map(|(name, rest)| Some((name, rest.split_once(" | ")?.0)))
            .filter(|(name, _)| *name != "code")
            .map(|(name, status)| (name.to_owned(), status.parse().expect("a status")))
            .collect();
        let ours: Vec<(String, u16)> =
            Code::ALL.iter().map(|code| (code.name().to_owned(), code.status().as_u16())).collect();
        assert_eq!(documented, ours);
    }

    #[test]
    fn retry_after_is_never_too_early() {
        let seconds = |after| {
            let response = Problem::unavailable("x", after).into_response();
            response.headers()[header::RETRY_AFTER].to_str().expect("text").to_owned()
        };
        assert_eq!(seconds(Duration::ZERO), "1");
        assert_eq!(seconds(Duration::from_millis(1_001)), "2");
        assert_eq!(seconds(Duration::from_secs(3)), "3");
    }

    #[test]
    fn what_the_store_says_does_not_leak() {
        let problem: Problem = StoreError::Internal("no such table: tenants".into()).into();
        assert!(!problem.to_json().to_string().contains("tenants"));
        let problem: Problem = StoreError::Unavailable("disk I/O error /var/x".into()).into();
        assert_eq!(problem.code(), Code::Unavailable);
        assert!(!problem.to_json().to_string().contains("/var"));
    }
}
