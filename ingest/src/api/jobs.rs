//! `POST /replays`, `GET /jobs`, `GET /jobs/{job}` and its `cancel`.

use fairhook_common::delivery::DeliveryState;
use fairhook_common::event::EventType;
use fairhook_common::ids::{EndpointId, JobId, TenantId};
use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::store::{Job, JobFilter, JobKind, JobStatus, TenantRef};
use fairhook_common::time::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::audit;
use super::body::Posted;
use super::json::{Fields, Read};
use super::openapi::requests;
use super::page::Listed;
use super::problem::{Code, Problem};
use super::tenant::Asked;
use super::{page, read};

/// Replay what has ended
///
/// The payload is there until retention ends.
#[utoipa::path(
    post, path = "/replays", operation_id = "replay", tag = "Replays and jobs",
    security(("key" = ["replays:write"])),
    request_body = requests::ReplayOrder,
    responses(
        (status = 202, description = "The job that does it.", body = Shown),
        (status = 200, description = "With `dry_run`: how many it would be.", body = DryRun)
    ),
    extensions(("x-problems" = json!(["limit_reached", "not_found"])))
)]
pub(super) async fn replay(asked: Asked, body: Posted) -> Answer {
    let mut fields = body.fields()?;
    let acting = asked.tenant_in(Scope::ReplaysWrite, &mut fields).await?;
    let named = FilterFields::read(&mut fields, Span::Needed);
    let states = fields.optional("status", read::list(REPLAYABLE.len(), replayable));
    let rate_per_s = fields.optional("rate_per_s", rate);
    let dry_run = fields.optional("dry_run", read::flag).unwrap_or(false);
    if states.as_ref().is_some_and(Vec::is_empty) {
        fields.refuse("status", "must hold at least one status");
    }
    let filter = fields.finish(|| {
        let mut states = states.unwrap_or_else(|| vec![DeliveryState::Dead]);
        states.sort_by_key(|state| state.name());
        states.dedup();
        Some(JobFilter { states, rate_per_s, ..named.into_filter() })
    })?;
    let store = &asked.edge.store;
    if dry_run {
        let matching = store.count_matching(acting.id(), &filter, limits::JOB_TOTAL).await?;
        let counted_to_the_end = matching < limits::JOB_TOTAL;
        let filter = ShownFilter::of(&filter);
        return Ok(answer::ok(&DryRun { dry_run: true, total: matching, exact: counted_to_the_end, filter }));
    }
    let job = store.create_job(acting.id(), JobKind::Replay, filter, asked.at).await?;
    audit::job_begun(&asked.caller, &acting.tenant, &job);
    Ok(answer::accepted(&Shown::of(&job)))
}

const REPLAYABLE: [&str; 3] = ["dead", "discarded", "delivered"];

fn replayable(value: &RawValue) -> Read<DeliveryState> {
    let from_name = |name: &str| REPLAYABLE.contains(&name).then(|| DeliveryState::from_name(name)).flatten();
    read::one_of(&REPLAYABLE, from_name)(value)
}

/// A job's own speed limit, in deliveries per second.
pub(super) fn rate(value: &RawValue) -> Read<u32> {
    read::integer(1..=u64::from(limits::REPLAY_RATE))(value)
}

/// List jobs
#[utoipa::path(
    get, path = "/jobs", operation_id = "listJobs", tag = "Replays and jobs",
    security(("key" = ["events:read"])),
    params(requests::Paging),
    responses((status = 200, description = "A page of them.", body = Listed<Shown>))
)]
pub(super) async fn list(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EventsRead).await?;
    let mut params = asked.params();
    let wanted = params.page();
    params.finish()?;
    let found = asked.edge.store.list_jobs(acting.id(), &wanted).await?;
    Ok(page::answer(found, |job| Shown::of(&job)))
}

/// Read a job
#[utoipa::path(
    get, path = "/jobs/{job}", operation_id = "getJob", tag = "Replays and jobs",
    security(("key" = ["events:read"])),
    responses((status = 200, description = "The job.", body = Shown))
)]
pub(super) async fn find(asked: Asked) -> Answer {
    let acting = asked.tenant_or_any(Scope::EventsRead).await?;
    asked.params().finish()?;
    let tenant = acting.map(|acting| acting.id());
    Ok(answer::ok(&Shown::of(&job(&asked, tenant).await?)))
}

async fn job(asked: &Asked, tenant: Option<TenantId>) -> Result<Job, Problem> {
    let job: JobId = asked.id("job")?;
    let found = asked.edge.store.find_job(tenant, job).await?;
    found.ok_or_else(|| Problem::not_found("job"))
}

