//! What the API shows of events and deliveries. Reads only, each bounded in time (`limits::READ_DEADLINE`).

use async_trait::async_trait;
use bytes::Bytes;

use super::{Job, StoreError};
use crate::delivery::{AttemptRecord, DeliveryState, DiscardReason, Generation};
use crate::ids::{DeliveryId, EndpointId, EventId, JobId, TenantId};
use crate::time::Timestamp;

/// Lists and single objects of one tenant.
#[async_trait]
pub trait Browse: Send + Sync + 'static {
    /// A tenant's events.
    async fn list_events(
        &self,
        tenant: TenantId,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Page<EventView>, StoreError>;

    /// One event with its payload.
    async fn find_event(&self, tenant: TenantId, event: EventId) -> Result<Option<EventView>, StoreError>;

    /// Whose event this is, whoever asks: for the operator's side only.
    async fn tenant_of_event(&self, event: EventId) -> Result<Option<TenantId>, StoreError>;

    /// A tenant's deliveries, without their attempts. Looks for matches for `limits::LIST_BUDGET` at most, then answers with
    /// what it has found so far and where to go on.
    async fn list_deliveries(
        &self,
        tenant: TenantId,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, StoreError>;

    /// One delivery with its attempts, oldest first.
    async fn find_delivery(
        &self,
        tenant: TenantId,
        delivery: DeliveryId,
    ) -> Result<Option<DeliveryView>, StoreError>;

    /// A tenant's dead letters, through their own list, whatever else there is.
    async fn list_dead_letters(
        &self,
        tenant: TenantId,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, StoreError>;

    /// A tenant's jobs.
    async fn list_jobs(&self, tenant: TenantId, page: &PageRequest) -> Result<Page<Job>, StoreError>;

    /// One job of a tenant, or of any tenant for an operator.
    async fn find_job(&self, tenant: Option<TenantId>, job: JobId) -> Result<Option<Job>, StoreError>;
}

/// The order of a list, by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Newest first.
    #[default]
    Descending,
    /// Oldest first.
    Ascending,
}

/// Where a page ended: the key of its last item. Opaque to callers of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The item's UUID (a delivery's: its event's).
    pub uuid: uuid::Uuid,
    /// A delivery's ordinal, else 0.
    pub ordinal: u16,
}

/// Which part of a list.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// At most so many items (1 to `limits::PAGE_ITEMS`).
    pub limit: u32,
    /// Behind this position; `None`: from the start.
    pub after: Option<Position>,
    /// In this order.
    pub order: Order,
    /// Created at or after this.
    pub from: Option<Timestamp>,
    /// Created before this.
    pub to: Option<Timestamp>,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The items; there may be fewer than asked for although more follow.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: there is no more.
    pub next: Option<Position>,
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of this type.
    pub event_type: Option<String>,
}

/// Which deliveries.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// In one of these states, or in any if there is none.
    pub states: Vec<DeliveryState>,
    /// To this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Of this event.
    pub event: Option<EventId>,
    /// Of events of this type.
    pub event_type: Option<String>,
}

/// An event as it is shown.
#[derive(Debug, Clone)]
pub struct EventView {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub event_type: String,
    /// The posted payload; lists hold it too.
    pub payload: Bytes,
    /// A JSON object as text.
    pub metadata: Option<String>,
    /// The context of the CloudEvent as which it came, a JSON object as text.
    pub cloudevent: Option<String>,
    /// When it was admitted.
    pub created_at: Timestamp,
    /// The first attempt is not before this.
    pub deliver_at: Option<Timestamp>,
    /// Unfinished deliveries end then.
    pub expires_at: Timestamp,
    /// Its deliveries, without their attempts; empty in lists.
    pub deliveries: Vec<DeliveryView>,
}

/// A delivery as it is shown.
#[derive(Debug, Clone)]
pub struct DeliveryView {
    /// Its id.
    pub id: DeliveryId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// The type of its event.
    pub event_type: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Its generation.
    pub generation: Generation,
    /// How many attempts were recorded.
    pub attempt_count: u32,
    /// The attempts with their numbers; empty in lists.
    pub attempts: Vec<AttemptView>,
    /// When its event was admitted.
    pub created_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// When it is due, if it waits for its time.
    pub next_attempt_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it was discarded.
    pub discarded_reason: Option<DiscardReason>,
    /// The delivery of the same event that this one repeats.
    pub replay_of: Option<DeliveryId>,
}

/// An attempt as it is shown.
#[derive(Debug, Clone)]
pub struct AttemptView {
    /// Its number, from 1; never used twice for a delivery.
    pub n: u32,
    /// What was recorded.
    pub record: AttemptRecord,
}
