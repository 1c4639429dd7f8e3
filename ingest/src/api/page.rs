//! Queries: strict reading of parameters, and lists in pages.

use axum::response::Response;
use fairhook_common::ids::{DeliveryId, EventId};
use fairhook_common::limits;
use fairhook_common::nearest::nearest;
use fairhook_common::store::{Order, Page, PageRequest, Position};
use fairhook_common::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer;
use super::problem::{Fault, Problem, said_of};

/// The parameters of a query, each of which is asked for once.
pub struct Params {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl Params {
    /// Reads a query. (Its length is bounded as that of a request's head is.)
    pub fn of(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let given = pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Self { given, known: Vec::new(), faults: Vec::new() }
    }

    /// A parameter that may be absent.
    pub fn take<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.known.push(name);
        let mut values = self.given.iter().filter(|(given, _)| given == name);
        let (_, value) = values.next()?;
        let read = match values.next() {
            Some(_) => Err("is given twice".to_owned()),
            None if value.contains('\0') => Err("holds the character U+0000".to_owned()),
            None => parse(value).map_err(|e| e.to_string()),
        };
        read.map_err(|detail| self.faults.push(Fault::of_parameter(name, said_of(name, &detail)))).ok()
    }

    /// A parameter that lists values between commas; empty if it is absent.
    pub fn list<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let split =
            |text: &str| text.split(',').map(|part| parse(part.trim()).map_err(|e| e.to_string())).collect();
        self.take::<Vec<T>, String>(name, split).unwrap_or_default()
    }

    /// `limit`, `order`, `cursor`, `from` and `to`.
    pub fn page(&mut self) -> PageRequest {
        let limit = self.take("limit", |text| {
            let limit = text.parse().ok().filter(|limit| (1..=limits::PAGE_ITEMS).contains(limit));
            limit.ok_or(format!("must be a whole number from 1 to {}", limits::PAGE_ITEMS))
        });
        let order = self.take("order", |text| match text {
            "asc" => Ok(Order::Ascending),
            "desc" => Ok(Order::Descending),
            _ => Err("must be asc or desc"),
        });
        let cursor = |text: &str| parse_cursor(text).ok_or("is not a cursor that an earlier page gave");
        let after = self.take("cursor", cursor);
        let (from, to) = (self.take("from", time), self.take("to", time));
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            self.faults.push(Fault::of_parameter("from", "`from` must not be after `to`"));
        }
        PageRequest {
            limit: limit.unwrap_or(limits::PAGE_ITEMS_DEFAULT),
            order: order.unwrap_or_default(),
            after,
            from,
            to,
        }
    }

    /// Every fault at once, unknown parameters among them.
    pub fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in &self.given {
            if !self.known.contains(&name.as_str()) {
                let shown: String = name.chars().take(limits::SHOWN_NAME_CHARS).collect();
                let meant = nearest(name, self.known.iter().copied());
                let hint = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
                let detail = format!("unknown parameter `{shown}`{hint}");
                self.faults.push(Fault::of_parameter(shown, detail));
            }
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid(self.faults)) }
    }
}

pub(super) fn time(text: &str) -> Result<Timestamp, &'static str> {
    // A `+` that was not escaped reads as a space; no other space is in RFC 3339 as we show it.
    Timestamp::parse(&text.replace(' ', "+"))
        .ok_or("must be a time in RFC 3339, such as 2026-01-31T12:00:00Z")
}

/// Looks a name up in a closed list.
pub fn name_of<T>(text: &str, from_name: impl Fn(&str) -> Option<T>, names: &str) -> Result<T, String> {
    from_name(text).ok_or_else(|| format!("must be out of {names}"))
}

/// A page as it is answered: `{"data": […], "next_cursor": …}`.
pub fn answer<T, V: Serialize>(page: Page<T>, show: impl FnMut(T) -> V) -> Response {
    let data: Vec<V> = page.items.into_iter().map(show).collect();
    answer::ok(&Listed { data, next_cursor: page.next.map(cursor) })
}

/// A page of a list.
// It is written as it is, so that payloads within it stay the bytes that were posted.
#[derive(Serialize, ToSchema)]
#[schema(as = Page)]
pub struct Listed<V> {
    /// What is on the page.
    pub data: Vec<V>,
    /// The `cursor` of the next page; `null`: this is the last.
    pub next_cursor: Option<String>,
}

/// A position has the form of a delivery's id, without its prefix.
fn cursor(position: Position) -> String {
    let text = DeliveryId { event: EventId::from_uuid(position.uuid), ordinal: position.ordinal }.to_string();
    text.trim_start_matches("dlv_").to_owned()
}

fn parse_cursor(text: &str) -> Option<Position> {
    let id: DeliveryId = format!("dlv_{text}").parse().ok()?;
    Some(Position { uuid: id.event.uuid(), ordinal: id.ordinal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_and_others_are_refused() {
        let position = Position { uuid: EventId::generate().uuid(), ordinal: 513 };
        assert_eq!(parse_cursor(&cursor(position)), Some(position));
        for bad in ["", "x", "dlv_x", &cursor(position).to_uppercase()] {
            assert_eq!(parse_cursor(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_fault_of_a_query_is_told() {
        let mut params =
            Params::of(Some("limit=0&order=up&cursor=x&from=now&limt=3&to=2026-01-31T12:00:00Z"));
        let page = params.page();
        assert_eq!(page.to, Timestamp::parse("2026-01-31T12:00:00Z"));
        let body = params.finish().expect_err("five faults").to_json();
        let named: Vec<_> =
            body["errors"].as_array().expect("a list").iter().map(|e| e["parameter"].as_str()).collect();
        assert_eq!(named, [Some("limit"), Some("order"), Some("cursor"), Some("from"), Some("limt")]);
        assert!(body.to_string().contains("did you mean `limit`?"));
        let mut params = Params::of(Some("to=2026-01-31T12:00:00Z&from=2026-01-31T12:00:01Z&x=a/b"));
        params.page();
        params.take("x", fairhook_common::event::EventType::parse);
        let told: Vec<_> =
            params.finish().expect_err("two").to_json()["errors"].as_array().expect("a list").clone();
        assert_eq!(told[0]["detail"], "`from` must not be after `to`");
        assert_eq!(
            told[1]["detail"],
            "`x`: an event type is made of letters, digits, `_`, `-` and `.`; found '/'"
        );
    }

    #[test]
    fn lists_and_offsets_are_read() {
        let mut params = Params::of(Some("status=a,%20b&from=2026-01-31T14:00:00+02:00&x=1&x=2"));
        let status = params.list("status", |text| Ok::<_, String>(text.to_owned()));
        assert_eq!(status, ["a", "b"]);
        assert_eq!(params.page().from, Timestamp::parse("2026-01-31T12:00:00Z"));
        assert_eq!(params.take("x", |t| Ok::<_, String>(t.to_owned())), None);
        assert!(params.finish().is_err());
    }
}
