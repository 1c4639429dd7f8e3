//! What dispatchers have to know of tenants, what they say of themselves, and what all tenants have together.

use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::columns::{self, blob};
use super::plans;
use super::tenants;
use crate::ids::TenantId;
use crate::limits;
use crate::store::{Report, Roster, RosterTenant};
use crate::tenant::{DeliveryCounts, Dispatch, QuotaChanges};
use crate::time::Timestamp;

/// The tenants that changed after `since`, themselves or with their plan.
pub(super) async fn roster(db: &mut SqliteConnection, since: u64) -> Result<Roster, sqlx::Error> {
    let row = format!(
        "t.id, t.slug, t.queue, t.weight, t.quota, t.dispatch, t.status = 'deleted' AS deleted, \
         max(t.version, p.version) AS version, {}",
        plans::COLUMNS
    );
    // Two look-ups of what is new: a condition over both tables would read all tenants each time.
    let sql = format!(
        "SELECT {row} FROM tenants t CROSS JOIN plans p ON p.name = t.plan WHERE t.version > ?1 \
         UNION ALL \
         SELECT {row} FROM plans p CROSS JOIN tenants t ON t.plan = p.name WHERE p.version > ?1 AND t.version <= ?1 \
         ORDER BY version"
    );
    let newer = sqlx::query(AssertSqlSafe(sql)).bind(i64::try_from(since).unwrap_or(i64::MAX));
    let rows = newer.fetch_all(db).await?;
    let version = rows.last().map(|row| columns::number(row, "version")).transpose()?;
    let tenants = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Roster { version: version.unwrap_or(since), tenants })
}

/// Whether a report without content would change anything: an idle dispatcher costs no commits.
pub(super) async fn anything_reported(db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM in_flight)").fetch_one(db).await
}

/// Replaces what a dispatcher has said; what others said long ago goes as well.
pub(super) async fn report(
    db: &mut SqliteConnection,
    node: String,
    report: Report,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM in_flight WHERE node = ? OR reported_at < ?")
        .bind(&node)
        .bind(now.before(limits::REPORT_TTL).0)
        .execute(&mut *db)
        .await?;
    let row = |(tenant, count): &(TenantId, u32)| format!("[\"{}\",{count}]", tenant.uuid().simple());
    let rows: Vec<_> = report.in_flight.iter().map(row).collect();
    sqlx::query(
        "INSERT OR REPLACE INTO in_flight (node, tenant, deliveries, reported_at) \
         SELECT ?1, unhex(value ->> 0), value ->> 1, ?2 FROM json_each(?3)",
    )
    .bind(node)
    .bind(now.0)
    .bind(format!("[{}]", rows.join(",")))
    .execute(&mut *db)
    .await?;
    for (endpoint, circuit) in report.circuits {
        sqlx::query("UPDATE endpoints SET circuit = ? WHERE id = ?")
            .bind(circuit.name())
            .bind(blob(endpoint.uuid()))
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

pub(super) async fn totals(db: &mut SqliteConnection) -> Result<DeliveryCounts, sqlx::Error> {
    let row = sqlx::query(
        "SELECT coalesce(sum(accepted), 0) AS accepted, coalesce(sum(delivered), 0) AS delivered, \
         coalesce(sum(dead), 0) AS dead, coalesce(sum(discarded), 0) AS discarded, \
         coalesce(sum(backlog), 0) AS backlog, coalesce(sum(retrying), 0) AS retrying FROM delivery_counts",
    )
    .fetch_one(db)
    .await?;
    tenants::read_counts(&row)
}

/// Writes something that leaves nothing behind: a commit that a full disk or a lock would stop.
pub(super) async fn ping(db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT OR REPLACE INTO in_flight (node, tenant, deliveries, reported_at) VALUES ('', x'', 0, 0)",
    )
    .execute(&mut *db)
    .await?;
    sqlx::query("DELETE FROM in_flight WHERE node = ''").execute(db).await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<RosterTenant, sqlx::Error> {
    let plan = plans::read(row)?;
    let weight: Option<u32> = columns::maybe_number(row, "weight")?;
    let quota: QuotaChanges = columns::json(row, "quota")?;
    Ok(RosterTenant {
        id: TenantId::from_uuid(columns::uuid(row, "id")?),
        slug: Arc::from(row.try_get::<Option<&str>, _>("slug")?.unwrap_or_default()),
        queue: Arc::from(row.try_get::<&str, _>("queue")?),
        weight: weight.unwrap_or(plan.weight).max(1),
        max_concurrent: quota.over(plan.limits).max_concurrent_deliveries,
        dispatch: columns::named(row, "dispatch", Dispatch::from_name)?,
        deleted: columns::number::<u8>(row, "deleted")? > 0,
    })
}
