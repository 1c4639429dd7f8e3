//! API keys. Their owner is a tenant, or the operator (`tenant IS NULL`).

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteConnection};

use super::columns::{self, blob, damaged};
use super::paging::{Keyset, page};
use super::tenants::{self, Answer};
use crate::ids::{KeyId, TenantId};
use crate::key::ApiKey;
use crate::limits;
use crate::store::shared::values::{read_scopes, scopes_text};
use crate::store::{ControlError, KeyOwner, Page, PageRequest};
use crate::time::Timestamp;

const ROW: &str = "id, tenant, name, scopes, secret_hash, created_at, expires_at, revoked_at";

/// Keeps a key if its owner is there and has room for it. What ended long ago makes room in the table.
pub(super) async fn add(db: &mut SqliteConnection, key: ApiKey) -> Answer<()> {
    if let Some(tenant) = key.tenant
        && tenants::find_active(db, tenant).await?.is_none()
    {
        return Ok(Err(ControlError::NotFound));
    }
    let (owner, now) = (key.tenant.map(|tenant| blob(tenant.uuid())), key.created_at);
    let in_force: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM api_keys WHERE tenant IS ?1 AND revoked_at IS NULL \
         AND (expires_at IS NULL OR expires_at > ?2)",
    )
    .bind(&owner)
    .bind(now.0)
    .fetch_one(&mut *db)
    .await?;
    if in_force >= i64::from(limits::KEYS_PER_TENANT) {
        return Ok(Err(ControlError::LimitReached(limits::KEYS_PER_TENANT)));
    }
    sqlx::query("DELETE FROM api_keys WHERE tenant IS ?1 AND (revoked_at < ?2 OR expires_at < ?2)")
        .bind(&owner)
        .bind(now.before(limits::RETENTION).0)
        .execute(&mut *db)
        .await?;
    insert(db, &key).await.map(Ok)
}

/// Keeps a key without asking.
pub(super) async fn insert(db: &mut SqliteConnection, key: &ApiKey) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO api_keys (id, tenant, name, scopes, secret_hash, created_at, expires_at, revoked_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(blob(key.id.uuid()))
    .bind(key.tenant.map(|tenant| blob(tenant.uuid())))
    .bind(&key.name)
    .bind(scopes_text(&key.scopes))
    .bind(key.secret_hash.to_vec())
    .bind(key.created_at.0)
    .bind(key.expires_at.map(|at| at.0))
    .bind(key.revoked_at.map(|at| at.0))
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn find(db: &mut SqliteConnection, key: KeyId) -> Result<Option<ApiKey>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM api_keys WHERE id = "));
    query.push_bind(blob(key.uuid()));
    query.build().fetch_optional(db).await?.as_ref().map(read).transpose()
}

pub(super) async fn list(
    db: &mut SqliteConnection,
    owner: KeyOwner,
    request: &PageRequest,
) -> Result<Page<ApiKey>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM api_keys WHERE tenant IS "));
    query.push_bind(owner_blob(owner)).push(" AND revoked_at IS NULL");
    Keyset::by_id(request).push(&mut query);
    let rows = query.build().fetch_all(db).await?;
    page(request, &rows, read, |key| key.id.uuid())
}

/// Returns whether there is such a key; one that is revoked already stays as it is.
pub(super) async fn revoke(
    db: &mut SqliteConnection,
    owner: KeyOwner,
    key: KeyId,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done =
        sqlx::query("UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? AND tenant IS ?")
            .bind(now.0)
            .bind(blob(key.uuid()))
            .bind(owner_blob(owner))
            .execute(db)
            .await?;
    Ok(done.rows_affected() > 0)
}

fn owner_blob(owner: KeyOwner) -> Option<Vec<u8>> {
    owner.tenant().map(|tenant| blob(tenant.uuid()))
}

fn read(row: &SqliteRow) -> Result<ApiKey, sqlx::Error> {
    let tenant: Option<Vec<u8>> = row.try_get("tenant")?;
    Ok(ApiKey {
        id: KeyId::from_uuid(columns::uuid(row, "id")?),
        tenant: tenant.map(|_| columns::uuid(row, "tenant").map(TenantId::from_uuid)).transpose()?,
        name: row.try_get("name")?,
        scopes: read_scopes(row.try_get("scopes")?)?,
        secret_hash: row
            .try_get::<&[u8], _>("secret_hash")?
            .try_into()
            .map_err(|_| damaged("secret_hash"))?,
        created_at: columns::time(row, "created_at")?,
        expires_at: columns::maybe_time(row, "expires_at")?,
        revoked_at: columns::maybe_time(row, "revoked_at")?,
    })
}
