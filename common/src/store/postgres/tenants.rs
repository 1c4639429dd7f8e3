//! Tenants: made, read, changed, and the start of their end. Whoever changes one holds the row of `roster` until the
//! commit, so that versions are seen in order, slugs are not taken twice, and no plan changes meanwhile.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, QueryBuilder, Row};
use uuid::Uuid;

use super::columns;
use super::jobs;
use super::keys;
use super::paging::{page, push_page};
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
const OVERRIDES: &str = "coalesce((SELECT json_agg(json_build_array(policy, limit_, window_ms, created_at, ends_at)) \
                         FROM limit_overrides WHERE tenant = t.id)::text, '[]') AS overrides";

/// Selects what [`read`] reads: tenants, each with its plan as it stands and its overrides.
fn select() -> String {
    let row = "t.id, t.slug, t.name, t.weight, t.metadata, t.status, t.ingest, t.dispatch, t.reason, t.quota, t.queue, \
               t.created_at, t.updated_at";
    format!("SELECT {row}, {OVERRIDES}, {} FROM tenants t JOIN plans p ON p.name = t.plan", plans::COLUMNS)
}

/// The columns of [`read_counts`], over any number of rows of `delivery_counts`.
pub(super) const COUNTS: &str = "coalesce(sum(accepted), 0)::bigint AS accepted, \
    coalesce(sum(delivered), 0)::bigint AS delivered, coalesce(sum(dead), 0)::bigint AS dead, \
    coalesce(sum(discarded), 0)::bigint AS discarded, coalesce(sum(backlog), 0)::bigint AS backlog, \
    coalesce(sum(retrying), 0)::bigint AS retrying FROM delivery_counts";

pub(super) async fn create(
    db: &mut PgConnection,
    new: NewTenant,
    key: Option<ApiKey>,
    now: Timestamp,
) -> Answer<Tenant> {
    hold_roster(db).await?;
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
pub(super) async fn put(db: &mut PgConnection, new: NewTenant, now: Timestamp) -> Answer<(Tenant, bool)> {
    hold_roster(db).await?;
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
pub(super) async fn find(db: &mut PgConnection, tenant: &TenantRef) -> Result<Option<Tenant>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("{} WHERE t.status <> 'deleted' AND ", select()));
    match tenant {
        TenantRef::Id(id) => query.push("t.id = ").push_bind(id.uuid()),
        TenantRef::Slug(slug) => query.push("t.slug = ").push_bind(slug.clone()),
    };
    query.build().fetch_optional(db).await?.as_ref().map(read).transpose()
}

/// A tenant that may be changed, and that nobody deletes before the end of this transaction. One at a time has it.
pub(super) async fn hold_active(db: &mut PgConnection, id: TenantId) -> Result<Option<Tenant>, sqlx::Error> {
    let hold = "SELECT 1 FROM tenants WHERE status = 'active' AND id = $1 FOR NO KEY UPDATE";
    if sqlx::query(hold).bind(id.uuid()).fetch_optional(&mut *db).await?.is_none() {
        return Ok(None);
    }
    // Read once it is held: a statement that both joins and waits would join with the plan that it had before.
    find(db, &TenantRef::Id(id)).await
}

pub(super) async fn list(db: &mut PgConnection, request: &PageRequest) -> Result<Page<Tenant>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("{} WHERE t.status <> 'deleted'", select()));
    push_page(request, &mut query);
    let rows = query.build().fetch_all(db).await?;
    page(request, &rows, read, |tenant| tenant.id.uuid())
}

