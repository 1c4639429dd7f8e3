//! The address of a client: that of its socket, or what proxies of ours say of it.
//!
//! `Forwarded` (RFC 7239), `X-Forwarded-For` and `X-Real-IP` are anybody's words. They are read only if the socket's peer is a
//! trusted proxy, from the right, where each proxy has added whom it heard: the first address that is not a trusted proxy's
//! is the client's. Proxies write one of these headers and pass on the others as they came. So if several are there and say
//! different things, none is believed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Whose socket it is; an extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// Where there is no socket there is nobody to be told apart.
    pub const NONE: Self = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
}

/// The client's address.
pub fn address(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.0.to_canonical();
    if !is_ours(peer, trusted) {
        return peer;
    }
    let told = [forwarded(headers), listed(headers, &X_FORWARDED_FOR), listed(headers, &X_REAL_IP)];
    let clients: Vec<IpAddr> = told.iter().flatten().map(|chain| client_of(chain, peer, trusted)).collect();
    // One that names nobody but proxies of ours (as the inner of two writes) says nothing where another names a client.
    let named = clients.iter().copied().filter(|client| !is_ours(*client, trusted)).collect::<Vec<_>>();
    let mut clients = if named.is_empty() { clients } else { named }.into_iter();
    match clients.next() {
        Some(client) if clients.all(|other| other == client) => client,
        _ => peer,
    }
}

/// The right-most address of `chain` that is not ours. Where something is no address, whoever wrote it is the client: nothing
/// to its left can be believed.
fn client_of(chain: &[Option<IpAddr>], peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let mut nearest = peer;
    for hop in chain.iter().rev() {
        let Some(address) = hop.map(|address| address.to_canonical()) else { return nearest };
        nearest = address;
        if !is_ours(address, trusted) {
            return address;
        }
    }
    nearest
}

fn is_ours(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The addresses of a header that lists them, `None` where there is none; several headers are one list.
fn listed(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<Option<IpAddr>>> {
    parts(headers, name).map(|parts| parts.iter().map(|part| node(part)).collect())
}

/// The `for` of each element of `Forwarded`.
fn forwarded(headers: &HeaderMap) -> Option<Vec<Option<IpAddr>>> {
    let of = |element: &String| {
        let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
        node(value.trim().trim_matches('"'))
    };
    parts(headers, &header::FORWARDED).map(|parts| parts.iter().map(of).collect())
}

/// What stands between commas; `None`: there is no such header. What is no text stands for itself, unreadable.
fn parts(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let values = headers.get_all(name).iter();
    let parts: Vec<String> =
        values.flat_map(|value| value.to_str().unwrap_or("?").split(',').map(str::to_owned)).collect();
    (!parts.is_empty()).then_some(parts)
}

/// An address, with or without a port, an IPv6 one with or without brackets.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn seen(peer: &str, headers: &[(&str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"));
        }
        let trusted = ["10.0.0.0/8".parse().expect("a network"), "fd00::/8".parse().expect("a network")];
        address(Peer(peer.parse().expect("an address")), &map, &trusted).to_string()
    }

    #[test]
    fn a_strangers_words_are_not_read() {
        for name in ["forwarded", "x-forwarded-for", "x-real-ip"] {
            assert_eq!(seen("192.0.2.7", &[(name, "for=198.51.100.1"), (name, "198.51.100.1")]), "192.0.2.7");
        }
    }

    #[test]
    fn a_proxys_words_are_read_from_the_right() {
        for (headers, client) in [
            (&[][..], PROXY),
            (&[("x-forwarded-for", "192.0.2.1")], "192.0.2.1"),
            (&[("x-forwarded-for", "1.2.3.4, 192.0.2.1")], "192.0.2.1"),
            (&[("x-forwarded-for", "1.2.3.4, 192.0.2.1, 10.0.0.9")], "192.0.2.1"),
            (&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "192.0.2.1")], "192.0.2.1"),
            (&[("x-forwarded-for", "192.0.2.1:4711")], "192.0.2.1"),
            (&[("x-forwarded-for", "10.0.0.8, 10.0.0.9")], "10.0.0.8"),
            (&[("x-real-ip", "2001:db8::1")], "2001:db8::1"),
            (
                &[("forwarded", "for=1.2.3.4, for=\"[2001:db8::1]:47\";proto=https;by=10.0.0.1")],
                "2001:db8::1",
            ),
            (&[("forwarded", "For=192.0.2.1;host=a"), ("x-forwarded-for", "192.0.2.1")], "192.0.2.1"),
            (&[("x-forwarded-for", "::ffff:192.0.2.1")], "192.0.2.1"),
            (&[("x-real-ip", "10.0.0.9"), ("x-forwarded-for", "192.0.2.1, 10.0.0.9")], "192.0.2.1"),
        ] {
            assert_eq!(seen(PROXY, headers), client, "{headers:?}");
        }
        assert_eq!(seen("::ffff:10.0.0.1", &[("x-real-ip", "192.0.2.1")]), "192.0.2.1", "a mapped peer");
    }

    #[test]
    fn what_was_forged_is_not_believed() {
        for (headers, client) in [
            // The proxy wrote one header and passed on another.
            (&[("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "192.0.2.1")][..], PROXY),
            (&[("x-real-ip", "1.2.3.4"), ("x-forwarded-for", "192.0.2.1")], PROXY),
            (&[("x-forwarded-for", "1.2.3.4, unknown")], PROXY),
            (&[("forwarded", "for=1.2.3.4, for=_hidden")], PROXY),
            (&[("x-forwarded-for", "1.2.3.4, somebody, 10.0.0.9")], "10.0.0.9"),
            (&[("x-forwarded-for", "")], PROXY),
        ] {
            assert_eq!(seen(PROXY, headers), client, "{headers:?}");
        }
    }
}
