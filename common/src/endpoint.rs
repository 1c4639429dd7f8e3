//! Endpoints: where a tenant's events go.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::EventPattern;
use crate::ids::{EndpointId, TenantId};
use crate::retry::RetrySchedule;
use crate::signature::SigningSecret;
use crate::time::Timestamp;

/// An endpoint as the store keeps it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The stored id.
    pub id: EndpointId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The tenant's own name for it, unique within the tenant.
    pub uid: Option<String>,
    /// What can be set.
    pub settings: EndpointSettings,
    /// The signing secrets.
    pub secrets: Secrets,
    /// Whether it gets anything.
    pub status: EndpointStatus,
    /// Why it does not.
    pub status_reason: Option<StatusReason>,
    /// What its dispatcher last said of it.
    pub circuit: Circuit,
    /// Since when it has only failed; `None`: its last attempt went well, or there was none.
    pub failing_since: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a tenant decides about an endpoint.
#[derive(Debug, Clone)]
pub struct EndpointSettings {
    /// An absolute http or https URL.
    pub url: String,
    /// What it subscribes to; never empty.
    pub event_types: Vec<EventPattern>,
    /// For people.
    pub description: Option<String>,
    /// The tenant's notes: a JSON object as text.
    pub metadata: Option<String>,
    /// Sent with every attempt; their values are shown to nobody.
    pub headers: Vec<CustomHeader>,
    /// Attempts started per second at most.
    pub rate_limit_per_s: Option<u32>,
    /// One deadline over the whole attempt.
    pub timeout: Duration,
    /// The waits between attempts.
    pub retry: RetrySchedule,
    /// The form of the body.
    pub body: BodyForm,
    /// It is asked whether it wants anything, by a handshake, before it gets anything.
    pub handshake: bool,
}

/// A header that the tenant wants sent. Its value is write-only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomHeader {
    /// Lower case, a valid HTTP field name.
    pub name: String,
    /// A valid HTTP field value.
    pub value: String,
}

impl fmt::Debug for CustomHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

/// The current signing secret and, during a rotation's grace, the one before.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Signs every attempt.
    pub current: SigningSecret,
    /// Signs as well until that time.
    pub previous: Option<(SigningSecret, Timestamp)>,
}

impl Secrets {
    /// What signs an attempt at `now`, the current one first.
    pub fn in_force(&self, now: Timestamp) -> impl Iterator<Item = &SigningSecret> {
        let previous = self.previous.as_ref().filter(|(_, until)| now < *until);
        std::iter::once(&self.current).chain(previous.map(|(secret, _)| secret))
    }
}

/// Whether an endpoint gets deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointStatus {
    /// It does.
    Active,
    /// Its deliveries are held until it is active again.
    Paused,
    /// As paused, but by the engine's decision.
    Disabled,
    /// Deleted; its unfinished deliveries are being discarded. Never shown.
    Deleted,
}

/// Why an endpoint is paused or disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusReason {
    /// Its tenant said so.
    User,
    /// An operator said so.
    Operator,
    /// It answered 410.
    Gone,
    /// It only failed for too long.
    Failing,
    /// The tenant's DLQ is full and its policy is `pause_endpoint`.
    DlqFull,
}

impl StatusReason {
    /// The reason in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::User => "its tenant stopped it",
            Self::Operator => "an operator stopped it",
            Self::Gone => "it answered 410 Gone",
            Self::Failing => "it has done nothing but fail for too long",
            Self::DlqFull => "its tenant's dead-letter queue is full",
        }
    }
}

/// The state of an endpoint's gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// Attempts flow.
    #[default]
    Closed,
    /// No attempts but a probe from time to time.
    Open,
    /// A probe is under way.
    HalfOpen,
}

/// The form of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyForm {
    /// The payload byte for byte.
    #[default]
    Raw,
    /// `{"type": …, "timestamp": …, "data": payload}`.
    Envelope,
    /// A CloudEvent in JSON, with the payload as its `data`.
    #[serde(rename = "cloudevents")]
    CloudEvents,
    /// A CloudEvent whose attributes are headers, with the payload byte for byte as the body.
    #[serde(rename = "cloudevents_binary")]
    CloudEventsBinary,
}

/// What is ours to send, and what speaks of the connection instead of the event.
const RESERVED_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Whether no endpoint may set this header, named in lower case: what is ours to send, and what speaks of the connection.
pub fn is_reserved_header(lower: &str) -> bool {
    lower.starts_with("webhook-") || RESERVED_HEADERS.contains(&lower)
}

macro_rules! stored_as_text {
    ($type:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl $type {
            /// Every one's name.
            #[allow(dead_code, reason = "not every list is one of the API")]
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The stored and shown name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Reads a stored name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use stored_as_text;

stored_as_text!(EndpointStatus {
    Active = "active",
    Paused = "paused",
    Disabled = "disabled",
    Deleted = "deleted",
});
stored_as_text!(StatusReason {
    User = "user",
    Operator = "operator",
    Gone = "gone",
    Failing = "failing",
    DlqFull = "dlq_full",
});
stored_as_text!(Circuit { Closed = "closed", Open = "open", HalfOpen = "half_open" });
stored_as_text!(BodyForm {
    Raw = "raw",
    Envelope = "envelope",
    CloudEvents = "cloudevents",
    CloudEventsBinary = "cloudevents_binary",
});
