//! The end of a tenant, in bounded steps. A step does the first thing that is left to do, so that it needs no cursor.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::columns::blob;
use super::{lifecycle, removal, tenants};
use crate::delivery::DiscardReason;
use crate::store::Job;
use crate::time::Timestamp;

/// What is unfinished: what waits, and what is in a queue.
const UNFINISHED: &str = "SELECT d.event, d.ordinal, d.tenant, d.attempts FROM schedule s \
     CROSS JOIN deliveries d ON d.event = s.event AND d.ordinal = s.ordinal WHERE s.tenant = ?1 LIMIT ?2";
const QUEUED: &str = "SELECT event, ordinal, tenant, attempts FROM deliveries INDEXED BY deliveries_queued \
     WHERE tenant = ?1 AND state = 'queued' LIMIT ?2";

/// The small tables of a tenant, in the order in which they go. Its counts go last: until then they are whole.
const TABLES: [&str; 9] = [
    "DELETE FROM idempotency_keys WHERE (tenant, key) IN \
     (SELECT tenant, key FROM idempotency_keys WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM schedule WHERE (event, ordinal) IN \
     (SELECT event, ordinal FROM schedule WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM endpoints WHERE id IN (SELECT id FROM endpoints WHERE tenant = ?1 AND status = 'deleted' LIMIT ?2)",
    "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE tenant = ?1 AND kind <> 'delete_tenant' LIMIT ?2)",
    "DELETE FROM in_flight WHERE (node, tenant) IN (SELECT node, tenant FROM in_flight WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM limit_overrides WHERE tenant = ?1 AND ?2 > 0",
    // They went when it began, unless a version began it that knows of none yet.
    "DELETE FROM sources WHERE tenant = ?1 AND ?2 > 0",
    "DELETE FROM delivery_counts WHERE tenant = ?1 AND ?2 > 0",
];

/// Changes or removes so many rows at most; returns whether that was the last step. `done` counts the deliveries that are gone,
/// `freed` gets the files that nobody needs once this is committed.
pub(super) async fn step(
    db: &mut SqliteConnection,
    job: &mut Job,
    (changes, removals): (u32, u32),
    freed: &mut Vec<Uuid>,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let tenant = job.tenant;
    for unfinished in [UNFINISHED, QUEUED] {
        let query = sqlx::query(unfinished).bind(blob(tenant.uuid())).bind(i64::from(changes));
        let rows = query.fetch_all(&mut *db).await?;
        let rows = rows.iter().map(lifecycle::read_unfinished).collect::<Result<Vec<_>, _>>()?;
        if !rows.is_empty() {
            lifecycle::discard(db, &rows, DiscardReason::TenantDeleted, now).await?;
            return Ok(false);
        }
    }
    let removed = removal::events_of_tenant(db, tenant, removals).await?;
    job.done += removed.deliveries;
    freed.extend(removed.files);
    if removed.events > 0 {
        return Ok(false);
    }
    for table in TABLES {
        let query = sqlx::query(table).bind(blob(tenant.uuid())).bind(i64::from(removals));
        if query.execute(&mut *db).await?.rows_affected() > 0 {
            return Ok(false);
        }
    }
    tenants::bury(db, tenant, now).await?;
    Ok(true)
}
