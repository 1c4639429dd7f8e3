//! Strict reading of JSON objects. A request type is declared by reading it: each field is asked for once, with the
//! reader that checks it; [`Fields::finish`] then refuses what was not asked for, and tells every fault at once.
//!
//! Values stay the bytes that were posted until their reader takes them, so that a payload is never written anew.

use std::fmt;

use fairhook_common::limits;
use fairhook_common::nearest::nearest;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::problem::{Code, Fault, Problem};
use super::read;

/// What is wrong with a value; pointers are relative to it.
#[derive(Debug)]
pub struct Faults(Vec<(String, String)>);

impl Faults {
    /// One fault of the value itself.
    pub fn one(detail: impl ToString) -> Self {
        Self(vec![(String::new(), detail.to_string())])
    }

    /// The problem that they are, of a value that is at `pointer`.
    pub fn into_problem(self, pointer: &str) -> Problem {
        let at = |(below, detail)| Fault::at(format!("{pointer}{below}"), detail);
        Problem::invalid(self.0.into_iter().map(at).collect())
    }

    /// None so far.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Collects the faults of the part of the value that is under `step`.
    pub(super) fn keep<T>(&mut self, step: &str, read: Read<T>) -> Option<T> {
        read.map_err(|faults| self.0.extend(faults.below(step))).ok()
    }

    /// `value`, if there is no fault.
    pub(super) fn or<T>(self, value: T) -> Read<T> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The first one's sentence.
    #[cfg(test)]
    pub(super) fn first(&self) -> String {
        self.0[0].1.clone()
    }

    fn below(self, name: &str) -> impl Iterator<Item = (String, String)> {
        let step = step(name);
        self.0.into_iter().map(move |(pointer, detail)| (format!("{step}{pointer}"), detail))
    }
}

impl IntoIterator for Faults {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What a reader makes of a value.
pub type Read<T> = Result<T, Faults>;

/// A JSON object that is being read.
pub struct Fields<'a> {
    pointer: String,
    members: Vec<(String, &'a RawValue)>,
    known: Vec<&'static str>,
    faults: Faults,
}

impl<'a> Fields<'a> {
    /// The object that a body is.
    pub fn parse(body: &'a [u8]) -> Result<Self, Problem> {
        let text = std::str::from_utf8(body)
            .map_err(|e| Problem::new(Code::MalformedJson, format!("the body is not UTF-8: {e}")))?;
        if text.trim().is_empty() {
            return Err(Problem::new(Code::MalformedJson, "the body is empty; a JSON object is needed"));
        }
        match serde_json::from_str::<Members<'a>>(text) {
            Ok(Members(members)) => Ok(Self::over(members, String::new())),
            Err(e) if e.classify() == Category::Data => {
                read::must_be_object(text.trim_start()).map_err(|faults| faults.into_problem(""))?;
                Err(Problem::invalid(vec![Fault::at("", e)]))
            }
            Err(e) => Err(Problem::new(Code::MalformedJson, e.to_string())),
        }
    }

