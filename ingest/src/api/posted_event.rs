//! Reading a posted event: `{type, payload, idempotency_key?, deliver_at?, expires_at?, metadata?}`.

use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use fairhook_common::cloudevent;
use fairhook_common::event::{EventType, Idempotency, NewEvent};
use fairhook_common::ids::{SourceId, TenantId};
use fairhook_common::limits;
use fairhook_common::time::Timestamp;
use sha2::{Digest, Sha256};

use super::json::Fields;
use super::problem::{Fault, Problem};
use super::read;
use super::tenant::Asked;

/// What an event is read against.
pub(super) struct Posting<'a> {
    /// The body that the event is part of; the payload stays a part of it.
    pub body: &'a Bytes,
    /// When the request came.
    pub now: Timestamp,
    /// How long events are kept.
    pub retention: Duration,
    /// The key in the request's header, which counts as a member.
    pub header_key: Option<&'a str>,
}

impl<'a> Posting<'a> {
    /// What an event of `body` is read against.
    pub(super) fn of(asked: &Asked, body: &'a Bytes, header_key: Option<&'a str>) -> Self {
        Self { body, now: asked.at, retention: asked.edge.settings.retention, header_key }
    }
}

/// Reads what is left of `fields`; `tenant_id` has been asked for.
pub(super) fn read(
    mut fields: Fields<'_>,
    tenant: TenantId,
    posting: &Posting<'_>,
) -> Result<NewEvent, Problem> {
    let event_type = fields.required("type", read::parsed(usize::MAX, EventType::parse));
    // Any JSON value is a payload, `null` too.
    let payload = fields.required("payload", |value| Ok(posting.body.slice_ref(value.get().as_bytes())));
    let key = fields.optional("idempotency_key", read::text(limits::IDEMPOTENCY_KEY_CHARS));
    let deliver_at = fields.optional("deliver_at", read::timestamp);
    let expires_at = fields.optional("expires_at", read::timestamp);
    let metadata = fields.optional("metadata", read::object);

    let latest = posting.now.after(posting.retention);
    check_times(&mut fields, deliver_at, expires_at, posting.now, latest);
    check_key(&mut fields, key.as_deref(), posting.header_key);
    fields.finish(|| {
        let (event_type, payload) = (event_type?, payload?);
        let key = key.or_else(|| posting.header_key.map(str::to_owned));
        let idempotency = key.map(|key| Idempotency {
            key,
            fingerprint: fingerprint(&event_type, &payload, deliver_at),
            expires_at: posting.now.after(limits::IDEMPOTENCY_TTL),
        });
        let expires_at = expires_at.unwrap_or(latest);
        Some(NewEvent {
            tenant,
            event_type,
            payload,
            metadata,
            cloudevent: None,
            deliver_at,
            expires_at,
            idempotency,
            only_endpoint: None,
        })
    })
}

fn check_key(fields: &mut Fields<'_>, member: Option<&str>, header: Option<&str>) {
    if member.is_some() && header.is_some() && member != header {
        fields.refuse("idempotency_key", "differs from the header Idempotency-Key");
    }
    match member.or(header) {
        Some(key) if is_a_sources(key) => fields.refuse(
            "idempotency_key",
            "begins as those do that sources make: with the id of one, and a colon",
        ),
        Some(key) if cloudevent::is_idempotency_key(key) => fields.refuse(
            "idempotency_key",
            "is one that a CloudEvent gets: `ce:`, the length of its source, a colon, its source, a colon and its id",
        ),
        _ => {}
    }
}

/// Whether a key is of those that sources make of the ids of deliveries.
fn is_a_sources(key: &str) -> bool {
    key.split_once(':').is_some_and(|(source, _)| source.parse::<SourceId>().is_ok())
}

