//! The handshake before the first delivery to an endpoint that wants one (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, §4):
//! `OPTIONS` says who asks, the answer whether that one may send, and how much. Pure.
//!
//! What an endpoint granted is a [`Consent`](super::consent::Consent).

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName};

use super::failure::Failure;

/// Who asks; every delivery behind a handshake says it too.
pub(super) const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// How much may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Whatever comes.
    Any,
    /// So many requests per minute, at least one.
    PerMinute(u32),
}

/// Why there is no consent.
#[derive(Debug)]
pub(super) enum No {
    /// The endpoint refuses.
    Refused(Failure),
    /// It says nothing clear: that it cannot answer now, or nothing at all. A consent that it gave before still holds.
    Unanswered(Failure),
}

impl No {
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Refused(failure) | Self::Unanswered(failure) => failure,
        }
    }
}

/// What the answer to `origin` says. A success alone is no consent: many servers answer any `OPTIONS` with one.
pub(super) fn read(status: StatusCode, headers: &HeaderMap, origin: &str) -> Result<Allowed, No> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    if !status.is_success() {
        let failure = Failure::handshake(format!("the endpoint answered {status} to the handshake"));
        let clear = !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS;
        return Err(if clear { No::Refused(failure) } else { No::Unanswered(failure) });
    }
    let refused = |detail: String| Err(No::Refused(Failure::handshake(detail)));
    match text(&ALLOWED_ORIGIN) {
        Some(allowed) if allowed == "*" || allowed.eq_ignore_ascii_case(origin) => {}
        Some(_) => {
            return refused(format!("the endpoint's WebHook-Allowed-Origin is neither `*` nor `{origin}`"));
        }
        None => {
            return refused(format!("the endpoint answered without WebHook-Allowed-Origin to `{origin}`"));
        }
    }
    match text(&ALLOWED_RATE) {
        None | Some("*") => Ok(Allowed::Any),
        // More digits than fit are more requests than there are.
        Some(rate) if is_positive(rate) => Ok(Allowed::PerMinute(rate.parse().unwrap_or(u32::MAX))),
        Some(_) => refused("the endpoint's WebHook-Allowed-Rate is no positive number".into()),
    }
}

fn is_positive(digits: &str) -> bool {
    digits.bytes().all(|b| b.is_ascii_digit()) && digits.bytes().any(|b| b != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, headers: &[(&'static str, &str)]) -> Result<Allowed, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        read(status, &map, "hooks.example.com").map_err(|no| no.failure().into_error().detail)
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
    fn one_that_cannot_answer_now_has_not_refused() {
        for (status, refused) in
            [(200, true), (302, true), (401, true), (404, true), (405, true), (410, true)]
                .into_iter()
                .chain([429, 500, 502, 503, 504].map(|status| (status, false)))
        {
            let status = StatusCode::from_u16(status).expect("a status");
            let no = read(status, &HeaderMap::new(), "hooks.example.com").expect_err("no consent");
            assert_eq!(matches!(no, No::Refused(_)), refused, "{status}");
        }
    }
}
