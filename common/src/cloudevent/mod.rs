//! CloudEvents 1.0.2: what goes with the data of one. Its data are an event's payload; its *context*, all its other
//! attributes, is kept beside them, so that who asks for CloudEvents gets the one that was posted.

mod attribute;
mod percent;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::ids::{EventId, TenantId};
use crate::limits;
use crate::time::Timestamp;

pub use attribute::{Attribute, InvalidAttribute, REQUIRED, check, is_json};
pub use percent::{Undecodable, decode, encode};

/// The media type of one CloudEvent in JSON.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// The media type of many.
pub const BATCH: &str = "application/cloudevents-batch+json";
/// What the headers of the binary form begin with.
pub const HEADER_PREFIX: &str = "ce-";
/// The attribute that a binary form has as `Content-Type`.
pub const CONTENT_TYPE: &str = "datacontenttype";

/// A CloudEvent without its data: a JSON object as text, never an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context(Arc<str>);

impl Context {
    /// What these attributes make, each of which was [checked](check); the [required](REQUIRED) ones are among them.
    pub fn of(attributes: &BTreeMap<String, Attribute>) -> Self {
        Self(serde_json::to_string(attributes).expect("texts, numbers and flags are JSON").into())
    }

    /// As [`Context::json`] was stored.
    pub fn stored(json: &str) -> Self {
        Self(json.into())
    }

    /// The context of an event that did not come as a CloudEvent.
    pub fn own(event: EventId, tenant: TenantId, event_type: &str, created_at: Timestamp) -> Self {
        // Neither ids nor types nor times hold what JSON escapes.
        let json = format!(
            r#"{{"specversion":"1.0","id":"{event}","source":"urn:fairhook:tenant:{tenant}","type":"{event_type}","time":"{created_at}","datacontenttype":"application/json"}}"#
        );
        Self(json.into())
    }

    /// The text.
    pub fn json(&self) -> &str {
        &self.0
    }

    /// The structured form: the CloudEvent as JSON, with `data` in it byte for byte.
    pub fn with_data(&self, data: &[u8]) -> Bytes {
        const DATA: &[u8] = b",\"data\":";
        let open = self.0.strip_suffix('}').unwrap_or(&self.0);
        let mut whole = BytesMut::with_capacity(open.len() + DATA.len() + data.len() + 1);
        whole.put_slice(open.as_bytes());
        whole.put_slice(DATA);
        whole.put_slice(data);
        whole.put_u8(b'}');
        whole.freeze()
    }

    /// The headers of the binary form, encoded as they are to be sent, `content-type` among them.
    pub fn headers(&self) -> Vec<(String, String)> {
        // What was stored was checked before.
        let mut attributes: BTreeMap<String, Attribute> = serde_json::from_str(&self.0).unwrap_or_default();
        let content_type = match attributes.remove(CONTENT_TYPE) {
            Some(Attribute::Text(media_type)) => media_type,
            _ => "application/json".to_owned(),
        };
        let named = attributes.into_iter().map(|(name, value)| {
            let value = encode(&value.to_string());
            (format!("{HEADER_PREFIX}{name}"), value)
        });
        named.chain([("content-type".to_owned(), content_type)]).collect()
    }
}

/// The idempotency key of a CloudEvent: `source` and `id` name it together. No two pairs have the same one; what would be
/// longer than a key may be is hashed.
pub fn idempotency_key(source: &str, id: &str) -> String {
    let key = format!("ce:{}:{source}:{id}", source.len());
    if key.chars().count() <= limits::IDEMPOTENCY_KEY_CHARS {
        return key;
    }
    let mut hash = Sha256::new();
    hash.update((source.len() as u64).to_be_bytes());
    hash.update(source);
    hash.update(id);
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("ce:sha256:{digits}")
}

