//! The operator's key as a process holds it.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::key::same_hash;

/// Fewer characters could be guessed.
const LEAST_CHARS: usize = 16;
/// More would not fit in a request's head beside everything else.
const MOST_CHARS: usize = 512;

/// The operator's key. Never in logs or `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorKey(String);

impl OperatorKey {
    /// A key of 16 to 512 visible ASCII characters; the error is for people and does not quote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a key is made of visible ASCII characters, without spaces".to_owned());
        }
        if !(LEAST_CHARS..=MOST_CHARS).contains(&text.len()) {
            return Err(format!(
                "a key has {LEAST_CHARS} to {MOST_CHARS} characters, this one has {}",
                text.len()
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether `presented` is this key, in a time that tells nothing of it.
    pub fn matches(&self, presented: &str) -> bool {
        let hash = |text: &str| -> [u8; 32] { Sha256::digest(text.as_bytes()).into() };
        same_hash(&hash(&self.0), &hash(presented))
    }

    /// The key itself, for its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorKey(…)")
    }
}
