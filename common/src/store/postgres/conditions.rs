//! The conditions that tenants are in, and which of them are to be told of.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{QueryBuilder, Row};

use super::columns;
use super::paging::{page, push_page};
use crate::condition::{Condition, ConditionKey, ConditionKind, Evidence, Subject};
use crate::endpoint::StatusReason;
use crate::ids::{ConditionId, TenantId};
use crate::store::{Page, PageRequest, Untold};
use crate::time::Timestamp;

const SELECT: &str = "SELECT id, kind, tenant, subject, value, measure, reason, created_at, cleared_at, told, \
    coalesce((SELECT slug FROM tenants WHERE tenants.id = conditions.tenant), '') AS slug FROM conditions";

/// Those that hold.
pub(super) async fn held(
    db: &mut PgConnection,
    tenant: Option<TenantId>,
    request: &PageRequest,
) -> Result<Page<Condition>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("{SELECT} WHERE cleared_at IS NULL"));
    if let Some(tenant) = tenant {
        query.push(" AND tenant = ").push_bind(tenant.uuid());
    }
    push_page(request, &mut query);
    let rows = query.build().fetch_all(db).await?;
    page(request, &rows, read, |condition| condition.id.uuid())
}

pub(super) async fn change(
    db: &mut PgConnection,
    raised: &[Condition],
    cleared: &[ConditionKey],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    for key in cleared {
        sqlx::query(
            "UPDATE conditions SET cleared_at = $4 \
             WHERE tenant = $1 AND kind = $2 AND subject = $3 AND cleared_at IS NULL",
        )
        .bind(key.tenant.uuid())
        .bind(key.kind.name())
        .bind(key.subject.text())
        .bind(now.0)
        .execute(&mut *db)
        .await?;
    }
    for condition in raised {
        sqlx::query(
            "INSERT INTO conditions (id, kind, tenant, subject, value, measure, reason, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        )
        .bind(condition.id.uuid())
        .bind(condition.key.kind.name())
        .bind(condition.key.tenant.uuid())
        .bind(condition.key.subject.text())
        .bind(condition.evidence.value)
        .bind(condition.evidence.limit)
        .bind(condition.evidence.reason.map(StatusReason::name))
        .bind(condition.raised_at.0)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

pub(super) async fn untold(db: &mut PgConnection, limit: u32) -> Result<Vec<Untold>, sqlx::Error> {
    let mut query =
        QueryBuilder::new(format!("{SELECT} WHERE NOT told OR cleared_at IS NOT NULL ORDER BY id LIMIT "));
    let rows = query.push_bind(i64::from(limit)).build().fetch_all(db).await?;
    let untold = |row: &PgRow| Ok(Untold { condition: read(row)?, raised_told: row.try_get("told")? });
    rows.iter().map(untold).collect()
}

pub(super) async fn told(db: &mut PgConnection, told: &[Untold]) -> Result<(), sqlx::Error> {
    for Untold { condition, .. } in told {
        let sql = match condition.cleared_at {
            Some(_) => "DELETE FROM conditions WHERE id = $1",
            None => "UPDATE conditions SET told = true WHERE id = $1",
        };
        sqlx::query(sql).bind(condition.id.uuid()).execute(&mut *db).await?;
    }
    Ok(())
}

fn read(row: &PgRow) -> Result<Condition, sqlx::Error> {
    let key = ConditionKey {
        kind: columns::named(row, "kind", ConditionKind::from_name)?,
        tenant: columns::tenant(row)?,
        subject: columns::named(row, "subject", Subject::from_text)?,
    };
    let evidence = Evidence {
        value: row.try_get("value")?,
        limit: row.try_get("measure")?,
        reason: columns::maybe_named(row, "reason", StatusReason::from_name)?,
    };
    Ok(Condition {
        id: ConditionId::from_uuid(columns::uuid(row, "id")?),
        key,
        slug: row.try_get("slug")?,
        evidence,
        raised_at: columns::time(row, "created_at")?,
        cleared_at: columns::maybe_time(row, "cleared_at")?,
    })
}
