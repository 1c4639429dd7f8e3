//! `GET /deliveries`, `GET /deliveries/{delivery}`, and its `cancel` and `replay`.

use fairhook_common::delivery::{AttemptErrorCode, DeliveryState, DiscardReason};
use fairhook_common::event::EventType;
use fairhook_common::ids::{DeliveryId, EndpointId, EventId, TenantId};
use fairhook_common::key::Scope;
use fairhook_common::store::{AttemptView, DeliveryFilter, DeliveryView, Replayed};
use fairhook_common::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Edge;
use super::answer::{self, Answer};
use super::body::Posted;
use super::openapi::requests;
use super::page::{self, Listed, Params};
use super::problem::{Code, Problem};
use super::tenant::Asked;

pub(super) const STATES: &str = "queued, scheduled, held, delivered, dead, discarded";

/// List deliveries
#[utoipa::path(
    get, path = "/deliveries", operation_id = "listDeliveries", tag = "Deliveries",
    security(("key" = ["events:read"])),
    params(requests::StatusQuery, requests::DeliveryQuery, requests::Paging),
    responses((status = 200, description = "A page of them.", body = Listed<Shown>))
)]
pub(super) async fn list(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EventsRead).await?;
    let mut params = asked.params();
    let wanted = params.page();
    let states = params.list("status", |text| page::name_of(text, DeliveryState::from_name, STATES));
    let filter = DeliveryFilter { states, ..filter(&mut params) };
    params.finish()?;
    let found = asked.edge.store.list_deliveries(acting.id(), &filter, &wanted).await?;
    Ok(page::answer(found, Shown::without_attempts))
}

/// The parameters that dead letters take as well.
pub(super) fn filter(params: &mut Params) -> DeliveryFilter {
    DeliveryFilter {
        states: Vec::new(),
        endpoint: params.take("endpoint_id", str::parse::<EndpointId>),
        event: params.take("event_id", str::parse::<EventId>),
        event_type: params.take("type", EventType::parse).map(|event_type| event_type.as_str().to_owned()),
    }
}

/// Read a delivery with its attempts
#[utoipa::path(
    get, path = "/deliveries/{delivery}", operation_id = "getDelivery", tag = "Deliveries",
    security(("key" = ["events:read"])),
    responses((status = 200, description = "The delivery.", body = Shown))
)]
pub(super) async fn find(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EventsRead).await?;
    let delivery = asked.id("delivery")?;
    asked.params().finish()?;
    Ok(answer::ok(&shown(&asked.edge, acting.id(), delivery).await?))
}

async fn shown(edge: &Edge, tenant: TenantId, delivery: DeliveryId) -> Result<Shown, Problem> {
    let found = edge.store.find_delivery(tenant, delivery).await?;
    found.map(Shown::with_attempts).ok_or_else(|| Problem::not_found("delivery"))
}

/// Cancel an unfinished delivery
#[utoipa::path(
    post, path = "/deliveries/{delivery}/cancel", operation_id = "cancelDelivery", tag = "Deliveries",
    security(("key" = ["replays:write"])),
    request_body = Option<requests::TenantOnly>,
    responses((status = 200, description = "It is discarded: `cancelled`.", body = Shown)),
    extensions(("x-problems" = json!(["wrong_state"])))
)]
pub(super) async fn cancel(asked: Asked, body: Posted) -> Answer {
    let acting = asked.tenant_in(Scope::ReplaysWrite, &mut no_fields(&body)?).await?;
    let delivery = asked.id("delivery")?;
    let state = asked.edge.store.cancel(acting.id(), delivery, asked.at).await?;
    match state.ok_or_else(|| Problem::not_found("delivery"))? {
        DeliveryState::Discarded => Ok(answer::ok(&shown(&asked.edge, acting.id(), delivery).await?)),
        ended => Err(wrong_state(ended, "only an unfinished delivery can be cancelled")),
    }
}

/// Repeat a delivery
///
/// One that is dead, or was discarded by an overflow, goes on; one that was delivered becomes a new delivery.
#[utoipa::path(
    post, path = "/deliveries/{delivery}/replay", operation_id = "replayDelivery", tag = "Deliveries",
    security(("key" = ["replays:write"])),
    request_body = Option<requests::TenantOnly>,
    responses((status = 202, description = "It is due.", body = Shown)),
    extensions(("x-problems" = json!(["wrong_state"])))
)]
pub(super) async fn replay(asked: Asked, body: Posted) -> Answer {
    let acting = asked.tenant_in(Scope::ReplaysWrite, &mut no_fields(&body)?).await?;
    let delivery = asked.id("delivery")?;
    let replayed = asked.edge.store.replay(acting.id(), delivery, asked.at).await?;
    match replayed.ok_or_else(|| Problem::not_found("delivery"))? {
        Replayed::Due(due) => Ok(answer::accepted(&shown(&asked.edge, acting.id(), due).await?)),
        Replayed::NotReplayable(state) => {
            let detail = "a delivery can be replayed that is dead, delivered, or discarded by an overflow";
            Err(wrong_state(state, detail))
        }
        Replayed::EndpointGone => {
            Err(Problem::new(Code::WrongState, "the endpoint of the delivery is deleted"))
        }
    }
}

