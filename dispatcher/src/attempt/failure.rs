//! What went wrong, in the words of the API. The details are sentences of ours: an error of the client's own would name the
//! URL, whose query may hold a secret.

use std::error::Error;
use std::io;
use std::time::Duration;

use fairhook_common::delivery::{AttemptError, AttemptErrorCode};
use fairhook_common::egress::UrlRefused;
use fairhook_common::limits;
use reqwest::StatusCode;

use super::resolver::ResolveFailure;

/// A failed attempt.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) code: AttemptErrorCode,
    detail: String,
}

impl Failure {
    fn new(code: AttemptErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    pub(super) fn deadline(timeout: Duration) -> Self {
        let detail = format!("the answer was not complete within {} ms", timeout.as_millis());
        Self::new(AttemptErrorCode::Timeout, detail)
    }

    pub(super) fn body_too_large() -> Self {
        let detail = format!("the answer's body has more than {} bytes", limits::RESPONSE_BODY_BYTES);
        Self::new(AttemptErrorCode::TooLarge, detail)
    }

    pub(super) fn handshake(detail: impl Into<String>) -> Self {
        Self::new(AttemptErrorCode::HandshakeRefused, detail)
    }

    pub(super) fn unanswered(detail: impl Into<String>) -> Self {
        Self::new(AttemptErrorCode::Timeout, detail)
    }

    pub(super) fn status(status: StatusCode) -> Self {
        let said = format!("the endpoint answered {status}");
        let detail = if status.is_redirection() { said + "; redirects are not followed" } else { said };
        Self::new(AttemptErrorCode::HttpStatus, detail)
    }

    /// For the record: bounded, and without characters that a store or a terminal might choke on.
    pub(super) fn into_error(self) -> AttemptError {
        let printable = self.detail.chars().map(|c| if c.is_control() { ' ' } else { c });
        AttemptError { code: self.code, detail: printable.take(limits::ERROR_DETAIL_CHARS).collect() }
    }
}

impl From<UrlRefused> for Failure {
    fn from(refused: UrlRefused) -> Self {
        match refused {
            UrlRefused::Blocked(blocked) => Self::new(AttemptErrorCode::BlockedAddress, blocked.to_string()),
            other => Self::new(AttemptErrorCode::Connect, format!("the URL cannot be called: {other}")),
        }
    }
}

impl From<ResolveFailure> for Failure {
    fn from(failure: ResolveFailure) -> Self {
        let code = match failure {
            ResolveFailure::Blocked => AttemptErrorCode::BlockedAddress,
            _ => AttemptErrorCode::Dns,
        };
        Self::new(code, failure.to_string())
    }
}

/// What the client's error means.
pub(super) fn of(error: &reqwest::Error) -> Failure {
    let causes = || std::iter::successors(Some(error as &(dyn Error + 'static)), |e| inner(*e));
    if let Some(failure) = causes().find_map(|e| e.downcast_ref::<ResolveFailure>()) {
        return (*failure).into();
    }
    if let Some(tls) = causes().find_map(|e| e.downcast_ref::<rustls::Error>()) {
        return Failure::new(AttemptErrorCode::Tls, format!("the TLS connection failed: {}", of_tls(tls)));
    }
    // The HTTP implementation does not give this error a type that can be named here; a test holds the words.
    if causes().any(|e| e.to_string() == "message head is too large") {
        return Failure::new(AttemptErrorCode::TooLarge, "the answer's head is too large");
    }
    if let Some(io) = causes().find_map(|e| e.downcast_ref::<io::Error>()) {
        return of_io(io, error);
    }
    if error.is_timeout() {
        return Failure::new(AttemptErrorCode::Timeout, "the connection took too long");
    }
    let detail = match error {
        e if e.is_connect() => "no connection could be made",
        e if e.is_body() || e.is_decode() => "the connection broke within the answer",
        _ => "the connection broke before an answer, or what came is not HTTP",
    };
    Failure::new(AttemptErrorCode::Connect, detail)
}

/// What went wrong within TLS, where the library's words are names of its own.
fn of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(_) => "what answers there does not speak TLS".to_owned(),
        rustls::Error::InvalidCertificate(why) if format!("{why:?}").contains("CaUsedAsEndEntity") => {
            "the certificate is that of an authority, not of a server".to_owned()
        }
        other => other.to_string(),
    }
}

fn of_io(io: &io::Error, error: &reqwest::Error) -> Failure {
    let https = error.url().is_some_and(|url| url.scheme() == "https");
    match io.kind() {
        io::ErrorKind::TimedOut => Failure::new(AttemptErrorCode::Timeout, "the connection timed out"),
        // The name is resolved and TCP connected: what ends early then is the handshake.
        io::ErrorKind::UnexpectedEof if https && error.is_connect() => {
            Failure::new(AttemptErrorCode::Tls, "the connection was closed within the TLS handshake")
        }
        kind if error.is_connect() => {
            Failure::new(AttemptErrorCode::Connect, format!("no connection could be made: {kind}"))
        }
        kind => Failure::new(AttemptErrorCode::Connect, format!("the connection broke: {kind}")),
    }
}

/// The cause of `error`. An `io::Error` made of another error skips it in `source`.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    within.map(|e| e as &(dyn Error + 'static)).or_else(|| error.source())
}
