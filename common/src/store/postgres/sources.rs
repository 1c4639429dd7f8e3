//! Sources.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, QueryBuilder, Row};

use super::columns::{self, damaged};
use super::paging::{page, push_page};
use super::tenants::{self, Answer};
use crate::ids::{SourceId, TenantId};
use crate::limits;
use crate::source::{Source, SourceSecret, SourceSecrets, SourceSettings, SourceStatus, TokenHash};
use crate::store::shared::sources::{change, made};
use crate::store::{ControlError, NewSource, Page, PageRequest, SourceChanges};
use crate::time::Timestamp;

const ROW: &str = "id, tenant, token_hash, name, metadata, verification, secret, previous_secret, previous_until, event_type, \
                   delivery_id, status, created_at, updated_at";

/// Makes one, if the tenant is there and has room for it. One at a time is made of a tenant's.
pub(super) async fn create(db: &mut PgConnection, new: NewSource, now: Timestamp) -> Answer<Source> {
    if tenants::hold_active(db, new.tenant).await?.is_none() {
        return Ok(Err(ControlError::NotFound));
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM sources WHERE tenant = $1")
        .bind(new.tenant.uuid())
        .fetch_one(&mut *db)
        .await?;
    if count >= i64::from(limits::SOURCES_PER_TENANT) {
        return Ok(Err(ControlError::LimitReached(limits::SOURCES_PER_TENANT)));
    }
    let source = made(SourceId::generate(), new, now);
    store(db, &source).await?;
    Ok(Ok(source))
}

/// A source of this tenant.
pub(super) async fn find(
    db: &mut PgConnection,
    tenant: TenantId,
    source: SourceId,
) -> Result<Option<Source>, sqlx::Error> {
    find_with(db, tenant, source, "").await
}

/// The same, held until the end of the transaction.
async fn hold(
    db: &mut PgConnection,
    tenant: TenantId,
    source: SourceId,
) -> Result<Option<Source>, sqlx::Error> {
    find_with(db, tenant, source, " FOR UPDATE").await
}

async fn find_with(
    db: &mut PgConnection,
    tenant: TenantId,
    source: SourceId,
    lock: &str,
) -> Result<Option<Source>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM sources WHERE tenant = "));
    query.push_bind(tenant.uuid()).push(" AND id = ").push_bind(source.uuid()).push(lock);
    query.build().fetch_optional(db).await?.as_ref().map(read).transpose()
}

/// The source whose token has this hash, whosever.
pub(super) async fn find_by_token(
    db: &mut PgConnection,
    token: TokenHash,
) -> Result<Option<Source>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM sources WHERE token_hash = "));
    query.push_bind(token.to_vec());
    query.build().fetch_optional(db).await?.as_ref().map(read).transpose()
}

pub(super) async fn list(
    db: &mut PgConnection,
    tenant: TenantId,
    request: &PageRequest,
) -> Result<Page<Source>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM sources WHERE tenant = "));
    query.push_bind(tenant.uuid());
    push_page(request, &mut query);
    let rows = query.build().fetch_all(db).await?;
    page(request, &rows, read, |source| source.id.uuid())
}

pub(super) async fn update(
    db: &mut PgConnection,
    tenant: TenantId,
    id: SourceId,
    changes: SourceChanges,
    now: Timestamp,
) -> Answer<Source> {
    let Some(mut source) = hold(db, tenant, id).await? else {
        return Ok(Err(ControlError::NotFound));
    };
    if let Err(refusal) = change(&mut source, changes, now) {
        return Ok(Err(refusal));
    }
    store(db, &source).await?;
    Ok(Ok(source))
}

/// Returns whether there was one.
pub(super) async fn delete(
    db: &mut PgConnection,
    tenant: TenantId,
    id: SourceId,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("DELETE FROM sources WHERE tenant = $1 AND id = $2")
        .bind(tenant.uuid())
        .bind(id.uuid())
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// The end of a tenant: it has `limits::SOURCES_PER_TENANT` at most.
pub(super) async fn delete_all(db: &mut PgConnection, tenant: TenantId) -> Result<(), sqlx::Error> {
    let delete = sqlx::query("DELETE FROM sources WHERE tenant = $1").bind(tenant.uuid());
    delete.execute(db).await.map(drop)
}

async fn store(db: &mut PgConnection, source: &Source) -> Result<(), sqlx::Error> {
    let settings = &source.settings;
    let secrets = settings.secrets.as_ref();
    let previous = secrets.and_then(|secrets| secrets.previous.as_ref());
    let sql = format!(
        "INSERT INTO sources ({ROW}) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14) \
         ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash, name = excluded.name, \
         metadata = excluded.metadata, verification = excluded.verification, secret = excluded.secret, \
         previous_secret = excluded.previous_secret, previous_until = excluded.previous_until, \
         event_type = excluded.event_type, delivery_id = excluded.delivery_id, status = excluded.status, \
         updated_at = excluded.updated_at"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(source.id.uuid())
        .bind(source.tenant.uuid())
        .bind(source.token_hash.to_vec())
        .bind(&settings.name)
        .bind(&settings.metadata)
        .bind(columns::to_json(&settings.verification)?)
        .bind(secrets.map(|secrets| secrets.current.reveal()))
        .bind(previous.map(|(secret, _)| secret.reveal()))
        .bind(previous.map(|(_, until)| until.0))
        .bind(settings.event_type.as_ref().map(columns::to_json).transpose()?)
        .bind(settings.delivery_id.as_ref().map(columns::to_json).transpose()?)
        .bind(source.status.name())
        .bind(source.created_at.0)
        .bind(source.updated_at.0)
        .execute(db)
        .await?;
    Ok(())
}

fn read(row: &PgRow) -> Result<Source, sqlx::Error> {
    let secret =
        |column: &str| row.try_get::<Option<String>, _>(column).map(|text| text.map(SourceSecret::new));
    let previous = secret("previous_secret")?.zip(columns::maybe_time(row, "previous_until")?);
    let hash: &[u8] = row.try_get("token_hash")?;
    Ok(Source {
        id: SourceId::from_uuid(columns::uuid(row, "id")?),
        tenant: columns::tenant(row)?,
        token_hash: hash.try_into().map_err(|_| damaged("token_hash"))?,
        settings: SourceSettings {
            name: row.try_get("name")?,
            metadata: row.try_get("metadata")?,
            verification: columns::json(row, "verification")?,
            secrets: secret("secret")?.map(|current| SourceSecrets { current, previous }),
            event_type: columns::maybe_json(row, "event_type")?,
            delivery_id: columns::maybe_json(row, "delivery_id")?,
        },
        status: columns::named(row, "status", SourceStatus::from_name)?,
        created_at: columns::time(row, "created_at")?,
        updated_at: columns::time(row, "updated_at")?,
    })
}
