//! API keys: `fhk_<id>_<secret>`. The store keeps a hash of the secret only.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::ids::{self, KeyId, TenantId};
use crate::time::Timestamp;

/// What a key may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
pub enum Scope {
    /// Post events.
    #[serde(rename = "events:write")]
    EventsWrite,
    /// Read events, deliveries, dead letters.
    #[serde(rename = "events:read")]
    EventsRead,
    /// Make, change, delete, test endpoints.
    #[serde(rename = "endpoints:write")]
    EndpointsWrite,
    /// Read endpoints.
    #[serde(rename = "endpoints:read")]
    EndpointsRead,
    /// Read and rotate signing secrets.
    #[serde(rename = "secrets:read")]
    SecretsRead,
    /// Replay, cancel and purge.
    #[serde(rename = "replays:write")]
    ReplaysWrite,
    /// Make and revoke keys.
    #[serde(rename = "keys:write")]
    KeysWrite,
    /// Make, change and delete tenants (operators only).
    #[serde(rename = "tenants:write")]
    TenantsWrite,
    /// Change quotas (operators only).
    #[serde(rename = "quotas:write")]
    QuotasWrite,
}

impl Scope {
    /// Every scope, with its name.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::EventsWrite, "events:write"),
        (Self::EventsRead, "events:read"),
        (Self::EndpointsWrite, "endpoints:write"),
        (Self::EndpointsRead, "endpoints:read"),
        (Self::SecretsRead, "secrets:read"),
        (Self::ReplaysWrite, "replays:write"),
        (Self::KeysWrite, "keys:write"),
        (Self::TenantsWrite, "tenants:write"),
        (Self::QuotasWrite, "quotas:write"),
    ];

    /// The name in requests and answers.
    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(scope, _)| *scope == self);
        named.map_or("", |(_, name)| name)
    }

    /// Whether a tenant's own key may have it.
    pub fn is_for_tenants(self) -> bool {
        !matches!(self, Self::TenantsWrite | Self::QuotasWrite)
    }
}

/// A key as its owner holds it. Shown once; never in logs or `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText {
    /// The public part.
    pub id: KeyId,
    secret: String,
}

impl KeyText {
    /// A new key with 256 random bits.
    pub fn generate() -> Self {
        Self { id: KeyId::generate(), secret: random_text() }
    }

    /// What the store keeps of the secret: its SHA-256. (The secret has 256 random bits, so that a slow hash gains nothing.)
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }

    /// The key in full, to be shown once.
    pub fn reveal(&self) -> String {
        format!("fhk_{}_{}", ids::base32(self.id.uuid()), self.secret)
    }
}

impl FromStr for KeyText {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (id, secret) = text.strip_prefix("fhk_").and_then(|rest| rest.split_once('_')).ok_or(())?;
        let id = KeyId::from_uuid(ids::from_base32(id).ok_or(())?);
        Ok(Self { id, secret: secret.to_owned() })
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fhk_{}_…", ids::base32(self.id.uuid()))
    }
}

/// 256 random bits in 52 characters.
pub(crate) fn random_text() -> String {
    let half = || {
        let mut bytes = [0u8; 16];
        rand::rng().fill_bytes(&mut bytes);
        ids::base32(Uuid::from_bytes(bytes))
    };
    half() + &half()
}

/// Compares two hashes in a time that tells nothing of them.
pub fn same_hash(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

/// A key as the store keeps it.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The public part.
    pub id: KeyId,
    /// Whose it is; `None`: an operator's.
    pub tenant: Option<TenantId>,
    /// For people.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// It is refused from then on.
    pub expires_at: Option<Timestamp>,
    /// It has been refused since then.
    pub revoked_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_text_and_shows_its_secret_to_nobody() {
        let key = KeyText::generate();
        let text = key.reveal();
        let read: KeyText = text.parse().expect("a key");
        assert!(same_hash(&read.hash(), &key.hash()));
        assert!(!format!("{key:?}").contains(&text[31..]));
        assert!(!same_hash(&KeyText::generate().hash(), &key.hash()));
        for bad in ["", "fhk_", "fhk_x_y", "whsec_abc"] {
            assert!(bad.parse::<KeyText>().is_err(), "{bad}");
        }
    }
}
