//! What is in a message: ids, as JSON, for a person who looks into a queue.

use serde::{Deserialize, Serialize};

use crate::delivery::Generation;
use crate::ids::{DeliveryId, EndpointId, EventId, TenantId};
use crate::queue::Message;

/// The only version there is. A message of another is put aside.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Body {
    version: u8,
    tenant: TenantId,
    event: EventId,
    ordinal: u16,
    endpoint: EndpointId,
    generation: Generation,
}

/// The bytes of a message.
pub fn encode(tenant: TenantId, message: &Message) -> Vec<u8> {
    let DeliveryId { event, ordinal } = message.delivery;
    let Message { endpoint, generation, .. } = *message;
    let body = Body { version: VERSION, tenant, event, ordinal, endpoint, generation };
    serde_json::to_vec(&body).expect("numbers and texts are always JSON")
}

/// Whose message it is and what it says. `None` if these bytes were not written by [`encode`].
pub fn decode(bytes: &[u8]) -> Option<(TenantId, Message)> {
    let body: Body = serde_json::from_slice(bytes).ok()?;
    let delivery = DeliveryId { event: body.event, ordinal: body.ordinal };
    let message = Message { delivery, endpoint: body.endpoint, generation: body.generation };
    (body.version == VERSION).then_some((body.tenant, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let tenant = TenantId::generate();
        let delivery = DeliveryId { event: EventId::generate(), ordinal: u16::MAX };
        let message = Message { delivery, endpoint: EndpointId::generate(), generation: u32::MAX };
        assert_eq!(decode(&encode(tenant, &message)), Some((tenant, message)));
    }

    #[test]
    fn anything_else_is_not() {
        let tenant = TenantId::generate();
        let delivery = DeliveryId { event: EventId::generate(), ordinal: 1 };
        let bytes = encode(tenant, &Message { delivery, endpoint: EndpointId::generate(), generation: 0 });
        assert_eq!(decode(&bytes[1..]), None);
        assert_eq!(decode(b""), None);
        let later = String::from_utf8(bytes).unwrap().replace("\"version\":1", "\"version\":2");
        assert_eq!(decode(later.as_bytes()), None);
    }
}
