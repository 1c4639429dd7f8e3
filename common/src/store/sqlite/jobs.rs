//! Jobs: long work on a tenant's behalf, in bounded steps. A step, its counts and its cursor are one transaction, so
//! that a restart goes on where the last commit stood.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteConnection};
use uuid::Uuid;

use super::columns::{self, blob};
use super::paging::{Keyset, page};
use super::tenants::{self, Answer};
use super::{lifecycle, matching, teardown};
use crate::ids::{DeliveryId, JobId, TenantId};
use crate::limits;
use crate::store::shared::jobs::{Standing, allowance, choose, end, made, read_cursor};
use crate::store::shared::matching::matches;
use crate::store::shared::replays::{Candidate, decide_replays};
use crate::store::{ControlError, Job, JobFilter, JobKind, JobStatus, Page, PageRequest};
use crate::time::Timestamp;

const ROW: &str = "id, tenant, kind, filter, status, cursor, total, done, skipped, failed, created_at, updated_at, ended_at";

/// Makes a job for a tenant that is there and has room for it.
pub(super) async fn create(
    db: &mut SqliteConnection,
    tenant: TenantId,
    kind: JobKind,
    filter: JobFilter,
    total: u64,
    now: Timestamp,
) -> Answer<Job> {
    if tenants::find_active(db, tenant).await?.is_none() {
        return Ok(Err(ControlError::NotFound));
    }
    let open: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE tenant = ? AND ended_at IS NULL")
        .bind(blob(tenant.uuid()))
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
async fn forget_ended(db: &mut SqliteConnection, tenant: TenantId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE tenant = ? AND ended_at IS NOT NULL \
         ORDER BY id DESC LIMIT ? OFFSET ?)",
    )
    .bind(blob(tenant.uuid()))
    .bind(i64::from(limits::SWEEP_ROWS))
    .bind(i64::from(limits::ENDED_JOBS_PER_TENANT))
    .execute(db)
    .await?;
    Ok(())
}

/// Makes the job that ends a tenant.
pub(super) async fn insert_deletion(
    db: &mut SqliteConnection,
    tenant: TenantId,
    total: u64,
    now: Timestamp,
) -> Result<Job, sqlx::Error> {
    let job = made(tenant, JobKind::DeleteTenant, JobFilter::default(), total, now);
    insert(db, &job).await?;
    Ok(job)
}

/// The job that ends this tenant, if there is one.
pub(super) async fn deletion_of(
    db: &mut SqliteConnection,
    tenant: TenantId,
) -> Result<Option<Job>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM jobs WHERE tenant = "));
    query.push_bind(blob(tenant.uuid())).push(" AND kind = 'delete_tenant'");
    query.build().fetch_optional(db).await?.as_ref().map(read).transpose()
}

/// A tenant's deliveries, counted up to a bound.
pub(super) async fn count_deliveries(
    db: &mut SqliteConnection,
    tenant: TenantId,
) -> Result<u64, sqlx::Error> {
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM (SELECT 1 FROM tenant_deliveries WHERE tenant = ? LIMIT ?)")
            .bind(blob(tenant.uuid()))
            .bind(limits::JOB_TOTAL as i64)
            .fetch_one(db)
            .await?;
    Ok(count.unsigned_abs())
}

/// The oldest job of each tenant that is not at its end.
pub(super) async fn open(db: &mut SqliteConnection) -> Result<Vec<Job>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!(
        "SELECT {ROW} FROM jobs WHERE id IN (SELECT min(id) FROM jobs WHERE ended_at IS NULL GROUP BY tenant) \
         ORDER BY id LIMIT "
    ));
    query.push_bind(i64::from(limits::OPEN_JOBS));
    query.build().fetch_all(db).await?.iter().map(read).collect()
}

pub(super) async fn list(
    db: &mut SqliteConnection,
    tenant: TenantId,
    request: &PageRequest,
) -> Result<Page<Job>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM jobs WHERE tenant = "));
    query.push_bind(blob(tenant.uuid()));
    Keyset::by_id(request).push(&mut query);
    let rows = query.build().fetch_all(db).await?;
    page(request, &rows, read, |job| job.id.uuid())
}

/// A job of this tenant, or of any.
pub(super) async fn find(
    db: &mut SqliteConnection,
    tenant: Option<TenantId>,
    job: JobId,
) -> Result<Option<Job>, sqlx::Error> {
    let standing = standing(db, job).await?;
    Ok(standing.map(|s| s.job).filter(|job| tenant.is_none_or(|tenant| tenant == job.tenant)))
}

/// Ends a job as cancelled. A tenant's deletion cannot be taken back, and goes on.
pub(super) async fn cancel(
    db: &mut SqliteConnection,
    tenant: TenantId,
    job: JobId,
    now: Timestamp,
) -> Result<Option<Job>, sqlx::Error> {
    let Some(standing) = standing(db, job).await?.filter(|s| s.job.tenant == tenant) else {
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
    db: &mut SqliteConnection,
    tenant: TenantId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE jobs SET status = 'cancelled', updated_at = ?1, ended_at = ?1 \
         WHERE tenant = ?2 AND ended_at IS NULL",
    )
    .bind(now.0)
    .bind(blob(tenant.uuid()))
    .execute(db)
    .await?;
    Ok(())
}

