//! What stands between a request that sends events and their admission: the kill switch, the backlog, the rate.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use fairhook_common::ids::EventId;
use fairhook_common::limits;
use fairhook_common::policy::Policy;
use fairhook_common::queue::QueueAddress;
use fairhook_common::store::Admission;
use fairhook_common::tenant::{Ingest, Tenant};
use fairhook_common::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Edge;
use super::answer::{self, Answer};
use super::limiting::{self, Decided};
use super::problem::{Code, Problem};
use super::tenant::{Acting, Asked};
use crate::admission::AdmitError;
use crate::limiter::Decision;
use crate::limiter::key::Key;

/// Lets the first event of a request pass, and with it all the bytes that its headers declare, or `most` if they declare none.
pub(super) async fn pass_first(
    asked: &Asked,
    acting: &Acting,
    most: usize,
    decided: &mut Decided,
) -> Result<(), Problem> {
    pass(&asked.edge, &acting.tenant, declared(&asked.headers, most), asked.at, decided).await
}

/// Lets one event of `tenant` pass, and so many bytes with it, or says why not. What was decided about rates is left in `decided`.
pub(super) async fn pass(
    edge: &Edge,
    tenant: &Tenant,
    bytes: usize,
    now: Timestamp,
    decided: &mut Decided,
) -> Result<(), Problem> {
    let passed = let_pass(edge, tenant, bytes, now, decided).await;
    if let Err(problem) = &passed
        && problem.code() == Code::QuotaExceeded
    {
        edge.admission.throttled(tenant.id, problem.violated() == Some(Policy::Events.name()));
    }
    passed
}

async fn let_pass(
    edge: &Edge,
    tenant: &Tenant,
    bytes: usize,
    now: Timestamp,
    decided: &mut Decided,
) -> Result<(), Problem> {
    if let Err(problem) = open(edge, tenant).await {
        decided.add(Policy::Events, left(edge, tenant, now).0);
        return Err(problem);
    }
    // The longest window last: what one refuses has cost nothing of it.
    event(edge, tenant, now, decided).await?;
    if bytes > 0 {
        let cost = u32::try_from(bytes).unwrap_or(u32::MAX);
        limiting::take(edge, Policy::BytesPerMinute, tenant, cost, now, decided).await?;
    }
    limiting::take(edge, Policy::EventsPerDay, tenant, 1, now, decided).await
}

/// What is left of the events that the tenant may send, when none is sent, and how many would pass at once.
pub(super) fn left(edge: &Edge, tenant: &Tenant, now: Timestamp) -> (Decision, u32) {
    if let Some(rate) = tenant.override_of(Policy::Events, now) {
        let decision = edge.limiter.windows.peek(Policy::Events, &Key::tenant(tenant.id), rate);
        return (decision, decision.remaining);
    }
    let (quotas, limits) = (&edge.limiter.events, tenant.limits());
    let now = quotas.now();
    (quotas.peek(tenant.id, &limits, now), quotas.at_once(tenant.id, &limits, now))
}

/// One event per second of those that the tenant may send.
async fn event(edge: &Edge, tenant: &Tenant, now: Timestamp, decided: &mut Decided) -> Result<(), Problem> {
    // An override is so many in a window, like any other policy's: no burst beside it.
    if let Some(rate) = tenant.override_of(Policy::Events, now) {
        let key = Key::tenant(tenant.id);
        return limiting::take_of(edge, Policy::Events, &key, rate, 1, decided).await;
    }
    let decision = decided.take_event(&edge.limiter, tenant).await;
    if decision.allowed { Ok(()) } else { Err(over_rate(&decision)) }
}

/// The length of the body that a request declares; one that comes without a length counts as the longest that is read here.
fn declared(headers: &HeaderMap, most: usize) -> usize {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    let without = if headers.contains_key(header::TRANSFER_ENCODING) { most } else { 0 };
    length.unwrap_or(without)
}

/// Whether the tenant may send at all: the kill switch and the backlog.
async fn open(edge: &Edge, tenant: &Tenant) -> Result<(), Problem> {
    if tenant.ingest == Ingest::Blocked {
        let why = tenant.reason.as_deref().map_or(String::new(), |reason| format!(": {reason}"));
        let detail = format!("the tenant's events are blocked by an operator{why}");
        return Err(Problem::new(Code::TenantSuspended, detail));
    }
    let most = tenant.limits().max_backlog;
    let backlog = edge.admission.usage(tenant.id).await?.counts.backlog;
    if backlog < u64::from(most) {
        return Ok(());
    }
    let detail = format!("{backlog} deliveries wait for their first attempt; the limit is {most}");
    let after = limits::BACKLOG_RETRY_AFTER;
    Err(Problem::quota(detail, "backlog", (most, 0), (Timestamp::now().after(after), after)))
}

fn over_rate(decision: &Decision) -> Problem {
    let detail = format!("more than {} events per second, and the burst is used up", decision.limit);
    limiting::refused(detail, Policy::Events, decision)
}

