//! Endpoints as their tenants see and set them. (What an attempt needs of one is read by `load`.)

use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, QueryBuilder, Row, SqliteConnection};

use super::columns::{self, blob, damaged};
use super::paging::{Keyset, page};
use super::tenants::{self, Answer};
use crate::endpoint::{BodyForm, Circuit, Endpoint, EndpointSettings, EndpointStatus, Secrets, StatusReason};
use crate::event::EventPattern;
use crate::ids::{EndpointId, TenantId};
use crate::signature::SigningSecret;
use crate::store::shared::endpoints::{change, made, replace, rotate as rotated};
use crate::store::{ControlError, EndpointChanges, EndpointRef, NewEndpoint, Page, PageRequest};
use crate::time::Timestamp;

const ROW: &str = "id, tenant, uid, url, event_types, description, metadata, headers, secret, previous_secret, \
                   previous_until, rate_limit_per_s, timeout_ms, retry, body, handshake, status, status_reason, circuit, \
                   failing_since, created_at, updated_at";

pub(super) async fn create(db: &mut SqliteConnection, new: NewEndpoint, now: Timestamp) -> Answer<Endpoint> {
    if let Some(uid) = &new.uid
        && find(db, new.tenant, &EndpointRef::Uid(uid.clone())).await?.is_some()
    {
        return Ok(Err(ControlError::UidTaken));
    }
    if let Err(refusal) = room(db, new.tenant).await? {
        return Ok(Err(refusal));
    }
    insert(db, new, now).await.map(Ok)
}

/// Replaces the settings of the tenant's endpoint with this uid, or makes it.
pub(super) async fn put(
    db: &mut SqliteConnection,
    new: NewEndpoint,
    now: Timestamp,
) -> Answer<(Endpoint, bool)> {
    let known = match &new.uid {
        Some(uid) => find(db, new.tenant, &EndpointRef::Uid(uid.clone())).await?,
        None => None,
    };
    let Some(mut endpoint) = known else {
        return Ok(create(db, new, now).await?.map(|endpoint| (endpoint, true)));
    };
    replace(&mut endpoint, new.settings, new.secret, now);
    store(db, &endpoint).await?;
    Ok(Ok((endpoint, false)))
}

/// An endpoint of this tenant that is not deleted.
pub(super) async fn find(
    db: &mut SqliteConnection,
    tenant: TenantId,
    endpoint: &EndpointRef,
) -> Result<Option<Endpoint>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM endpoints WHERE tenant = "));
    query.push_bind(blob(tenant.uuid())).push(" AND status <> 'deleted' AND ");
    match endpoint {
        EndpointRef::Id(id) => query.push("id = ").push_bind(blob(id.uuid())),
        EndpointRef::Uid(uid) => query.push("uid = ").push_bind(uid.clone()),
    };
    query.build().fetch_optional(db).await?.as_ref().map(read).transpose()
}

pub(super) async fn list(
    db: &mut SqliteConnection,
    tenant: TenantId,
    statuses: &[EndpointStatus],
    request: &PageRequest,
) -> Result<Page<Endpoint>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {ROW} FROM endpoints WHERE tenant = "));
    query.push_bind(blob(tenant.uuid())).push(" AND status <> 'deleted'");
    if !statuses.is_empty() {
        query.push(" AND status IN (");
        let mut names = query.separated(", ");
        for status in statuses {
            names.push_bind(status.name());
        }
        query.push(")");
    }
    Keyset::by_id(request).push(&mut query);
    let rows = query.build().fetch_all(db).await?;
    page(request, &rows, read, |endpoint| endpoint.id.uuid())
}

pub(super) async fn update(
    db: &mut SqliteConnection,
    tenant: TenantId,
    id: EndpointId,
    changes: EndpointChanges,
    now: Timestamp,
) -> Answer<Endpoint> {
    let Some(mut endpoint) = find(db, tenant, &EndpointRef::Id(id)).await? else {
        return Ok(Err(ControlError::NotFound));
    };
    if let Err(refusal) = change(&mut endpoint, changes, now)? {
        return Ok(Err(refusal));
    }
    store(db, &endpoint).await?;
    Ok(Ok(endpoint))
}

/// Flips the status; the unique index lets go of the uid. Returns whether there was one.
pub(super) async fn delete(
    db: &mut SqliteConnection,
    tenant: TenantId,
    id: EndpointId,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE endpoints SET status = 'deleted', status_reason = NULL, updated_at = ? \
         WHERE tenant = ? AND id = ? AND status <> 'deleted'",
    )
    .bind(now.0)
    .bind(blob(tenant.uuid()))
    .bind(blob(id.uuid()))
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn rotate(
    db: &mut SqliteConnection,
    tenant: TenantId,
    id: EndpointId,
    secret: SigningSecret,
    grace: Duration,
    now: Timestamp,
) -> Answer<Endpoint> {
    let Some(mut endpoint) = find(db, tenant, &EndpointRef::Id(id)).await? else {
        return Ok(Err(ControlError::NotFound));
    };
    rotated(&mut endpoint, secret, grace, now);
    store(db, &endpoint).await?;
    Ok(Ok(endpoint))
}

