//! Values of `ce-` headers (HTTP protocol binding 1.0.2, §3.1.3.2): percent-encoded UTF-8.

/// Why the value of a header says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// A byte that such a header never has.
    #[error("holds what is no printable ASCII; percent-encode it")]
    Byte,
    /// It begins with a quote and is no quoted string.
    #[error("begins with a quote and is no quoted string")]
    Quote,
    /// A `%` that stands before anything else than two hexadecimal digits.
    #[error("has a `%` without two hexadecimal digits; percent-encode it")]
    Percent,
    /// The bytes that it stands for.
    #[error("is not UTF-8 once it is percent-decoded")]
    Utf8,
}

/// `text` as the value of a header: spaces, `"`, `%` and all that is not printable ASCII is encoded.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut utf8 = [0; 4];
    for c in text.chars() {
        match c {
            '"' | '%' => encoded.push_str(if c == '"' { "%22" } else { "%25" }),
            '!'..='~' => encoded.push(c),
            _ => c.encode_utf8(&mut utf8).bytes().for_each(|byte| encoded.push_str(&format!("%{byte:02X}"))),
        }
    }
    encoded
}

/// What the value of a header says: a quoted string is unquoted, then one round of percent-decoding.
pub fn decode(value: &[u8]) -> Result<String, Undecodable> {
    if value.iter().any(|byte| !matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(Undecodable::Byte);
    }
    let value = value.trim_ascii();
    let unquoted;
    let plain = match value {
        [b'"', ..] => {
            unquoted = unquote(value).ok_or(Undecodable::Quote)?;
            &unquoted
        }
        value => value,
    };
    String::from_utf8(percent_decode(plain)?).map_err(|_| Undecodable::Utf8)
}

/// A quoted string (RFC 9110, §5.6.4): `\` stands before a character that is meant as it is.
fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    let inner = value.strip_prefix(b"\"")?;
    let mut said = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    loop {
        match bytes.next()? {
            b'"' => return bytes.next().is_none().then_some(said),
            b'\\' => said.push(bytes.next()?),
            byte => said.push(byte),
        }
    }
}

fn percent_decode(value: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16)).ok_or(Undecodable::Percent);
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            // Two digits are less than 256.
            b'%' => (digit(bytes.next())? * 16 + digit(bytes.next())?) as u8,
            byte => byte,
        });
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_binding_is_encoded_as_it_says() {
        assert_eq!(encode("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(encode("a\"b%c\u{7f}"), "a%22b%25c%7F");
    }

    #[test]
    fn values_are_unquoted_then_decoded_once() {
        for (value, says) in [
            ("Euro%20%e2%82%ac", "Euro €"),
            ("%41", "A"),
            ("%2541", "%41"),
            ("a b", "a b"),
            ("  a ", "a"),
            ("", ""),
            (r#""a \"b\\c""#, r#"a "b\c"#),
            (r#""a%20b""#, "a b"),
            (r#"a"b"#, r#"a"b"#),
        ] {
            assert_eq!(decode(value.as_bytes()), Ok(says.into()), "{value}");
        }
        for (value, why) in [
            (&b"%C0%A0"[..], Undecodable::Utf8),
            (b"%ff", Undecodable::Utf8),
            (b"100%", Undecodable::Percent),
            (b"%4", Undecodable::Percent),
            (b"%4g", Undecodable::Percent),
            (b"%+1", Undecodable::Percent),
            (b"\"a", Undecodable::Quote),
            (b"\"a\"b", Undecodable::Quote),
            (b"\"a\\", Undecodable::Quote),
            ("é".as_bytes(), Undecodable::Byte),
            (b"a\x01", Undecodable::Byte),
        ] {
            assert_eq!(decode(value), Err(why), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back_and_is_a_header(text in any::<String>()) {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|b| matches!(b, b'!'..=b'~') && b != b'"'), "{}", encoded);
            prop_assert_eq!(decode(encoded.as_bytes()), Ok(text));
        }

        #[test]
        fn no_value_is_too_odd_to_be_looked_at(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&value);
        }
    }
}
