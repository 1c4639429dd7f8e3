//! Who has signed a request, by each scheme that sources know.
//!
//! A signature is compared in a time that tells nothing of the right one, and before anything else is believed: a time in a
//! header counts only once the signature says that the provider wrote it.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fairhook_common::signature::SigningSecret;
use fairhook_common::source::{
    HmacAlgorithm, HmacEncoding, HmacRule, SourceSecret, SourceSettings, Verification,
};
use fairhook_common::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::only;

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// There is no signature where it has to be, or none that can be read.
    #[error("there is no signature of the form that the source's scheme has")]
    Unsigned,
    /// It is not that of this body with a secret of the source.
    #[error("the signature is not that of this body with the source's secret")]
    Mismatch,
    /// It is, and was made too long ago or is of the future.
    #[error("the signature's time is too far from now")]
    Stale,
}

impl Distrust {
    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Mismatch => "mismatch",
            Self::Stale => "stale",
        }
    }
}

/// Whether `body`, which came with `headers`, is from whom the source is for.
pub fn verify(
    settings: &SourceSettings,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Distrust> {
    let secrets: Vec<&SourceSecret> =
        settings.secrets.iter().flat_map(|secrets| secrets.in_force(now)).collect();
    match &settings.verification {
        Verification::None => Ok(()),
        Verification::StandardWebhooks { tolerance_s } => {
            let at = standard_webhooks(&secrets, headers, body)?;
            fresh(at, *tolerance_s, now)
        }
        Verification::Github => {
            let given = only(headers, "x-hub-signature-256").and_then(|text| text.strip_prefix("sha256="));
            let given = given.and_then(from_hex).ok_or(Distrust::Unsigned)?;
            matches(&secrets, HmacAlgorithm::Sha256, &[body], &[given])
        }
        Verification::Stripe { tolerance_s } => {
            let header = only(headers, "stripe-signature").ok_or(Distrust::Unsigned)?;
            let at = stripe(&secrets, header, body)?;
            fresh(at, *tolerance_s, now)
        }
        Verification::Hmac(rule) => {
            let given = hmac_of(rule, headers).ok_or(Distrust::Unsigned)?;
            matches(&secrets, rule.algorithm, &[body], &[given])
        }
    }
}

/// Standard Webhooks 1.0.0, as we sign ourselves. Returns the time that was signed, in Unix seconds.
fn standard_webhooks(secrets: &[&SourceSecret], headers: &HeaderMap, body: &[u8]) -> Result<i64, Distrust> {
    let header = |name| only(headers, name).ok_or(Distrust::Unsigned);
    let (id, given) = (header("webhook-id")?, header("webhook-signature")?);
    let at: i64 = header("webhook-timestamp")?.parse().map_err(|_| Distrust::Unsigned)?;
    let secrets = secrets.iter().filter_map(|secret| SigningSecret::parse(secret.reveal()).ok());
    // Each is looked at, whichever is right.
    let right = secrets.filter(|secret| secret.verifies(given, id, at, body)).count();
    if right > 0 { Ok(at) } else { Err(Distrust::Mismatch) }
}

/// `t=UNIX SECONDS,v1=HEX,…`: HMAC-SHA256 over the time, a dot and the body; other versions are others' business. Returns the
/// time.
fn stripe(secrets: &[&SourceSecret], header: &str, body: &[u8]) -> Result<i64, Distrust> {
    let of = |wanted: &'static str| {
        let parts = header.split(',').filter_map(|part| part.trim().split_once('='));
        parts.filter(move |(name, _)| *name == wanted).map(|(_, value)| value)
    };
    let mut times = of("t");
    let (Some(at), None) = (times.next(), times.next()) else { return Err(Distrust::Unsigned) };
    let seconds = at.parse().map_err(|_| Distrust::Unsigned)?;
    let given: Vec<_> = of("v1").filter_map(from_hex).collect();
    if given.is_empty() {
        return Err(Distrust::Unsigned);
    }
    matches(secrets, HmacAlgorithm::Sha256, &[at.as_bytes(), b".", body], &given)?;
    Ok(seconds)
}

fn fresh(unix_seconds: i64, tolerance_s: u64, now: Timestamp) -> Result<(), Distrust> {
    let apart = now.0.div_euclid(1_000).abs_diff(unix_seconds);
    if apart <= tolerance_s { Ok(()) } else { Err(Distrust::Stale) }
}

/// The signature that a request has under a rule.
fn hmac_of(rule: &HmacRule, headers: &HeaderMap) -> Option<Vec<u8>> {
    let text = only(headers, &rule.header)?;
    let text = text.strip_prefix(rule.prefix.as_deref().unwrap_or_default())?;
    match rule.encoding {
        HmacEncoding::Hex => from_hex(text),
        HmacEncoding::Base64 => STANDARD.decode(text).ok(),
    }
}

/// Whether one of `given` is the HMAC of `parts` with one of the secrets.
fn matches(
    secrets: &[&SourceSecret],
    algorithm: HmacAlgorithm,
    parts: &[&[u8]],
    given: &[Vec<u8>],
) -> Result<(), Distrust> {
    let mut right = subtle::Choice::from(0);
    for secret in secrets {
        let key = secret.reveal().as_bytes();
        let expected = match algorithm {
            HmacAlgorithm::Sha1 => mac::<Hmac<Sha1>>(key, parts),
            HmacAlgorithm::Sha256 => mac::<Hmac<Sha256>>(key, parts),
            HmacAlgorithm::Sha512 => mac::<Hmac<Sha512>>(key, parts),
        };
        for given in given {
            right |= given.ct_eq(&expected);
        }
    }
    if right.into() { Ok(()) } else { Err(Distrust::Mismatch) }
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// Bytes out of hexadecimal digits of either case.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
