//! The parameters of queries, and headers that requests may have.

use fairhook_common::delivery::DeliveryState;
use fairhook_common::endpoint::EndpointStatus;
use fairhook_common::ids::{EndpointId, EventId};
use fairhook_common::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

use super::super::words::*;

/// Which page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Items on the page; 50 unless it is said.
    #[param(nullable = false)]
    pub limit: Option<PageLimit>,
    /// The newest first unless it is `asc`. It stays the same from page to page.
    #[param(nullable = false)]
    pub order: Option<ListOrder>,
    /// `next_cursor` of the page before.
    #[param(nullable = false)]
    pub cursor: Option<Cursor>,
    /// Made at this time or later.
    #[param(nullable = false)]
    pub from: Option<Timestamp>,
    /// Made before this time.
    #[param(nullable = false)]
    pub to: Option<Timestamp>,
}

/// In which order.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ListOrder {
    /// The oldest first.
    Asc,
    /// The newest first.
    Desc,
}

/// Which endpoints.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EndpointQuery {
    /// In one of these states, separated by commas.
    #[param(nullable = false, style = Form, explode = false)]
    pub status: Option<Vec<EndpointStatus>>,
}

/// Which events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Of this type.
    #[param(nullable = false)]
    pub r#type: Option<EventTypeName>,
}

/// In which states.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatusQuery {
    /// In one of these states, separated by commas.
    #[param(nullable = false, style = Form, explode = false)]
    pub status: Option<Vec<DeliveryState>>,
}

/// Which deliveries.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveryQuery {
    /// To this endpoint.
    #[param(nullable = false)]
    pub endpoint_id: Option<EndpointId>,
    /// Of this event.
    #[param(nullable = false)]
    pub event_id: Option<EventId>,
    /// Of events of this type.
    #[param(nullable = false)]
    pub r#type: Option<EventTypeName>,
}

/// Of which time.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SpanQuery {
    /// From the minute that holds this time; a day before `to` unless it is said.
    #[param(nullable = false)]
    pub from: Option<Timestamp>,
    /// Before this time; now unless it is said. At most 7 days after `from`.
    #[param(nullable = false)]
    pub to: Option<Timestamp>,
}

/// How long to wait.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TestQuery {
    /// Answers once the first attempt is recorded, or after so many seconds.
    #[param(nullable = false)]
    pub wait_s: Option<TestWaitS>,
}

/// Names the event.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyHeader {
    /// In place of the member `idempotency_key`; a quoted string, or the bare text.
    #[param(nullable = false, rename = "Idempotency-Key", max_length = 256)]
    pub idempotency_key: Option<String>,
}
