//! What [`super::Deliveries::admit`] answers.

use crate::delivery::DeliveryState;
use crate::ids::{DeliveryId, EndpointId, EventId};
use crate::time::Timestamp;

/// An outbox row: the deliveries of one admitted batch that the queue has not confirmed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutboxId(pub i64);

/// What became of the deliveries of an outbox row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The row.
    pub outbox: OutboxId,
    /// The deliveries that the queue has not taken.
    pub unpublished: Vec<DeliveryId>,
}

/// The answer of [`super::Deliveries::admit`].
#[derive(Debug)]
pub struct Admitted {
    /// The row to settle; `None`: nothing was queued.
    pub outbox: Option<OutboxId>,
    /// One per event, in order.
    pub results: Vec<Admission>,
}

/// What became of an event.
#[derive(Debug, Clone)]
pub enum Admission {
    /// It is durable.
    Accepted(AcceptedEvent),
    /// The same was admitted before; this is what was answered then. (`deliveries` holds nothing to publish.)
    Replayed {
        /// The event of then.
        id: EventId,
        /// When it was admitted.
        created_at: Timestamp,
        /// How many deliveries it had.
        deliveries: u32,
    },
    /// The idempotency key was used for something else.
    IdempotencyConflict,
    /// The tenant is unknown or being deleted.
    NoSuchTenant,
    /// `only_endpoint` is unknown or deleted.
    NoSuchEndpoint,
    /// The store cannot keep this event's data; the reason is for the log.
    Refused(String),
}

/// A durable event.
#[derive(Debug, Clone)]
pub struct AcceptedEvent {
    /// Its id.
    pub id: EventId,
    /// When it was admitted.
    pub created_at: Timestamp,
    /// Its deliveries, in ordinal order.
    pub deliveries: Vec<NewDelivery>,
}

/// A delivery that was just made, at generation 0.
#[derive(Debug, Clone, Copy)]
pub struct NewDelivery {
    /// Its ordinal.
    pub ordinal: u16,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// `Queued` (to be published), `Scheduled` or `Held`.
    pub state: DeliveryState,
}
