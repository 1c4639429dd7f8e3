//! A tenant's overrides of limits: one for each policy at most.

use sqlx::postgres::PgConnection;

use super::tenants::{self, Answer};
use crate::ids::TenantId;
use crate::policy::{Override, Policy};
use crate::store::ControlError;
use crate::store::shared::overrides::window_ms;
use crate::time::Timestamp;

/// Sets one in place of what the policy had; returns whether it had none. Those that have ended go.
pub(super) async fn put(
    db: &mut PgConnection,
    tenant: TenantId,
    new: Override,
    now: Timestamp,
) -> Answer<bool> {
    if tenants::hold_active(db, tenant).await?.is_none() {
        return Ok(Err(ControlError::NotFound));
    }
    sqlx::query("DELETE FROM limit_overrides WHERE tenant = $1 AND ends_at <= $2")
        .bind(tenant.uuid())
        .bind(now.0)
        .execute(&mut *db)
        .await?;
    let had = delete(db, tenant, new.policy, now).await?;
    sqlx::query(
        "INSERT INTO limit_overrides (tenant, policy, limit_, window_ms, created_at, ends_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(tenant.uuid())
    .bind(new.policy.name())
    .bind(i64::from(new.rate.limit))
    .bind(window_ms(new.rate.window))
    .bind(new.created_at.0)
    .bind(new.ends_at.0)
    .execute(db)
    .await?;
    Ok(Ok(!had))
}

/// Returns whether there was one in force.
pub(super) async fn delete(
    db: &mut PgConnection,
    tenant: TenantId,
    policy: Policy,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("DELETE FROM limit_overrides WHERE tenant = $1 AND policy = $2 AND ends_at > $3")
        .bind(tenant.uuid())
        .bind(policy.name())
        .bind(now.0)
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}
