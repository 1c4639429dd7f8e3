//! How values are read from their text. Errors are half-sentences for people.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

/// A process's name: a host's label, a process's id, and a little more.
const NODE_NAME_CHARS: usize = 64;

/// An address with a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = |_| format!("`{text}` is no address with a port, such as 127.0.0.1:3000");
    text.replace("localhost:", "127.0.0.1:").parse().map_err(wrong)
}

/// Addresses with ports, separated by commas or spaces.
pub(super) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    words.map(address).collect()
}

/// A loopback address with a port, or `off`.
pub(super) fn loopback_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    let address = address(text)?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "{address} is not loopback, and the built-in receiver is for this machine only; use 127.0.0.1:PORT or off"
        ));
    }
    Ok(Some(address))
}

/// An `http` or `https` URL without a user or a password.
pub(super) fn web_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| format!("`{text}` is no URL such as https://ops.example.com/hooks"))?;
    match url.username().is_empty() && url.password().is_none() {
        true => Ok(text.to_owned()),
        false => Err("an endpoint's URL holds no user and no password".to_owned()),
    }
}

/// Networks in CIDR notation, or single addresses, separated by commas or spaces.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    words.map(network).collect()
}

fn network(text: &str) -> Result<IpNet, String> {
    let single = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| single());
    let network = network.map_err(|_| format!("`{text}` is no network, such as 10.0.0.0/8 or fd00::/8"))?;
    if network.trunc() != network {
        return Err(format!(
            "`{text}` has bits beyond its prefix; {} was meant, or a longer prefix",
            network.trunc()
        ));
    }
    Ok(network)
}

/// A whole number within bounds.
pub(super) fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.replace('_', "").parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("`{text}` is no whole number from {least} to {most}"))
}

/// A length of time within bounds, such as `30d`, `20s`, `1h30m` or `500ms`.
pub(super) fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let span = parts(text)
        .ok_or_else(|| format!("`{text}` is no length of time, such as 30d, 12h, 5m, 20s or 500ms"))?;
    if !(least..=most).contains(&span) {
        return Err(format!("`{text}` is not within {} and {}", spell(least), spell(most)));
    }
    Ok(span)
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The sum of numbers with units; `None` if the text is anything else.
fn parts(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum: u64 = 0;
    while !rest.is_empty() || text.trim().is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        // As the windows of limits are written.
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(*ms)?)?;
        rest = tail.trim_start();
    }
    Some(Duration::from_millis(sum))
}

fn spell(span: Duration) -> String {
    let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let whole = UNITS.iter().find(|(_, unit)| ms >= *unit && ms.is_multiple_of(*unit));
    whole.map_or_else(|| "0s".to_owned(), |(name, unit)| format!("{}{name}", ms / unit))
}

/// A domain name in lower case, without a leading or trailing dot.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let fits = text.len() <= 253 && text.split('.').all(label);
    fits.then(|| text.to_ascii_lowercase())
        .ok_or_else(|| format!("`{text}` is no domain name, such as hooks.example.com"))
}

/// A name for people: up to 64 letters, digits, dots, dashes and underscores.
pub(super) fn name(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let fits = text.len() <= NODE_NAME_CHARS && text.bytes().all(plain);
    let wrong =
        || format!("a name has up to {NODE_NAME_CHARS} letters, digits, dots, dashes and underscores");
    fits.then(|| text.to_owned()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn lengths_of_time_are_read() {
        let read = |text| duration(text, Duration::ZERO, DAY * 3_650);
        for (text, seconds) in [
            ("30d", 2_592_000.0),
            ("30 d", 2_592_000.0),
            ("20s", 20.0),
            ("1h30m", 5_400.0),
            ("500ms", 0.5),
            ("0s", 0.0),
        ] {
            assert_eq!(read(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for bad in [
            "",
            " ",
            "30",
            "d",
            "-1s",
            "1 s x",
            "1.5h",
            "99999999999999999999d",
            "9999999999999d",
            "1w",
            "3ſ",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        let error = duration("2d", DAY * 3, DAY * 5).expect_err("too short");
        assert_eq!(error, "`2d` is not within 3d and 5d");
    }

    #[test]
    fn networks_are_read_and_a_sloppy_one_is_refused() {
        let read = networks("10.0.0.0/8, fd00::/8 192.168.1.5").expect("networks");
        assert_eq!(read.len(), 3);
        assert!(read[2].to_string().ends_with("/32"));
        assert!(networks("").expect("none").is_empty());
        assert!(networks("10.1.2.3/8").expect_err("bits").contains("10.0.0.0/8 was meant"));
        assert!(networks("ten/8").is_err());
    }

    #[test]
    fn addresses_are_read() {
        assert_eq!(address("localhost:3000"), address("127.0.0.1:3000"));
        assert!(address("[::1]:0").is_ok());
        assert!(address("3000").is_err() && address("example.com:80").is_err());
        assert_eq!(loopback_or_off("off"), Ok(None));
        assert!(loopback_or_off("0.0.0.0:3001").is_err());
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(name("dispatcher-2.eu_west"), Ok("dispatcher-2.eu_west".to_owned()));
        assert!(name("two words").is_err() && name(&"n".repeat(65)).is_err());
    }
}
