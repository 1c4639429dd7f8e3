//! What a request says where: in a header, or at a place of its JSON body.
//!
//! A pointer (RFC 6901) is followed through the text step by step: of a large body neither a tree is made nor anything kept
//! but where the value lies.

use std::fmt;

use axum::http::HeaderMap;
use fairhook_common::event::{EventType, InvalidEventType};
use fairhook_common::limits;
use fairhook_common::source::{Place, TypeRule};
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::only;

/// Why a request does not say what it has to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsaid {
    /// There is nothing, or nothing that is a text.
    #[error("there is no text there")]
    Nothing,
    /// It is no event type, with its prefix.
    #[error("`{text}` is no event type: {why}", text = shown(text))]
    NoType {
        /// What was found.
        text: String,
        /// What is wrong with it.
        why: InvalidEventType,
    },
    /// Nothing, or more than an idempotency key has.
    #[error("an id of a delivery has 1 to {} characters, none of them U+0000", limits::IDEMPOTENCY_KEY_CHARS)]
    NoId,
}

fn shown(text: &str) -> String {
    text.chars().take(limits::SHOWN_NAME_CHARS).collect()
}

/// A JSON pointer whose steps are not too many.
pub fn pointer(text: &str) -> Result<String, String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err("is no JSON pointer (RFC 6901): it begins with `/`".to_owned());
    }
    // A `~` stands before 0 or 1 only.
    if text.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
        return Err(
            "is no JSON pointer (RFC 6901): `~` is written `~0`, and `/` within a name `~1`".to_owned()
        );
    }
    if text.matches('/').count() > limits::SOURCE_POINTER_STEPS {
        return Err(format!("has more than {} steps", limits::SOURCE_POINTER_STEPS));
    }
    Ok(text.to_owned())
}

/// The type of the event that a request is. What is found is written with dots where a type has no other character for it.
pub fn event_type(rule: &TypeRule, headers: &HeaderMap, body: &RawValue) -> Result<EventType, Unsaid> {
    let text = match rule {
        TypeRule::Fixed { fixed } => fixed.clone(),
        TypeRule::Found { place, prefix } => {
            let found = match place {
                Place::Header(name) => only(headers, name).map(str::to_owned),
                Place::Pointer(pointer) => at(body, pointer).and_then(text),
            };
            let found = found.ok_or(Unsaid::Nothing)?;
            match EventType::dotted(&found) {
                // As it was found, so that it is said what is wrong with it.
                nothing if nothing.is_empty() => found,
                dotted => format!("{}{dotted}", prefix.as_deref().unwrap_or_default()),
            }
        }
    };
    EventType::parse(&text).map_err(|why| Unsaid::NoType { text, why })
}

/// What its provider calls the delivery that a request is.
pub fn delivery_id(place: &Place, headers: &HeaderMap, body: &RawValue) -> Result<String, Unsaid> {
    let found = match place {
        Place::Header(name) => only(headers, name).map(str::to_owned),
        // A number is as good an id as any, as it is written.
        Place::Pointer(pointer) => at(body, pointer).and_then(|value| text(value).or_else(|| whole(value))),
    };
    let found = found.ok_or(Unsaid::Nothing)?;
    let is_one =
        (1..=limits::IDEMPOTENCY_KEY_CHARS).contains(&found.chars().count()) && !found.contains('\0');
    if is_one { Ok(found) } else { Err(Unsaid::NoId) }
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn whole(value: &RawValue) -> Option<String> {
    let digits = value.get().strip_prefix('-').unwrap_or(value.get());
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| value.get().to_owned())
}

/// The value that `pointer` leads to; of names that are there twice the last counts, as for most who read JSON.
fn at<'b>(body: &'b RawValue, pointer: &str) -> Option<&'b RawValue> {
    let mut value = body;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let within = Within(&step);
        let mut reader = serde_json::Deserializer::from_str(value.get());
        value = match value.get().as_bytes().first() {
            Some(b'{') => reader.deserialize_map(within).ok()??,
            Some(b'[') => reader.deserialize_seq(within).ok()??,
            _ => return None,
        };
    }
    Some(value)
}

