//! CloudEvents on their way in (CloudEvents 1.0.2, HTTP protocol binding and JSON format): one in JSON, one whose attributes
//! are headers, or a batch in JSON. The data become the payload byte for byte, so they have to be JSON; all else is kept as
//! the event's context. `source` and `id` together are the idempotency key.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use fairhook_common::cloudevent::{
    self, Attribute, BATCH, CONTENT_TYPE, Context, HEADER_PREFIX, InvalidAttribute, REQUIRED, STRUCTURED,
};
use fairhook_common::event::{EventType, Idempotency, NewEvent};
use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use serde_json::value::RawValue;

use super::json::{Fields, step};
use super::posted_event::{self, Posting, fingerprint};
use super::problem::{Code, Fault, Problem, said_of};

/// What the payload of a CloudEvent without data is.
const NO_DATA: &[u8] = b"null";

/// How a request says what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In the JSON of this API.
    Ours,
    /// A CloudEvent in JSON.
    Structured,
    /// A CloudEvent whose attributes are headers.
    Binary,
    /// CloudEvents in a JSON list.
    Batch,
}

impl Form {
    /// What the headers say: a media type of CloudEvents, or a header that every CloudEvent has.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let media_type = content_type(headers)?;
        let essence = media_type.map(|text| text.split(';').next().unwrap_or_default().trim());
        let essence = essence.unwrap_or_default().to_ascii_lowercase();
        let named = || REQUIRED.iter().any(|name| headers.contains_key(format!("{HEADER_PREFIX}{name}")));
        match essence.as_str() {
            STRUCTURED => Ok(Self::Structured),
            BATCH => Ok(Self::Batch),
            other if other.starts_with("application/cloudevents") => {
                Err(unsupported(format!("CloudEvents are taken as {STRUCTURED} or {BATCH}")))
            }
            _ if !named() => Ok(Self::Ours),
            _ if media_type.is_none_or(cloudevent::is_json) => Ok(Self::Binary),
            _ => Err(unsupported("the data of a CloudEvent become a payload, and payloads are JSON")),
        }
    }
}

/// What is sent is of a kind that is not taken there.
pub(super) fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(Code::UnsupportedMediaType, detail)
}

/// A CloudEvent has its key in itself.
pub(super) fn no_header_key(headers: &HeaderMap) -> Result<(), Problem> {
    posted_event::no_header_key(
        headers,
        "a CloudEvent takes no header Idempotency-Key; its `source` and `id` are its key",
    )
}

/// Reads a CloudEvent in JSON, which is at `pointer` of the body.
pub(super) fn structured(
    fields: Fields<'_>,
    pointer: &str,
    tenant: TenantId,
    posting: &Posting<'_>,
) -> Result<NewEvent, Problem> {
    let mut draft = Draft::new(|name| Fault::at(format!("{pointer}{}", step(name)), ""));
    let mut data = None;
    for (name, value) in fields.into_members() {
        match (name.as_str(), value.get()) {
            ("data", _) => data = Some(posting.body.slice_ref(value.get().as_bytes())),
            ("data_base64", _) => draft.refuse(&name, "payloads are JSON: send JSON as `data`"),
            // The same as if it were not there.
            (_, "null") => {}
            _ => draft.take(&name, attribute(value)),
        }
    }
    draft.finish(data.unwrap_or(Bytes::from_static(NO_DATA)), tenant, posting)
}

/// Reads a CloudEvent whose attributes are `headers` and whose data are the body.
pub(super) fn binary(
    headers: &HeaderMap,
    tenant: TenantId,
    posting: &Posting<'_>,
) -> Result<NewEvent, Problem> {
    let mut draft = Draft::new(|name| match name {
        CONTENT_TYPE => Fault::of_parameter("Content-Type", ""),
        name => Fault::of_parameter(format!("{HEADER_PREFIX}{name}"), ""),
    });
    for header in headers.keys() {
        let Some(name) = header.as_str().strip_prefix(HEADER_PREFIX) else { continue };
        let mut values = headers.get_all(header).iter();
        match (values.next(), values.next()) {
            _ if name == CONTENT_TYPE => draft.refuse(name, "is said by Content-Type alone"),
            (Some(value), None) => {
                draft.take(name, cloudevent::decode(value.as_bytes()).map(Attribute::Text));
            }
            _ => draft.refuse(name, "is given twice"),
        }
    }
    if let Some(media_type) = content_type(headers)?.filter(|_| !headers.contains_key("ce-datacontenttype")) {
        draft.take(CONTENT_TYPE, Ok::<_, InvalidAttribute>(Attribute::Text(media_type.trim().to_owned())));
    }
    let data = match posting.body {
        nothing if nothing.is_empty() => Bytes::from_static(NO_DATA),
        body => {
            let json = serde_json::from_slice::<&RawValue>(body);
            json.map_err(|e| Problem::new(Code::MalformedJson, e.to_string()))?;
            body.clone()
        }
    };
    draft.finish(data, tenant, posting)
}

fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let not_text = |_| unsupported("the header Content-Type is not text");
    headers.get(header::CONTENT_TYPE).map(|value| value.to_str().map_err(not_text)).transpose()
}

fn attribute(value: &RawValue) -> Result<Attribute, &'static str> {
    serde_json::from_str(value.get())
        .map_err(|_| "must be a string, a whole number of 32 bits, or true or false")
}

/// A CloudEvent that is being read: every attribute that was named, with its value if that is a good one.
struct Draft<F> {
    attributes: BTreeMap<String, Option<Attribute>>,
    faults: Vec<Fault>,
    /// A fault, without its words, at the place of an attribute.
    at: F,
}

impl<F: Fn(&str) -> Fault> Draft<F> {
    fn new(at: F) -> Self {
        Self { attributes: BTreeMap::new(), faults: Vec::new(), at }
    }

    fn take<E: ToString>(&mut self, name: &str, value: Result<Attribute, E>) {
        let checked = value
            .map_err(|e| e.to_string())
            .and_then(|value| cloudevent::check(name, &value).map(|()| value).map_err(|e| e.to_string()));
        match checked {
            Ok(value) => drop(self.attributes.insert(name.to_owned(), Some(value))),
            Err(detail) => self.refuse(name, &detail),
        }
    }

    fn refuse(&mut self, name: &str, detail: &str) {
        self.attributes.insert(name.to_owned(), None);
        let shown: String = name.chars().take(limits::SHOWN_NAME_CHARS).collect();
        self.faults.push(Fault { detail: said_of(&shown, detail), ..(self.at)(name) });
    }

    fn finish(mut self, data: Bytes, tenant: TenantId, posting: &Posting<'_>) -> Result<NewEvent, Problem> {
        for name in REQUIRED {
            if !self.attributes.contains_key(name) {
                self.refuse(name, "is needed: every CloudEvent has it");
            }
        }
        if !self.faults.is_empty() {
            return Err(Problem::invalid(self.faults));
        }
        let attributes: BTreeMap<_, _> =
            self.attributes.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let text = |name: &str| attributes[name].to_string();
        let event_type = EventType::parse(&text("type")).expect("the check of `type` is just that");
        let idempotency = Idempotency {
            key: cloudevent::idempotency_key(&text("source"), &text("id")),
            fingerprint: fingerprint(&event_type, &data, None),
            expires_at: posting.now.after(limits::IDEMPOTENCY_TTL),
        };
        let kept = Context::of(&attributes);
        if kept.json().len() > limits::CLOUDEVENT_BYTES {
            let most = limits::CLOUDEVENT_BYTES;
            let detail = format!("the attributes of a CloudEvent have at most {most} bytes as JSON");
            return Err(Problem::new(Code::TooLarge, detail).member("limit", most.into()));
        }
        Ok(NewEvent {
            tenant,
            event_type,
            payload: data,
            metadata: None,
            cloudevent: Some(kept),
            deliver_at: None,
            expires_at: posting.now.after(posting.retention),
            idempotency: Some(idempotency),
            only_endpoint: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &str)]) -> Result<Form, Code> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        Form::of(&map).map_err(|problem| problem.code())
    }

    #[test]
    fn headers_say_what_is_sent() {
        let refused = Err(Code::UnsupportedMediaType);
        for (headers, form) in [
            (&[][..], Ok(Form::Ours)),
            (&[("content-type", "application/json")], Ok(Form::Ours)),
            (&[("content-type", "application/x-www-form-urlencoded")], Ok(Form::Ours)),
            (&[("ce-subject", "a")], Ok(Form::Ours)),
            (&[("content-type", "Application/CloudEvents+JSON ; charset=UTF-8")], Ok(Form::Structured)),
            (&[("content-type", STRUCTURED), ("ce-id", "1")], Ok(Form::Structured)),
            (&[("content-type", BATCH)], Ok(Form::Batch)),
            (&[("content-type", "application/cloudevents+xml")], refused),
            (&[("content-type", "application/cloudevents")], refused),
            (&[("content-type", "application/cloudevents-batch+protobuf")], refused),
            (&[("ce-id", "1")], Ok(Form::Binary)),
            (&[("ce-specversion", "1.0"), ("content-type", "application/vnd.a+json;x=y")], Ok(Form::Binary)),
            (&[("ce-type", "a"), ("content-type", "text/xml")], refused),
        ] {
            assert_eq!(of(headers), form, "{headers:?}");
        }
    }
}
