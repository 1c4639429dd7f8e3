//! What [`super::Deliveries::load`] takes and answers: everything that an attempt needs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cloudevent::Context;
use crate::delivery::{DiscardReason, Generation};
use crate::endpoint::{BodyForm, CustomHeader, Secrets};
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::retry::RetrySchedule;
use crate::time::Timestamp;

/// What is to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The generation of the message or the claim.
    pub generation: Generation,
}

/// The answer to a ticket.
#[derive(Debug, Clone)]
pub enum Load {
    /// Go ahead.
    Attempt(Box<Loaded>),
    /// No longer `Queued` at that generation, or unknown: ack without an attempt.
    Stale,
    /// Its endpoint or tenant is not active: record a `Hold`.
    Hold,
    /// It is not wanted any more: record a `Discard`.
    Discard(DiscardReason),
}

/// What an attempt needs.
#[derive(Clone)]
pub struct Loaded {
    /// What is attempted; its event's id is the `webhook-id`.
    pub delivery: DeliveryId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it goes.
    pub endpoint: Arc<EndpointSnapshot>,
    /// The event's type.
    pub event_type: Arc<str>,
    /// The posted payload.
    pub payload: Bytes,
    /// The context of the CloudEvent as which it came, if it came as one.
    pub cloudevent: Option<Context>,
    /// When the event was admitted.
    pub created_at: Timestamp,
    /// No attempt starts after this.
    pub expires_at: Timestamp,
    /// Attempts recorded so far.
    pub attempts: u32,
    /// The position in the retry schedule.
    pub schedule_position: u32,
}

/// An endpoint as an attempt needs it.
pub struct EndpointSnapshot {
    /// The stored id.
    pub id: EndpointId,
    /// Where to.
    pub url: String,
    /// Custom headers.
    pub headers: Vec<CustomHeader>,
    /// What signs.
    pub secrets: Secrets,
    /// One deadline over the whole attempt.
    pub timeout: Duration,
    /// The waits between attempts.
    pub retry: RetrySchedule,
    /// The form of the body.
    pub body: BodyForm,
    /// Attempts started per second at most.
    pub rate_limit_per_s: Option<u32>,
    /// It is asked whether it wants anything before it gets anything.
    pub handshake: bool,
}

/// Names what is meant, and shows neither payloads nor URLs: both may hold what only the tenant may see.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (delivery, endpoint, bytes) = (self.delivery, self.endpoint.id, self.payload.len());
        write!(f, "Loaded({delivery} to {endpoint}, {bytes} bytes, {} attempts so far)", self.attempts)
    }
}

impl fmt::Debug for EndpointSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointSnapshot({})", self.id)
    }
}
