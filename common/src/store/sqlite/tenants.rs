//! Tenants: made, read, changed, and the start of their end.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteConnection};

use super::columns::{self, blob};
use super::jobs;
use super::keys;
use super::paging::{Keyset, page};
use super::plans;
use super::sources;
use crate::ids::TenantId;
use crate::key::ApiKey;
use crate::plan::Plan;
pub(super) use crate::store::shared::Answer;
use crate::store::shared::overrides;
use crate::store::shared::tenants::{changed, differ_for_dispatchers, made, replaced};
use crate::store::{ControlError, Job, NewTenant, Page, PageRequest, TenantChanges, TenantRef, Usage};
use crate::tenant::{DeliveryCounts, Dispatch, Ingest, Tenant, TenantStatus};
use crate::time::Timestamp;

const ROW: &str = "id, slug, name, plan, weight, metadata, status, ingest, dispatch, reason, quota, queue, \
                   created_at, updated_at";
/// A tenant's overrides, as `shared::overrides` reads them.
const OVERRIDES: &str = "(SELECT json_group_array(json_array(policy, limit_, window_ms, created_at, ends_at)) \
                         FROM limit_overrides WHERE tenant = t.id) AS overrides";

/// Selects what [`read`] reads: tenants, each with its plan as it stands and its overrides.
fn select() -> String {
    let row = "t.id, t.slug, t.name, t.weight, t.metadata, t.status, t.ingest, t.dispatch, t.reason, t.quota, t.queue, \
               t.created_at, t.updated_at";
    format!(
        "SELECT {row}, {OVERRIDES}, {} FROM tenants t CROSS JOIN plans p ON p.name = t.plan",
        plans::COLUMNS
    )
}
/// The version that the next change of a tenant or a plan gets; deleted tenants keep theirs, so that it never falls.
pub(super) const NEXT_VERSION: &str = "(1 + max((SELECT coalesce(max(version), 0) FROM tenants), (SELECT coalesce(max(version), 0) FROM plans)))";

pub(super) async fn create(
    db: &mut SqliteConnection,
    new: NewTenant,
    key: Option<ApiKey>,
    now: Timestamp,
) -> Answer<Tenant> {
    if find(db, &TenantRef::Slug(new.slug.clone())).await?.is_some() {
        return Ok(Err(ControlError::SlugTaken));
    }
    let Some(plan) = plans::find(db, &new.plan).await? else {
        return Ok(Err(ControlError::NoPlan(new.plan)));
    };
    let tenant = insert(db, new, plan, now).await?;
    if let Some(mut key) = key {
        key.tenant = Some(tenant.id);
        keys::insert(db, &key).await?;
    }
    Ok(Ok(tenant))
}

/// Replaces what `new` says of the tenant with its slug, or makes it.
pub(super) async fn put(db: &mut SqliteConnection, new: NewTenant, now: Timestamp) -> Answer<(Tenant, bool)> {
    let Some(plan) = plans::find(db, &new.plan).await? else {
        return Ok(Err(ControlError::NoPlan(new.plan)));
    };
    let Some(tenant) = find(db, &TenantRef::Slug(new.slug.clone())).await? else {
        return Ok(Ok((insert(db, new, plan, now).await?, true)));
    };
    if tenant.status == TenantStatus::Deleting {
        return Ok(Err(ControlError::SlugTaken));
    }
    let wanted = replaced(&tenant, new, plan);
    Ok(Ok((store_changes(db, tenant, wanted, now).await?, false)))
}

/// A tenant that is not gone; one that is being deleted is found too.
pub(super) async fn find(
    db: &mut SqliteConnection,
    tenant: &TenantRef,
) -> Result<Option<Tenant>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("{} WHERE t.status <> 'deleted' AND ", select()));
    match tenant {
        TenantRef::Id(id) => query.push("t.id = ").push_bind(blob(id.uuid())),
        TenantRef::Slug(slug) => query.push("t.slug = ").push_bind(slug.clone()),
    };
    query.build().fetch_optional(db).await?.as_ref().map(read).transpose()
}