/// Whether the tenant is there and may have one endpoint more.
async fn room(db: &mut SqliteConnection, tenant: TenantId) -> Answer<()> {
    let Some(owner) = tenants::find_active(db, tenant).await? else {
        return Ok(Err(ControlError::NotFound));
    };
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM endpoints WHERE tenant = ? AND status <> 'deleted'")
            .bind(blob(tenant.uuid()))
            .fetch_one(db)
            .await?;
    let limit = owner.limits().max_endpoints;
    Ok(if count >= i64::from(limit) { Err(ControlError::LimitReached(limit)) } else { Ok(()) })
}

async fn insert(
    db: &mut SqliteConnection,
    new: NewEndpoint,
    now: Timestamp,
) -> Result<Endpoint, sqlx::Error> {
    let endpoint = made(EndpointId::generate(), new, now);
    store(db, &endpoint).await?;
    Ok(endpoint)
}

/// Writes all of an endpoint but its circuit, which is the dispatchers' word.
async fn store(db: &mut SqliteConnection, endpoint: &Endpoint) -> Result<(), sqlx::Error> {
    let settings = &endpoint.settings;
    let patterns: Vec<_> = settings.event_types.iter().map(EventPattern::as_str).collect();
    let previous = endpoint.secrets.previous.as_ref();
    let sql = format!(
        "INSERT INTO endpoints ({ROW}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) \
         ON CONFLICT (id) DO UPDATE SET url = excluded.url, event_types = excluded.event_types, \
         description = excluded.description, metadata = excluded.metadata, headers = excluded.headers, \
         secret = excluded.secret, previous_secret = excluded.previous_secret, \
         previous_until = excluded.previous_until, rate_limit_per_s = excluded.rate_limit_per_s, \
         timeout_ms = excluded.timeout_ms, retry = excluded.retry, body = excluded.body, \
         handshake = excluded.handshake, status = excluded.status, status_reason = excluded.status_reason, \
         failing_since = excluded.failing_since, updated_at = excluded.updated_at"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(blob(endpoint.id.uuid()))
        .bind(blob(endpoint.tenant.uuid()))
        .bind(&endpoint.uid)
        .bind(&settings.url)
        .bind(columns::to_json(&patterns)?)
        .bind(&settings.description)
        .bind(&settings.metadata)
        .bind(columns::to_json(&settings.headers)?)
        .bind(endpoint.secrets.current.reveal())
        .bind(previous.map(|(secret, _)| secret.reveal()))
        .bind(previous.map(|(_, until)| until.0))
        .bind(settings.rate_limit_per_s)
        .bind(i64::try_from(settings.timeout.as_millis()).unwrap_or(i64::MAX))
        .bind(columns::to_json(&settings.retry)?)
        .bind(settings.body.name())
        .bind(settings.handshake)
        .bind(endpoint.status.name())
        .bind(endpoint.status_reason.map(StatusReason::name))
        .bind(endpoint.circuit.name())
        .bind(endpoint.failing_since.map(|at| at.0))
        .bind(endpoint.created_at.0)
        .bind(endpoint.updated_at.0)
        .execute(db)
        .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Endpoint, sqlx::Error> {
    let secret = |text: &str| SigningSecret::parse(text).map_err(|_| damaged("secret"));
    let previous = match (
        row.try_get::<Option<&str>, _>("previous_secret")?,
        columns::maybe_time(row, "previous_until")?,
    ) {
        (Some(text), Some(until)) => Some((secret(text)?, until)),
        _ => None,
    };
    Ok(Endpoint {
        id: EndpointId::from_uuid(columns::uuid(row, "id")?),
        tenant: columns::tenant(row)?,
        uid: row.try_get("uid")?,
        settings: read_settings(row)?,
        secrets: Secrets { current: secret(row.try_get("secret")?)?, previous },
        status: columns::named(row, "status", EndpointStatus::from_name)?,
        status_reason: columns::maybe_named(row, "status_reason", StatusReason::from_name)?,
        circuit: columns::named(row, "circuit", Circuit::from_name)?,
        failing_since: columns::maybe_time(row, "failing_since")?,
        created_at: columns::time(row, "created_at")?,
        updated_at: columns::time(row, "updated_at")?,
    })
}

fn read_settings(row: &SqliteRow) -> Result<EndpointSettings, sqlx::Error> {
    let patterns: Vec<String> = columns::json(row, "event_types")?;
    let patterns = patterns.iter().map(|text| EventPattern::parse(text)).collect::<Result<Vec<_>, _>>();
    Ok(EndpointSettings {
        url: row.try_get("url")?,
        event_types: patterns.map_err(|_| damaged("event_types"))?,
        description: row.try_get("description")?,
        metadata: row.try_get("metadata")?,
        headers: columns::json(row, "headers")?,
        rate_limit_per_s: columns::maybe_number(row, "rate_limit_per_s")?,
        timeout: Duration::from_millis(columns::number(row, "timeout_ms")?),
        retry: columns::json(row, "retry")?,
        body: columns::named(row, "body", BodyForm::from_name)?,
        handshake: row.try_get("handshake")?,
    })
}
