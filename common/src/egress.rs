//! Which addresses endpoints may be on. Endpoints are attacker-controlled: what is not public is refused unless allowed.
//!
//! Pure: nothing here resolves a name. Whoever connects checks every resolved address with [`EgressPolicy::check`] and
//! connects to exactly the one it checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use url::{Host, Url};

use crate::limits;

/// The addresses that may be called: public ones, allowed networks, and one exact socket address (the built-in receiver's).
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    allowed: Vec<IpNet>,
    exact: Option<SocketAddr>,
}

/// An address that must not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not a public address ({range})")]
pub struct Blocked {
    /// The address.
    pub address: IpAddr,
    /// The range it is in, for people, such as `loopback`.
    pub range: &'static str,
}

/// Why a URL cannot be an endpoint's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// It cannot be read.
    #[error("the URL cannot be read: {0}")]
    Unreadable(String),
    /// Neither http nor https.
    #[error("the scheme must be http or https, not {0}")]
    Scheme(String),
    /// User and password have no place in it.
    #[error("a URL must not hold a user or a password; use a custom header")]
    Credentials,
    /// No host.
    #[error("the URL has no host")]
    NoHost,
    /// A host that no name server can know.
    #[error("the host is no name: it needs labels of 1 to 63 characters, and 253 at most in all")]
    Host,
    /// Port 0.
    #[error("port 0 cannot be called")]
    Port,
    /// A literal address that must not be called, or a name that always means one.
    #[error(transparent)]
    Blocked(#[from] Blocked),
}

impl EgressPolicy {
    /// Public addresses, `allowed` networks, and `exact`.
    pub fn new(allowed: Vec<IpNet>, exact: Option<SocketAddr>) -> Self {
        Self { allowed, exact }
    }

    /// Whether `address` may be called.
    pub fn check(&self, address: SocketAddr) -> Result<(), Blocked> {
        let ip = address.ip();
        match refused_range(ip) {
            Some(range) if !self.allows(address) => Err(Blocked { address: ip, range }),
            _ => Ok(()),
        }
    }

    /// Reads an endpoint's URL and checks what can be told without the DNS. The port is the URL's or its scheme's. A
    /// fragment, which is never sent, is taken off.
    pub fn check_url(&self, text: &str) -> Result<Url, UrlRefused> {
        let mut url = Url::parse(text).map_err(|e| match e {
            url::ParseError::EmptyHost => UrlRefused::NoHost,
            e => UrlRefused::Unreadable(e.to_string()),
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlRefused::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefused::Credentials);
        }
        let port = url.port_or_known_default().filter(|&port| port != 0).ok_or(UrlRefused::Port)?;
        match url.host().ok_or(UrlRefused::NoHost)? {
            Host::Ipv4(ip) => self.check(SocketAddr::new(ip.into(), port))?,
            Host::Ipv6(ip) => self.check(SocketAddr::new(ip.into(), port))?,
            Host::Domain(name) if name.trim_end_matches('.').is_empty() => return Err(UrlRefused::NoHost),
            Host::Domain(name) if !is_name(name) => return Err(UrlRefused::Host),
            Host::Domain(name) if is_localhost(name) => self.check_localhost(port)?,
            Host::Domain(_) => {}
        }
        url.set_fragment(None);
        Ok(url)
    }

    /// `localhost` is fine when either of its addresses is.
    fn check_localhost(&self, port: u16) -> Result<(), Blocked> {
        let v4 = self.check(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        v4.or_else(|blocked| {
            self.check(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)).map_err(|_| blocked)
        })
    }

    /// A mapped address is the v4 address itself; any other translation has to be allowed as what it is.
    fn allows(&self, address: SocketAddr) -> bool {
        let (ip, canonical) = (address.ip(), address.ip().to_canonical());
        let exact =
            self.exact.is_some_and(|e| e.ip().to_canonical() == canonical && e.port() == address.port());
        exact || self.allowed.iter().any(|net| net.contains(&ip) || net.contains(&canonical))
    }
}

/// Whether a name server could know `name` (RFC 1035), which may end with the root's dot.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| (1..=limits::HOST_LABEL_CHARS).contains(&label.len());
    name.len() <= limits::HOST_CHARS && name.split('.').all(is_label)
}

/// Whether `name` (lower case, as a parsed URL has it) means this machine whatever a name server says (RFC 6761).
pub fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

type Range4 = ([u8; 4], u32, &'static str);
type Range6 = ([u16; 8], u32, &'static str);

const REFUSED_V4: &[Range4] = &[
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "carrier-grade NAT"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([168, 63, 129, 16], 32, "cloud platform"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "protocol assignments"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 88, 99, 0], 24, "6to4 relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "benchmarking"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

const REFUSED_V6: &[Range6] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local-use NAT64"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard only"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol assignments"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

/// Where a v4 address may hide in a v6 one: the prefix, its length, and the segment at which the v4 address begins.
const V4_IN_V6: &[([u16; 8], u32, usize)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, 6),         // compatible
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, 6),    // mapped
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, 6),    // translated
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, 6), // NAT64
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, 1),    // 6to4
];

/// What is handed out to the public at all: `2000::/3`.
const GLOBAL_UNICAST_V6: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

fn refused_range(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => refused_v4(ip),
        IpAddr::V6(ip) => refused_v6(ip),
    }
}

fn refused_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let within = |base: [u8; 4], bits: u32| (ip.to_bits() ^ u32::from_be_bytes(base)).leading_zeros() >= bits;
    REFUSED_V4.iter().find(|(base, bits, _)| within(*base, *bits)).map(|(_, _, range)| *range)
}

fn refused_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let within =
        |base: [u16; 8], bits: u32| (ip.to_bits() ^ Ipv6Addr::from(base).to_bits()).leading_zeros() >= bits;
    if let Some((_, _, range)) = REFUSED_V6.iter().find(|(base, bits, _)| within(*base, *bits)) {
        return Some(range);
    }
    if let Some((_, _, at)) = V4_IN_V6.iter().find(|(base, bits, _)| within(*base, *bits)) {
        let [a, b] = ip.segments()[*at].to_be_bytes();
        let [c, d] = ip.segments()[*at + 1].to_be_bytes();
        return refused_v4(Ipv4Addr::new(a, b, c, d));
    }
    let (base, bits) = GLOBAL_UNICAST_V6;
    (!within(base, bits)).then_some("not assigned")
}

#[cfg(test)]
#[path = "egress_tests.rs"]
mod tests;