/// A tenant that may be changed.
pub(super) async fn find_active(
    db: &mut SqliteConnection,
    id: TenantId,
) -> Result<Option<Tenant>, sqlx::Error> {
    let tenant = find(db, &TenantRef::Id(id)).await?;
    Ok(tenant.filter(|tenant| tenant.status == TenantStatus::Active))
}

pub(super) async fn list(
    db: &mut SqliteConnection,
    request: &PageRequest,
) -> Result<Page<Tenant>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("{} WHERE t.status <> 'deleted'", select()));
    Keyset::by_id(request).push(&mut query);
    let rows = query.build().fetch_all(db).await?;
    page(request, &rows, read, |tenant| tenant.id.uuid())
}

pub(super) async fn update(
    db: &mut SqliteConnection,
    id: TenantId,
    changes: TenantChanges,
    now: Timestamp,
) -> Answer<Tenant> {
    let Some(tenant) = find_active(db, id).await? else {
        return Ok(Err(ControlError::NotFound));
    };
    let plan = match &changes.plan {
        Some(name) => match plans::find(db, name).await? {
            Some(plan) => Some(plan),
            None => return Ok(Err(ControlError::NoPlan(name.clone()))),
        },
        None => None,
    };
    let wanted = changed(&tenant, changes, plan);
    store_changes(db, tenant, wanted, now).await.map(Ok)
}

/// Flips the statuses; the job does the rest. A tenant that is being deleted already answers with its job.
pub(super) async fn delete(
    db: &mut SqliteConnection,
    id: TenantId,
    total: u64,
    now: Timestamp,
) -> Answer<Job> {
    let Some(tenant) = find(db, &TenantRef::Id(id)).await? else {
        return Ok(Err(ControlError::NotFound));
    };
    if tenant.status == TenantStatus::Deleting
        && let Some(job) = jobs::deletion_of(db, id).await?
    {
        return Ok(Ok(job));
    }
    let tenant = blob(id.uuid());
    let status = format!(
        "UPDATE tenants SET status = 'deleting', version = {NEXT_VERSION}, updated_at = ? WHERE id = ?"
    );
    sqlx::query(sqlx::AssertSqlSafe(status)).bind(now.0).bind(&tenant).execute(&mut *db).await?;
    sqlx::query("UPDATE api_keys SET revoked_at = ? WHERE tenant = ? AND revoked_at IS NULL")
        .bind(now.0)
        .bind(&tenant)
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "UPDATE endpoints SET status = 'deleted', updated_at = ? WHERE tenant = ? AND status <> 'deleted'",
    )
    .bind(now.0)
    .bind(&tenant)
    .execute(&mut *db)
    .await?;
    sources::delete_all(db, id).await?;
    jobs::cancel_all(db, id, now).await?;
    jobs::insert_deletion(db, id, total, now).await.map(Ok)
}

/// What is left of a deleted tenant: a row without a slug, which tells dispatchers to forget it.
pub(super) async fn bury(db: &mut SqliteConnection, id: TenantId, now: Timestamp) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE tenants SET status = 'deleted', slug = NULL, name = '', metadata = '{{}}', reason = NULL, \
         version = {NEXT_VERSION}, updated_at = ? WHERE id = ?"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(now.0).bind(blob(id.uuid())).execute(db).await?;
    Ok(())
}

pub(super) async fn usages(
    db: &mut SqliteConnection,
    tenants: Vec<TenantId>,
) -> Result<Vec<Usage>, sqlx::Error> {
    let mut usages = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        usages.push(usage(db, tenant).await?);
    }
    Ok(usages)
}

async fn usage(db: &mut SqliteConnection, tenant: TenantId) -> Result<Usage, sqlx::Error> {
    let tenant = blob(tenant.uuid());
    let counts = sqlx::query(
        "SELECT accepted, delivered, dead, discarded, backlog, retrying FROM delivery_counts WHERE tenant = ?",
    )
    .bind(&tenant)
    .fetch_optional(&mut *db)
    .await?;
    let rest = sqlx::query(
        "SELECT (SELECT count(*) FROM endpoints WHERE tenant = ?1 AND status <> 'deleted') AS endpoints, \
         (SELECT coalesce(sum(deliveries), 0) FROM in_flight WHERE tenant = ?1) AS in_flight",
    )
    .bind(&tenant)
    .fetch_one(db)
    .await?;
    Ok(Usage {
        counts: counts.as_ref().map(read_counts).transpose()?.unwrap_or_default(),
        endpoints: columns::number(&rest, "endpoints")?,
        in_flight: columns::number(&rest, "in_flight")?,
    })
}

