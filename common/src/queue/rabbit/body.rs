//! What is in a message: the ids of a few deliveries of one tenant, as JSON, for a person who looks into a queue.

use serde::{Deserialize, Serialize};

use crate::delivery::Generation;
use crate::ids::{DeliveryId, EndpointId, EventId, TenantId};
use crate::queue::Message;

/// The form of several deliveries. A message of a version that is not known is put aside.
const VERSION: u8 = 2;
/// The form of one delivery, which older dispatchers read too.
const SINGLE: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Body {
    version: u8,
    tenant: TenantId,
    deliveries: Vec<Item>,
}

#[derive(Serialize, Deserialize)]
struct Item {
    event: EventId,
    ordinal: u16,
    endpoint: EndpointId,
    generation: Generation,
}

#[derive(Serialize, Deserialize)]
struct Single {
    version: u8,
    tenant: TenantId,
    #[serde(flatten)]
    delivery: Item,
}

/// The bytes of a message that names these deliveries.
pub fn encode<'a>(tenant: TenantId, messages: impl IntoIterator<Item = &'a Message>) -> Vec<u8> {
    let mut deliveries: Vec<Item> = messages.into_iter().map(Item::of).collect();
    let written = match deliveries.pop() {
        Some(delivery) if deliveries.is_empty() => {
            serde_json::to_vec(&Single { version: SINGLE, tenant, delivery })
        }
        last => {
            deliveries.extend(last);
            serde_json::to_vec(&Body { version: VERSION, tenant, deliveries })
        }
    };
    written.expect("numbers and texts are always JSON")
}

/// Whose message it is and what it names. `None` if these bytes were not written by [`encode`], or name nothing.
pub fn decode(bytes: &[u8]) -> Option<(TenantId, Vec<Message>)> {
    let (tenant, deliveries) = match serde_json::from_slice::<Body>(bytes) {
        Ok(body) => (body.version == VERSION).then_some((body.tenant, body.deliveries))?,
        Err(_) => {
            let single: Single = serde_json::from_slice(bytes).ok()?;
            (single.version == SINGLE).then_some((single.tenant, vec![single.delivery]))?
        }
    };
    (!deliveries.is_empty()).then(|| (tenant, deliveries.into_iter().map(Item::message).collect()))
}

impl Item {
    fn of(message: &Message) -> Self {
        let Message { delivery: DeliveryId { event, ordinal }, endpoint, generation } = *message;
        Self { event, ordinal, endpoint, generation }
    }

    fn message(self) -> Message {
        let Self { event, ordinal, endpoint, generation } = self;
        Message { delivery: DeliveryId { event, ordinal }, endpoint, generation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ordinal: u16, generation: Generation) -> Message {
        let delivery = DeliveryId { event: EventId::generate(), ordinal };
        Message { delivery, endpoint: EndpointId::generate(), generation }
    }

    #[test]
    fn what_was_written_is_read() {
        let tenant = TenantId::generate();
        for messages in [vec![message(u16::MAX, u32::MAX)], vec![message(0, 1), message(1, 0), message(2, 7)]]
        {
            assert_eq!(decode(&encode(tenant, &messages)), Some((tenant, messages)));
        }
    }

    #[test]
    fn one_delivery_is_written_as_older_dispatchers_read_it() {
        let (tenant, message) = (TenantId::generate(), message(3, 9));
        let Message { delivery: DeliveryId { event, .. }, endpoint, .. } = message;
        let text = format!(
            r#"{{"version":1,"tenant":"{tenant}","event":"{event}","ordinal":3,"endpoint":"{endpoint}","generation":9}}"#
        );
        assert_eq!(encode(tenant, &[message]), text.as_bytes());
        assert_eq!(decode(text.as_bytes()), Some((tenant, vec![message])));
    }

    #[test]
    fn anything_else_is_not() {
        let tenant = TenantId::generate();
        let bytes = encode(tenant, &[message(1, 0), message(2, 0)]);
        assert_eq!(decode(&bytes[1..]), None);
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&encode(tenant, &[])), None, "a message that names nothing");
        let later = String::from_utf8(bytes).unwrap().replace("\"version\":2", "\"version\":3");
        assert_eq!(decode(later.as_bytes()), None);
    }
}