/// Answers with what was decided, whatever the answer is.
pub(super) fn show(decided: Decided, answer: Answer) -> Response {
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    decided.leave(&mut response);
    response
}

/// Where a tenant's first attempts go.
pub(super) fn queue_of(tenant: &Tenant) -> QueueAddress {
    QueueAddress { tenant: tenant.id, name: tenant.queue.as_str().into() }
}

/// An event that is durable, as it is answered.
pub(super) struct Taken {
    /// What is shown of it.
    pub shown: Accepted,
    /// It was admitted before, under the same idempotency key.
    pub replayed: bool,
}

/// An event that is on disk, with all its deliveries.
#[derive(Serialize, ToSchema)]
#[schema(as = AcceptedEvent, example = json!({"id": "evt_01kz0z5m4he58vf3j2c4q9w7xd", "type": "order.paid", "created_at": "2026-01-31T12:00:00.000Z", "deliveries": 2}))]
pub(super) struct Accepted {
    /// The event.
    pub id: EventId,
    r#type: String,
    created_at: Timestamp,
    /// How many endpoints get it.
    pub deliveries: u32,
}

impl Taken {
    /// 202 with it, and with a word if it was admitted before.
    pub fn answer(&self) -> Response {
        let mut response = answer::accepted(&self.shown);
        if self.replayed {
            response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}

/// By what an event is known when it comes again.
#[derive(Debug, Clone, Copy)]
pub(super) enum KnownBy {
    /// An idempotency key of the caller's.
    Key,
    /// A CloudEvent's `source` and `id`.
    CloudEvent,
    /// What a source's provider calls the delivery.
    Delivery,
}

impl KnownBy {
    fn conflict(self) -> &'static str {
        match self {
            Self::Key => {
                "the idempotency key was used within 24 hours for an event of another type, payload or deliver_at"
            }
            Self::CloudEvent => {
                "a CloudEvent with this `source` and `id` was taken within 24 hours, with another type or data"
            }
            Self::Delivery => {
                "a delivery with this id was taken within 24 hours, of another type or with another body"
            }
        }
    }
}

/// What became of an event, for its caller.
pub(super) fn taken(
    event_type: &str,
    admitted: Result<Admission, AdmitError>,
    known_by: KnownBy,
) -> Result<Taken, Problem> {
    let shown =
        |id, created_at, deliveries| Accepted { id, r#type: event_type.to_owned(), created_at, deliveries };
    match admitted? {
        Admission::Accepted(event) => {
            let shown = shown(event.id, event.created_at, event.deliveries.len() as u32);
            Ok(Taken { shown, replayed: false })
        }
        Admission::Replayed { id, created_at, deliveries } => {
            Ok(Taken { shown: shown(id, created_at, deliveries), replayed: true })
        }
        Admission::IdempotencyConflict => Err(Problem::new(Code::IdempotencyConflict, known_by.conflict())),
        Admission::NoSuchTenant => {
            Err(Problem::new(Code::UnknownTenant, "the tenant is unknown or being deleted"))
        }
        Admission::NoSuchEndpoint => Err(Problem::not_found("endpoint")),
        // The reason is in the log: it may name statements.
        Admission::Refused(_) => Err(Problem::new(Code::InvalidRequest, "the event's data cannot be stored")),
    }
}

impl From<AdmitError> for Problem {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::Store(error) => error.into(),
            AdmitError::Failed => {
                Self::new(Code::Internal, "the event could not be admitted; the log says why")
            }
            busy => Self::unavailable(format!("{busy}; try again"), limits::ADMIT_RETRY_AFTER),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;
    use fairhook_common::store::StoreError;

    use super::*;
    use crate::admission::NoRoom;

    #[test]
    fn what_cannot_be_made_durable_now_is_503_with_a_time_to_come_again() {
        for busy in [
            AdmitError::NoRoom(NoRoom::All),
            AdmitError::NoRoom(NoRoom::Tenant),
            AdmitError::Stopping,
            AdmitError::TooSlow,
            AdmitError::Store(StoreError::Unavailable("disk full at /data".into())),
            AdmitError::Store(StoreError::TooSlow),
        ] {
            let problem = taken("a", Err(busy), KnownBy::Key).err().expect("refused");
            assert_eq!(problem.code(), Code::Unavailable);
            assert!(!problem.to_json().to_string().contains("/data"), "the store's words stay in the log");
            assert_eq!(problem.into_response().headers()[header::RETRY_AFTER], "1");
        }
        let failed = taken("a", Err(AdmitError::Failed), KnownBy::Key).err().map(|problem| problem.code());
        assert_eq!(failed, Some(Code::Internal));
        let refused = taken("a", Ok(Admission::Refused("datatype mismatch".into())), KnownBy::Key)
            .err()
            .expect("refused");
        assert_eq!(refused.code(), Code::InvalidRequest);
        assert!(!refused.to_json().to_string().contains("mismatch"));
    }
}
