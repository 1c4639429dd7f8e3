//! `POST /events/batch`: many events in one request, each of which stands alone.

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fairhook_common::ids::EventId;
use fairhook_common::key::Scope;
use fairhook_common::limits;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::body::Posted;
use super::cloudevent::{self, Form};
use super::gate::{Accepted, KnownBy};
use super::json::{Faults, Fields, Read};
use super::limiting::Decided;
use super::openapi::answers::ProblemShape;
use super::openapi::requests;
use super::posted_event::{self, Posting};
use super::problem::{Code, Problem};
use super::tenant::{Acting, Asked};
use super::{gate, read};
use crate::admission::Ticket;
use crate::analytics::RefusedEvents;

/// Send many events
///
/// Each stands alone, with an `idempotency_key` of its own; the header `Idempotency-Key` is refused. If none was taken the answer
/// is a problem with the same members: 429 or 503 if another try may help, else 400.
#[utoipa::path(
    post, path = "/events/batch", operation_id = "sendEvents", tag = "Events",
    security(("key" = ["events:write"])),
    request_body(content(
        (requests::EventBatch = "application/json"),
        (requests::CloudEventBatch = "application/cloudevents-batch+json"),
    )),
    responses((status = 202, description = "At least one was taken; `results` says what became of each.", body = Outcomes)),
    extensions(("x-problems" = json!(["tenant_suspended", "unsupported_media_type"])))
)]
pub(super) async fn post_batch(asked: Asked, request: Request) -> Response {
    let mut decided = Decided::default();
    let answer = admit_all(&asked, request, &mut decided).await;
    gate::show(decided, answer)
}

/// What is asked of the tenant of all events counts for the first of them, with the bytes of the whole request: before anything
/// is read where the tenant is known by then.
async fn admit_all(asked: &Asked, request: Request, decided: &mut Decided) -> Answer {
    let mut known = asked.tenant_or_any(Scope::EventsWrite).await?;
    posted_event::no_header_key(
        &asked.headers,
        "a batch takes no header Idempotency-Key; give each event its own `idempotency_key`",
    )?;
    let known_before = known.is_some();
    if let Some(acting) = &known {
        gate::pass_first(asked, acting, limits::BATCH_BODY_BYTES, decided).await?;
    }
    let kind = Kind::of(asked)?;
    if let (Kind::CloudEvents, None) = (kind, &known) {
        known = Some(asked.tenant(Scope::EventsWrite).await?);
    }
    let body: BatchBody = Posted::from_request(request, &()).await?;
    let (of_all, events) = match kind {
        Kind::Ours => ours(asked, &body, known).await?,
        Kind::CloudEvents => (known, cloudevents(&body)?),
    };
    if let (false, Some(acting)) = (known_before, &of_all) {
        gate::pass_first(asked, acting, limits::BATCH_BODY_BYTES, decided).await?;
    }
    let paid = of_all.is_some();
    let batch = Batch { asked, body: &body.bytes, of_all, kind, paid, decided };
    let results = batch.outcomes(events).await;
    let refused = RefusedEvents::of(results.iter().filter_map(|(_, problem)| problem.as_ref()?.violated()));
    let mut response = answer_for(results).unwrap_or_else(IntoResponse::into_response);
    if let Some(refused) = refused {
        response.extensions_mut().insert(refused);
    }
    Ok(response)
}

type BatchBody = Posted<{ limits::BATCH_BODY_BYTES }>;

/// What the events of a batch are.
#[derive(Clone, Copy)]
enum Kind {
    /// In the JSON of this API, in its member `events`.
    Ours,
    /// The items of a list.
    CloudEvents,
}

impl Kind {
    fn of(asked: &Asked) -> Result<Self, Problem> {
        match Form::of(&asked.headers)? {
            Form::Ours => Ok(Self::Ours),
            Form::Batch => Ok(Self::CloudEvents),
            Form::Structured | Form::Binary => Err(cloudevent::unsupported(
                "one CloudEvent is sent to /events; here a batch of them is taken",
            )),
        }
    }
}

async fn ours<'b>(
    asked: &Asked,
    body: &'b BatchBody,
    known: Option<Acting>,
) -> Result<(Option<Acting>, Vec<&'b RawValue>), Problem> {
    let mut fields = body.fields()?;
    let of_all = match known {
        Some(acting) if fields.raw("tenant_id").is_none() => Some(acting),
        // An operator may name a tenant with each event instead.
        None if fields.raw("tenant_id").is_none() => None,
        _ => Some(asked.tenant_in(Scope::EventsWrite, &mut fields).await?),
    };
    let events = fields.required("events", some_events);
    Ok((of_all, fields.finish(|| events)?))
}

fn cloudevents(body: &BatchBody) -> Result<Vec<&RawValue>, Problem> {
    let malformed = |e: serde_json::Error| Problem::new(Code::MalformedJson, e.to_string());
    let list: &RawValue = serde_json::from_slice(&body.bytes).map_err(malformed)?;
    some_events(list).map_err(|faults| faults.into_problem(""))
}

fn some_events(value: &RawValue) -> Read<Vec<&RawValue>> {
    match read::items(value, limits::BATCH_EVENTS)? {
        events if events.is_empty() => Err(Faults::one("must hold at least one event")),
        events => Ok(events),
    }
}

struct Batch<'a> {
    asked: &'a Asked,
    body: &'a Bytes,
    of_all: Option<Acting>,
    kind: Kind,
    /// One event has been let pass already.
    paid: bool,
    decided: &'a mut Decided,
}

/// An event on its way, with its type.
struct Offered {
    event_type: String,
    ticket: Ticket,
    known_by: KnownBy,
}

