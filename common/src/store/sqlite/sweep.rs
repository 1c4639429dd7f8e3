//! Housekeeping, one bounded step at a time.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::columns::first_uuid_at;
use super::{lifecycle, removal};
use crate::delivery::DiscardReason;
use crate::limits;
use crate::store::Sweep;
use crate::time::Timestamp;

/// What waits past its time. A claimed one, whose attempt may be under way, is left to its claim until that has ended.
const EXPIRED: &str = "SELECT d.event, d.ordinal, d.tenant, d.attempts FROM schedule s INDEXED BY schedule_expiry \
     CROSS JOIN deliveries d ON d.event = s.event AND d.ordinal = s.ordinal \
     WHERE s.expires_at <= ?1 AND (d.state <> 'queued' OR s.due_at <= ?1) ORDER BY s.expires_at LIMIT ?2";
/// What waits for an endpoint that is gone; claimed ones as above.
const DELETED: &str = "SELECT d.event, d.ordinal, d.tenant, d.attempts FROM endpoints p INDEXED BY endpoints_deleted \
     CROSS JOIN schedule s ON s.tenant = p.tenant AND s.endpoint = p.id \
     CROSS JOIN deliveries d ON d.event = s.event AND d.ordinal = s.ordinal \
     WHERE p.status = 'deleted' AND (d.state <> 'queued' OR s.due_at <= ?1) LIMIT ?2";

/// Returns how many rows were changed; 0: nothing is left to do now. `freed` gets the files that nobody needs once this is
/// committed.
pub(super) async fn step(
    db: &mut SqliteConnection,
    what: Sweep,
    limit: u32,
    freed: &mut Vec<Uuid>,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let (limit, removals) = (limit.clamp(1, limits::WRITER_ROWS), limit.clamp(1, limits::WRITER_LOOKS));
    match what {
        Sweep::Expired => discard(db, EXPIRED, DiscardReason::Expired, limit, now).await,
        Sweep::DeletedEndpoints => discard(db, DELETED, DiscardReason::EndpointDeleted, limit, now).await,
        Sweep::Retention { before } => {
            let removed = removal::events_below(db, first_uuid_at(before), removals).await?;
            freed.extend(removed.files);
            let events = removed.events;
            // An endpoint that was deleted before the oldest event that is left has no deliveries any more.
            let endpoints = "DELETE FROM endpoints WHERE id IN (SELECT id FROM endpoints INDEXED BY endpoints_deleted \
                             WHERE status = 'deleted' AND updated_at < ?1 LIMIT ?2)";
            if events > 0 { Ok(events) } else { remove(db, endpoints, before, removals).await }
        }
        Sweep::IdempotencyKeys => {
            let keys = "DELETE FROM idempotency_keys WHERE (tenant, key) IN \
                        (SELECT tenant, key FROM idempotency_keys WHERE expires_at <= ?1 LIMIT ?2)";
            remove(db, keys, now, removals).await
        }
        Sweep::EndedJobs { before } => {
            let jobs = "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE ended_at < ?1 LIMIT ?2)";
            remove(db, jobs, before, removals).await
        }
        Sweep::LimitMinutes { before } => {
            let minutes = "DELETE FROM limit_minutes WHERE (minute, counted_by, name) IN \
                           (SELECT minute, counted_by, name FROM limit_minutes WHERE minute < ?1 LIMIT ?2)";
            remove(db, minutes, before, removals).await
        }
    }
}

async fn discard(
    db: &mut SqliteConnection,
    select: &'static str,
    reason: DiscardReason,
    limit: u32,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let rows = sqlx::query(select).bind(now.0).bind(i64::from(limit)).fetch_all(&mut *db).await?;
    let rows = rows.iter().map(lifecycle::read_unfinished).collect::<Result<Vec<_>, _>>()?;
    if !rows.is_empty() {
        lifecycle::discard(db, &rows, reason, now).await?;
    }
    Ok(rows.len() as u64)
}

async fn remove(
    db: &mut SqliteConnection,
    delete: &'static str,
    before: Timestamp,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(delete).bind(before.0).bind(i64::from(limit)).execute(db).await?;
    Ok(done.rows_affected())
}
