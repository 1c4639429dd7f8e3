//! The end of a tenant, in bounded steps. The first one waits for the admissions that are under way; the others do the first
//! thing that is left to do, so that they need no cursor.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::rows::look_up_joined;
use super::{lifecycle, removal, tenants};
use crate::delivery::DiscardReason;
use crate::limits;
use crate::store::Job;
use crate::time::Timestamp;

/// Begins an admission. It shares a lock with all others until its end; it has it before it reads who its tenants are.
pub(super) const BEGIN_ADMISSION: &str = "BEGIN; SELECT pg_advisory_xact_lock_shared(7246120232)";

/// Waits for the end of all admissions. Those that begin behind it see what was committed before it.
const NO_ADMISSION: &str = "SELECT pg_advisory_xact_lock(7246120232)";

/// What waits. (What is in a queue is found when its row's turn to go comes.)
const WAITING: &str = "SELECT d.event, d.ordinal, d.tenant, d.attempts FROM schedule s \
     JOIN deliveries d ON d.event = s.event AND d.ordinal = s.ordinal WHERE s.tenant = $1 \
     ORDER BY d.event, d.ordinal LIMIT $2 FOR UPDATE OF d, s";

/// The small tables of a tenant, in the order in which they go. Its counts go last: until then they are whole.
const TABLES: [&str; 10] = [
    "DELETE FROM idempotency_keys WHERE (tenant, key) IN \
     (SELECT tenant, key FROM idempotency_keys WHERE tenant = $1 LIMIT $2)",
    "DELETE FROM schedule WHERE (event, ordinal) IN \
     (SELECT event, ordinal FROM schedule WHERE tenant = $1 LIMIT $2)",
    "DELETE FROM endpoints WHERE id IN (SELECT id FROM endpoints WHERE tenant = $1 AND status = 'deleted' LIMIT $2)",
    "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE tenant = $1 LIMIT $2)",
    "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE tenant = $1 AND kind <> 'delete_tenant' LIMIT $2)",
    "DELETE FROM in_flight WHERE (node, tenant) IN (SELECT node, tenant FROM in_flight WHERE tenant = $1 LIMIT $2)",
    "DELETE FROM lost_scans WHERE tenant = $1 AND $2 > 0",
    "DELETE FROM limit_overrides WHERE tenant = $1 AND $2 > 0",
    // They went when it began, unless an ingest began it that knows of none yet.
    "DELETE FROM sources WHERE tenant = $1 AND $2 > 0",
    "DELETE FROM delivery_counts WHERE tenant = $1 AND $2 > 0",
];

/// Returns whether that was the last step. `done` counts the deliveries that are gone.
pub(super) async fn step(
    db: &mut PgConnection,
    job: &mut Job,
    cursor: &mut Option<String>,
    limit: u32,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let tenant = job.tenant;
    if cursor.is_none() {
        wait_for_admissions(db).await?;
        *cursor = Some("admitted".into());
        return Ok(false);
    }
    look_up_joined(db).await?;
    let waiting = sqlx::query(WAITING).bind(tenant.uuid()).bind(i64::from(limit));
    let waiting = waiting.fetch_all(&mut *db).await?;
    let waiting = waiting.iter().map(lifecycle::read_unfinished).collect::<Result<Vec<_>, _>>()?;
    if !waiting.is_empty() {
        lifecycle::discard(db, &waiting, DiscardReason::TenantDeleted, now).await?;
        return Ok(false);
    }
    let removed = removal::deliveries_of_tenant(db, tenant, limit, now).await?;
    job.done += removed;
    if removed > 0 || removal::events_of_tenant(db, tenant, limit).await? > 0 {
        return Ok(false);
    }
    for table in TABLES {
        let query = sqlx::query(table).bind(tenant.uuid()).bind(i64::from(limit));
        if query.execute(&mut *db).await?.rows_affected() > 0 {
            return Ok(false);
        }
    }
    tenants::bury(db, tenant, now).await?;
    Ok(true)
}

/// An admission that read the tenant before its end began may commit events of its yet, which nobody would look for when
/// everything else is gone. Whoever begins one meanwhile waits as well, so that this does nothing else and ends at once.
async fn wait_for_admissions(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    let milliseconds = limits::ADMISSIONS_WAIT.as_millis();
    let bounded = format!("SET LOCAL lock_timeout = {milliseconds}; {NO_ADMISSION}");
    sqlx::raw_sql(AssertSqlSafe(bounded)).execute(db).await.map(drop)
}
