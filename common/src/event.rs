//! Events: what a tenant posts.

use std::fmt;

use bytes::Bytes;

use crate::cloudevent::Context;
use crate::ids::{EndpointId, TenantId};
use crate::limits;
use crate::time::Timestamp;

/// The type of an event: 1 to 128 characters of `A–Z a–z 0–9 _ - .`, in parts between dots, no part empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(String);

/// Why a text is no event type or no pattern of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEventType {
    /// Nothing in it.
    #[error("an event type must not be empty")]
    Empty,
    /// Too many characters.
    #[error("an event type has at most {} characters", limits::EVENT_TYPE_CHARS)]
    TooLong,
    /// A character that has no place in it.
    #[error("an event type is made of letters, digits, `_`, `-` and `.`; found {0:?}")]
    Character(char),
    /// Two dots side by side, or one at an end.
    #[error("an event type has no empty part between its dots")]
    EmptyPart,
    /// A `*` that is neither the whole pattern nor its last part.
    #[error("a pattern is an event type, `*`, or an event type's beginning followed by `.*`")]
    Wildcard,
}

impl EventType {
    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, InvalidEventType> {
        if text.is_empty() {
            return Err(InvalidEventType::Empty);
        }
        if text.chars().count() > limits::EVENT_TYPE_CHARS {
            return Err(InvalidEventType::TooLong);
        }
        let stranger = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if let Some(c) = text.chars().find(stranger) {
            return Err(InvalidEventType::Character(c));
        }
        if text.split('.').any(str::is_empty) {
            return Err(InvalidEventType::EmptyPart);
        }
        Ok(Self(text.to_owned()))
    }

    /// What others call an event, with a dot for whatever a type cannot have: `orders/create` is `orders.create`. Empty, if nothing
    /// else is in it.
    pub fn dotted(text: &str) -> String {
        let parts = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an endpoint subscribes to: an event type, `*`, or `order.*` (every type that begins with `order.`).
///
/// The text holds no character that SQLite's `GLOB` reads as anything but itself or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPattern(String);

impl EventPattern {
    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, InvalidEventType> {
        let stem = match text {
            "*" => None,
            _ => Some(text.strip_suffix(".*").unwrap_or(text)),
        };
        match stem {
            Some(stem) if stem.contains('*') => return Err(InvalidEventType::Wildcard),
            Some(stem) => drop(EventType::parse(stem)?),
            None => {}
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether `event_type` is one of those meant.
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => event_type.as_str().starts_with(prefix),
            None => event_type.as_str() == self.0,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An event on its way into the store.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its type.
    pub event_type: EventType,
    /// The posted payload, byte for byte.
    pub payload: Bytes,
    /// The tenant's notes: a JSON object as text, never sent.
    pub metadata: Option<String>,
    /// The context of the CloudEvent as which it came, if it came as one.
    pub cloudevent: Option<Context>,
    /// The first attempt is not before this.
    pub deliver_at: Option<Timestamp>,
    /// Unfinished deliveries end as `discarded: expired` then.
    pub expires_at: Timestamp,
    /// The key under which a repetition is recognised.
    pub idempotency: Option<Idempotency>,
    /// Only this endpoint gets it, whatever it subscribes to (a test event). `None`: all that subscribe.
    pub only_endpoint: Option<EndpointId>,
}

/// An idempotency key with what it was first used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key as the tenant gave it.
    pub key: String,
    /// SHA-256 over type, payload bytes and `deliver_at`.
    pub fingerprint: [u8; 32],
    /// The key is forgotten then.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_patterns_are_checked() {
        for good in ["a", "order.paid", "Order_1.paid-x"] {
            assert!(EventType::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", InvalidEventType::Empty),
            ("a b", InvalidEventType::Character(' ')),
            ("a\0", InvalidEventType::Character('\0')),
            ("a..b", InvalidEventType::EmptyPart),
            (".a", InvalidEventType::EmptyPart),
            ("a.*", InvalidEventType::Character('*')),
        ] {
            assert_eq!(EventType::parse(bad), Err(why), "{bad:?}");
        }
        assert_eq!(EventType::parse(&"é".repeat(129)), Err(InvalidEventType::TooLong));
        for bad in ["*.a", "a*", "a.*.b", "**"] {
            assert_eq!(EventPattern::parse(bad), Err(InvalidEventType::Wildcard), "{bad}");
        }
    }

    #[test]
    fn a_pattern_matches_what_it_says() {
        let matches = |pattern: &str, event: &str| {
            let event = EventType::parse(event).expect("a type");
            EventPattern::parse(pattern).expect("a pattern").matches(&event)
        };
        assert!(matches("*", "order.paid"));
        assert!(matches("order.*", "order.paid"));
        assert!(matches("order.*", "order.paid.late"));
        assert!(matches("order", "order"));
        assert!(!matches("order.*", "order"));
        assert!(!matches("order.*", "orders.paid"));
        assert!(!matches("order.paid", "order.paid.late"));
    }
}