/// Cancel a job
///
/// What it has done stays done. One that has ended stays as it is.
#[utoipa::path(
    post, path = "/jobs/{job}/cancel", operation_id = "cancelJob", tag = "Replays and jobs",
    security(("key" = ["replays:write"])),
    request_body = Option<requests::Nothing>,
    responses((status = 200, description = "The job as it stands.", body = Shown)),
    extensions(("x-problems" = json!(["wrong_state"])))
)]
pub(super) async fn cancel(asked: Asked, body: Posted) -> Answer {
    body.fields_or_none()?.finish(|| Some(()))?;
    let acting = asked.tenant_or_any(Scope::ReplaysWrite).await?;
    let found = job(&asked, acting.map(|acting| acting.id())).await?;
    if found.kind == JobKind::DeleteTenant {
        return Err(Problem::new(Code::WrongState, "the deletion of a tenant cannot be cancelled"));
    }
    let job = asked.edge.store.cancel_job(found.tenant, found.id, asked.at).await?;
    let job = job.ok_or_else(|| Problem::not_found("job"))?;
    if job.status == JobStatus::Cancelled && found.status != JobStatus::Cancelled {
        let tenant = asked.edge.memory.tenant(&TenantRef::Id(job.tenant)).await?;
        audit::job_cancelled(&asked.caller, tenant.as_deref(), &job);
    }
    Ok(answer::ok(&Shown::of(&job)))
}

/// The criteria that replays and dead letters share.
pub(super) struct FilterFields {
    endpoint: Option<EndpointId>,
    event_type: Option<EventType>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

/// Whether `from` and `to` must be given.
#[derive(Clone, Copy)]
pub(super) enum Span {
    Needed,
    Optional,
}

impl FilterFields {
    pub(super) fn read(fields: &mut Fields<'_>, span: Span) -> Self {
        let endpoint = fields.optional("endpoint_id", read::id);
        let event_type = fields.optional("type", read::parsed(usize::MAX, EventType::parse));
        let mut time = |name| match span {
            Span::Needed => fields.required(name, read::timestamp),
            Span::Optional => fields.optional(name, read::timestamp),
        };
        let (from, to) = (time("from"), time("to"));
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            fields.refuse("to", "is not after `from`");
        }
        Self { endpoint, event_type, from, to }
    }

    /// Whether one was given.
    pub(super) fn any(&self) -> bool {
        self.endpoint.is_some() || self.event_type.is_some() || self.from.is_some() || self.to.is_some()
    }

    pub(super) fn into_filter(self) -> JobFilter {
        JobFilter {
            endpoint: self.endpoint,
            event_type: self.event_type.map(|event_type| event_type.as_str().to_owned()),
            from_ms: self.from.map(|from| from.0),
            to_ms: self.to.map(|to| to.0),
            ..JobFilter::default()
        }
    }
}

/// A job as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Job, example = json!({
    "id": "job_01kz0z5m4he58vf3j2c4q9w7xd", "tenant_id": "ten_01kz0z5m4he58vf3j2c4q9w7xd", "kind": "replay",
    "status": "running", "total": 120, "done": 40, "skipped": 0, "failed": 0,
    "filter": {"status": ["dead"], "type": "order.paid", "rate_per_s": 10},
    "created_at": "2026-01-31T12:00:00.000Z", "updated_at": "2026-01-31T12:00:04.000Z", "ended_at": null
}))]
pub(super) struct Shown {
    id: JobId,
    tenant_id: TenantId,
    kind: JobKind,
    status: JobStatus,
    /// Deliveries that matched when it was made, counted up to 100,000.
    total: u64,
    /// Deliveries that it has changed.
    done: u64,
    /// Deliveries that had changed before it reached them.
    skipped: u64,
    /// Deliveries that it could not change.
    failed: u64,
    filter: ShownFilter,
    created_at: Timestamp,
    updated_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl Shown {
    pub(super) fn of(job: &Job) -> Self {
        Self {
            id: job.id,
            tenant_id: job.tenant,
            kind: job.kind,
            status: job.status,
            total: job.total,
            done: job.done,
            skipped: job.skipped,
            failed: job.failed,
            filter: ShownFilter::of(&job.filter),
            created_at: job.created_at,
            updated_at: job.updated_at,
            ended_at: job.ended_at,
        }
    }
}

/// What a replay would touch.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"dry_run": true, "total": 120, "exact": true, "filter": {"status": ["dead"], "type": "order.paid"}}))]
struct DryRun {
    dry_run: bool,
    /// How many deliveries match.
    total: u64,
    /// Whether that is all of them: it is counted up to 100,000.
    exact: bool,
    filter: ShownFilter,
}

/// The criteria that were given, by the names under which they are given.
#[derive(Serialize, ToSchema)]
#[schema(as = JobFilter)]
struct ShownFilter {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    endpoint_id: Option<EndpointId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    r#type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    to: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    status: Vec<DeliveryState>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rate_per_s: Option<u32>,
}

impl ShownFilter {
    fn of(filter: &JobFilter) -> Self {
        Self {
            endpoint_id: filter.endpoint,
            r#type: filter.event_type.clone(),
            from: filter.from_ms.map(Timestamp),
            to: filter.to_ms.map(Timestamp),
            status: filter.states.clone(),
            ids: filter.deliveries.clone(),
            rate_per_s: filter.rate_per_s,
        }
    }
}
