//! The fields of an endpoint, declared once: a `POST` or `PUT` is a change of the defaults, a `PATCH` one of what is there.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use fairhook_common::egress::{EgressPolicy, UrlRefused};
use fairhook_common::endpoint::{BodyForm, CustomHeader, EndpointSettings, is_reserved_header};
use fairhook_common::event::EventPattern;
use fairhook_common::ids::EndpointId;
use fairhook_common::limits;
use fairhook_common::retry::RetrySchedule;
use serde_json::value::RawValue;

use super::Edge;
use super::json::{Faults, Fields, Read};
use super::problem::{Fault, Problem};
use super::read;

/// Changes of settings: the outer `None` stays, the inner one is the default.
pub struct Changes {
    url: Option<String>,
    event_types: Option<Option<Vec<EventPattern>>>,
    description: Option<Option<String>>,
    metadata: Option<Option<String>>,
    headers: Option<Option<Vec<HeaderChange>>>,
    rate_limit_per_s: Option<Option<u32>>,
    timeout_ms: Option<Option<u64>>,
    retry: Option<Option<RetryChanges>>,
    body: Option<Option<BodyForm>>,
    handshake: Option<Option<bool>>,
}

/// A header's name and value, merged by name; without a value the header goes.
type HeaderChange = (String, Option<String>);

struct RetryChanges {
    schedule_s: Option<Option<Vec<u32>>>,
    jitter: Option<Option<f64>>,
}

/// The settings of a new endpoint.
pub fn of_new(fields: &mut Fields<'_>, edge: &Edge) -> Changes {
    let url = fields.required("url", |value| url(value, &edge.egress));
    rest(fields, url, edge.settings.base_domain.as_deref())
}

/// The changes of one that is there.
pub fn of_known(fields: &mut Fields<'_>, edge: &Edge) -> Changes {
    let url = fields.set("url", |value| url(value, &edge.egress));
    rest(fields, url, edge.settings.base_domain.as_deref())
}

/// `asker` is who would ask in a handshake.
fn rest(fields: &mut Fields<'_>, url: Option<String>, asker: Option<&str>) -> Changes {
    let (fastest, slowest) = (limits::ATTEMPT_TIMEOUT_MIN, limits::ATTEMPT_TIMEOUT_MAX);
    let timeout_ms = read::integer(fastest.as_millis() as u64..=slowest.as_millis() as u64);
    Changes {
        url,
        event_types: fields.change("event_types", event_types),
        description: fields.change("description", read::text(limits::NAME_CHARS)),
        metadata: fields.change("metadata", read::object),
        headers: fields.change("headers", headers),
        rate_limit_per_s: fields.change("rate_limit_per_s", read::integer(1..=limits::ENDPOINT_RATE_MAX)),
        timeout_ms: fields.change("timeout_ms", timeout_ms),
        retry: fields.change("retry", retry),
        body: fields.change("body", read::one_of(BodyForm::NAMES, BodyForm::from_name)),
        handshake: fields.change("handshake", |value| handshake(value, asker)),
    }
}

/// Checks a uid: it stands in paths, where it must not be taken for an id.
pub fn uid(text: &str) -> Result<String, &'static str> {
    let inside = |c: char| c.is_ascii_alphanumeric() || "_-.:@".contains(c);
    if text.is_empty() || text.len() > limits::UID_CHARS {
        return Err("a uid has 1 to 128 characters");
    }
    if !text.chars().all(inside) {
        return Err("a uid is made of letters, digits, `_`, `-`, `.`, `:` and `@`");
    }
    if text.starts_with(EndpointId::PREFIX) {
        return Err("a uid must not begin as an endpoint's id does");
    }
    Ok(text.to_owned())
}

impl Changes {
    /// The settings of a new endpoint. (Its url was required.)
    pub fn of_defaults(&self) -> Result<EndpointSettings, Problem> {
        self.of(EndpointSettings {
            url: String::new(),
            event_types: every_type(),
            description: None,
            metadata: None,
            headers: Vec::new(),
            rate_limit_per_s: None,
            timeout: limits::ATTEMPT_TIMEOUT,
            retry: RetrySchedule::default(),
            body: BodyForm::default(),
            handshake: false,
        })
    }