/// Looks for one member or item.
struct Within<'s>(&'s str);

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        // An index is written in one way only: without a sign, and without zeros before it.
        let index = self.0.parse::<usize>().ok().filter(|index| index.to_string() == self.0);
        let (mut found, mut n) = (None, 0);
        loop {
            if Some(n) == index {
                match seq.next_element()? {
                    Some(item) => found = Some(item),
                    None => return Ok(None),
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            n += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).expect("JSON")
    }

    #[test]
    fn the_examples_of_rfc_6901_are_found() {
        let body = raw(
            r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8}"#,
        );
        for (pointer, value) in [
            ("", body.get()),
            ("/foo", r#"["bar", "baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(super::pointer(pointer).as_deref(), Ok(pointer));
            assert_eq!(at(&body, pointer).map(RawValue::get), Some(value), "{pointer}");
        }
        for nowhere in ["/foo/2", "/foo/-", "/foo/00", "/foo/+1", "/foo/bar", "/bar", "/a~1b/0", "/m~01n"] {
            assert!(at(&body, nowhere).is_none(), "{nowhere}");
        }
        let twice = raw(r#"{"a": 1, "a": {"b": 2}}"#);
        assert_eq!(at(&twice, "/a/b").map(RawValue::get), Some("2"));
        for bad in ["a", "/~", "/a~2", "/~a", &"/a".repeat(limits::SOURCE_POINTER_STEPS + 1)] {
            assert!(super::pointer(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_type_is_fixed_or_found() {
        let mut headers = HeaderMap::new();
        headers.insert("x-event", "issues".parse().expect("a value"));
        let body = raw(
            r#"{"type": "user.made", "n": 5, "odd": "orders/line items: made", "bad": "/ /", "no": null}"#,
        );
        let found = |place, prefix: Option<&str>| {
            let rule = TypeRule::Found { place, prefix: prefix.map(str::to_owned) };
            event_type(&rule, &headers, &body).map(|t| t.as_str().to_owned())
        };
        let (header, pointer) =
            (|name: &str| Place::Header(name.into()), |text: &str| Place::Pointer(text.into()));
        assert_eq!(found(header("x-event"), Some("github.")), Ok("github.issues".into()));
        assert_eq!(found(pointer("/type"), None), Ok("user.made".into()));
        for nothing in [header("x-other"), pointer("/n"), pointer("/no"), pointer("/none"), pointer("")] {
            assert_eq!(found(nothing, Some("a.")), Err(Unsaid::Nothing));
        }
        assert_eq!(found(pointer("/odd"), Some("shop.")), Ok("shop.orders.line.items.made".into()));
        assert!(
            matches!(found(pointer("/bad"), Some("shop")), Err(Unsaid::NoType { text, .. }) if text == "/ /")
        );
        let fixed = TypeRule::Fixed { fixed: "a.b".into() };
        assert_eq!(event_type(&fixed, &headers, &body).expect("a type").as_str(), "a.b");
        headers.append("x-event", "push".parse().expect("a value"));
        let rule = TypeRule::Found { place: header("x-event"), prefix: None };
        assert_eq!(event_type(&rule, &headers, &body), Err(Unsaid::Nothing), "two say nothing");
    }

    #[test]
    fn a_delivery_is_known_by_a_text_or_a_number() {
        let body = raw(&format!(
            r#"{{"id": "evt_1", "n": 12345678901234567890123, "f": 1.5, "e": "", "z": "\u0000", "l": "{}", "o": {{}}, "t": true}}"#,
            "x".repeat(257)
        ));
        let id = |text: &str| delivery_id(&Place::Pointer(text.into()), &HeaderMap::new(), &body);
        assert_eq!(id("/id"), Ok("evt_1".into()));
        assert_eq!(id("/n"), Ok("12345678901234567890123".into()));
        for nothing in ["/f", "/o", "/t", "/x"] {
            assert_eq!(id(nothing), Err(Unsaid::Nothing), "{nothing}");
        }
        for bad in ["/e", "/z", "/l"] {
            assert_eq!(id(bad), Err(Unsaid::NoId), "{bad}");
        }
    }
}
