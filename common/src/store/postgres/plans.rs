//! Plans: read, made, changed. Whoever changes one holds the row of `roster`, as whoever changes a tenant does.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::columns::{self, damaged};
use super::tenants::{hold_roster, next_version};
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
    db: &mut PgConnection,
    name: PlanName,
    changes: PlanChanges,
    now: Timestamp,
) -> Answer<(Plan, bool)> {
    hold_roster(db).await?;
    if let Some(plan) = find(db, &name).await? {
        let wanted = changes.over(&plan);
        return Ok(Ok((store_changes(db, plan, wanted, now).await?, false)));
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM plans").fetch_one(&mut *db).await?;
    if count >= i64::from(limits::PLANS_MAX) {
        return Ok(Err(ControlError::LimitReached(limits::PLANS_MAX)));
    }
    let starter = find(db, &PlanName::STARTER).await?.ok_or_else(|| damaged("no plan is the starter's"))?;
    let plan = Plan { name, changed_at: now, ..changes.over(&starter) };
    // No tenant is of it yet.
    let sql = "INSERT INTO plans (weight, max_events_per_sec, burst, max_concurrent_deliveries, max_dlq_size, \
               max_backlog, max_endpoints, dlq_overflow, tier_limit, tier_window_ms, changed_at, name, version) \
               VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,coalesce($13, 0))";
    write(db, sql, &plan, None).await?;
    Ok(Ok((plan, true)))
}

/// The plan of a name.
pub(super) async fn find(db: &mut PgConnection, name: &PlanName) -> Result<Option<Plan>, sqlx::Error> {
    let sql = format!("SELECT {COLUMNS} FROM plans p WHERE p.name = $1");
    let row = sqlx::query(AssertSqlSafe(sql)).bind(name.as_str()).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

/// All of them, by their names.
pub(super) async fn list(db: &mut PgConnection) -> Result<Vec<Plan>, sqlx::Error> {
    let sql = format!("SELECT {COLUMNS} FROM plans p ORDER BY p.name");
    sqlx::query(AssertSqlSafe(sql)).fetch_all(db).await?.iter().map(read).collect()
}

/// A plan out of [`COLUMNS`].
pub(super) fn read(row: &PgRow) -> Result<Plan, sqlx::Error> {
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
    db: &mut PgConnection,
    old: Plan,
    mut wanted: Plan,
    now: Timestamp,
) -> Result<Plan, sqlx::Error> {
    if wanted == old {
        return Ok(old);
    }
    wanted.changed_at = now;
    let for_dispatchers = (old.weight, old.limits) != (wanted.weight, wanted.limits);
    let version = if for_dispatchers { Some(next_version(db).await?) } else { None };
    let sql = "UPDATE plans SET weight = $1, max_events_per_sec = $2, burst = $3, max_concurrent_deliveries = $4, \
               max_dlq_size = $5, max_backlog = $6, max_endpoints = $7, dlq_overflow = $8, tier_limit = $9, \
               tier_window_ms = $10, changed_at = $11, version = coalesce($13, version) WHERE name = $12";
    write(db, sql, &wanted, version).await?;
    Ok(wanted)
}

/// Runs a statement that binds the plan's columns, then its name, then the new version if there is one.
async fn write(
    db: &mut PgConnection,
    sql: &'static str,
    plan: &Plan,
    version: Option<i64>,
) -> Result<(), sqlx::Error> {
    let Plan { name, weight, limits, tier, changed_at } = plan;
    sqlx::query(sql)
        .bind(i64::from(*weight))
        .bind(i64::from(limits.max_events_per_sec))
        .bind(i64::from(limits.burst))
        .bind(i64::from(limits.max_concurrent_deliveries))
        .bind(i64::from(limits.max_dlq_size))
        .bind(i64::from(limits.max_backlog))
        .bind(i64::from(limits.max_endpoints))
        .bind(limits.dlq_overflow.name())
        .bind(i64::from(tier.limit))
        .bind(tier.window.milliseconds())
        .bind(changed_at.0)
        .bind(name.as_str())
        .bind(version)
        .execute(db)
        .await?;
    Ok(())
}
