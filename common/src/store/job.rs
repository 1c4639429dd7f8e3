//! Jobs: long work on a tenant's behalf, done in bounded steps.

use serde::{Deserialize, Serialize};

use crate::delivery::DeliveryState;
use crate::ids::{EndpointId, JobId, TenantId};
use crate::time::Timestamp;

/// Long work on a tenant's behalf, done in bounded steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The stored id.
    pub id: JobId,
    /// Whose.
    pub tenant: TenantId,
    /// What it does.
    pub kind: JobKind,
    /// To which deliveries.
    pub filter: JobFilter,
    /// Where it stands.
    pub status: JobStatus,
    /// Deliveries that matched when it was made, counted up to a bound.
    pub total: u64,
    /// Deliveries it has changed.
    pub done: u64,
    /// Deliveries that had changed before it reached them.
    pub skipped: u64,
    /// Deliveries it could not change.
    pub failed: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its last step was.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Replays what matches.
    Replay,
    /// Ends dead letters as `discarded: purged`.
    Purge,
    /// Ends everything of a tenant and removes it.
    DeleteTenant,
}

/// Which deliveries a job touches. Stored as JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobFilter {
    /// Only this endpoint's.
    pub endpoint: Option<EndpointId>,
    /// Only events of this type.
    pub event_type: Option<String>,
    /// Only events admitted at or after this (milliseconds since the Unix epoch).
    pub from_ms: Option<i64>,
    /// Only events admitted before this.
    pub to_ms: Option<i64>,
    /// Only in these states: `Dead`, `Discarded`, `Delivered`.
    pub states: Vec<DeliveryState>,
    /// Only these (a dead letter's id is its delivery's id), as text.
    pub deliveries: Vec<String>,
    /// Replays so many per second at most.
    pub rate_per_s: Option<u32>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Not begun.
    Queued,
    /// Begun.
    Running,
    /// All done.
    Succeeded,
    /// Given up.
    Failed,
    /// Stopped on request.
    Cancelled,
}

crate::endpoint::stored_as_text!(JobKind { Replay = "replay", Purge = "purge", DeleteTenant = "delete_tenant" });
crate::endpoint::stored_as_text!(JobStatus {
    Queued = "queued",
    Running = "running",
    Succeeded = "succeeded",
    Failed = "failed",
    Cancelled = "cancelled",
});
