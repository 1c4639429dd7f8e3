//! `POST /events`, `GET /events`, `GET /events/{event}`.

use axum::extract::{FromRequest, Request};
use axum::response::Response;
use fairhook_common::event::{EventType, NewEvent};
use fairhook_common::ids::EventId;
use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::store::{EventFilter, EventView};
use fairhook_common::time::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::body::Posted;
use super::cloudevent::{self, Form};
use super::deliveries::Shown as ShownDelivery;
use super::gate::{self, KnownBy};
use super::limiting::Decided;
use super::openapi::requests;
use super::page;
use super::page::Listed;
use super::posted_event::{self, Posting};
use super::problem::Problem;
use super::tenant::{Acting, Asked};

/// Send an event
///
/// The same idempotency key within 24 hours answers the same again; for another event it is a 422.
///
/// A CloudEvent (1.0.2) is taken too: `source` and `id` are its idempotency key, `data` the payload. In the binary form the attributes
/// are `ce-` headers and the data the whole body, in a media type of JSON.
#[utoipa::path(
    post, path = "/events", operation_id = "sendEvent", tag = "Events",
    security(("key" = ["events:write"])),
    params(requests::IdempotencyHeader),
    request_body(content((requests::NewEvent = "application/json"), (requests::CloudEvent = "application/cloudevents+json"))),
    responses((status = 202, description = "On disk, with all its deliveries.", body = gate::Accepted,
        headers(("Idempotency-Replayed" = bool, description = "`true`: it was admitted before, under the same key.")))),
    extensions(("x-problems" = json!(["tenant_suspended", "idempotency_conflict", "unsupported_media_type"])))
)]
pub(super) async fn post(asked: Asked, request: Request) -> Response {
    let mut decided = Decided::default();
    let answer = admit(&asked, request, &mut decided).await;
    gate::show(decided, answer)
}

/// Whose tenant is known by its key, the path or a header is refused before its body is read.
async fn admit(asked: &Asked, request: Request, decided: &mut Decided) -> Answer {
    let known = asked.tenant_or_any(Scope::EventsWrite).await?;
    if let Some(acting) = &known {
        gate::pass_first(asked, acting, limits::REQUEST_BODY_BYTES, decided).await?;
    }
    let ((acting, event), known_by) = match Form::of(&asked.headers)? {
        Form::Ours => (ours(asked, request, known, decided).await?, KnownBy::Key),
        form => (of_cloudevent(asked, request, known, form).await?, KnownBy::CloudEvent),
    };
    let event_type = event.event_type.clone();
    let admitted = asked.edge.admission.admit(event, gate::queue_of(&acting.tenant)).await;
    Ok(gate::taken(event_type.as_str(), admitted, known_by)?.answer())
}

/// Reads an event in the JSON of this API, and the tenant that it may name.
async fn ours(
    asked: &Asked,
    request: Request,
    known: Option<Acting>,
    decided: &mut Decided,
) -> Result<(Acting, NewEvent), Problem> {
    let header_key = posted_event::header_key(&asked.headers)?;
    let body: Posted = Posted::from_request(request, &()).await?;
    let mut fields = body.fields()?;
    let acting = match known {
        Some(acting) if fields.raw("tenant_id").is_none() => acting,
        known => {
            let acting = asked.tenant_in(Scope::EventsWrite, &mut fields).await?;
            if known.is_none() {
                gate::pass_first(asked, &acting, limits::REQUEST_BODY_BYTES, decided).await?;
            }
            acting
        }
    };
    let posting = Posting::of(asked, &body.bytes, header_key.as_deref());
    let event = posted_event::read(fields, acting.id(), &posting)?;
    Ok((acting, event))
}

/// Reads a CloudEvent, which names no tenant.
async fn of_cloudevent(
    asked: &Asked,
    request: Request,
    known: Option<Acting>,
    form: Form,
) -> Result<(Acting, NewEvent), Problem> {
    let acting = match known {
        Some(acting) => acting,
        None => asked.tenant(Scope::EventsWrite).await?,
    };
    if form == Form::Batch {
        return Err(cloudevent::unsupported("a batch of CloudEvents is sent to /events/batch"));
    }
    cloudevent::no_header_key(&asked.headers)?;
    let body: Posted = Posted::from_request(request, &()).await?;
    let posting = Posting::of(asked, &body.bytes, None);
    let event = match form {
        Form::Binary => cloudevent::binary(&asked.headers, acting.id(), &posting)?,
        _ => cloudevent::structured(body.fields()?, "", acting.id(), &posting)?,
    };
    Ok((acting, event))
}

/// List events
#[utoipa::path(
    get, path = "/events", operation_id = "listEvents", tag = "Events",
    security(("key" = ["events:read"])),
    params(requests::EventQuery, requests::Paging),
    responses((status = 200, description = "A page of them.", body = Listed<Shown>))
)]
pub(super) async fn list(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EventsRead).await?;
    let mut params = asked.params();
    let wanted = params.page();
    let event_type = params.take("type", EventType::parse).map(|event_type| event_type.as_str().to_owned());
    params.finish()?;
    let found = asked.edge.store.list_events(acting.id(), &EventFilter { event_type }, &wanted).await?;
    Ok(page::answer(found, |event| Shown::of(event, false)))
}

/// Read an event with its deliveries
#[utoipa::path(
    get, path = "/events/{event}", operation_id = "getEvent", tag = "Events",
    security(("key" = ["events:read"])),
    responses((status = 200, description = "The event.", body = Shown))
)]
pub(super) async fn find(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EventsRead).await?;
    let event: EventId = asked.id("event")?;
    asked.params().finish()?;
    let found = asked.edge.store.find_event(acting.id(), event).await?;
    let event = found.ok_or_else(|| Problem::not_found("event"))?;
    Ok(answer::ok(&Shown::of(event, true)))
}

/// An event as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Event, example = json!({
    "id": "evt_01kz0z5m4he58vf3j2c4q9w7xd", "type": "order.paid", "payload": {"order": 1001}, "metadata": null, "cloudevent": null,
    "created_at": "2026-01-31T12:00:00.000Z", "deliver_at": null, "expires_at": "2026-03-02T12:00:00.000Z"
}))]
struct Shown {
    id: EventId,
    r#type: String,
    /// As it was posted.
    #[schema(value_type = Value)]
    payload: Box<RawValue>,
    /// As it was posted.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    /// The attributes of the CloudEvent as which it came, if it came as one.
    #[schema(value_type = Option<Object>)]
    cloudevent: Option<Box<RawValue>>,
    created_at: Timestamp,
    deliver_at: Option<Timestamp>,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    deliveries: Option<Vec<ShownDelivery>>,
}

impl Shown {
    fn of(event: EventView, with_deliveries: bool) -> Self {
        let deliveries = with_deliveries
            .then(|| event.deliveries.into_iter().map(ShownDelivery::without_attempts).collect());
        Self {
            id: event.id,
            r#type: event.event_type,
            payload: raw(&String::from_utf8_lossy(&event.payload)),
            metadata: event.metadata.map(|metadata| raw(&metadata)),
            cloudevent: event.cloudevent.map(|context| raw(&context)),
            created_at: event.created_at,
            deliver_at: event.deliver_at,
            expires_at: event.expires_at,
            deliveries,
        }
    }
}

/// Stored JSON as it is; whatever else were in the store is shown as a string.
fn raw(json: &str) -> Box<RawValue> {
    let as_it_is = RawValue::from_string(json.to_owned());
    let as_string = || serde_json::value::to_raw_value(json);
    as_it_is.or_else(|_| as_string()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