/// One step. `None`: there is no such job. The flag says whether deliveries became due. `freed` gets the files that nobody needs
/// once this is committed.
pub(super) async fn advance(
    db: &mut SqliteConnection,
    id: JobId,
    limit: u32,
    freed: &mut Vec<Uuid>,
    now: Timestamp,
) -> Result<Option<(Job, bool)>, sqlx::Error> {
    let Some(Standing { mut job, mut cursor }) = standing(db, id).await? else {
        return Ok(None);
    };
    let (limit, removals) = (limit.clamp(1, limits::WRITER_ROWS), limit.clamp(1, limits::WRITER_LOOKS));
    let allowed = allowance(&job, limit, now);
    if job.ended_at.is_some() || allowed == 0 {
        return Ok(Some((job, false)));
    }
    job.status = JobStatus::Running;
    job.updated_at = now;
    let done = job.done;
    let finished = match job.kind {
        JobKind::DeleteTenant => teardown::step(db, &mut job, (limit, removals), freed, now).await?,
        JobKind::Replay | JobKind::Purge => step(db, &mut job, &mut cursor, allowed, now).await?,
    };
    if finished {
        end(&mut job, JobStatus::Succeeded, now);
    }
    update(db, &job, cursor).await?;
    let due = job.kind == JobKind::Replay && job.done > done;
    Ok(Some((job, due)))
}

/// Looks at deliveries from the cursor on and changes at most `allowed` of them; returns whether that was all.
async fn step(
    db: &mut SqliteConnection,
    job: &mut Job,
    cursor: &mut Option<String>,
    allowed: u32,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    if job.filter.deliveries.is_empty() {
        let after: Option<DeliveryId> = read_cursor(cursor)?;
        let looked = matching::look(db, job.tenant, &job.filter, after, limits::WRITER_LOOKS).await?;
        let exhausted = looked.len() < limits::WRITER_LOOKS as usize;
        let (chosen, rest) = choose(looked, job, allowed);
        *cursor = chosen.last().map(|(candidate, _)| candidate.id.to_string()).or_else(|| cursor.take());
        let chosen = chosen.into_iter().filter(|(_, wanted)| *wanted).map(|(c, _)| c).collect();
        change(db, job, chosen, now).await?;
        return Ok(exhausted && !rest);
    }
    let from: usize = read_cursor(cursor)?.unwrap_or(0);
    let to = job.filter.deliveries.len().min(from.saturating_add(allowed as usize));
    let named: Vec<Option<DeliveryId>> =
        job.filter.deliveries[from.min(to)..to].iter().map(|text| text.parse().ok()).collect();
    let ids: Vec<_> = named.iter().copied().flatten().collect();
    let found = lifecycle::find(db, job.tenant, &ids).await?;
    let chosen: Vec<_> = found.into_iter().filter(|c| matches(c, &job.filter, job.created_at)).collect();
    job.skipped += (named.len() - chosen.len()) as u64;
    change(db, job, chosen, now).await?;
    *cursor = Some(to.to_string());
    Ok(to == job.filter.deliveries.len())
}

async fn change(
    db: &mut SqliteConnection,
    job: &mut Job,
    chosen: Vec<Candidate>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if chosen.is_empty() {
        return Ok(());
    }
    if job.kind == JobKind::Purge {
        let dead: Vec<_> = chosen.iter().map(|candidate| candidate.id).collect();
        job.done += dead.len() as u64;
        return lifecycle::purge(db, job.tenant, &dead, now).await;
    }
    let (replays, refused) = decide_replays(chosen, now);
    job.failed += refused;
    job.done += replays.len() as u64;
    if replays.is_empty() {
        return Ok(());
    }
    lifecycle::apply_replays(db, job.tenant, &replays, now).await
}

async fn standing(db: &mut SqliteConnection, job: JobId) -> Result<Option<Standing>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM jobs WHERE id = "));
    query.push_bind(blob(job.uuid()));
    let row = query.build().fetch_optional(db).await?;
    row.map(|row| Ok(Standing { job: read(&row)?, cursor: row.try_get("cursor")? })).transpose()
}

async fn insert(db: &mut SqliteConnection, job: &Job) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO jobs (id, tenant, kind, filter, status, total, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(blob(job.id.uuid()))
    .bind(blob(job.tenant.uuid()))
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

async fn update(db: &mut SqliteConnection, job: &Job, cursor: Option<String>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE jobs SET status = ?, cursor = ?, done = ?, skipped = ?, failed = ?, updated_at = ?, ended_at = ? \
         WHERE id = ?",
    )
    .bind(job.status.name())
    .bind(cursor)
    .bind(job.done as i64)
    .bind(job.skipped as i64)
    .bind(job.failed as i64)
    .bind(job.updated_at.0)
    .bind(job.ended_at.map(|at| at.0))
    .bind(blob(job.id.uuid()))
    .execute(db)
    .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Job, sqlx::Error> {
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
