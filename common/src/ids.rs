//! Typed ids: a prefix that names the kind, and a UUIDv7 in 26 characters of Crockford's base32
//! (lower case, most significant bits first, so that text order is time order).
//!
//! A delivery's id holds its event's id and its ordinal among that event's deliveries, in 30 characters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::described::described_as_text;
use crate::time::Timestamp;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const UUID_CHARS: usize = 26;
const ORDINAL_CHARS: usize = 4;

/// The text is no id of the kind that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {expected}")]
pub struct InvalidId {
    /// The form that was expected, such as `evt_…`.
    pub expected: &'static str,
}

fn encode(mut value: u128, chars: usize, out: &mut String) {
    let mut digits = [0u8; UUID_CHARS];
    for digit in digits[..chars].iter_mut().rev() {
        *digit = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
    out.extend(digits[..chars].iter().map(|&b| b as char));
}

/// Reads exactly the canonical spelling, so that every id has one text.
fn decode(text: &str, bits: u32) -> Option<u128> {
    let mut value: u128 = 0;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|&a| a == byte)? as u128;
        if value >> (bits.saturating_sub(5)) != 0 {
            return None;
        }
        value = (value << 5) | digit;
    }
    Some(value)
}

/// 16 bytes as 26 characters, without a prefix.
pub fn base32(uuid: Uuid) -> String {
    let mut out = String::with_capacity(UUID_CHARS);
    encode(uuid.as_u128(), UUID_CHARS, &mut out);
    out
}

/// The inverse of [`base32`].
pub fn from_base32(text: &str) -> Option<Uuid> {
    (text.len() == UUID_CHARS).then(|| decode(text, 128)).flatten().map(Uuid::from_u128)
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The text before the base32 part.
            pub const PREFIX: &'static str = $prefix;

            /// A new id from the clock and the random generator.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id whose stored form is `uuid`.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The stored form.
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str(&base32(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .and_then(from_base32)
                    .map(Self)
                    .ok_or(InvalidId { expected: concat!($prefix, "…") })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        described_as_text!(
            $name,
            concat!("`", $prefix, "` and a UUIDv7 in base32; the order of these texts is that of time."),
            concat!("^", $prefix, "[0-7][0-9a-hjkmnp-tv-z]{25}$"),
            concat!($prefix, "01kz0z5m4he58vf3j2c4q9w7xd")
        );
    };
}

typed_id!(
    /// A tenant: whoever's events must not be hurt by anybody else's.
    TenantId, "ten_"
);
typed_id!(
    /// An endpoint of a tenant.
    EndpointId, "ep_"
);
typed_id!(
    /// An event; assigned in commit order by the store's writer.
    EventId, "evt_"
);
typed_id!(
    /// A job: a replay, a purge, a tenant's deletion.
    JobId, "job_"
);
typed_id!(
    /// An API key (the public part).
    KeyId, "key_"
);

typed_id!(
    /// A source of a tenant: a door for somebody else's webhooks.
    SourceId, "src_"
);

typed_id!(
    /// A condition that a tenant is in, or was.
    ConditionId, "cnd_"
);

typed_id!(
    /// A running process: a new one with each start.
    NodeId, "node_"
);

impl EventId {
    /// When it was assigned, which is when its event was admitted: a UUIDv7 begins with milliseconds.
    pub fn admitted_at(&self) -> Timestamp {
        Timestamp((self.0.as_u128() >> 80) as i64)
    }
}

/// A delivery: the `ordinal`-th of its event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    /// The event that is delivered.
    pub event: EventId,
    /// Which of the event's deliveries this is, from 0.
    pub ordinal: u16,
}

impl DeliveryId {
    const PREFIX: &'static str = "dlv_";
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(UUID_CHARS + ORDINAL_CHARS);
        encode(self.event.0.as_u128(), UUID_CHARS, &mut text);
        encode(self.ordinal.into(), ORDINAL_CHARS, &mut text);
        write!(f, "{}{text}", Self::PREFIX)
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DeliveryId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let digits = text.strip_prefix(Self::PREFIX)?;
            let (event, ordinal) = digits.split_at_checked(UUID_CHARS)?;
            let ordinal = (ordinal.len() == ORDINAL_CHARS).then(|| decode(ordinal, 16))??;
            Some(Self { event: EventId(from_base32(event)?), ordinal: ordinal as u16 })
        };
        parse().ok_or(InvalidId { expected: "dlv_…" })
    }
}

impl Serialize for DeliveryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

described_as_text!(
    DeliveryId,
    "`dlv_` and, in base32, the id of its event and which of that event's deliveries it is.",
    "^dlv_[0-7][0-9a-hjkmnp-tv-z]{25}[01][0-9a-hjkmnp-tv-z]{3}$",
    "dlv_01kz0z5m4he58vf3j2c4q9w7xd0000"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_survives_its_text(bits: u128, ordinal: u16) {
            let event = EventId::from_uuid(Uuid::from_u128(bits));
            prop_assert_eq!(event.to_string().parse(), Ok(event));
            let delivery = DeliveryId { event, ordinal };
            prop_assert_eq!(delivery.to_string().parse(), Ok(delivery));
        }

        #[test]
        fn text_order_is_id_order(a: u128, b: u128) {
            let text = |bits| EventId::from_uuid(Uuid::from_u128(bits)).to_string();
            prop_assert_eq!(text(a).cmp(&text(b)), a.cmp(&b));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = text.parse::<EventId>();
            let _ = format!("dlv_{text}").parse::<DeliveryId>();
        }
    }

    #[test]
    fn foreign_spellings_are_refused() {
        let id = EventId::from_uuid(Uuid::from_u128(u128::MAX));
        assert_eq!(id.to_string(), "evt_7zzzzzzzzzzzzzzzzzzzzzzzzz");
        for text in [
            "evt_8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "evt_7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "ten_7zzzzzzzzzzzzzzzzzzzzzzzzz",
            "evt_",
            "dlv_7zzzzzzzzzzzzzzzzzzzzzzzzz",
            "dlv_7zzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
            assert!(text.parse::<DeliveryId>().is_err(), "{text}");
        }
    }
}
