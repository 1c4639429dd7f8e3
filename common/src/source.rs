//! Sources: doors for the webhooks of others, each of which becomes an event of the tenant whose door it is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::endpoint::stored_as_text;
use crate::event::EventType;
use crate::ids::{SourceId, TenantId};
use crate::key::random_text;
use crate::limits;
use crate::time::Timestamp;

/// A source as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The hash of its token.
    pub token_hash: TokenHash,
    /// What can be set of it.
    pub settings: SourceSettings,
    /// Whether it takes anything.
    pub status: SourceStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What can be set of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSettings {
    /// For people.
    pub name: Option<String>,
    /// The tenant's notes: a JSON object as text.
    pub metadata: Option<String>,
    /// How it is known who sends.
    pub verification: Verification,
    /// What signatures are made with; `None` where there are none.
    pub secrets: Option<SourceSecrets>,
    /// What type the events have; `None`: as the provider says it.
    pub event_type: Option<TypeRule>,
    /// What a repetition is recognised by; `None`: what the provider gives for that.
    pub delivery_id: Option<Place>,
}

impl SourceSettings {
    /// What type the events have. `None`: nothing was said, and the provider says it nowhere.
    pub fn type_rule(&self) -> Option<TypeRule> {
        let own = || match self.verification {
            Verification::StandardWebhooks { .. } | Verification::Stripe { .. } => {
                Some(Place::pointer("/type"))
            }
            Verification::Github => Some(Place::header("x-github-event")),
            Verification::Hmac(_) | Verification::None => None,
        };
        self.event_type.clone().or_else(|| own().map(|place| TypeRule::Found { place, prefix: None }))
    }

    /// What a repetition is recognised by; `None`: it is not.
    pub fn delivery_place(&self) -> Option<Place> {
        self.delivery_id.clone().or_else(|| self.verification.delivery_place())
    }

    /// Whether that alone says that it is a repetition, and not what it carries: a provider's own id does, for some write the
    /// same event anew each time they send it. At any other place there may be something that is no id at all.
    pub fn id_says_all(&self) -> bool {
        let own = self.verification.delivery_place();
        own.is_some() && self.delivery_place() == own
    }
}

/// How it is known who sends. In JSON it has its name as `scheme`, and beside it what can be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "snake_case")]
pub enum Verification {
    /// Standard Webhooks 1.0.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    StandardWebhooks {
        /// How far the time in the signature may be from ours, in seconds.
        tolerance_s: u64,
    },
    /// GitHub's `X-Hub-Signature-256`.
    Github,
    /// Stripe's `Stripe-Signature`.
    Stripe {
        /// How far the time in the signature may be from ours, in seconds.
        tolerance_s: u64,
    },
    /// An HMAC of the body in any header.
    Hmac(HmacRule),
    /// It is not: whoever knows the URL may send.
    None,
}

impl Verification {
    /// Which one it is.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::StandardWebhooks { .. } => Scheme::StandardWebhooks,
            Self::Github => Scheme::Github,
            Self::Stripe { .. } => Scheme::Stripe,
            Self::Hmac(_) => Scheme::Hmac,
            Self::None => Scheme::None,
        }
    }

    fn delivery_place(&self) -> Option<Place> {
        match self {
            Self::StandardWebhooks { .. } => Some(Place::header("webhook-id")),
            Self::Github => Some(Place::header("x-github-delivery")),
            Self::Stripe { .. } => Some(Place::pointer("/id")),
            Self::Hmac(_) | Self::None => None,
        }
    }
}

/// The kinds of [`Verification`]. The names are part of the API, and those that it has in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks.
    StandardWebhooks,
    /// GitHub's.
    Github,
    /// Stripe's.
    Stripe,
    /// An HMAC in any header.
    Hmac,
    /// Nobody signs.
    None,
}

stored_as_text!(Scheme {
    StandardWebhooks = "standard_webhooks",
    Github = "github",
    Stripe = "stripe",
    Hmac = "hmac",
    None = "none",
});