    /// The object that a body is; nothing at all is an empty one.
    pub fn parse_or_empty(body: &'a [u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self::over(Vec::new(), String::new()));
        }
        Self::parse(body)
    }

    /// An object within one; what is said of it begins with `pointer`.
    pub fn nested(value: &'a RawValue, pointer: String) -> Read<Self> {
        read::must_be_object(value.get())?;
        let Members(members) =
            serde_json::from_str(value.get()).map_err(|e| Faults::one(without_place(&e)))?;
        Ok(Self::over(members, pointer))
    }

    fn over(members: Vec<(String, &'a RawValue)>, pointer: String) -> Self {
        Self { pointer, members, known: Vec::new(), faults: Faults::none() }
    }

    /// The value of `name` as it was posted, a `null` too.
    pub fn raw(&mut self, name: &'static str) -> Option<&'a RawValue> {
        self.known.push(name);
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// Whether there is a value of `name`, a `null` too. It is not asked for by that.
    pub fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(member, _)| member == name)
    }

    /// A field that must be there. `None`: it is not, or not as it has to be, and [`Fields::finish`] will say so.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a RawValue) -> Read<T>,
    ) -> Option<T> {
        match self.raw(name) {
            Some(value) => self.faults.keep(name, read(value)),
            None => self.faults.keep(name, Err(Faults::one(format!("`{name}` is needed")))),
        }
    }

    /// A field that may be absent; `null` is the same.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a RawValue) -> Read<T>,
    ) -> Option<T> {
        self.change(name, read).flatten()
    }

    /// A field of a merge: `None` (absent) leaves what is, `Some(None)` (`null`) takes it back to its default.
    pub fn change<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'a RawValue) -> Read<T>,
    ) -> Option<Option<T>> {
        match self.raw(name)? {
            value if value.get() == "null" => Some(None),
            value => self.faults.keep(name, read(value)).map(Some),
        }
    }

    /// A field of a merge that has no default to go back to.
    pub fn set<T>(&mut self, name: &'static str, read: impl FnOnce(&'a RawValue) -> Read<T>) -> Option<T> {
        let value = self.raw(name)?;
        self.faults.keep(name, read(value))
    }

    /// Refuses what a field says although its reader took it.
    pub fn refuse(&mut self, name: &str, detail: impl ToString) {
        self.faults.keep::<()>(name, Err(Faults::one(detail)));
    }

    /// Whether no fault was found so far.
    pub fn is_sound(&self) -> bool {
        self.faults.0.is_empty()
    }

    /// The names of what there is, in order, for the log; whoever posted chose them, until they are all known.
    pub fn names(&self) -> String {
        self.members.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The members of an object whose names are the caller's own.
    pub fn into_members(self) -> impl Iterator<Item = (String, &'a RawValue)> {
        self.members.into_iter()
    }

    /// Ends the reading of a body: every fault at once, or what was read.
    ///
    /// `build` may use `?` on what [`Fields::required`] returned: where that is `None` there is a fault.
    pub fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, Problem> {
        let pointer = self.pointer.clone();
        self.finish_nested(build).map_err(|faults| faults.into_problem(&pointer))
    }

    /// Ends the reading of an object within another.
    pub fn finish_nested<T>(mut self, build: impl FnOnce() -> Option<T>) -> Read<T> {
        let unknown = self.members.iter().filter(|(name, _)| !self.known.contains(&name.as_str()));
        let told: Vec<_> =
            unknown.map(|(name, _)| (name.clone(), unknown_field(name, &self.known))).collect();
        for (name, detail) in told {
            self.refuse(&name, detail);
        }
        self.faults.or(())?;
        Ok(build().expect("a required field that is missing is a fault"))
    }
}

/// "unknown field `paylod`; did you mean `payload`?"
fn unknown_field(name: &str, known: &[&'static str]) -> String {
    let shown: String = name.chars().take(limits::SHOWN_NAME_CHARS).collect();
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("unknown field `{shown}`; did you mean `{meant}`?"),
        None if known.is_empty() => format!("unknown field `{shown}`; no field is known here"),
        None => format!("unknown field `{shown}`; known are {}", known.join(", ")),
    }
}

/// The part of a JSON pointer (RFC 6901) that leads to the member `name`.
pub(super) fn step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A message of the parser without the line and column, which count from the value's own start.
pub(super) fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.clone(), |end| text[..end].to_owned())
}