/// A body that says nothing, or names the tenant.
fn no_fields(body: &Posted) -> Result<super::json::Fields<'_>, Problem> {
    // Read twice: once to refuse what is unknown, once for the tenant.
    let mut checked = body.fields_or_none()?;
    checked.raw("tenant_id");
    checked.finish(|| Some(()))?;
    body.fields_or_none()
}

fn wrong_state(state: DeliveryState, detail: &str) -> Problem {
    let name = state.name();
    Problem::new(Code::WrongState, format!("the delivery is {name}; {detail}")).member("state", name.into())
}

/// A delivery as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery, example = json!({
    "id": "dlv_01kz0z5m4he58vf3j2c4q9w7xd0000", "event_id": "evt_01kz0z5m4he58vf3j2c4q9w7xd", "type": "order.paid",
    "endpoint_id": "ep_01kz0z5m4he58vf3j2c4q9w7xd", "status": "scheduled", "discarded_reason": null, "attempt_count": 1,
    "attempts": [{
        "n": 1, "started_at": "2026-01-31T12:00:00.004Z", "duration_ms": 38, "status_code": 500,
        "error": {"code": "http_status", "detail": "the receiver answered 500"}, "response_snippet": "oops"
    }],
    "next_attempt_at": "2026-01-31T12:00:05.042Z", "created_at": "2026-01-31T12:00:00.000Z",
    "expires_at": "2026-03-02T12:00:00.000Z", "finished_at": null, "replay_of": null
}))]
pub(super) struct Shown {
    id: DeliveryId,
    event_id: EventId,
    r#type: String,
    endpoint_id: EndpointId,
    status: DeliveryState,
    /// Why it was discarded, if it was.
    discarded_reason: Option<DiscardReason>,
    attempt_count: u32,
    /// The latest 500; lists leave them out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attempts: Option<Vec<ShownAttempt>>,
    next_attempt_at: Option<Timestamp>,
    /// When its event was taken, of a repetition too, which is found in lists by that time. When that was asked for is told by
    /// `created_at` of its job, if it has one, and its first attempt by `started_at`.
    created_at: Timestamp,
    expires_at: Timestamp,
    finished_at: Option<Timestamp>,
    /// The delivery that was delivered before and is repeated by this one.
    replay_of: Option<DeliveryId>,
}

impl Shown {
    /// As lists have it.
    pub(super) fn without_attempts(view: DeliveryView) -> Self {
        Self { attempts: None, ..Self::with_attempts(view) }
    }

    pub(super) fn with_attempts(view: DeliveryView) -> Self {
        Self {
            id: view.id,
            event_id: view.id.event,
            r#type: view.event_type,
            endpoint_id: view.endpoint,
            status: view.state,
            discarded_reason: view.discarded_reason,
            attempt_count: view.attempt_count,
            attempts: Some(view.attempts.into_iter().map(ShownAttempt::of).collect()),
            next_attempt_at: view.next_attempt_at,
            created_at: view.created_at,
            expires_at: view.expires_at,
            finished_at: view.finished_at,
            replay_of: view.replay_of,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
struct ShownAttempt {
    /// Counts from 1, over replays too.
    n: u32,
    started_at: Timestamp,
    duration_ms: u32,
    /// What the receiver answered, if it did.
    status_code: Option<u16>,
    /// What went wrong, if anything did.
    error: Option<ShownError>,
    /// The beginning of the receiver's answer. What is no UTF-8 in it is replaced.
    response_snippet: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AttemptError)]
struct ShownError {
    code: AttemptErrorCode,
    detail: String,
}

impl ShownAttempt {
    fn of(AttemptView { n, record }: AttemptView) -> Self {
        let error = record.error.map(|error| ShownError { code: error.code, detail: error.detail });
        let response_snippet = String::from_utf8_lossy(&record.response_snippet).into_owned();
        Self {
            n,
            started_at: record.started_at,
            duration_ms: record.duration_ms,
            status_code: record.status_code,
            error,
            response_snippet,
        }
    }
}
