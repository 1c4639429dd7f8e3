//! Readers of single JSON values. Each says what it wants and what it found instead.

use std::ops::RangeInclusive;
use std::str::FromStr;

use fairhook_common::limits;
use fairhook_common::plan::PlanName;
use fairhook_common::time::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{Faults, Read, without_place};

/// A text of 1 to `max` characters, none of them U+0000.
pub fn text(max: usize) -> impl Fn(&RawValue) -> Read<String> {
    move |value| match any_text(value)? {
        text if text.is_empty() => Err(Faults::one("must not be empty")),
        text if text.chars().count() > max => Err(Faults::one(format!("has more than {max} characters"))),
        text => Ok(text),
    }
}

/// A text of any length, without U+0000.
pub fn any_text(value: &RawValue) -> Read<String> {
    expect(value, "a string", value.get().starts_with('"'))?;
    let text: String = serde_json::from_str(value.get())
        .map_err(|e| Faults::one(format!("is not a readable string: {}", without_place(&e))))?;
    if text.contains('\0') { Err(Faults::one(HOLDS_NUL)) } else { Ok(text) }
}

const HOLDS_NUL: &str = "holds the character U+0000, which no text may";

/// A text that `parse` takes.
pub fn parsed<T, E: ToString>(
    max: usize,
    parse: impl Fn(&str) -> Result<T, E>,
) -> impl Fn(&RawValue) -> Read<T> {
    move |value| parse(&text(max)(value)?).map_err(Faults::one)
}

/// A typed id.
pub fn id<T: FromStr<Err: ToString>>(value: &RawValue) -> Read<T> {
    parsed(limits::SHOWN_NAME_CHARS, T::from_str)(value)
}

/// The name of a plan. Whether there is one the store says.
pub fn plan(value: &RawValue) -> Read<PlanName> {
    parsed(limits::NAME_CHARS, PlanName::from_str)(value)
}

/// One out of a closed list of names.
pub fn one_of<T>(
    names: &'static [&'static str],
    from_name: impl Fn(&str) -> Option<T>,
) -> impl Fn(&RawValue) -> Read<T> {
    parsed(limits::NAME_CHARS, move |text| {
        from_name(text).ok_or_else(|| format!("must be one of {}", names.join(", ")))
    })
}

/// A point in time in RFC 3339.
pub fn timestamp(value: &RawValue) -> Read<Timestamp> {
    parsed(limits::SHOWN_NAME_CHARS, |text| {
        Timestamp::parse(text).ok_or("must be a time in RFC 3339, such as 2026-01-31T12:00:00Z")
    })(value)
}

/// `true` or `false`.
pub fn flag(value: &RawValue) -> Read<bool> {
    expect(value, "true or false", matches!(value.get(), "true" | "false"))?;
    Ok(value.get() == "true")
}

/// A whole number within `range`.
pub fn integer<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&RawValue) -> Read<T> {
    move |value| {
        let (least, most) = (range.start(), range.end());
        expect(value, "a whole number", is_number(value))?;
        let number = value.get().parse().ok().filter(|n| range.contains(n)).and_then(|n| T::try_from(n).ok());
        number.ok_or_else(|| Faults::one(format!("must be a whole number from {least} to {most}")))
    }
}

/// A number within `range`.
pub fn number(range: RangeInclusive<f64>) -> impl Fn(&RawValue) -> Read<f64> {
    move |value| {
        let (least, most) = (range.start(), range.end());
        expect(value, "a number", is_number(value))?;
        let number = value.get().parse().ok().filter(|n| range.contains(n));
        number.ok_or_else(|| Faults::one(format!("must be from {least} to {most}")))
    }
}

/// A list of at most `max` items, each read by `read`; every item's faults are told.
pub fn list<'a, T>(
    max: usize,
    read: impl Fn(&'a RawValue) -> Read<T>,
) -> impl Fn(&'a RawValue) -> Read<Vec<T>> {
    move |value| {
        let items = items(value, max)?;
        let mut faults = Faults::none();
        let taken =
            items.into_iter().enumerate().filter_map(|(i, item)| faults.keep(&i.to_string(), read(item)));
        let taken = taken.collect();
        faults.or(taken)
    }
}