fn check_times(
    fields: &mut Fields<'_>,
    deliver_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    now: Timestamp,
    latest: Timestamp,
) {
    if let Some(at) = deliver_at {
        if at > now.after(limits::DELIVER_AT_AHEAD) {
            fields.refuse("deliver_at", "is more than 14 days ahead");
        } else if at >= latest {
            fields.refuse("deliver_at", format!("is not before {latest}, until when the event is kept"));
        }
    }
    if let Some(at) = expires_at {
        if at <= now {
            fields.refuse("expires_at", "is not in the future");
        } else if deliver_at.is_some_and(|deliver_at| at <= deliver_at) {
            fields.refuse("expires_at", "is not after `deliver_at`");
        } else if at > latest {
            fields.refuse("expires_at", format!("is after {latest}, until when the event is kept"));
        }
    }
}

/// What tells a repetition from another event under the same key. Each part is preceded by its length, so that no two
/// events share their bytes.
pub(super) fn fingerprint(event_type: &EventType, payload: &[u8], deliver_at: Option<Timestamp>) -> [u8; 32] {
    let event_type = event_type.as_str().as_bytes();
    let mut hash = Sha256::new();
    hash.update((event_type.len() as u64).to_be_bytes());
    hash.update(event_type);
    hash.update((payload.len() as u64).to_be_bytes());
    hash.update(payload);
    if let Some(at) = deliver_at {
        hash.update(at.0.to_be_bytes());
    }
    hash.finalize().into()
}

/// The header `Idempotency-Key`: a quoted string as structured fields have it, or the bare text.
pub(super) fn header_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let fault = |detail: &str| {
        Problem::invalid(vec![Fault::of_parameter("Idempotency-Key", format!("the header {detail}"))])
    };
    if values.next().is_some() {
        return Err(fault("Idempotency-Key is given twice"));
    }
    let text =
        value.to_str().map_err(|_| fault("Idempotency-Key holds characters that are not visible ASCII"))?;
    let key = match text.trim() {
        quoted if quoted.starts_with('"') => unquoted(quoted)
            .ok_or_else(|| fault("Idempotency-Key begins with a quote and is no quoted string"))?,
        bare => bare.to_owned(),
    };
    if key.is_empty() || key.chars().count() > limits::IDEMPOTENCY_KEY_CHARS {
        let most = limits::IDEMPOTENCY_KEY_CHARS;
        return Err(fault(&format!("Idempotency-Key must have 1 to {most} characters")));
    }
    Ok(Some(key))
}

/// Refuses the header, for which there is another place as `detail` says. One that was ignored would promise what nobody keeps.
pub(super) fn no_header_key(headers: &HeaderMap, detail: &str) -> Result<(), Problem> {
    if !headers.contains_key("idempotency-key") {
        return Ok(());
    }
    Err(Problem::invalid(vec![Fault::of_parameter("Idempotency-Key", detail)]))
}

/// What a quoted string says; within it `\` stands before a quote or another `\` only.
fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"').filter(|_| text.len() > 1)?;
    let mut said = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => said.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => said.push(c),
        }
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_quoted_and_bare() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", value.parse().expect("a value"));
            header_key(&headers).map_err(|p| p.code())
        };
        assert_eq!(header_key(&HeaderMap::new()).map_err(|p| p.code()), Ok(None));
        for (value, key) in [
            ("abc", "abc"),
            ("\"abc\"", "abc"),
            ("  a b ", "a b"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            ("a\"b", "a\"b"),
        ] {
            assert_eq!(read(value), Ok(Some(key.into())), "{value}");
        }
        for bad in ["", "\"\"", "\"abc", "\"", r#""a"b""#, r#""a\b""#, r#""a\""#, &"x".repeat(257)] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_tells_events_apart() {
        let of = |t: &str, payload: &str, at: Option<i64>| {
            fingerprint(&EventType::parse(t).expect("a type"), payload.as_bytes(), at.map(Timestamp))
        };
        let one = of("a", "1", None);
        assert_eq!(one, of("a", "1", None));
        for other in [of("b", "1", None), of("a", "1 ", None), of("a", "1", Some(5)), of("a1", "", None)] {
            assert_ne!(one, other);
        }
    }
}