impl Batch<'_> {
    /// What becomes of each event: all are put on their way before any is waited for.
    async fn outcomes(mut self, events: Vec<&RawValue>) -> Vec<(Outcome, Option<Problem>)> {
        let mut offered = Vec::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            offered.push(self.offer(index, event).await);
        }
        let mut outcomes = Vec::with_capacity(offered.len());
        for (index, offered) in offered.into_iter().enumerate() {
            outcomes.push(outcome(index, offered).await);
        }
        outcomes
    }

    /// Checks one event and puts it on its way.
    async fn offer(&mut self, index: usize, event: &RawValue) -> Result<Offered, Problem> {
        let length = event.get().len();
        let pointer = match self.kind {
            Kind::Ours => format!("/events/{index}"),
            Kind::CloudEvents => format!("/{index}"),
        };
        let mut fields =
            Fields::nested(event, pointer.clone()).map_err(|faults| faults.into_problem(&pointer))?;
        let acting = match &self.of_all {
            Some(of_all) if matches!(self.kind, Kind::CloudEvents) || fields.raw("tenant_id").is_none() => {
                of_all.clone()
            }
            of_all => {
                let acting = self.asked.tenant_in(Scope::EventsWrite, &mut fields).await?;
                if of_all.as_ref().is_some_and(|of_all| of_all.id() != acting.id()) {
                    let detail = "the event names another tenant than the batch";
                    return Err(Problem::new(Code::TenantConflict, detail));
                }
                acting
            }
        };
        let posting = Posting::of(self.asked, self.body, None);
        let event = match self.kind {
            Kind::Ours => posted_event::read(fields, acting.id(), &posting)?,
            Kind::CloudEvents => cloudevent::structured(fields, &pointer, acting.id(), &posting)?,
        };
        // The bytes of a request of one tenant were paid with its first event.
        let bytes = if self.of_all.is_none() { length } else { 0 };
        if !std::mem::take(&mut self.paid) {
            self.decided.next_event();
            gate::pass(&self.asked.edge, &acting.tenant, bytes, self.asked.at, self.decided).await?;
        }
        let event_type = event.event_type.as_str().to_owned();
        let ticket = self.asked.edge.admission.offer(event, gate::queue_of(&acting.tenant))?;
        let known_by = match self.kind {
            Kind::Ours => KnownBy::Key,
            Kind::CloudEvents => KnownBy::CloudEvent,
        };
        Ok(Offered { event_type, ticket, known_by })
    }
}

async fn outcome(index: usize, offered: Result<Offered, Problem>) -> (Outcome, Option<Problem>) {
    let taken = match offered {
        Ok(Offered { event_type, ticket, known_by }) => {
            gate::taken(&event_type, ticket.answer().await, known_by)
        }
        Err(problem) => Err(problem),
    };
    match taken {
        Ok(taken) => {
            let status = if taken.replayed { Became::Replayed } else { Became::Accepted };
            let Accepted { id, deliveries, .. } = taken.shown;
            (Outcome { index, status, id: Some(id), deliveries: Some(deliveries), problem: None }, None)
        }
        Err(problem) => {
            let told = Some(problem.to_json());
            (
                Outcome { index, status: Became::Rejected, id: None, deliveries: None, problem: told },
                Some(problem),
            )
        }
    }
}

/// What became of the events of a batch.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchOutcome, example = json!({
    "accepted": 1, "rejected": 1,
    "results": [
        {"index": 0, "status": "accepted", "id": "evt_01kz0z5m4he58vf3j2c4q9w7xd", "deliveries": 2},
        {"index": 1, "status": "rejected", "problem": {
            "type": "urn:fairhook:problem:invalid_request", "title": "The request is not valid", "status": 400,
            "code": "invalid_request", "detail": "`type` is needed",
            "errors": [{"detail": "`type` is needed", "pointer": "/events/1/type"}]
        }}
    ]
}))]
struct Outcomes {
    /// How many were taken, now or before.
    accepted: usize,
    rejected: usize,
    /// One for each event.
    results: Vec<Outcome>,
}

/// What became of one event.
#[derive(Serialize, ToSchema)]
#[schema(as = EventOutcome)]
pub struct Outcome {
    /// Its place in the batch, from 0.
    index: usize,
    status: Became,
    /// The event, if it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id: Option<EventId>,
    /// How many endpoints get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    deliveries: Option<u32>,
    /// Why it was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<ProblemShape>, no_recursion)]
    problem: Option<Value>,
}

/// What became of an event of a batch.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EventStatus)]
enum Became {
    /// It is on disk.
    Accepted,
    /// It was before, under the same idempotency key.
    Replayed,
    /// It is not, for the reason that `problem` tells.
    Rejected,
}

/// 202 if an event was taken; else the problem that another try may overcome, if one of them is such, else 400.
fn answer_for(results: Vec<(Outcome, Option<Problem>)>) -> Answer {
    let (results, problems): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    let rejected = problems.iter().flatten().count();
    let accepted = results.len() - rejected;
    if accepted > 0 {
        return Ok(answer::accepted(&Outcomes { accepted, rejected, results }));
    }
    let mut problems = problems.into_iter().flatten();
    let passing = problems.find(|p| matches!(p.code(), Code::QuotaExceeded | Code::Unavailable));
    let problem = passing.unwrap_or_else(|| {
        Problem::new(Code::InvalidRequest, "no event of the batch was taken; `results` says why")
    });
    Err(problem
        .member("accepted", accepted.into())
        .member("rejected", rejected.into())
        .member("results", json!(results)))
}
