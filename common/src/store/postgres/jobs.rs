//! Jobs: long work on a tenant's behalf, in bounded steps. A step, its counts and its cursor are one transaction, so
//! that a restart goes on where the last commit stood.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{QueryBuilder, Row};

use super::columns;
use super::paging::{page, push_page};
use super::tenants::{self, Answer};
use super::{lifecycle, matching, teardown};
use crate::delivery::DiscardReason;
use crate::ids::{DeliveryId, JobId, TenantId};
use crate::limits;
use crate::store::shared::jobs::{Standing, allowance, choose, end, made, read_cursor};
use crate::store::shared::matching::matches;
use crate::store::shared::replays::decide_replays;
use crate::store::{ControlError, Job, JobFilter, JobKind, JobStatus, Page, PageRequest};
use crate::time::Timestamp;

const ROW: &str = "id, tenant, kind, filter, status, cursor, total, done, skipped, failed, created_at, updated_at, ended_at";

/// Held until the end of the transaction: no two processes take a step of the same job.
const HELD: &str = " FOR UPDATE";

/// Makes a job for a tenant that is there and has room for it.
pub(super) async fn create(
    db: &mut PgConnection,
    tenant: TenantId,
    kind: JobKind,
    filter: JobFilter,
    total: u64,
    now: Timestamp,
) -> Answer<Job> {
    if tenants::hold_active(db, tenant).await?.is_none() {
        return Ok(Err(ControlError::NotFound));
    }
    let open: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE tenant = $1 AND ended_at IS NULL")
        .bind(tenant.uuid())
        .fetch_one(&mut *db)
        .await?;
    if open >= i64::from(limits::OPEN_JOBS_PER_TENANT) {
        return Ok(Err(ControlError::LimitReached(limits::OPEN_JOBS_PER_TENANT)));
    }
    forget_ended(db, tenant).await?;
    let job = made(tenant, kind, filter, total, now);
    insert(db, &job).await?;
    Ok(Ok(job))
}

/// Removes the oldest of a tenant's ended jobs, as far as they are too many.
async fn forget_ended(db: &mut PgConnection, tenant: TenantId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE tenant = $1 AND ended_at IS NOT NULL \
         ORDER BY id DESC OFFSET $2 LIMIT $3)",
    )
    .bind(tenant.uuid())
    .bind(i64::from(limits::ENDED_JOBS_PER_TENANT))
    .bind(i64::from(limits::SWEEP_ROWS))
    .execute(db)
    .await?;
    Ok(())
}

/// Makes the job that ends a tenant.
pub(super) async fn insert_deletion(
    db: &mut PgConnection,
    tenant: TenantId,
    total: u64,
    now: Timestamp,
) -> Result<Job, sqlx::Error> {
    let job = made(tenant, JobKind::DeleteTenant, JobFilter::default(), total, now);
    insert(db, &job).await?;
    Ok(job)
}

/// The job that ends this tenant, if there is one.
pub(super) async fn deletion_of(db: &mut PgConnection, tenant: TenantId) -> Result<Option<Job>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM jobs WHERE tenant = "));
    query.push_bind(tenant.uuid()).push(" AND kind = 'delete_tenant'");
    query.build().fetch_optional(db).await?.as_ref().map(read).transpose()
}

/// A tenant's deliveries, counted up to a bound.
pub(super) async fn count_deliveries(db: &mut PgConnection, tenant: TenantId) -> Result<u64, sqlx::Error> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE tenant = $1 LIMIT $2) found",
    )
    .bind(tenant.uuid())
    .bind(limits::JOB_TOTAL as i64)
    .fetch_one(db)
    .await?;
    Ok(count.unsigned_abs())
}

/// The oldest job of each tenant that is not at its end.
pub(super) async fn open(db: &mut PgConnection) -> Result<Vec<Job>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!(
        "SELECT {ROW} FROM jobs WHERE id IN (SELECT DISTINCT ON (tenant) id FROM jobs WHERE ended_at IS NULL \
         ORDER BY tenant, id) ORDER BY id LIMIT "
    ));
    query.push_bind(i64::from(limits::OPEN_JOBS));
    query.build().fetch_all(db).await?.iter().map(read).collect()
}

