//! Plans: read, made, changed.

use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::columns::{self, damaged};
use super::tenants::NEXT_VERSION;
use crate::limits;
use crate::plan::{Plan, PlanChanges, PlanName};
use crate::policy::{PolicyRate, WindowLength};
use crate::store::ControlError;
use crate::store::shared::Answer;
use crate::tenant::{DlqOverflow, QuotaLimits};
use crate::time::Timestamp;

/// The columns of [`read`], of `plans p`; they stand beside those of a tenant.
pub(super) const COLUMNS: &str = "p.name AS plan, p.weight AS plan_weight, p.max_events_per_sec, p.burst, \
    p.max_concurrent_deliveries, p.max_dlq_size, p.max_backlog, p.max_endpoints, p.dlq_overflow, p.tier_limit, \
    p.tier_window_ms, p.changed_at AS plan_changed_at";

/// Changes what `changes` names of a plan, or makes it out of the starter's and them.
pub(super) async fn put(
    db: &mut SqliteConnection,
    name: PlanName,
    changes: PlanChanges,
    now: Timestamp,
) -> Answer<(Plan, bool)> {
    if let Some(plan) = find(db, &name).await? {
        let wanted = changes.over(&plan);
        return Ok(Ok((store_changes(db, plan, wanted, now).await?, false)));
    }
    let count: u32 = sqlx::query_scalar("SELECT count(*) FROM plans").fetch_one(&mut *db).await?;
    if count >= limits::PLANS_MAX {
        return Ok(Err(ControlError::LimitReached(limits::PLANS_MAX)));
    }
    let starter = find(db, &PlanName::STARTER).await?.ok_or_else(|| damaged("no plan is the starter's"))?;
    let plan = Plan { name, changed_at: now, ..changes.over(&starter) };
    // No tenant is of it yet.
    let sql = "INSERT INTO plans (weight, max_events_per_sec, burst, max_concurrent_deliveries, max_dlq_size, \
               max_backlog, max_endpoints, dlq_overflow, tier_limit, tier_window_ms, changed_at, name, version) \
               VALUES (?,?,?,?,?,?,?,?,?,?,?,?,0)";
    write(db, sql, &plan).await?;
    Ok(Ok((plan, true)))
}

/// The plan of a name.
pub(super) async fn find(db: &mut SqliteConnection, name: &PlanName) -> Result<Option<Plan>, sqlx::Error> {
    let sql = format!("SELECT {COLUMNS} FROM plans p WHERE p.name = ?");
    let row = sqlx::query(AssertSqlSafe(sql)).bind(name.as_str()).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

/// All of them, by their names.
pub(super) async fn list(db: &mut SqliteConnection) -> Result<Vec<Plan>, sqlx::Error> {
    let sql = format!("SELECT {COLUMNS} FROM plans p ORDER BY p.name");
    sqlx::query(AssertSqlSafe(sql)).fetch_all(db).await?.iter().map(read).collect()
}

/// A plan out of [`COLUMNS`].
pub(super) fn read(row: &SqliteRow) -> Result<Plan, sqlx::Error> {
    let name: &str = row.try_get("plan")?;
    let window = Duration::from_millis(columns::number(row, "tier_window_ms")?);
    Ok(Plan {
        name: name.parse().map_err(|_| damaged("plan"))?,
        weight: columns::number(row, "plan_weight")?,
        limits: QuotaLimits {
            max_events_per_sec: columns::number(row, "max_events_per_sec")?,
            burst: columns::number(row, "burst")?,
            max_concurrent_deliveries: columns::number(row, "max_concurrent_deliveries")?,
            max_dlq_size: columns::number(row, "max_dlq_size")?,
            max_backlog: columns::number(row, "max_backlog")?,
            max_endpoints: columns::number(row, "max_endpoints")?,
            dlq_overflow: columns::named(row, "dlq_overflow", DlqOverflow::from_name)?,
        },
        tier: PolicyRate {
            limit: columns::number(row, "tier_limit")?,
            window: WindowLength::new(window).map_err(|_| damaged("tier_window_ms"))?,
        },
        changed_at: columns::time(row, "plan_changed_at")?,
    })
}

/// Writes what differs. The plan's version stands for those of its tenants, of which there may be very many: no row of theirs
/// is written.
async fn store_changes(
    db: &mut SqliteConnection,
    old: Plan,
    mut wanted: Plan,
    now: Timestamp,
) -> Result<Plan, sqlx::Error> {
    if wanted == old {
        return Ok(old);
    }
    wanted.changed_at = now;
    let for_dispatchers = (old.weight, old.limits) != (wanted.weight, wanted.limits);
    let version = if for_dispatchers { NEXT_VERSION } else { "version" };
    let sql = format!(
        "UPDATE plans SET weight = ?, max_events_per_sec = ?, burst = ?, max_concurrent_deliveries = ?, max_dlq_size = ?, \
         max_backlog = ?, max_endpoints = ?, dlq_overflow = ?, tier_limit = ?, tier_window_ms = ?, changed_at = ?, \
         version = {version} WHERE name = ?"
    );
    write(db, sql, &wanted).await?;
    Ok(wanted)
}

/// Runs a statement that binds the plan's columns, its name last.
async fn write(db: &mut SqliteConnection, sql: impl Into<String>, plan: &Plan) -> Result<(), sqlx::Error> {
    let Plan { name, weight, limits, tier, changed_at } = plan;
    sqlx::query(AssertSqlSafe(sql.into()))
        .bind(weight)
        .bind(limits.max_events_per_sec)
        .bind(limits.burst)
        .bind(limits.max_concurrent_deliveries)
        .bind(limits.max_dlq_size)
        .bind(limits.max_backlog)
        .bind(limits.max_endpoints)
        .bind(limits.dlq_overflow.name())
        .bind(tier.limit)
        .bind(tier.window.milliseconds())
        .bind(changed_at.0)
        .bind(name.as_str())
        .execute(db)
        .await?;
    Ok(())
}
