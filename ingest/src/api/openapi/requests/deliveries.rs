//! Events and what becomes of them.

use fairhook_common::ids::{DeliveryId, EndpointId};
use fairhook_common::time::Timestamp;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::words::*;

/// An event.
#[derive(ToSchema)]
#[schema(example = json!({"type": "order.paid", "payload": {"order": 1001, "total": "49.90"}, "idempotency_key": "order-1001-paid"}))]
pub struct NewEvent {
    /// Whose event it is, for an operator.
    pub tenant_id: Option<TenantName>,
    /// What has happened.
    pub r#type: EventTypeName,
    /// Any JSON; receivers get it byte for byte.
    #[schema(value_type = Value, required = true)]
    pub payload: Value,
    /// The same key within 24 hours is the same event.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Not before this; at most 14 days ahead.
    pub deliver_at: Option<Timestamp>,
    /// Not after this; until retention ends unless it is said.
    pub expires_at: Option<Timestamp>,
    /// The tenant's notes; they are not sent.
    pub metadata: Option<Metadata>,
}

/// Events, each of which stands alone.
#[derive(ToSchema)]
#[schema(example = json!({"events": [{"type": "order.paid", "payload": {"order": 1001}}, {"type": "order.sent", "payload": null}]}))]
pub struct EventBatch {
    /// Whose events they are, for an operator.
    pub tenant_id: Option<TenantName>,
    /// At least one. One that is not as it has to be is rejected alone.
    #[schema(min_items = 1, max_items = 1000)]
    pub events: Vec<NewEvent>,
}

/// Which deliveries are to be repeated.
#[derive(ToSchema)]
#[schema(example = json!({"from": "2026-01-31T00:00:00Z", "to": "2026-02-01T00:00:00Z", "status": ["dead"], "dry_run": true}))]
pub struct ReplayOrder {
    /// Whose deliveries, for an operator.
    pub tenant_id: Option<TenantName>,
    /// Of this endpoint only.
    pub endpoint_id: Option<EndpointId>,
    /// Of events of this type only.
    pub r#type: Option<EventTypeName>,
    /// Of events that were accepted at this time or later.
    pub from: Timestamp,
    /// And before this.
    pub to: Timestamp,
    /// How they ended; `["dead"]` unless it is said.
    #[schema(min_items = 1, max_items = 3)]
    pub status: Option<Vec<Replayable>>,
    /// So many at most.
    pub rate_per_s: Option<ReplayRate>,
    /// Counts only.
    pub dry_run: Option<bool>,
}

/// An end that can be taken back, or repeated.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Replayable {
    /// In the dead-letter queue.
    Dead,
    /// Discarded by an overflow.
    Discarded,
    /// Delivered: it becomes a new delivery.
    Delivered,
}

/// Which dead letters are replayed: at least one criterion, or `all`.
#[derive(ToSchema)]
#[schema(example = json!({"type": "order.paid", "rate_per_s": 10}))]
pub struct DeadLettersToReplay {
    /// Whose, for an operator.
    pub tenant_id: Option<TenantName>,
    /// Of this endpoint only.
    pub endpoint_id: Option<EndpointId>,
    /// Of events of this type only.
    pub r#type: Option<EventTypeName>,
    /// Of events that were accepted at this time or later.
    pub from: Option<Timestamp>,
    /// And before this.
    pub to: Option<Timestamp>,
    /// These.
    #[schema(min_items = 1, max_items = 1000)]
    pub ids: Option<Vec<DeliveryId>>,
    /// Every one; then there is no other criterion.
    pub all: Option<bool>,
    /// So many at most.
    pub rate_per_s: Option<ReplayRate>,
}

/// Which dead letters are purged: at least one criterion, or `all`.
#[derive(ToSchema)]
#[schema(example = json!({"ids": ["dlv_01kz0z5m4he58vf3j2c4q9w7xd0000"]}))]
pub struct DeadLettersToPurge {
    /// Whose, for an operator.
    pub tenant_id: Option<TenantName>,
    /// Of this endpoint only.
    pub endpoint_id: Option<EndpointId>,
    /// Of events of this type only.
    pub r#type: Option<EventTypeName>,
    /// Of events that were accepted at this time or later.
    pub from: Option<Timestamp>,
    /// And before this.
    pub to: Option<Timestamp>,
    /// These.
    #[schema(min_items = 1, max_items = 1000)]
    pub ids: Option<Vec<DeliveryId>>,
    /// Every one; then there is no other criterion.
    pub all: Option<bool>,
}

/// Nothing but whose it is.
#[derive(ToSchema)]
#[schema(example = json!({}))]
pub struct TenantOnly {
    /// For whom an operator acts.
    pub tenant_id: Option<TenantName>,
}

/// Nothing at all.
#[derive(ToSchema)]
#[schema(example = json!({}))]
pub struct Nothing {}