pub(super) fn read_counts(row: &SqliteRow) -> Result<DeliveryCounts, sqlx::Error> {
    Ok(DeliveryCounts {
        accepted: columns::number(row, "accepted")?,
        delivered: columns::number(row, "delivered")?,
        dead: columns::number(row, "dead")?,
        discarded: columns::number(row, "discarded")?,
        backlog: columns::number(row, "backlog")?,
        retrying: columns::number(row, "retrying")?,
    })
}

async fn insert(
    db: &mut SqliteConnection,
    new: NewTenant,
    plan: Plan,
    now: Timestamp,
) -> Result<Tenant, sqlx::Error> {
    let tenant = made(TenantId::generate(), new, plan, now);
    let sql =
        format!("INSERT INTO tenants ({ROW}, version) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?, {NEXT_VERSION})");
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(blob(tenant.id.uuid()))
        .bind(&tenant.slug)
        .bind(&tenant.name)
        .bind(tenant.plan.name.as_str())
        .bind(tenant.weight)
        .bind(&tenant.metadata)
        .bind(tenant.status.name())
        .bind(tenant.ingest.name())
        .bind(tenant.dispatch.name())
        .bind(&tenant.reason)
        .bind(columns::to_json(&tenant.quota)?)
        .bind(&tenant.queue)
        .bind(now.0)
        .bind(now.0)
        .execute(&mut *db)
        .await?;
    let counts = sqlx::query("INSERT INTO delivery_counts (tenant) VALUES (?)");
    counts.bind(blob(tenant.id.uuid())).execute(db).await?;
    Ok(tenant)
}

/// Writes what differs; the version rises only when a dispatcher must know.
async fn store_changes(
    db: &mut SqliteConnection,
    old: Tenant,
    mut wanted: Tenant,
    now: Timestamp,
) -> Result<Tenant, sqlx::Error> {
    if wanted == old {
        return Ok(old);
    }
    wanted.updated_at = now;
    let version = if differ_for_dispatchers(&old, &wanted) { NEXT_VERSION } else { "version" };
    let sql = format!(
        "UPDATE tenants SET name = ?, plan = ?, weight = ?, metadata = ?, ingest = ?, dispatch = ?, reason = ?, \
         quota = ?, updated_at = ?, version = {version} WHERE id = ?"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&wanted.name)
        .bind(wanted.plan.name.as_str())
        .bind(wanted.weight)
        .bind(&wanted.metadata)
        .bind(wanted.ingest.name())
        .bind(wanted.dispatch.name())
        .bind(&wanted.reason)
        .bind(columns::to_json(&wanted.quota)?)
        .bind(now.0)
        .bind(blob(wanted.id.uuid()))
        .execute(db)
        .await?;
    Ok(wanted)
}

fn read(row: &SqliteRow) -> Result<Tenant, sqlx::Error> {
    Ok(Tenant {
        id: TenantId::from_uuid(columns::uuid(row, "id")?),
        slug: row.try_get::<Option<String>, _>("slug")?.unwrap_or_default(),
        name: row.try_get("name")?,
        plan: plans::read(row)?,
        weight: columns::maybe_number(row, "weight")?,
        metadata: row.try_get("metadata")?,
        status: columns::named(row, "status", TenantStatus::from_name)?,
        ingest: columns::named(row, "ingest", Ingest::from_name)?,
        dispatch: columns::named(row, "dispatch", Dispatch::from_name)?,
        reason: row.try_get("reason")?,
        quota: columns::json(row, "quota")?,
        overrides: overrides::read(row.try_get("overrides")?)?,
        queue: row.try_get("queue")?,
        created_at: columns::time(row, "created_at")?,
        updated_at: columns::time(row, "updated_at")?,
    })
}
