//! Rows that go for good, a bounded number at a time, with everything that hangs on them. (A whole day of all tenants goes
//! with its partitions: see there.)

use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::columns;
use super::lifecycle;
use super::paging::last_within;
use super::partitions;
use super::rows::Keys;
use crate::delivery::{DeliveryState, DiscardReason};
use crate::ids::TenantId;
use crate::limits;
use crate::time::Timestamp;

/// Removes a tenant's oldest deliveries with their attempts and pointers, about `limit` rows in all; returns how many
/// deliveries. What is unfinished among them is discarded first; the counts stay.
pub(super) async fn deliveries_of_tenant(
    db: &mut PgConnection,
    tenant: TenantId,
    limit: u32,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    const ATTEMPTS: &str = "DELETE FROM attempts a USING unnest($1::uuid[], $2::integer[]) AS w (event, ordinal) \
        WHERE a.event = w.event AND a.ordinal = w.ordinal AND a.event BETWEEN $3 AND $4";
    let rows = sqlx::query(
        "SELECT event, ordinal, tenant, state, attempts FROM deliveries WHERE tenant = $1 \
         ORDER BY event, ordinal LIMIT $2 FOR UPDATE",
    )
    .bind(tenant.uuid())
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    let weight = |row: &PgRow| Ok(columns::number::<u64>(row, "attempts")? + 2);
    let (Some(first), Some(last)) = (rows.first(), last_within(&rows, u64::from(limit), weight)?) else {
        return Ok(0);
    };
    let (first, last) = (columns::delivery(first)?, columns::delivery(last)?);
    let mut unfinished = Vec::new();
    for row in &rows {
        let state = columns::named(row, "state", DeliveryState::from_name)?;
        if state.is_unfinished() && columns::delivery(row)? <= last {
            unfinished.push(lifecycle::read_unfinished(row)?);
        }
    }
    if !unfinished.is_empty() {
        lifecycle::discard(db, &unfinished, DiscardReason::TenantDeleted, now).await?;
    }
    // By their keys, for between them lie those of all other tenants.
    let gone = rows.iter().map(columns::delivery).collect::<Result<Vec<_>, _>>()?;
    for keys in Keys::by_day(gone.into_iter().filter(|id| *id <= last)) {
        let attempts = sqlx::query(ATTEMPTS).bind(keys.events).bind(keys.ordinals);
        attempts.bind(keys.least).bind(keys.greatest).execute(&mut *db).await?;
    }
    let mut removed = 0;
    for sql in [
        "DELETE FROM dead_letters WHERE tenant = $1 AND (event, ordinal) <= ($3, $4) AND event BETWEEN $2 AND $3",
        "DELETE FROM deliveries WHERE tenant = $1 AND (event, ordinal) <= ($3, $4) AND event BETWEEN $2 AND $3",
    ] {
        let query = sqlx::query(sql).bind(tenant.uuid()).bind(first.event.uuid());
        let query = query.bind(last.event.uuid()).bind(i32::from(last.ordinal));
        removed = query.execute(&mut *db).await?.rows_affected();
    }
    Ok(removed)
}

/// Removes a tenant's oldest events, which have no deliveries any more; returns how many.
pub(super) async fn events_of_tenant(
    db: &mut PgConnection,
    tenant: TenantId,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT id, octet_length(payload) AS bytes FROM events WHERE tenant = $1 ORDER BY id LIMIT $2",
    )
    .bind(tenant.uuid())
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    let last = last_within(&rows, limits::SWEEP_BYTES, |row| columns::number(row, "bytes"))?;
    let (Some(first), Some(last)) = (rows.first(), last) else {
        return Ok(0);
    };
    let done = sqlx::query("DELETE FROM events WHERE tenant = $1 AND id BETWEEN $2 AND $3")
        .bind(tenant.uuid())
        .bind(columns::uuid(first, "id")?)
        .bind(columns::uuid(last, "id")?)
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

/// Removes the oldest events of the default partitions with ids below `bound`, whosever, with everything of theirs: about
/// `limit` rows in all; returns how many events. What is unfinished or dead ends as expired first.
pub(super) async fn events_below(
    db: &mut PgConnection,
    bound: Uuid,
    limit: u32,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT e.id, octet_length(e.payload) AS bytes, 1 + (SELECT count(*) + coalesce(sum(d.attempts), 0) \
         FROM deliveries_default d WHERE d.event = e.id)::bigint AS weight \
         FROM events_default e WHERE e.id < $1 ORDER BY e.id LIMIT $2",
    )
    .bind(bound)
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    let by_rows = last_within(&rows, u64::from(limit), |row| columns::number(row, "weight"))?;
    let by_bytes = last_within(&rows, limits::SWEEP_BYTES, |row| columns::number(row, "bytes"))?;
    let (Some(first), Some(by_rows), Some(by_bytes)) = (rows.first(), by_rows, by_bytes) else {
        return Ok(0);
    };
    let first = columns::uuid(first, "id")?;
    let last = columns::uuid(by_rows, "id")?.min(columns::uuid(by_bytes, "id")?);
    while partitions::expire(db, "deliveries_default", (first, last), limits::SWEEP_ROWS, now).await? > 0 {}
    let mut removed = 0;
    for sql in [
        "DELETE FROM attempts_default WHERE event BETWEEN $1 AND $2",
        "DELETE FROM deliveries_default WHERE event BETWEEN $1 AND $2",
        "DELETE FROM events_default WHERE id BETWEEN $1 AND $2",
    ] {
        removed = sqlx::query(sql).bind(first).bind(last).execute(&mut *db).await?.rows_affected();
    }
    Ok(removed)
}