pub(super) async fn list(
    db: &mut PgConnection,
    tenant: TenantId,
    request: &PageRequest,
) -> Result<Page<Job>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM jobs WHERE tenant = "));
    query.push_bind(tenant.uuid());
    push_page(request, &mut query);
    let rows = query.build().fetch_all(db).await?;
    page(request, &rows, read, |job| job.id.uuid())
}

/// A job of this tenant, or of any.
pub(super) async fn find(
    db: &mut PgConnection,
    tenant: Option<TenantId>,
    job: JobId,
) -> Result<Option<Job>, sqlx::Error> {
    let standing = standing(db, job, "").await?;
    Ok(standing.map(|s| s.job).filter(|job| tenant.is_none_or(|tenant| tenant == job.tenant)))
}

/// Ends a job as cancelled. A tenant's deletion cannot be taken back, and goes on.
pub(super) async fn cancel(
    db: &mut PgConnection,
    tenant: TenantId,
    job: JobId,
    now: Timestamp,
) -> Result<Option<Job>, sqlx::Error> {
    let Some(standing) = standing(db, job, HELD).await?.filter(|s| s.job.tenant == tenant) else {
        return Ok(None);
    };
    let Standing { mut job, cursor } = standing;
    if job.ended_at.is_none() && job.kind != JobKind::DeleteTenant {
        end(&mut job, JobStatus::Cancelled, now);
        update(db, &job, cursor).await?;
    }
    Ok(Some(job))
}

/// Ends all of a tenant's jobs, before the one that ends the tenant itself.
pub(super) async fn cancel_all(
    db: &mut PgConnection,
    tenant: TenantId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE jobs SET status = 'cancelled', updated_at = $1, ended_at = $1 \
         WHERE tenant = $2 AND ended_at IS NULL",
    )
    .bind(now.0)
    .bind(tenant.uuid())
    .execute(db)
    .await?;
    Ok(())
}

/// One step. `None`: there is no such job. The flag says whether deliveries became due by it.
pub(super) async fn advance(
    db: &mut PgConnection,
    id: JobId,
    limit: u32,
    now: Timestamp,
) -> Result<Option<(Job, bool)>, sqlx::Error> {
    let Some(Standing { mut job, mut cursor }) = standing(db, id, HELD).await? else {
        return Ok(None);
    };
    let limit = limit.clamp(1, limits::SWEEP_ROWS);
    let allowed = allowance(&job, limit, now);
    if job.ended_at.is_some() || allowed == 0 {
        return Ok(Some((job, false)));
    }
    job.status = JobStatus::Running;
    job.updated_at = now;
    let done = job.done;
    let finished = match job.kind {
        JobKind::DeleteTenant => teardown::step(db, &mut job, &mut cursor, limit, now).await?,
        JobKind::Replay | JobKind::Purge => step(db, &mut job, &mut cursor, limit, allowed, now).await?,
    };
    if finished {
        end(&mut job, JobStatus::Succeeded, now);
    }
    update(db, &job, cursor).await?;
    let due = job.kind == JobKind::Replay && job.done > done;
    Ok(Some((job, due)))
}