/// A JSON object's members in order, no name twice, at most `limits::OBJECT_MEMBERS`.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Self::Value = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if members.iter().any(|(other, _)| *other == name) {
                        let shown: String = name.chars().take(limits::SHOWN_NAME_CHARS).collect();
                        return Err(de::Error::custom(format_args!("the field `{shown}` is given twice")));
                    }
                    if members.len() == limits::OBJECT_MEMBERS {
                        return Err(de::Error::custom("more fields than any request has"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Reader).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::{integer, text};
    use super::*;

    fn places(problem: &Problem) -> Vec<String> {
        let body = problem.to_json();
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|e| format!("{} {}", e["pointer"].as_str().unwrap_or("-"), e["detail"])).collect()
    }

    #[test]
    fn every_fault_is_told_at_once_and_where_it_is() {
        let body = br#"{"name": 7, "weight": 0, "nmae": "x", "a/b~": 1, "retry": {"jiter": 1}}"#;
        let mut fields = Fields::parse(body).expect("an object");
        let name = fields.required("name", text(9));
        let slug = fields.required("slug", text(9));
        let weight = fields.optional("weight", integer::<u32>(1..=9));
        let retry = fields.optional("retry", |value| {
            let mut retry = Fields::nested(value, String::new())?;
            let jitter = retry.optional("jitter", integer::<u32>(0..=1));
            retry.finish_nested(|| Some(jitter))
        });
        let problem = fields.finish(|| Some((name?, slug?, weight, retry))).expect_err("five faults");
        assert_eq!(
            places(&problem),
            [
                r#"/name "must be a string, not a number""#,
                r#"/slug "`slug` is needed""#,
                r#"/weight "must be a whole number from 1 to 9""#,
                r#"/retry/jiter "unknown field `jiter`; did you mean `jitter`?""#,
                r#"/nmae "unknown field `nmae`; did you mean `name`?""#,
                r#"/a~1b~0 "unknown field `a/b~`; known are name, slug, weight, retry""#,
            ]
        );
    }

    #[test]
    fn what_is_no_json_says_where_it_ends_to_be() {
        for (body, code, says) in [
            (&b"{\"a\": 1,\n \"b\" 2}"[..], Code::MalformedJson, "line 2 column 6"),
            (b"{\"a\": 1", Code::MalformedJson, "EOF"),
            (b"{} {}", Code::MalformedJson, "trailing"),
            (b" ", Code::MalformedJson, "empty"),
            (b"{\"a\": \"\xff\"}", Code::MalformedJson, "UTF-8"),
            (b" [1]", Code::InvalidRequest, "must be an object, not a list"),
            (b"7", Code::InvalidRequest, "must be an object, not a number"),
            (b"{\"a\":1,\"a\":2}", Code::InvalidRequest, "the field `a` is given twice"),
        ] {
            let problem = Fields::parse(body).err().expect("refused");
            assert_eq!(problem.code(), code, "{}", problem.detail());
            assert!(problem.detail().contains(says), "{} lacks {says}", problem.detail());
        }
        assert!(Fields::parse_or_empty(b"").is_ok_and(|fields| fields.is_sound()));
        let blank = Fields::parse_or_empty(b" \t").err().map(|problem| problem.code());
        assert_eq!(blank, Some(Code::MalformedJson), "a body is there, and it is no JSON");
        let many: Vec<_> = (0..=limits::OBJECT_MEMBERS).map(|i| format!("\"{i}\":0")).collect();
        assert!(Fields::parse(format!("{{{}}}", many.join(",")).as_bytes()).is_err());
    }

    #[test]
    fn a_payload_stays_the_bytes_that_were_posted() {
        let body = b"{\"payload\" :  { \"b\":1.0,\"a\" : \"\\u00e4\",\"a\":1e2 } , \"type\":\"x\"}";
        let mut fields = Fields::parse(body).expect("an object");
        let payload = fields.raw("payload").expect("there");
        assert_eq!(payload.get(), r#"{ "b":1.0,"a" : "\u00e4","a":1e2 }"#);
        let start = payload.get().as_ptr() as usize - body.as_ptr() as usize;
        assert_eq!(&body[start..start + payload.get().len()], payload.get().as_bytes());
    }

    #[test]
    fn null_takes_back_and_absence_leaves() {
        let mut fields = Fields::parse(br#"{"a": null, "b": 1}"#).expect("an object");
        assert_eq!(fields.change("a", integer::<u32>(0..=9)), Some(None));
        assert_eq!(fields.change("b", integer::<u32>(0..=9)), Some(Some(1)));
        assert_eq!(fields.change("c", integer::<u32>(0..=9)), None);
        assert_eq!(fields.set("a", integer::<u32>(0..=9)), None);
        assert!(!fields.is_sound());
    }
}