pub(super) async fn update(
    db: &mut PgConnection,
    id: TenantId,
    changes: TenantChanges,
    now: Timestamp,
) -> Answer<Tenant> {
    hold_roster(db).await?;
    let Some(tenant) = hold_active(db, id).await? else {
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
pub(super) async fn delete(db: &mut PgConnection, id: TenantId, total: u64, now: Timestamp) -> Answer<Job> {
    hold_roster(db).await?;
    let Some(tenant) = find(db, &TenantRef::Id(id)).await? else {
        return Ok(Err(ControlError::NotFound));
    };
    if tenant.status == TenantStatus::Deleting
        && let Some(job) = jobs::deletion_of(db, id).await?
    {
        return Ok(Ok(job));
    }
    let version = next_version(db).await?;
    sqlx::query("UPDATE tenants SET status = 'deleting', version = $2, updated_at = $3 WHERE id = $1")
        .bind(id.uuid())
        .bind(version)
        .bind(now.0)
        .execute(&mut *db)
        .await?;
    // Its jobs first: a step of one that is under way may wait for a delivery whose outcome waits for an endpoint.
    jobs::cancel_all(db, id, now).await?;
    for sql in [
        "UPDATE api_keys SET revoked_at = $2 WHERE tenant = $1 AND revoked_at IS NULL",
        "UPDATE endpoints SET status = 'deleted', updated_at = $2 WHERE tenant = $1 AND status <> 'deleted'",
    ] {
        sqlx::query(sql).bind(id.uuid()).bind(now.0).execute(&mut *db).await?;
    }
    sources::delete_all(db, id).await?;
    jobs::insert_deletion(db, id, total, now).await.map(Ok)
}

/// What is left of a deleted tenant: a row without a slug, which tells dispatchers to forget it.
pub(super) async fn bury(db: &mut PgConnection, id: TenantId, now: Timestamp) -> Result<(), sqlx::Error> {
    let version = next_version(db).await?;
    sqlx::query(
        "UPDATE tenants SET status = 'deleted', slug = NULL, name = '', metadata = '{}', reason = NULL, \
         version = $2, updated_at = $3 WHERE id = $1",
    )
    .bind(id.uuid())
    .bind(version)
    .bind(now.0)
    .execute(db)
    .await?;
    Ok(())
}

/// What each uses, in their order.
pub(super) async fn usages(db: &mut PgConnection, tenants: Vec<Uuid>) -> Result<Vec<Usage>, sqlx::Error> {
    // The subselect hides from the planner how many there are, or it would plan each batch anew, which takes longer than the read.
    let sql = format!(
        "SELECT c.*, \
         (SELECT count(*) FROM endpoints WHERE tenant = asked.tenant AND status <> 'deleted') AS endpoints, \
         (SELECT coalesce(sum(deliveries), 0)::bigint FROM in_flight WHERE tenant = asked.tenant) AS in_flight \
         FROM unnest((SELECT $1::uuid[])) WITH ORDINALITY asked (tenant, n), \
         LATERAL (SELECT {COUNTS} WHERE tenant = asked.tenant) c ORDER BY n"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(tenants).fetch_all(db).await?;
    let usage = |row: &PgRow| {
        Ok(Usage {
            counts: read_counts(row)?,
            endpoints: columns::number(row, "endpoints")?,
            in_flight: columns::number(row, "in_flight")?,
        })
    };
    rows.iter().map(usage).collect()
}

pub(super) fn read_counts(row: &PgRow) -> Result<DeliveryCounts, sqlx::Error> {
    Ok(DeliveryCounts {
        accepted: columns::number(row, "accepted")?,
        delivered: columns::number(row, "delivered")?,
        dead: columns::number(row, "dead")?,
        discarded: columns::number(row, "discarded")?,
        backlog: columns::number(row, "backlog")?,
        retrying: columns::number(row, "retrying")?,
    })
}

/// Waits until nobody else changes a tenant or a plan. What is read from now on is what they left.
pub(super) async fn hold_roster(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT version FROM roster FOR UPDATE").execute(db).await?;
    Ok(())
}

pub(super) async fn next_version(db: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("UPDATE roster SET version = version + 1 RETURNING version").fetch_one(db).await
}

async fn insert(
    db: &mut PgConnection,
    new: NewTenant,
    plan: Plan,
    now: Timestamp,
) -> Result<Tenant, sqlx::Error> {
    let tenant = made(TenantId::generate(), new, plan, now);
    let version = next_version(db).await?;
    let sql = format!(
        "INSERT INTO tenants ({ROW}, version) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$13,$14)"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.id.uuid())
        .bind(&tenant.slug)
        .bind(&tenant.name)
        .bind(tenant.plan.name.as_str())
        .bind(tenant.weight.map(i64::from))
        .bind(&tenant.metadata)
        .bind(tenant.status.name())
        .bind(tenant.ingest.name())
        .bind(tenant.dispatch.name())
        .bind(&tenant.reason)
        .bind(columns::to_json(&tenant.quota)?)
        .bind(&tenant.queue)
        .bind(now.0)
        .bind(version)
        .execute(&mut *db)
        .await?;
    let counts = sqlx::query("INSERT INTO delivery_counts (tenant) VALUES ($1)");
    counts.bind(tenant.id.uuid()).execute(db).await?;
    Ok(tenant)
}

/// Writes what differs; the version rises only when a dispatcher must know.
async fn store_changes(
    db: &mut PgConnection,
    old: Tenant,
    mut wanted: Tenant,
    now: Timestamp,
) -> Result<Tenant, sqlx::Error> {
    if wanted == old {
        return Ok(old);
    }
    wanted.updated_at = now;
    let version = if differ_for_dispatchers(&old, &wanted) { Some(next_version(db).await?) } else { None };
    sqlx::query(
        "UPDATE tenants SET name = $2, plan = $3, weight = $4, metadata = $5, ingest = $6, dispatch = $7, \
         reason = $8, quota = $9, updated_at = $10, version = coalesce($11, version) WHERE id = $1",
    )
    .bind(wanted.id.uuid())
    .bind(&wanted.name)
    .bind(wanted.plan.name.as_str())
    .bind(wanted.weight.map(i64::from))
    .bind(&wanted.metadata)
    .bind(wanted.ingest.name())
    .bind(wanted.dispatch.name())
    .bind(&wanted.reason)
    .bind(columns::to_json(&wanted.quota)?)
    .bind(now.0)
    .bind(version)
    .execute(db)
    .await?;
    Ok(wanted)
}

fn read(row: &PgRow) -> Result<Tenant, sqlx::Error> {
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