/// Where an HMAC of the body is, and how it is made and written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HmacRule {
    /// The header's name, in lower case.
    pub header: String,
    /// The hash.
    pub algorithm: HmacAlgorithm,
    /// How the bytes are written.
    pub encoding: HmacEncoding,
    /// What stands before them.
    pub prefix: Option<String>,
}

/// The hash of an HMAC. SHA-1 is broken as a hash but not within an HMAC, and some still use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HmacAlgorithm {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How the bytes of a signature are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HmacEncoding {
    /// In hexadecimal digits of either case.
    #[default]
    Hex,
    /// In base64 with padding (RFC 4648, section 4).
    Base64,
}

stored_as_text!(HmacAlgorithm { Sha1 = "sha1", Sha256 = "sha256", Sha512 = "sha512" });
stored_as_text!(HmacEncoding { Hex = "hex", Base64 = "base64" });

/// What type the events of a source have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TypeRule {
    /// Always this one.
    Fixed {
        /// An event type.
        fixed: String,
    },
    /// What the request says.
    Found {
        /// Where.
        #[serde(flatten)]
        place: Place,
        /// What is put before it.
        #[serde(skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
    },
}

impl TypeRule {
    /// Whether `prefix` may stand before what makes a type with it.
    pub fn is_prefix(prefix: &str) -> bool {
        prefix.len() < limits::EVENT_TYPE_CHARS && EventType::parse(&format!("{prefix}x")).is_ok()
    }
}

/// Where a request says something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In this header, named in lower case.
    Header(String),
    /// At this place of the body: a JSON pointer (RFC 6901), checked.
    Pointer(String),
}

impl Place {
    fn header(name: &str) -> Self {
        Self::Header(name.to_owned())
    }

    fn pointer(text: &str) -> Self {
        Self::Pointer(text.to_owned())
    }
}

/// Whether a source takes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceStatus {
    /// It does.
    Active,
    /// It does not.
    Paused,
}

stored_as_text!(SourceStatus { Active = "active", Paused = "paused" });

/// A secret that is shared with a provider, as it gave it. Write-only: never shown, never in logs or `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceSecret(String);

impl SourceSecret {
    /// Keeps `text`.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, to verify with or to be stored.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SourceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceSecret(…)")
    }
}

/// The secrets of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSecrets {
    /// The one that was set last.
    pub current: SourceSecret,
    /// The one before it, which counts until then: the provider is told of the new one at another time than we are.
    pub previous: Option<(SourceSecret, Timestamp)>,
}

impl SourceSecrets {
    /// Those that count at `now`.
    pub fn in_force(&self, now: Timestamp) -> impl Iterator<Item = &SourceSecret> {
        let previous = self.previous.as_ref().filter(|(_, until)| now < *until).map(|(secret, _)| secret);
        std::iter::once(&self.current).chain(previous)
    }

    /// With `secret` as the current one; the one before counts for `grace` yet.
    pub fn rotated(self, secret: SourceSecret, grace: Duration, now: Timestamp) -> Self {
        if secret == self.current {
            return self;
        }
        let previous = (!grace.is_zero()).then(|| (self.current, now.after(grace)));
        Self { current: secret, previous }
    }
}

/// SHA-256 of a source's token.
pub type TokenHash = [u8; 32];

/// The end of a source's URL: whoever has it may send there. Shown once; never in logs or `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceToken(String);

const TOKEN_PREFIX: &str = "fhs_";
const TOKEN_CHARS: usize = TOKEN_PREFIX.len() + 52;

impl SourceToken {
    /// A new one with 256 random bits.
    pub fn generate() -> Self {
        Self(format!("{TOKEN_PREFIX}{}", random_text()))
    }

    /// What the store keeps of it. (It has 256 random bits, so that it is found by its hash as safely as a key is by its id.)
    pub fn hash(&self) -> TokenHash {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The token, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for SourceToken {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix(TOKEN_PREFIX).ok_or(())?;
        let is_one = text.len() == TOKEN_CHARS && digits.bytes().all(|b| b.is_ascii_alphanumeric());
        if is_one { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

impl fmt::Debug for SourceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fhs_…")
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