/// The items of a list of at most `max`, as they were posted.
pub fn items<'a>(value: &'a RawValue, max: usize) -> Read<Vec<&'a RawValue>> {
    expect(value, "a list", value.get().starts_with('['))?;
    let items: Vec<&'a RawValue> =
        serde_json::from_str(value.get()).map_err(|e| Faults::one(without_place(&e)))?;
    if items.len() > max { Err(Faults::one(format!("has more than {max} items"))) } else { Ok(items) }
}

/// A JSON object to be kept as text, as it was posted, at most `limits::METADATA_BYTES`, without U+0000 in any string.
pub fn object(value: &RawValue) -> Read<String> {
    let text = value.get();
    expect(value, "an object", text.starts_with('{'))?;
    if text.len() > limits::METADATA_BYTES {
        return Err(Faults::one(format!("has more than {} bytes", limits::METADATA_BYTES)));
    }
    let read: Value = serde_json::from_str(text).map_err(|e| Faults::one(without_place(&e)))?;
    if holds_nul(&read) { Err(Faults::one(HOLDS_NUL)) } else { Ok(text.to_owned()) }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, v)| name.contains('\0') || holds_nul(v)),
        _ => false,
    }
}

fn is_number(value: &RawValue) -> bool {
    value.get().starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// `Ok` if the value is of the wanted kind, else what was found.
pub(super) fn expect(value: &RawValue, wanted: &str, is: bool) -> Read<()> {
    if is { Ok(()) } else { Err(unexpected(value.get(), wanted)) }
}

/// Refuses JSON, without space before it, that is no object.
pub(super) fn must_be_object(text: &str) -> Read<()> {
    if text.starts_with('{') { Ok(()) } else { Err(unexpected(text, "an object")) }
}

fn unexpected(text: &str, wanted: &str) -> Faults {
    let found = match text.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    };
    Faults::one(format!("must be {wanted}, not {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn texts_are_bounded_and_free_of_nul() {
        let read = |json: &str| text(3)(&raw(json)).map_err(|f| f.first());
        assert_eq!(read(r#""äöü""#), Ok("äöü".into()));
        assert_eq!(read(r#""""#), Err("must not be empty".into()));
        assert_eq!(read(r#""abcd""#), Err("has more than 3 characters".into()));
        assert_eq!(read(r#""a\u0000""#), Err(HOLDS_NUL.into()));
        assert_eq!(read("7"), Err("must be a string, not a number".into()));
        assert_eq!(read("null"), Err("must be a string, not null".into()));
        assert!(read(r#""\ud800""#).is_err_and(|e| e.contains("not a readable string")));
    }

    #[test]
    fn numbers_stay_within_their_range() {
        let read = |json: &str| integer::<u32>(1..=10)(&raw(json)).map_err(|f| f.first());
        assert_eq!(read("10"), Ok(10));
        let out = Err("must be a whole number from 1 to 10".to_owned());
        for bad in ["0", "11", "-1", "1.5", "1e0", "99999999999999999999999"] {
            assert_eq!(read(bad), out, "{bad}");
        }
        assert_eq!(read("\"5\""), Err("must be a whole number, not a string".into()));
        assert!(number(0.0..=1.0)(&raw("0.2")).is_ok());
        assert!(number(0.0..=1.0)(&raw("1.2")).is_err());
        assert!(number(0.0..=1.0)(&raw("1e999")).is_err());
    }

    #[test]
    fn an_object_is_kept_as_posted() {
        let read = |json: &str| object(&raw(json)).map_err(|f| f.first());
        assert_eq!(read(r#"{"b" : 1.00,"a":2}"#), Ok(r#"{"b" : 1.00,"a":2}"#.into()));
        assert_eq!(read("[]"), Err("must be an object, not a list".into()));
        assert_eq!(read(r#"{"a":["\u0000"]}"#), Err(HOLDS_NUL.into()));
        assert_eq!(read(r#"{"\u0000":1}"#), Err(HOLDS_NUL.into()));
        assert!(read(&format!(r#"{{"a":"{}"}}"#, "x".repeat(limits::METADATA_BYTES))).is_err());
        assert!(read(&format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200))).is_err());
    }

    #[test]
    fn every_item_of_a_list_is_looked_at() {
        let value = raw(r#"["a", 1, "", "b"]"#);
        let faults = list(9, text(3))(&value).expect_err("two are wrong");
        let places: Vec<_> = faults.into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(places, ["/1", "/2"]);
        assert!(list(3, text(3))(&value).is_err_and(|f| f.first() == "has more than 3 items"));
    }
}
