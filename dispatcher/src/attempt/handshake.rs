//! The handshake before the first delivery to an endpoint that wants one (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, §4):
//! `OPTIONS` says who asks, the answer whether that one may send, and how much. Pure but for the lock.
//!
//! What an endpoint granted is kept in [`Consents`](super::consents::Consents).

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use fairhook_common::limits;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName};

use super::failure::Failure;

/// Who asks; every delivery behind a handshake says it too.
pub(super) const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// What an endpoint has said.
#[derive(Default)]
pub(super) struct Consent(Mutex<Option<Granted>>);

#[derive(Clone, Copy)]
struct Granted {
    rate: Allowed,
    /// It is asked again then.
    until: Instant,
}

/// How much may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Whatever comes.
    Any,
    /// So many requests per minute, at least one.
    PerMinute(u32),
}

impl Consent {
    /// Whether an attempt at `now` has to ask first. One whose consent is to be renewed asks, while the others rely on what it said.
    pub(super) fn must_ask(&self, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *said {
            None => true,
            Some(granted) if now >= granted.until => {
                granted.until = now + limits::HANDSHAKE_RENEWAL_PAUSE;
                true
            }
            Some(_) => false,
        }
    }

    /// It was asked, and said this.
    pub(super) fn said(&self, answer: Option<Allowed>, now: Instant) {
        let granted = answer.map(|rate| Granted { rate, until: now + limits::HANDSHAKE_TTL });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = granted;
    }

    /// Requests per minute at most; `None`: any number. Hardly any before it has said something.
    pub(super) fn per_minute(&self) -> Option<u32> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Some(limits::HANDSHAKES_PER_MINUTE),
            Some(Granted { rate: Allowed::PerMinute(rate), .. }) => Some(rate),
            Some(Granted { rate: Allowed::Any, .. }) => None,
        }
    }
}

/// What the answer to `origin` says. A success alone is no consent: many servers answer any `OPTIONS` with one.
pub(super) fn read(status: StatusCode, headers: &HeaderMap, origin: &str) -> Result<Allowed, Failure> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    if !status.is_success() {
        return Err(Failure::handshake(format!("the endpoint answered {status} to the handshake")));
    }
    match text(&ALLOWED_ORIGIN) {
        Some(allowed) if allowed == "*" || allowed.eq_ignore_ascii_case(origin) => {}
        Some(_) => {
            let detail = format!("the endpoint's WebHook-Allowed-Origin is neither `*` nor `{origin}`");
            return Err(Failure::handshake(detail));
        }
        None => {
            let detail = format!("the endpoint answered without WebHook-Allowed-Origin to `{origin}`");
            return Err(Failure::handshake(detail));
        }
    }
    match text(&ALLOWED_RATE) {
        None | Some("*") => Ok(Allowed::Any),
        // More digits than fit are more requests than there are.
        Some(rate) if is_positive(rate) => Ok(Allowed::PerMinute(rate.parse().unwrap_or(u32::MAX))),
        Some(_) => Err(Failure::handshake("the endpoint's WebHook-Allowed-Rate is no positive number")),
    }
}

fn is_positive(digits: &str) -> bool {
    digits.bytes().all(|b| b.is_ascii_digit()) && digits.bytes().any(|b| b != b'0')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answered(status: u16, headers: &[(&'static str, &str)]) -> Result<Allowed, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        read(status, &map, "hooks.example.com").map_err(|failure| failure.into_error().detail)
    }

    #[test]
    fn only_a_success_that_names_us_or_anybody_is_consent() {
        let origin = "webhook-allowed-origin";
        let rate = "webhook-allowed-rate";
        assert_eq!(answered(200, &[(origin, "*")]), Ok(Allowed::Any));
        assert_eq!(answered(204, &[(origin, "Hooks.Example.com"), (rate, "*")]), Ok(Allowed::Any));
        assert_eq!(answered(200, &[(origin, "*"), (rate, "120")]), Ok(Allowed::PerMinute(120)));
        let many = "99999999999999999999999";
        assert_eq!(answered(200, &[(origin, "*"), (rate, many)]), Ok(Allowed::PerMinute(u32::MAX)));
        for (status, headers, says) in [
            (405, &[(origin, "*")][..], "405"),
            (301, &[(origin, "*")], "301"),
            (200, &[], "without WebHook-Allowed-Origin"),
            (200, &[(origin, "example.com")], "neither"),
            (200, &[(origin, "")], "neither"),
            (200, &[(origin, "*"), (rate, "0")], "no positive number"),
            (200, &[(origin, "*"), (rate, "+5")], "no positive number"),
            (200, &[(origin, "*"), (rate, "")], "no positive number"),
        ] {
            let refused = answered(status, headers).expect_err("no consent");
            assert!(refused.contains(says), "{refused}");
        }
    }

    #[test]
    fn consent_is_asked_for_once_then_renewed_by_one_at_a_time() {
        let (consent, start) = (Consent::default(), Instant::now());
        assert!(consent.must_ask(start) && consent.must_ask(start), "nobody may send before it was given");
        assert_eq!(consent.per_minute(), Some(limits::HANDSHAKES_PER_MINUTE));
        consent.said(Some(Allowed::PerMinute(7)), start);
        assert!(!consent.must_ask(start + limits::HANDSHAKE_TTL - Duration::from_millis(1)));
        assert_eq!(consent.per_minute(), Some(7));
        let later = start + limits::HANDSHAKE_TTL;
        assert!(consent.must_ask(later));
        assert!(!consent.must_ask(later), "the others go on meanwhile");
        assert_eq!(consent.per_minute(), Some(7));
        assert!(
            consent.must_ask(later + limits::HANDSHAKE_RENEWAL_PAUSE),
            "the one that asked got no answer"
        );
        consent.said(Some(Allowed::Any), later);
        assert_eq!(consent.per_minute(), None);
        consent.said(None, later);
        assert!(consent.must_ask(later), "it was taken back");
    }
}
