//! Receivers that misbehave. Their tenants post what their quota just allows.

use super::CONTROL;
use crate::bench::isolation::kind::{Act, Conduct, Host, Kind};

/// A little under a starter's quota.
const STEADY: &[Act] = &[Act::Post { per_second: 95, bytes: 256 }];

const fn at(name: &'static str, about: &'static str, host: Host) -> Kind {
    Kind { name, about, host, beside: STEADY, ..CONTROL }
}

pub const KINDS: &[Kind] = &[
    at("hang", "a receiver never answers", Host::Own(Conduct::Hang)),
    at("drip", "a receiver answers a byte a second", Host::Own(Conduct::Drip)),
    at("5xx", "a receiver answers 500", Host::Own(Conduct::Answer("500 Internal Server Error", ""))),
    at(
        "429",
        "a receiver answers 429, to come again at once",
        Host::Own(Conduct::Answer("429 Too Many Requests", "retry-after: 0\r\n")),
    ),
    at("refuse", "a receiver refuses connections", Host::Refusing),
    at("tls", "a receiver stalls in the TLS handshake", Host::Tls(Conduct::Hang)),
    at("dns-silent", "a receiver's name server never answers", Host::SilentName),
    at("dns-nxdomain", "a receiver's name does not exist", Host::NoSuchName),
    at("endless-body", "a receiver's answer never ends", Host::Own(Conduct::EndlessBody)),
    at("endless-headers", "the headers of a receiver's answer never end", Host::Own(Conduct::EndlessHead)),
];
