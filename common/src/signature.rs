//! Signatures as Standard Webhooks 1.0.0 has them:
//! `v1,base64(HMAC-SHA256(secret, "{id}.{timestamp}.{body}"))`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use sha2::Sha256;
use subtle::ConstantTimeEq;

const PREFIX: &str = "whsec_";

/// A secret's text is not `whsec_` and the base64 of 24 to 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is `whsec_` followed by the base64 of 24 to 64 bytes")]
pub struct InvalidSecret;

/// A signing secret. Never in logs or `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// A new one of 24 random bytes.
    pub fn generate() -> Self {
        let mut bytes = vec![0; 24];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Reads `whsec_…`.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let bytes = text.strip_prefix(PREFIX).and_then(|base64| STANDARD.decode(base64).ok());
        bytes.filter(|b| (24..=64).contains(&b.len())).map(Self).ok_or(InvalidSecret)
    }

    /// The text, for its owner.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    fn mac(&self, id: &str, unix_seconds: i64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(id.as_bytes());
        mac.update(format!(".{unix_seconds}.").as_bytes());
        mac.update(body);
        mac
    }

    /// One signature, `v1,…`.
    pub fn sign(&self, id: &str, unix_seconds: i64, body: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(self.mac(id, unix_seconds, body).finalize().into_bytes()))
    }

    /// Whether one of the space-separated signatures in `header` is ours. Says nothing about the timestamp's age.
    pub fn verifies(&self, header: &str, id: &str, unix_seconds: i64, body: &[u8]) -> bool {
        let expected = self.sign(id, unix_seconds, body);
        header.split(' ').any(|given| given.as_bytes().ct_eq(expected.as_bytes()).into())
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_holds() {
        let secret = SigningSecret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").expect("a secret");
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let (id, at) = ("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553);
        let signature = secret.sign(id, at, body);
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
        assert!(secret.verifies(&format!("v1,AAAA {signature}"), id, at, body));
        assert!(!secret.verifies(&signature, id, at + 1, body));
    }

    #[test]
    fn the_official_library_verifies_what_we_sign_and_reads_our_secrets() {
        let secret = SigningSecret::generate();
        let webhook = standardwebhooks::Webhook::new(&secret.reveal()).expect("its secret");
        assert_eq!(
            webhook.sign("evt_1", 1_700_000_000, b"{}").expect("signs"),
            secret.sign("evt_1", 1_700_000_000, b"{}")
        );
        assert!(!format!("{secret:?}").contains(&secret.reveal()[6..]));
    }

    #[test]
    fn secrets_of_another_form_are_refused() {
        for bad in ["", "whsec_", "whsec_AAAA", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_!!!!"] {
            assert_eq!(SigningSecret::parse(bad), Err(InvalidSecret), "{bad}");
        }
    }
}
