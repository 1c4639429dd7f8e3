//! What dispatchers have to know of tenants, what they say of themselves, and what all tenants have together.

use std::sync::Arc;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::columns;
use super::plans;
use super::tenants::{self, COUNTS};
use crate::endpoint::Circuit;
use crate::ids::{EndpointId, TenantId};
use crate::limits;
use crate::store::{Report, Roster, RosterTenant};
use crate::tenant::{DeliveryCounts, Dispatch, QuotaChanges};
use crate::time::Timestamp;

/// The tenants that changed after `since`, themselves or with their plan.
pub(super) async fn roster(db: &mut PgConnection, since: u64) -> Result<Roster, sqlx::Error> {
    let row = format!(
        "t.id, t.slug, t.queue, t.weight, t.quota, t.dispatch, t.status = 'deleted' AS deleted, \
         greatest(t.version, p.version) AS version, {}",
        plans::COLUMNS
    );
    // Two look-ups of what is new: a condition over both tables would read all tenants each time.
    let sql = format!(
        "SELECT {row} FROM tenants t JOIN plans p ON p.name = t.plan WHERE t.version > $1 \
         UNION ALL \
         SELECT {row} FROM plans p JOIN tenants t ON t.plan = p.name WHERE p.version > $1 AND t.version <= $1 \
         ORDER BY version"
    );
    let newer = sqlx::query(AssertSqlSafe(sql)).bind(i64::try_from(since).unwrap_or(i64::MAX));
    let rows = newer.fetch_all(db).await?;
    let version = rows.last().map(|row| columns::number(row, "version")).transpose()?;
    let tenants = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Roster { version: version.unwrap_or(since), tenants })
}

/// Whether a report without content would change anything: an idle dispatcher costs no commits.
pub(super) async fn anything_reported(
    db: &mut PgConnection,
    node: &str,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM in_flight WHERE node = $1 OR reported_at < $2)")
        .bind(node)
        .bind(now.before(limits::REPORT_TTL).0)
        .fetch_one(db)
        .await
}

/// Replaces what a dispatcher has said; what others said long ago goes as well.
pub(super) async fn report(
    db: &mut PgConnection,
    node: &str,
    report: &Report,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM in_flight WHERE node = $1").bind(node).execute(&mut *db).await?;
    // Others forget the same ones at the same time.
    sqlx::query(
        "DELETE FROM in_flight WHERE (node, tenant) IN \
         (SELECT node, tenant FROM in_flight WHERE reported_at < $1 FOR UPDATE SKIP LOCKED)",
    )
    .bind(now.before(limits::REPORT_TTL).0)
    .execute(&mut *db)
    .await?;
    if !report.in_flight.is_empty() {
        let (tenants, counts): (Vec<_>, Vec<_>) =
            report.in_flight.iter().map(|(tenant, count)| (tenant.uuid(), i64::from(*count))).unzip();
        sqlx::query(
            "INSERT INTO in_flight (node, tenant, deliveries, reported_at) \
             SELECT $1, r.tenant, r.deliveries, $2 FROM unnest($3::uuid[], $4::bigint[]) r (tenant, deliveries) \
             ON CONFLICT (node, tenant) DO UPDATE SET deliveries = excluded.deliveries, \
             reported_at = excluded.reported_at",
        )
        .bind(node)
        .bind(now.0)
        .bind(tenants)
        .bind(counts)
        .execute(&mut *db)
        .await?;
    }
    tell_circuits(db, &report.circuits).await
}

async fn tell_circuits(db: &mut PgConnection, circuits: &[(EndpointId, Circuit)]) -> Result<(), sqlx::Error> {
    if circuits.is_empty() {
        return Ok(());
    }
    let (endpoints, names): (Vec<_>, Vec<_>) =
        circuits.iter().map(|(endpoint, circuit)| (endpoint.uuid(), circuit.name())).unzip();
    sqlx::query("SELECT 1 FROM endpoints WHERE id = ANY($1) ORDER BY id FOR UPDATE")
        .bind(&endpoints)
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "UPDATE endpoints p SET circuit = r.circuit FROM unnest($1::uuid[], $2::text[]) r (id, circuit) \
         WHERE p.id = r.id",
    )
    .bind(endpoints)
    .bind(names)
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn totals(db: &mut PgConnection) -> Result<DeliveryCounts, sqlx::Error> {
    let row = sqlx::query(AssertSqlSafe(format!("SELECT {COUNTS}"))).fetch_one(db).await?;
    tenants::read_counts(&row)
}

/// Commits something that leaves nothing behind: a standby, or a disk that is full, refuses it.
pub(super) async fn ping(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_current_xact_id()").execute(db).await?;
    Ok(())
}

fn read(row: &PgRow) -> Result<RosterTenant, sqlx::Error> {
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
        deleted: row.try_get("deleted")?,
    })
}
