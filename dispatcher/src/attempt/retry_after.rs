//! `Retry-After`: seconds, or a date.

use std::time::Duration;

use fairhook_common::limits;
use fairhook_common::time::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// What the header asks for, seen from `now`; at most `limits::RETRY_AFTER_MAX`. `None`: it says nothing that can be read.
pub(super) fn parse(value: &[u8], now: Timestamp) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are more seconds than are obeyed.
        text.parse().map_or(Duration::MAX, Duration::from_secs)
    } else {
        let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
        Timestamp(at.unix_timestamp().saturating_mul(1000)).since(now)
    };
    Some(wait.min(limits::RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_capped() {
        let now = Timestamp::parse("1994-11-06T08:49:07Z").expect("a time");
        let seconds = |text: &str| parse(text.as_bytes(), now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("86401"), Some(86_400));
        assert_eq!(seconds("99999999999999999999999"), Some(86_400));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(30));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(seconds("Fri, 31 Dec 9999 23:59:59 GMT"), Some(86_400));
        for nonsense in ["", "soon", "-5", "1.5", "Sun, 99 Nov 1994 08:49:37 GMT", "\u{fffd}"] {
            assert_eq!(seconds(nonsense), None, "{nonsense:?}");
        }
        assert_eq!(parse(&[0xff, 0x00], now), None);
    }
}
