//! Attributes: which values the specification lets each have (CloudEvents 1.0.2, §3), and which of these fit in here.

use std::fmt;

use fluent_uri::{Uri, UriRef};
use serde::{Deserialize, Serialize};

use crate::event::{EventType, InvalidEventType};
use crate::time::Timestamp;

/// What every CloudEvent has.
pub const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// A value. Shown in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// Also times and URIs; in the binary form everything.
    Text(String),
    /// A whole number of 32 bits.
    Number(i32),
    /// True or false.
    Flag(bool),
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// Why an attribute is none that is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAttribute {
    /// What it is called.
    #[error("an attribute's name is made of lower-case letters and digits, and is not `data`")]
    Name,
    /// A number or a flag where the specification has a text.
    #[error("must be a string")]
    NotText,
    /// Nothing in it.
    #[error("must not be empty")]
    Empty,
    /// A character that no attribute may hold.
    #[error("holds {0:?}, which no attribute may")]
    Character(char),
    /// Another specification.
    #[error("must be 1.0: other versions of CloudEvents are not taken")]
    Version,
    /// No event type of ours.
    #[error(transparent)]
    Type(InvalidEventType),
    /// No URI reference.
    #[error("must be a URI reference (RFC 3986)")]
    NotUriReference,
    /// No URI.
    #[error("must be an absolute URI (RFC 3986)")]
    NotUri,
    /// No time.
    #[error("must be a time in RFC 3339, such as 2026-01-31T12:00:00Z")]
    NotTime,
    /// Data that are no JSON.
    #[error("must be a media type of JSON, such as application/json: payloads are JSON")]
    NotJson,
}

/// Whether the attribute `name` may have this value.
pub fn check(name: &str, value: &Attribute) -> Result<(), InvalidAttribute> {
    let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !named || name == "data" {
        return Err(InvalidAttribute::Name);
    }
    let text = match value {
        Attribute::Text(text) => text,
        _ if is_defined(name) => return Err(InvalidAttribute::NotText),
        _ => return Ok(()),
    };
    if let Some(c) = text.chars().find(|c| is_forbidden(*c)) {
        return Err(InvalidAttribute::Character(c));
    }
    if text.is_empty() && is_defined(name) {
        return Err(InvalidAttribute::Empty);
    }
    let (holds, otherwise) = match name {
        "specversion" => (text == "1.0", InvalidAttribute::Version),
        "type" => return EventType::parse(text).map(drop).map_err(InvalidAttribute::Type),
        "source" => (UriRef::parse(text.as_str()).is_ok(), InvalidAttribute::NotUriReference),
        "dataschema" => (Uri::parse(text.as_str()).is_ok(), InvalidAttribute::NotUri),
        "time" => (Timestamp::parse(text).is_some(), InvalidAttribute::NotTime),
        super::CONTENT_TYPE => (is_json(text), InvalidAttribute::NotJson),
        _ => return Ok(()),
    };
    if holds { Ok(()) } else { Err(otherwise) }
}

/// Whether a media type is one of JSON, as the JSON format has it: `*/json` or `*/*+json`, whatever its parameters.
pub fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let token = |part: &str| !part.is_empty() && part.bytes().all(is_token);
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    let subtype_is_json =
        match subtype.len().checked_sub("json".len()).filter(|at| subtype.is_char_boundary(*at)) {
            Some(at) => {
                subtype[at..].eq_ignore_ascii_case("json") && (at == 0 || subtype[..at].ends_with('+'))
            }
            None => false,
        };
    subtype_is_json && token(kind) && token(subtype) && media_type.bytes().all(|b| matches!(b, b' '..=b'~'))
}

/// The attributes that the specification itself defines, all of them texts with something in them.
fn is_defined(name: &str) -> bool {
    REQUIRED.contains(&name) || matches!(name, "subject" | "time" | "dataschema" | super::CONTENT_TYPE)
}

/// Control characters and what Unicode says is no character.
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{FDD0}'..='\u{FDEF}') || u32::from(c) & 0xFFFE == 0xFFFE
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, text: &str) -> Result<(), InvalidAttribute> {
        check(name, &Attribute::Text(text.into()))
    }

    #[test]
    fn every_attribute_has_its_rule() {
        use InvalidAttribute::*;
        for (name, good) in [
            ("specversion", "1.0"),
            ("id", "A234 1234"),
            ("source", "/mycontext"),
            ("source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"),
            ("source", "https://github.com/cloudevents?a=b#c"),
            ("source", "cloudevents/spec/pull/123"),
            ("source", "mailto:a@b.example"),
            ("source", "a%20b"),
            ("source", "//[::1]:8/a"),
            ("type", "com.github.pull_request.opened"),
            ("subject", "mynewfile.jpg"),
            ("time", "2018-04-05T17:31:00Z"),
            ("time", "1985-04-12T23:20:50.52+02:00"),
            ("dataschema", "https://example.com/schema"),
            ("datacontenttype", "application/json; charset=utf-8"),
            ("datacontenttype", "Application/vnd.acme+JSON"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("empty2", ""),
        ] {
            assert_eq!(with(name, good), Ok(()), "{name}: {good}");
        }
        for (name, bad, why) in [
            ("specversion", "0.3", Version),
            ("specversion", "1", Version),
            ("id", "", Empty),
            ("id", "a\u{7f}", Character('\u{7f}')),
            ("id", "a\u{85}", Character('\u{85}')),
            ("id", "a\u{ffff}", Character('\u{ffff}')),
            ("id", "a\u{fdd0}", Character('\u{fdd0}')),
            ("source", "a b", NotUriReference),
            ("source", "a%2", NotUriReference),
            ("source", "ü", NotUriReference),
            ("source", "a#b#c", NotUriReference),
            ("source", "1a:b", NotUriReference),
            ("source", "a:[b", NotUriReference),
            ("source", "//host:port", NotUriReference),
            ("type", "a b", Type(InvalidEventType::Character(' '))),
            ("subject", "", Empty),
            ("time", "yesterday", NotTime),
            ("dataschema", "/relative", NotUri),
            ("datacontenttype", "text/xml", NotJson),
            ("datacontenttype", "json", NotJson),
            ("datacontenttype", "application/notjson", NotJson),
            ("datacontenttype", "application/xjson", NotJson),
            ("datacontenttype", "application/ü+json", NotJson),
            ("data", "x", Name),
            ("", "x", Name),
            ("A", "x", Name),
            ("my_ext", "x", Name),
        ] {
            assert_eq!(with(name, bad), Err(why), "{name}: {bad:?}");
        }
        assert_eq!(check("id", &Attribute::Number(7)), Err(NotText));
        assert_eq!(check("sequence", &Attribute::Number(7)), Ok(()));
    }
}
