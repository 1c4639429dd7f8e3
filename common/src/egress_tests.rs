use proptest::prelude::*;

use super::*;

/// The ranges of the specification, written once more and read by another crate, so that a slip in the table shows.
const SPECIFIED_V4: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
];
const SPECIFIED_V6: &[&str] = &[
    "::/128",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "64:ff9b:1::/48",
];

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("a network")).collect()
}

fn public(ip: &str) -> Result<(), Blocked> {
    EgressPolicy::default().check(SocketAddr::new(ip.parse().expect("an address"), 443))
}

fn url(text: &str) -> Result<String, UrlRefused> {
    EgressPolicy::default().check_url(text).map(String::from)
}

#[test]
fn the_ends_of_every_refused_range_are_refused_and_their_neighbours_are_not() {
    for net in nets(SPECIFIED_V4) {
        let IpNet::V4(net) = net else { unreachable!("a v4 network") };
        let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
        let refused = |bits: u32| public(&Ipv4Addr::from_bits(bits).to_string()).is_err();
        assert!(refused(first) && refused(last), "{net}");
        let neighbours = [first.checked_sub(1), last.checked_add(1)];
        assert!(!neighbours.into_iter().flatten().any(refused), "{net}");
    }
    for net in nets(SPECIFIED_V6) {
        let IpNet::V6(net) = net else { unreachable!("a v6 network") };
        assert!(public(&net.network().to_string()).is_err(), "{net}");
        assert!(public(&net.broadcast().to_string()).is_err(), "{net}");
    }
}

#[test]
fn public_addresses_pass() {
    for ip in ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::200e"] {
        assert_eq!(public(ip), Ok(()), "{ip}");
    }
    for ip in ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"] {
        assert_eq!(public(ip), Ok(()), "{ip}");
    }
}

#[test]
fn an_address_says_which_range_it_is_in() {
    for (ip, range) in [
        ("127.0.0.1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::127.0.0.1", "loopback"),
        ("::ffff:0:10.0.0.1", "private"),
        ("64:ff9b::169.254.169.254", "link-local"),
        ("2002:7f00:1::", "loopback"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
        ("fd00:ec2::254", "unique local"),
        ("4000::1", "not assigned"),
    ] {
        assert_eq!(public(ip).map_err(|b| b.range), Err(range), "{ip}");
    }
    let said = public("10.0.0.1").expect_err("private").to_string();
    assert_eq!(said, "10.0.0.1 is not a public address (private)");
}

#[test]
fn every_spelling_of_a_refused_address_is_refused() {
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0.0.0x1",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "0",
        "0x0",
        "10.1",
        "192.168.257",
        "2852039166",
        "0xa9.0xfe.0xa9.0xfe",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0::ffff:a9fe:a9fe]",
        "[::127.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[2002:a00:1::]",
        "[fe80::1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "ｌocalhost",
        "lo\tcalhost",
        "a.localhost",
    ] {
        for text in
            [format!("http://{host}/"), format!("https://{host}:8443/hook?x=1"), format!("http:\\\\{host}")]
        {
            assert!(matches!(url(&text), Err(UrlRefused::Blocked(_))), "{text}: {:?}", url(&text));
        }
    }
}

#[test]
fn urls_that_cannot_be_an_endpoints_say_why() {
    for (text, why) in [
        ("ftp://example.com/", UrlRefused::Scheme("ftp".into())),
        ("file:///etc/passwd", UrlRefused::Scheme("file".into())),
        ("javascript:alert(1)", UrlRefused::Scheme("javascript".into())),
        ("https://user@example.com/", UrlRefused::Credentials),
        ("https://:pass@example.com/", UrlRefused::Credentials),
        ("https://", UrlRefused::NoHost),
        ("https://./", UrlRefused::NoHost),
        ("https://example.com:0/", UrlRefused::Port),
    ] {
        assert_eq!(url(text), Err(why), "{text}");
    }
    let (label, more) = ("a".repeat(63), "a".repeat(64));
    let long = [label.as_str(); 4].join(".");
    for host in ["example..com", ".example.com", "example.com..", &more, &format!("{more}.com"), &long] {
        assert_eq!(url(&format!("https://{host}/")), Err(UrlRefused::Host), "{host}");
    }
    for host in [label.as_str(), "example.com.", "a_b.example.com", &long[..253]] {
        assert!(url(&format!("https://{host}/")).is_ok(), "{host}");
    }
    for text in
        ["", "/hook", "example.com/hook", "https://exa mple.com", "http://1.2.3.4.5", "http://256.1.1.1"]
    {
        assert!(matches!(url(text), Err(UrlRefused::Unreadable(_))), "{text}: {:?}", url(text));
    }
}

#[test]
fn a_good_url_comes_back_without_its_fragment() {
    assert_eq!(url("HTTPS://Example.COM:443/a?b=c#frag"), Ok("https://example.com/a?b=c".into()));
    assert_eq!(url("http://8.8.8.8:8080"), Ok("http://8.8.8.8:8080/".into()));
    assert_eq!(url("http://notlocalhost/"), Ok("http://notlocalhost/".into()));
}

