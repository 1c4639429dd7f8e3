//! Housekeeping, one bounded step at a time. What another process holds is left out: it is looked at again.

use sqlx::postgres::PgConnection;

use super::columns::first_uuid_at;
use super::partitions::{self, Walk};
use super::rows::look_up_joined;
use super::{lifecycle, removal};
use crate::delivery::DiscardReason;
use crate::limits;
use crate::store::Sweep;
use crate::time::Timestamp;

/// What waits past its time. A claimed one, whose attempt may be under way, is left to its claim until that has ended.
const EXPIRED: &str = "SELECT d.event, d.ordinal, d.tenant, d.attempts FROM schedule s \
     JOIN deliveries d ON d.event = s.event AND d.ordinal = s.ordinal \
     WHERE s.expires_at <= $1 AND (d.state <> 'queued' OR s.due_at <= $1) \
     ORDER BY s.expires_at LIMIT $2 FOR UPDATE OF d, s SKIP LOCKED";
/// What waits for an endpoint that is gone; claimed ones as above.
const DELETED: &str = "SELECT d.event, d.ordinal, d.tenant, d.attempts FROM endpoints p \
     JOIN schedule s ON s.tenant = p.tenant AND s.endpoint = p.id \
     JOIN deliveries d ON d.event = s.event AND d.ordinal = s.ordinal \
     WHERE p.status = 'deleted' AND (d.state <> 'queued' OR s.due_at <= $1) \
     LIMIT $2 FOR UPDATE OF d, s SKIP LOCKED";

/// Returns how many rows were changed (0: nothing is left to do now), and how far retention has come from `walk`.
pub(super) async fn step(
    db: &mut PgConnection,
    what: Sweep,
    walk: Walk,
    limit: u32,
    now: Timestamp,
) -> Result<(u64, Walk), sqlx::Error> {
    let limit = limit.clamp(1, limits::SWEEP_ROWS);
    let rows = match what {
        Sweep::Expired => discard(db, EXPIRED, DiscardReason::Expired, limit, now).await,
        Sweep::DeletedEndpoints => discard(db, DELETED, DiscardReason::EndpointDeleted, limit, now).await,
        Sweep::Retention { before } => return retention(db, before, walk, limit, now).await,
        Sweep::IdempotencyKeys => {
            let keys = "DELETE FROM idempotency_keys WHERE (tenant, key) IN \
                        (SELECT tenant, key FROM idempotency_keys WHERE expires_at <= $1 LIMIT $2 \
                         FOR UPDATE SKIP LOCKED)";
            remove(db, keys, now, limit).await
        }
        Sweep::EndedJobs { before } => {
            let jobs = "DELETE FROM jobs WHERE id IN \
                        (SELECT id FROM jobs WHERE ended_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
            remove(db, jobs, before, limit).await
        }
        Sweep::LimitMinutes { before } => {
            let minutes = "DELETE FROM limit_minutes WHERE (minute, counted_by, name) IN \
                           (SELECT minute, counted_by, name FROM limit_minutes WHERE minute < $1 LIMIT $2 \
                            FOR UPDATE SKIP LOCKED)";
            remove(db, minutes, before, limit).await
        }
    };
    Ok((rows?, walk))
}

/// Whole days first, then what lies in the default partitions, then the rows of endpoints that were deleted before the
/// oldest event that is left: they have no deliveries any more.
async fn retention(
    db: &mut PgConnection,
    before: Timestamp,
    walk: Walk,
    limit: u32,
    now: Timestamp,
) -> Result<(u64, Walk), sqlx::Error> {
    let bound = first_uuid_at(before);
    let (done, walk) = partitions::drop_below(db, bound, walk, limit, now).await?;
    if done > 0 {
        return Ok((done, walk));
    }
    let done = removal::events_below(db, bound, limit, now).await?;
    if done > 0 {
        return Ok((done, walk));
    }
    let endpoints = "DELETE FROM endpoints WHERE id IN (SELECT id FROM endpoints \
                     WHERE status = 'deleted' AND updated_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
    Ok((remove(db, endpoints, before, limit).await?, walk))
}

async fn discard(
    db: &mut PgConnection,
    select: &'static str,
    reason: DiscardReason,
    limit: u32,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    look_up_joined(db).await?;
    let rows = sqlx::query(select).bind(now.0).bind(i64::from(limit)).fetch_all(&mut *db).await?;
    let rows = rows.iter().map(lifecycle::read_unfinished).collect::<Result<Vec<_>, _>>()?;
    if !rows.is_empty() {
        lifecycle::discard(db, &rows, reason, now).await?;
    }
    Ok(rows.len() as u64)
}

async fn remove(
    db: &mut PgConnection,
    delete: &'static str,
    before: Timestamp,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(delete).bind(before.0).bind(i64::from(limit)).execute(db).await?;
    Ok(done.rows_affected())
}