    /// `settings` with these changes.
    pub fn of(&self, settings: EndpointSettings) -> Result<EndpointSettings, Problem> {
        fn changed<T: Clone>(change: &Option<Option<T>>, now: T, default: impl FnOnce() -> T) -> T {
            match change {
                None => now,
                Some(None) => default(),
                Some(Some(value)) => value.clone(),
            }
        }
        let timeout_ms = self.timeout_ms.map(|ms| ms.map(Duration::from_millis));
        Ok(EndpointSettings {
            url: self.url.clone().unwrap_or(settings.url),
            event_types: changed(&self.event_types, settings.event_types, every_type),
            description: self.description.clone().unwrap_or(settings.description),
            metadata: self.metadata.clone().unwrap_or(settings.metadata),
            headers: self.merged_headers(settings.headers)?,
            rate_limit_per_s: self.rate_limit_per_s.unwrap_or(settings.rate_limit_per_s),
            timeout: changed(&timeout_ms, settings.timeout, || limits::ATTEMPT_TIMEOUT),
            retry: match &self.retry {
                None => settings.retry,
                Some(None) => RetrySchedule::default(),
                Some(Some(retry)) => RetrySchedule {
                    schedule_s: changed(&retry.schedule_s, settings.retry.schedule_s, || {
                        RetrySchedule::default().schedule_s
                    }),
                    jitter: changed(&retry.jitter, settings.retry.jitter, || RetrySchedule::default().jitter),
                },
            },
            body: changed(&self.body, settings.body, BodyForm::default),
            handshake: changed(&self.handshake, settings.handshake, bool::default),
        })
    }

    fn merged_headers(&self, mut headers: Vec<CustomHeader>) -> Result<Vec<CustomHeader>, Problem> {
        let changes = match &self.headers {
            None => return Ok(headers),
            Some(None) => return Ok(Vec::new()),
            Some(Some(changes)) => changes,
        };
        for (name, value) in changes {
            headers.retain(|header| header.name != *name);
            headers.extend(value.clone().map(|value| CustomHeader { name: name.clone(), value }));
        }
        if headers.len() > limits::ENDPOINT_HEADERS {
            let detail = format!("an endpoint has at most {} custom headers", limits::ENDPOINT_HEADERS);
            return Err(Problem::invalid(vec![Fault::at("/headers", detail)]));
        }
        Ok(headers)
    }
}

fn every_type() -> Vec<EventPattern> {
    vec![EventPattern::parse("*").expect("`*` is a pattern")]
}

fn url(value: &RawValue, egress: &EgressPolicy) -> Read<String> {
    let text = read::text(limits::URL_CHARS)(value)?;
    match egress.check_url(&text) {
        Ok(_) => Ok(text),
        Err(UrlRefused::Blocked(blocked)) => Err(Faults::one(format!(
            "{blocked}; whoever runs this can allow its network with the setting `allowed_networks`"
        ))),
        Err(refused) => Err(Faults::one(refused)),
    }
}

fn handshake(value: &RawValue, asker: Option<&str>) -> Read<bool> {
    match read::flag(value)? {
        true if asker.is_none() => Err(Faults::one(
            "cannot be had: a handshake says who asks, and whoever runs this has not said so with the setting `base_domain`",
        )),
        wanted => Ok(wanted),
    }
}

fn event_types(value: &RawValue) -> Read<Vec<EventPattern>> {
    let pattern = read::parsed(limits::URL_CHARS, EventPattern::parse);
    match read::list(limits::ENDPOINT_EVENT_TYPES, pattern)(value)? {
        none if none.is_empty() => Err(Faults::one("names no event type; leave it out for every type")),
        patterns => Ok(patterns),
    }
}

fn retry(value: &RawValue) -> Read<RetryChanges> {
    let mut fields = Fields::nested(value, String::new())?;
    let wait = || read::integer(1..=limits::RETRY_WAIT_MAX.as_secs());
    let schedule_s = fields.change("schedule_s", read::list(limits::RETRY_STEPS, wait()));
    let jitter = fields.change("jitter", read::number(0.0..=1.0));
    fields.finish_nested(|| Some(RetryChanges { schedule_s, jitter }))
}

/// Names in any case, each once, with a text, or with `null` for a header that is to go.
fn headers(value: &RawValue) -> Read<Vec<HeaderChange>> {
    let mut faults = Faults::none();
    let mut headers: Vec<HeaderChange> = Vec::new();
    for (name, value) in Fields::nested(value, String::new())?.into_members() {
        let Some((lower, text)) = faults.keep(&name, header(&name, value)) else { continue };
        if headers.iter().any(|(other, _)| *other == lower) {
            faults.keep::<()>(&name, Err(Faults::one("is given twice, in different cases")));
            continue;
        }
        headers.push((lower, text));
    }
    faults.or(headers)
}

fn header(name: &str, value: &RawValue) -> Read<HeaderChange> {
    let lower = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Faults::one("is not a header's name"))?;
    let lower = lower.as_str().to_owned();
    if is_reserved_header(&lower) {
        return Err(Faults::one(format!("`{lower}` is not for endpoints to set")));
    }
    if value.get() == "null" {
        return Ok((lower, None));
    }
    let text = read::any_text(value)?;
    if text.len() + lower.len() > limits::ENDPOINT_HEADER_BYTES {
        return Err(Faults::one(format!("has more than {} bytes", limits::ENDPOINT_HEADER_BYTES)));
    }
    // The value is a secret: what is wrong with it is told, it itself is not.
    let ascii = text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    if !ascii || HeaderValue::from_str(&text).is_err() || text.trim() != text {
        return Err(Faults::one("is not a header's value: visible ASCII without spaces at its ends"));
    }
    Ok((lower, Some(text)))
}
