//! The conditions that tenants are in, and which of them are to be told of.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteConnection};

use super::columns::{self, blob};
use super::paging::{Keyset, page};
use crate::condition::{Condition, ConditionKey, ConditionKind, Evidence, Subject};
use crate::endpoint::StatusReason;
use crate::ids::{ConditionId, TenantId};
use crate::store::{Page, PageRequest, Untold};
use crate::time::Timestamp;

const SELECT: &str = "SELECT id, kind, tenant, subject, value, measure, reason, created_at, cleared_at, told, \
    coalesce((SELECT slug FROM tenants WHERE tenants.id = conditions.tenant), '') AS slug FROM conditions";

/// Those that hold.
pub(super) async fn held(
    db: &mut SqliteConnection,
    tenant: Option<TenantId>,
    request: &PageRequest,
) -> Result<Page<Condition>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("{SELECT} WHERE cleared_at IS NULL"));
    if let Some(tenant) = tenant {
        query.push(" AND tenant = ").push_bind(blob(tenant.uuid()));
    }
    Keyset::by_id(request).push(&mut query);
    let rows = query.build().fetch_all(db).await?;
    page(request, &rows, read, |condition| condition.id.uuid())
}

pub(super) async fn change(
    db: &mut SqliteConnection,
    raised: &[Condition],
    cleared: &[ConditionKey],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    for key in cleared {
        sqlx::query(
            "UPDATE conditions SET cleared_at = ?4 \
             WHERE tenant = ?1 AND kind = ?2 AND subject = ?3 AND cleared_at IS NULL",
        )
        .bind(blob(key.tenant.uuid()))
        .bind(key.kind.name())
        .bind(key.subject.text())
        .bind(now.0)
        .execute(&mut *db)
        .await?;
    }
    for condition in raised {
        sqlx::query(
            "INSERT INTO conditions (id, kind, tenant, subject, value, measure, reason, created_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(blob(condition.id.uuid()))
        .bind(condition.key.kind.name())
        .bind(blob(condition.key.tenant.uuid()))
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

pub(super) async fn untold(db: &mut SqliteConnection, limit: u32) -> Result<Vec<Untold>, sqlx::Error> {
    let mut query =
        QueryBuilder::new(format!("{SELECT} WHERE told = 0 OR cleared_at IS NOT NULL ORDER BY id LIMIT "));
    let rows = query.push_bind(i64::from(limit)).build().fetch_all(db).await?;
    let untold = |row: &SqliteRow| {
        Ok(Untold { condition: read(row)?, raised_told: columns::number::<u8>(row, "told")? > 0 })
    };
    rows.iter().map(untold).collect()
}

pub(super) async fn told(db: &mut SqliteConnection, told: &[Untold]) -> Result<(), sqlx::Error> {
    for Untold { condition, .. } in told {
        let sql = match condition.cleared_at {
            Some(_) => "DELETE FROM conditions WHERE id = ?",
            None => "UPDATE conditions SET told = 1 WHERE id = ?",
        };
        sqlx::query(sql).bind(blob(condition.id.uuid())).execute(&mut *db).await?;
    }
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Condition, sqlx::Error> {
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