#[test]
fn what_is_allowed_passes_and_nothing_beside_it() {
    let exact = EgressPolicy::new(vec![], Some("127.0.0.1:3001".parse().expect("an address")));
    let check = |policy: &EgressPolicy, text: &str| policy.check_url(text).is_ok();
    assert!(check(&exact, "http://127.0.0.1:3001/hook"));
    assert!(check(&exact, "http://localhost:3001/hook"));
    assert!(check(&exact, "http://[::ffff:127.0.0.1]:3001/hook"));
    for text in
        ["http://127.0.0.1:3002/", "http://127.0.0.2:3001/", "http://127.0.0.1/", "http://[::1]:3001/"]
    {
        assert!(!check(&exact, text), "{text}");
    }
    let network = EgressPolicy::new(nets(&["10.1.0.0/16", "fd00:1::/32"]), None);
    for text in ["http://10.1.2.3/", "http://[fd00:1::9]/", "http://[::ffff:10.1.0.1]/"] {
        assert!(check(&network, text), "{text}");
    }
    for text in
        ["http://10.2.0.1/", "http://[fd00:2::9]/", "http://[64:ff9b::10.1.2.3]/", "http://127.0.0.1/"]
    {
        assert!(!check(&network, text), "{text}");
    }
}

/// An address within one of `nets`.
fn within(nets: Vec<IpNet>) -> impl Strategy<Value = IpAddr> {
    (prop::sample::select(nets), any::<u128>()).prop_map(|(net, bits)| match net {
        IpNet::V4(n) => {
            Ipv4Addr::from_bits(n.network().to_bits() | (bits as u32 & n.hostmask().to_bits())).into()
        }
        IpNet::V6(n) => Ipv6Addr::from_bits(n.network().to_bits() | (bits & n.hostmask().to_bits())).into(),
    })
}

fn hidden_in_v6(ip: Ipv4Addr) -> [Ipv6Addr; 5] {
    let bits = u128::from(ip.to_bits());
    let at =
        |prefix: &str| Ipv6Addr::from_bits(prefix.parse::<Ipv6Addr>().expect("a prefix").to_bits() | bits);
    let six_to_four = Ipv6Addr::from_bits((0x2002 << 112) | (bits << 80) | 7);
    [ip.to_ipv6_mapped(), at("::"), at("::ffff:0:0:0"), at("64:ff9b::"), six_to_four]
}

fn spellings(ip: Ipv4Addr) -> Vec<String> {
    let ([a, b, c, d], n) = (ip.octets(), ip.to_bits());
    vec![
        ip.to_string(),
        format!("{ip}."),
        n.to_string(),
        format!("0x{n:x}"),
        format!("0{n:o}"),
        format!("{a}.{}", n & 0xff_ffff),
        format!("0x{a:X}.{b}.{}", n & 0xffff),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("[::ffff:{ip}]"),
        format!("[64:ff9b::{ip}]"),
    ]
}

proptest! {
    #[test]
    fn no_refused_v4_address_passes_in_any_form(ip in within(nets(SPECIFIED_V4)), port in 1u16..) {
        let policy = EgressPolicy::default();
        prop_assert!(policy.check(SocketAddr::new(ip, port)).is_err());
        let IpAddr::V4(ip) = ip else { unreachable!("a v4 network") };
        for form in hidden_in_v6(ip) {
            prop_assert!(policy.check(SocketAddr::new(form.into(), port)).is_err(), "{}", form);
        }
        for host in spellings(ip) {
            let text = format!("http://{host}:{port}/");
            prop_assert!(matches!(policy.check_url(&text), Err(UrlRefused::Blocked(_))), "{}", text);
        }
    }

    #[test]
    fn no_refused_v6_address_passes(ip in within(nets(SPECIFIED_V6)), port in 1u16..) {
        let policy = EgressPolicy::default();
        prop_assert!(policy.check(SocketAddr::new(ip, port)).is_err());
        let text = format!("https://[{ip}]:{port}/");
        prop_assert!(matches!(policy.check_url(&text), Err(UrlRefused::Blocked(_))));
    }

    #[test]
    fn every_other_v4_address_passes(bits: u32) {
        let ip = IpAddr::from(Ipv4Addr::from_bits(bits));
        let specified = nets(SPECIFIED_V4).iter().any(|net| net.contains(&ip));
        prop_assert_eq!(public(&ip.to_string()).is_err(), specified);
    }

    #[test]
    fn v6_passes_only_within_global_unicast_or_a_translation(bits: u128) {
        let ip = Ipv6Addr::from_bits(bits);
        if public(&ip.to_string()).is_ok() {
            let global = ip.segments()[0] & 0xe000 == 0x2000;
            let nat64 = bits >> 32 == 0x64_ff9b << 64;
            prop_assert!(global || nat64 || bits >> 32 == 0xffff || bits >> 48 == 0);
        }
    }

    #[test]
    fn no_text_makes_the_check_panic(text in "(http://)?\\PC*") {
        let _ = url(&text);
    }
}
