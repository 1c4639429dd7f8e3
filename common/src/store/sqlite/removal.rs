//! Rows that go for good, a bounded number at a time, with everything that hangs on them.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::columns::{self, blob};
use super::lifecycle::{Move, move_counts};
use super::payloads;
use crate::ids::TenantId;
use crate::limits;
use crate::store::shared::paging::last_within;

/// What one step removed.
#[derive(Default)]
pub(super) struct Removed {
    pub events: u64,
    pub deliveries: u64,
    /// The files with payloads of theirs, which are to go once this is committed.
    pub files: Vec<uuid::Uuid>,
}

/// Removes a tenant's oldest events with everything of theirs, about `limit` rows in all. Their counts stay.
pub(super) async fn events_of_tenant(
    db: &mut SqliteConnection,
    tenant: TenantId,
    limit: u32,
) -> Result<Removed, sqlx::Error> {
    let tenant = blob(tenant.uuid());
    let rows = sqlx::query(
        "SELECT e.id, e.payload_file, length(e.payload) AS bytes, 1 + (SELECT 2 * count(*) + coalesce(sum(d.attempts), 0) \
         FROM deliveries d WHERE d.event = e.id) AS weight FROM events e WHERE e.tenant = ? ORDER BY e.id LIMIT ?",
    )
    .bind(&tenant)
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    let Some(last) = last_of_step(&rows, limit)? else { return Ok(Removed::default()) };
    let mut removed = [0; 4];
    let statements = [
        "DELETE FROM dead_letters WHERE tenant = ?1 AND event <= ?2",
        "DELETE FROM attempts WHERE event IN (SELECT id FROM events WHERE tenant = ?1 AND id <= ?2)",
        "DELETE FROM deliveries WHERE event IN (SELECT id FROM events WHERE tenant = ?1 AND id <= ?2)",
        "DELETE FROM events WHERE tenant = ?1 AND id <= ?2",
    ];
    for (removed, sql) in removed.iter_mut().zip(statements) {
        *removed = sqlx::query(sql).bind(&tenant).bind(&last).execute(&mut *db).await?.rows_affected();
    }
    let [_, _, deliveries, events] = removed;
    Ok(Removed { events, deliveries, files: files_up_to(&rows, &last)? })
}

/// The files of the events up to `last`.
fn files_up_to(rows: &[SqliteRow], last: &[u8]) -> Result<Vec<uuid::Uuid>, sqlx::Error> {
    let mut files = Vec::new();
    for row in rows {
        if row.try_get::<&[u8], _>("id")? <= last {
            files.extend(payloads::file(row)?);
        }
    }
    Ok(files)
}

/// The last event of a step's worth, by the rows' weights and the bytes of the payloads in them.
fn last_of_step(rows: &[SqliteRow], limit: u32) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let by_rows = last_within(rows, u64::from(limit), |row| columns::number(row, "weight"))?;
    let by_bytes = last_within(rows, limits::WRITER_BYTES, |row| columns::number(row, "bytes"))?;
    let (Some(by_rows), Some(by_bytes)) = (by_rows, by_bytes) else { return Ok(None) };
    Ok(Some(blob(columns::uuid(by_rows, "id")?.min(columns::uuid(by_bytes, "id")?))))
}

/// Removes the oldest events with ids below `bound`, whosever, with everything of theirs: about `limit` rows in all.
/// What is unfinished or dead counts as discarded from now on.
pub(super) async fn events_below(
    db: &mut SqliteConnection,
    bound: uuid::Uuid,
    limit: u32,
) -> Result<Removed, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT e.id, e.payload_file, length(e.payload) AS bytes, 1 + (SELECT count(*) + coalesce(sum(d.attempts), 0) \
         FROM deliveries d WHERE d.event = e.id) AS weight FROM events e WHERE e.id < ? ORDER BY e.id LIMIT ?",
    )
    .bind(blob(bound))
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    let Some(last) = last_of_step(&rows, limit)? else { return Ok(Removed::default()) };
    expire_counts(db, &last).await?;
    let mut removed = [0; 5];
    let statements = [
        "DELETE FROM dead_letters WHERE (tenant, event, ordinal) IN \
         (SELECT tenant, event, ordinal FROM deliveries WHERE event <= ? AND state = 'dead')",
        "DELETE FROM schedule WHERE event <= ?",
        "DELETE FROM attempts WHERE event <= ?",
        "DELETE FROM deliveries WHERE event <= ?",
        "DELETE FROM events WHERE id <= ?",
    ];
    for (removed, sql) in removed.iter_mut().zip(statements) {
        *removed = sqlx::query(sql).bind(&last).execute(&mut *db).await?.rows_affected();
    }
    let [_, _, _, deliveries, events] = removed;
    Ok(Removed { events, deliveries, files: files_up_to(&rows, &last)? })
}

/// Moves the counts of what goes with the events up to `last` although it is unfinished or dead.
async fn expire_counts(db: &mut SqliteConnection, last: &[u8]) -> Result<(), sqlx::Error> {
    let rows = sqlx::query(
        "SELECT tenant, sum(state = 'dead') AS dead, sum(state <> 'dead' AND attempts = 0) AS backlog, \
         sum(state <> 'dead' AND attempts > 0) AS retrying FROM deliveries \
         WHERE event <= ? AND state IN ('queued', 'scheduled', 'held', 'dead') GROUP BY tenant",
    )
    .bind(last.to_vec())
    .fetch_all(&mut *db)
    .await?;
    for row in &rows {
        let count = |column| row.try_get::<i64, _>(column);
        let (dead, backlog, retrying) = (count("dead")?, count("backlog")?, count("retrying")?);
        let discarded = dead + backlog + retrying;
        let by = Move { accepted: 0, dead: -dead, discarded, backlog: -backlog, retrying: -retrying };
        move_counts(db, columns::tenant(row)?, by).await?;
    }
    Ok(())
}
