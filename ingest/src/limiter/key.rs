//! Whose requests are counted together, and how that is written.
//!
//! A key is never shown: not in a header, a log or a metric.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv6Addr};

use fairhook_common::ids::{SourceId, TenantId};
use sha2::{Digest, Sha256};

/// A name that is longer takes more room than its hash.
const LONGEST_NAME: usize = 64;
/// The network of an IPv6 address: whoever has one address of it has all of them.
const IPV6_NETWORK: u128 = !0 << 64;

/// Whose.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    text: Box<str>,
    origin: Origin,
}

/// Where keys come from: so many of one are no reason to forget others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Operators make tenants.
    Tenants,
    /// Anybody may have many addresses.
    Addresses,
    /// A tenant makes a bounded number of them.
    Sources,
    /// Whatever an operator's own callers send.
    Names,
}

impl Origin {
    /// All.
    pub const ALL: [Self; 4] = [Self::Tenants, Self::Addresses, Self::Sources, Self::Names];
}

impl Key {
    /// A tenant's.
    pub fn tenant(tenant: TenantId) -> Self {
        Self::of(Origin::Tenants, &["tenant", &tenant.to_string()])
    }

    /// A tenant's from one address.
    pub fn tenant_at(tenant: TenantId, address: IpAddr) -> Self {
        Self::of(Origin::Addresses, &["tenant", &tenant.to_string(), "ip", &network(address).to_string()])
    }

    /// An address's.
    pub fn address(address: IpAddr) -> Self {
        Self::of(Origin::Addresses, &["ip", &network(address).to_string()])
    }

    /// A source's.
    pub fn source(source: SourceId) -> Self {
        Self::of(Origin::Sources, &["source", &source.to_string()])
    }

    /// Whatever an operator calls it; a long name by its hash.
    pub fn named(name: &str) -> Self {
        if name.len() <= LONGEST_NAME {
            return Self::of(Origin::Names, &["named", name]);
        }
        let hash = Sha256::digest(name.as_bytes());
        Self::of(
            Origin::Names,
            &["hashed", &hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()],
        )
    }

    /// As it is written where limits are kept.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Each part behind its length, so that no two lists of parts are written alike, whatever they hold.
    fn of(origin: Origin, parts: &[&str]) -> Self {
        let mut text = String::new();
        for part in parts {
            let _ = write!(text, "{}:{part}", part.len());
        }
        Self { text: text.into(), origin }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Who has this address: an IPv4 address, or an IPv6 network of 64 bits.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_ipv6_network_is_one_and_a_mapped_address_is_its_ipv4_one() {
        let at = |text: &str| Key::address(text.parse().expect("an address"));
        assert_eq!(at("2001:db8::1"), at("2001:db8:0:0:ffff::2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
        assert_ne!(at("192.0.2.1"), Key::named("192.0.2.1"), "a name is no address");
        assert_eq!(format!("{:?}", at("192.0.2.1")), "Key(…)");
        let long = |end: &str| Key::named(&("x".repeat(LONGEST_NAME) + end));
        assert_ne!(long("a"), long("b"));
        assert_eq!(long("a").text().len(), long("abcdef").text().len());
    }

    proptest! {
        /// Where one part ends and the next begins is part of the key.
        #[test]
        fn keys_are_written_one_to_one(
            text in "[:1a]{6}", one in prop::collection::vec(0usize..=6, 0..3), other in prop::collection::vec(0usize..=6, 0..3),
        ) {
            let sorted = |mut cuts: Vec<usize>| {
                cuts.sort_unstable();
                cuts
            };
            let (one, other) = (sorted(one), sorted(other));
            let of = |cuts: &[usize]| {
                let begins = [0].iter().chain(cuts);
                let parts: Vec<_> = begins.zip(cuts.iter().chain([&text.len()])).map(|(a, b)| &text[*a..*b]).collect();
                Key::of(Origin::Names, &parts)
            };
            prop_assert_eq!(of(&one) == of(&other), one == other);
        }
    }
}