/// Looks at `limit` deliveries from the cursor on and changes at most `allowed` of them; returns whether that was all.
async fn step(
    db: &mut PgConnection,
    job: &mut Job,
    cursor: &mut Option<String>,
    limit: u32,
    allowed: u32,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    if job.filter.deliveries.is_empty() {
        let after: Option<DeliveryId> = read_cursor(cursor)?;
        let looked = matching::look(db, job.tenant, &job.filter, after, limit).await?;
        let exhausted = looked.len() < limit as usize;
        let (chosen, rest) = choose(looked, job, allowed);
        *cursor = chosen.last().map(|(candidate, _)| candidate.id.to_string()).or_else(|| cursor.take());
        let chosen = chosen.into_iter().filter(|(_, wanted)| *wanted).map(|(c, _)| c.id).collect();
        change(db, job, chosen, now).await?;
        return Ok(exhausted && !rest);
    }
    let from: usize = read_cursor(cursor)?.unwrap_or(0);
    let to = job.filter.deliveries.len().min(from.saturating_add(allowed as usize));
    let named: Vec<Option<DeliveryId>> =
        job.filter.deliveries[from.min(to)..to].iter().map(|text| text.parse().ok()).collect();
    let ids: Vec<_> = named.iter().copied().flatten().collect();
    job.skipped += (named.len() - ids.len()) as u64;
    change(db, job, ids, now).await?;
    *cursor = Some(to.to_string());
    Ok(to == job.filter.deliveries.len())
}

/// Changes those of the chosen that the job means now that nobody else can change them.
async fn change(
    db: &mut PgConnection,
    job: &mut Job,
    chosen: Vec<DeliveryId>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if chosen.is_empty() {
        return Ok(());
    }
    lifecycle::hold_dead(db, job.tenant).await?;
    let mut held = lifecycle::hold(db, job.tenant, &chosen).await?;
    held.retain(|candidate| matches(candidate, &job.filter, job.created_at));
    job.skipped += (chosen.len() - held.len()) as u64;
    if held.is_empty() {
        return Ok(());
    }
    if job.kind == JobKind::Purge {
        let dead: Vec<_> = held.iter().map(|candidate| candidate.id).collect();
        job.done += dead.len() as u64;
        return lifecycle::purge(db, job.tenant, &dead, DiscardReason::Purged, now).await;
    }
    let (replays, refused) = decide_replays(held, now);
    job.failed += refused;
    job.done += replays.len() as u64;
    if replays.is_empty() {
        return Ok(());
    }
    lifecycle::apply_replays(db, job.tenant, &replays, now).await
}

async fn standing(db: &mut PgConnection, job: JobId, lock: &str) -> Result<Option<Standing>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM jobs WHERE id = "));
    query.push_bind(job.uuid()).push(lock);
    let row = query.build().fetch_optional(db).await?;
    row.map(|row| Ok(Standing { job: read(&row)?, cursor: row.try_get("cursor")? })).transpose()
}

async fn insert(db: &mut PgConnection, job: &Job) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO jobs (id, tenant, kind, filter, status, total, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(job.id.uuid())
    .bind(job.tenant.uuid())
    .bind(job.kind.name())
    .bind(columns::to_json(&job.filter)?)
    .bind(job.status.name())
    .bind(job.total as i64)
    .bind(job.created_at.0)
    .bind(job.updated_at.0)
    .execute(db)
    .await?;
    Ok(())
}

async fn update(db: &mut PgConnection, job: &Job, cursor: Option<String>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE jobs SET status = $1, cursor = $2, done = $3, skipped = $4, failed = $5, updated_at = $6, \
         ended_at = $7 WHERE id = $8",
    )
    .bind(job.status.name())
    .bind(cursor)
    .bind(job.done as i64)
    .bind(job.skipped as i64)
    .bind(job.failed as i64)
    .bind(job.updated_at.0)
    .bind(job.ended_at.map(|at| at.0))
    .bind(job.id.uuid())
    .execute(db)
    .await?;
    Ok(())
}

fn read(row: &PgRow) -> Result<Job, sqlx::Error> {
    Ok(Job {
        id: JobId::from_uuid(columns::uuid(row, "id")?),
        tenant: columns::tenant(row)?,
        kind: columns::named(row, "kind", JobKind::from_name)?,
        filter: columns::json(row, "filter")?,
        status: columns::named(row, "status", JobStatus::from_name)?,
        total: columns::number(row, "total")?,
        done: columns::number(row, "done")?,
        skipped: columns::number(row, "skipped")?,
        failed: columns::number(row, "failed")?,
        created_at: columns::time(row, "created_at")?,
        updated_at: columns::time(row, "updated_at")?,
        ended_at: columns::maybe_time(row, "ended_at")?,
    })
}
