//! A test event to one endpoint, whatever it subscribes to.

use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use fairhook_common::delivery::DeliveryState;
use fairhook_common::event::{EventType, NewEvent};
use fairhook_common::ids::{DeliveryId, EventId};
use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::store::{Admission, DeliveryView};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::body::Posted;
use super::deliveries::Shown;
use super::endpoints::named;
use super::gate;
use super::limiting::Decided;
use super::openapi::requests;
use super::problem::{Code, Problem};
use super::tenant::{Acting, Asked};

/// The first pause between two looks at the store; each is longer than the one before, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(250);

/// Send a test event to an endpoint
///
/// Of the type `fairhook.test`, whatever the endpoint subscribes to. It counts as an event.
#[utoipa::path(
    post, path = "/endpoints/{endpoint}/test", operation_id = "testEndpoint", tag = "Endpoints",
    security(("key" = ["endpoints:write"])),
    params(requests::TestQuery),
    request_body = Option<requests::TenantOnly>,
    responses((status = 202, description = "On its way; with `wait_s` its delivery as it then stands.", body = Tested)),
    extensions(("x-problems" = json!(["tenant_suspended"])))
)]
pub(super) async fn send(asked: Asked, body: Posted) -> Response {
    let mut decided = Decided::default();
    let answer = test(&asked, &body, &mut decided).await;
    gate::show(decided, answer)
}

async fn test(asked: &Asked, body: &Posted, decided: &mut Decided) -> Answer {
    let mut fields = body.fields_or_none()?;
    let acting = asked.tenant_in(Scope::EndpointsWrite, &mut fields).await?;
    fields.finish(|| Some(()))?;
    let wait = wait(asked)?;
    let endpoint = named(asked, &acting).await?;
    gate::pass_first(asked, &acting, limits::REQUEST_BODY_BYTES, decided).await?;
    let payload = json!({ "test": true, "endpoint_id": endpoint.id, "sent_at": asked.at });
    let event = NewEvent {
        tenant: acting.id(),
        event_type: EventType::parse("fairhook.test").expect("it is a type"),
        payload: Bytes::from(payload.to_string()),
        metadata: None,
        cloudevent: None,
        deliver_at: None,
        expires_at: asked.at.after(limits::TEST_TTL),
        idempotency: None,
        only_endpoint: Some(endpoint.id),
    };
    let delivery = admit(asked, &acting, event).await?;
    let tried = first_attempt(asked, &acting, delivery, wait).await?.map(Shown::with_attempts);
    Ok(answer::accepted(&Tested { event_id: delivery.event, delivery_id: delivery, delivery: tried }))
}

/// A test event that is on its way.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"event_id": "evt_01kz0z5m4he58vf3j2c4q9w7xd", "delivery_id": "dlv_01kz0z5m4he58vf3j2c4q9w7xd0000"}))]
struct Tested {
    event_id: EventId,
    delivery_id: DeliveryId,
    /// With `wait_s`: as it stands once its first attempt is recorded, it is held, or the time is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    delivery: Option<Shown>,
}

fn wait(asked: &Asked) -> Result<Duration, Problem> {
    let mut params = asked.params();
    let longest = limits::TEST_WAIT.as_secs();
    let wait = params.take("wait_s", |text| {
        let seconds = text.parse().ok().filter(|seconds| (0..=longest).contains(seconds));
        seconds.ok_or(format!("must be a whole number from 0 to {longest}"))
    });
    params.finish()?;
    Ok(Duration::from_secs(wait.unwrap_or(0)))
}

async fn admit(asked: &Asked, acting: &Acting, event: NewEvent) -> Result<DeliveryId, Problem> {
    let event_type = event.event_type.clone();
    let admitted = asked.edge.admission.admit(event, gate::queue_of(&acting.tenant)).await;
    if let Ok(Admission::Accepted(accepted)) = &admitted
        && let [only] = &accepted.deliveries[..]
    {
        return Ok(DeliveryId { event: accepted.id, ordinal: only.ordinal });
    }
    gate::taken(event_type.as_str(), admitted, gate::KnownBy::Key)?;
    tracing::error!("a test event was admitted without its one delivery");
    Err(Problem::new(Code::Internal, "the test could not be sent; the log says why"))
}

/// Looks until an attempt is recorded or none will be made for now, at most for `wait`; how it stands then.
async fn first_attempt(
    asked: &Asked,
    acting: &Acting,
    delivery: DeliveryId,
    wait: Duration,
) -> Result<Option<DeliveryView>, Problem> {
    let deadline = Instant::now() + wait;
    let (mut pause, mut last) = (FIRST_PAUSE, None);
    while Instant::now() < deadline {
        sleep_until(deadline.min(Instant::now() + pause)).await;
        pause = (pause * 2).min(LAST_PAUSE);
        let found = asked.edge.store.find_delivery(acting.id(), delivery).await?;
        let Some(view) = found else { return Ok(None) };
        let held = view.state == DeliveryState::Held;
        let settled = held || view.attempt_count > 0 || !view.state.is_unfinished();
        last = Some(view);
        if settled {
            break;
        }
    }
    Ok(last)
}
