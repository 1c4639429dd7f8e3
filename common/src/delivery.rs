//! Deliveries, their states, and the attempts made for them.
//!
//! ```text
//! queued ──► delivered │ scheduled (retry, parked) │ held │ dead │ discarded
//! scheduled ──► queued (due and claimed) │ delivered (late 2xx) │ discarded
//! held ──► scheduled (active again) │ discarded
//! dead ──► scheduled (replay) │ discarded (overflow, purged, expired)
//! discarded ──► scheduled (replay of what overflowed)
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::endpoint::{StatusReason, stored_as_text};
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::time::Timestamp;

/// Raised by every claim, replay and recovery: what was decided at an older one no longer counts,
/// a 2xx excepted.
pub type Generation = u32;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Published, or claimed by a dispatcher.
    Queued,
    /// Waits for its time, or for room at its endpoint.
    Scheduled,
    /// Waits for its endpoint or tenant to be active again.
    Held,
    /// Ended: the receiver said 2xx.
    Delivered,
    /// In the dead-letter queue.
    Dead,
    /// Ended, with a [`DiscardReason`].
    Discarded,
}

stored_as_text!(DeliveryState {
    Queued = "queued",
    Scheduled = "scheduled",
    Held = "held",
    Delivered = "delivered",
    Dead = "dead",
    Discarded = "discarded",
});

impl DeliveryState {
    /// Whether nothing has been decided yet.
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Queued | Self::Scheduled | Self::Held)
    }
}

/// Why a delivery ended without being delivered or dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiscardReason {
    /// The DLQ was full. Its payload stays until retention ends, and a replay reaches it.
    DlqOverflow,
    /// Its endpoint was deleted.
    EndpointDeleted,
    /// Its tenant was deleted.
    TenantDeleted,
    /// Its tenant cancelled it.
    Cancelled,
    /// It was dead, and its tenant purged it from the DLQ.
    Purged,
    /// Its `expires_at` passed.
    Expired,
}

stored_as_text!(DiscardReason {
    DlqOverflow = "dlq_overflow",
    EndpointDeleted = "endpoint_deleted",
    TenantDeleted = "tenant_deleted",
    Cancelled = "cancelled",
    Purged = "purged",
    Expired = "expired",
});

/// Which line within its tenant a delivery waits in; the lanes take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Lane {
    /// First attempts.
    First = 0,
    /// Retries.
    Retry = 1,
    /// Replays.
    Replay = 2,
}

impl Lane {
    /// Every lane, in turn.
    pub const ALL: [Self; 3] = [Self::First, Self::Retry, Self::Replay];

    /// The inverse of `lane as u8`.
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

/// What came of an attempt, decided purely (see the dispatcher's `verdict`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver said 2xx.
    Delivered,
    /// Another attempt is due at that time. (Without an attempt it could not be made, and takes nothing of the schedule.)
    Retry {
        /// When.
        due_at: Timestamp,
    },
    /// Attempts used up, or a final answer.
    Dead,
    /// No attempt was made: its endpoint has no room. It waits in the store until the endpoint has some.
    Park,
    /// No attempt was made: its endpoint or tenant is not active.
    Hold,
    /// No attempt is wanted any more.
    Discard(DiscardReason),
}

/// An attempt that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Made when the attempt starts.
    pub id: Uuid,
    /// When it started.
    pub started_at: Timestamp,
    /// From the start to the last byte, or to the failure.
    pub duration_ms: u32,
    /// The receiver's status, if it sent one.
    pub status_code: Option<u16>,
    /// What went wrong, if anything did.
    pub error: Option<AttemptError>,
    /// The beginning of the receiver's answer, any bytes; at most `limits::RESPONSE_SNIPPET_BYTES`.
    pub response_snippet: Bytes,
}

/// What went wrong with an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptError {
    /// The kind, out of a closed list.
    pub code: AttemptErrorCode,
    /// One sentence for people; holds no secret.
    pub detail: String,
}

/// The kinds of failure of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptErrorCode {
    /// The host's name could not be resolved.
    Dns,
    /// No connection, or one that broke.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The deadline passed.
    Timeout,
    /// An answer, but not 2xx.
    HttpStatus,
    /// The address is one that must not be called.
    BlockedAddress,
    /// More head or body than is read.
    TooLarge,
    /// It was asked whether it wants anything, and did not say so.
    HandshakeRefused,
}

stored_as_text!(AttemptErrorCode {
    Dns = "dns",
    Connect = "connect",
    Tls = "tls",
    Timeout = "timeout",
    HttpStatus = "http_status",
    BlockedAddress = "blocked_address",
    TooLarge = "too_large",
    HandshakeRefused = "handshake_refused",
});

/// A verdict on its way into the store.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// The generation at which it was loaded.
    pub generation: Generation,
    /// The attempt, if one was made.
    pub attempt: Option<AttemptRecord>,
    /// What came of it.
    pub verdict: Verdict,
    /// The endpoint is to be disabled for this reason.
    pub disable: Option<StatusReason>,
    /// The time of the verdict.
    pub decided_at: Timestamp,
}