/// Whether a key is one that [`idempotency_key`] makes of some CloudEvent.
pub fn is_idempotency_key(key: &str) -> bool {
    let Some((head, rest)) = key.strip_prefix("ce:").and_then(|key| key.split_once(':')) else {
        return false;
    };
    if head == "sha256" {
        return rest.len() == 64 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    }
    let digits = head.bytes().all(|b| b.is_ascii_digit()) && (head == "0" || !head.starts_with('0'));
    let colon = head.parse::<usize>().ok().and_then(|length| rest.as_bytes().get(length));
    digits && colon == Some(&b':')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn context() -> Context {
        let text = |text: &str| Attribute::Text(text.into());
        Context::of(&BTreeMap::from([
            ("specversion".to_owned(), text("1.0")),
            ("id".to_owned(), text("a \"b\" €")),
            ("source".to_owned(), text("/cloud/\u{1F600}")),
            ("type".to_owned(), text("order.paid")),
            ("sequence".to_owned(), Attribute::Number(-7)),
            ("sampled".to_owned(), Attribute::Flag(true)),
            (CONTENT_TYPE.to_owned(), text("application/vnd.acme+json; charset=utf-8")),
        ]))
    }

    #[test]
    fn the_structured_form_holds_attributes_and_the_data_byte_for_byte() {
        let data = b"{ \"n\":1.00,\t\"b\" : [] }";
        let whole = context().with_data(data);
        assert!(whole.windows(data.len()).any(|part| part == data));
        let whole: Value = serde_json::from_slice(&whole).expect("JSON");
        assert_eq!((&whole["sequence"], &whole["sampled"]), (&json!(-7), &json!(true)));
        assert_eq!((&whole["id"], &whole["data"]["n"]), (&json!("a \"b\" €"), &json!(1.0)));
        assert_eq!(Context::stored(context().json()), context());
    }

    #[test]
    fn the_binary_form_has_a_header_for_every_attribute() {
        let expected = [
            ("ce-id", "a%20%22b%22%20%E2%82%AC"),
            ("ce-sampled", "true"),
            ("ce-sequence", "-7"),
            ("ce-source", "/cloud/%F0%9F%98%80"),
            ("ce-specversion", "1.0"),
            ("ce-type", "order.paid"),
            ("content-type", "application/vnd.acme+json; charset=utf-8"),
        ];
        let headers = context().headers();
        let shown: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_event_of_our_own_is_a_whole_cloudevent() {
        let (event, tenant) = (EventId::generate(), TenantId::generate());
        let own = Context::own(event, tenant, "order.paid", Timestamp(1_649_367_553_123));
        let attributes: BTreeMap<String, Attribute> = serde_json::from_str(own.json()).expect("attributes");
        for (name, value) in &attributes {
            assert_eq!(check(name, value), Ok(()), "{name}");
        }
        assert!(REQUIRED.iter().all(|name| attributes.contains_key(*name)));
        assert_eq!(attributes["id"], Attribute::Text(event.to_string()));
        assert_eq!(attributes["time"], Attribute::Text("2022-04-07T21:39:13.123Z".into()));
    }

    #[test]
    fn a_key_that_is_not_a_cloudevents_is_not_taken_for_one() {
        let long = "x".repeat(limits::IDEMPOTENCY_KEY_CHARS);
        for (source, id) in [("", ""), ("/a", "b"), ("a:b", "c:d"), ("ü", "€"), (&long, "b")] {
            let key = idempotency_key(source, id);
            assert!(is_idempotency_key(&key), "{key}");
        }
        let short = format!("ce:sha256:{}", "0".repeat(63));
        let upper = format!("ce:sha256:{}", "A".repeat(64));
        for key in [
            "",
            "ce",
            "ce:",
            "ce:order-1",
            "ce:2:/ab",
            "ce:2:/",
            "ce:02:/a:b",
            "ce:+2:/a:b",
            "ce::a",
            "ce:99999999999999999999:a:b",
            "CE:2:/a:b",
            "xce:2:/a:b",
            &short,
            &upper,
        ] {
            assert!(!is_idempotency_key(key), "{key}");
        }
    }

    #[test]
    fn a_key_is_never_longer_than_a_key_may_be() {
        assert_eq!(idempotency_key("/a", "b"), "ce:2:/a:b");
        let long = "x".repeat(limits::IDEMPOTENCY_KEY_CHARS);
        let key = idempotency_key(&long, "b");
        assert!(key.starts_with("ce:sha256:") && key.len() == 10 + 64, "{key}");
        assert_ne!(key, idempotency_key(&long, "c"));
        let split = |at: usize| idempotency_key(&long[..at], &long[at..]);
        assert_ne!(split(3), split(4), "where the one ends and the other begins tells them apart");
    }

    proptest! {
        #[test]
        fn where_the_source_ends_and_the_id_begins_is_part_of_the_key(
            text in "[a:1]{4,8}", one in 1usize..4, other in 1usize..4,
        ) {
            let key = |at: usize| idempotency_key(&text[..at], &text[at..]);
            prop_assert_eq!(key(one) == key(other), one == other);
        }
    }
}
