//! How tenants stand, many at a time.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{QueryBuilder, Row};

use super::columns;
use super::plans::{self, COLUMNS as PLAN};
use super::rows::look_up_each;
use super::tenants::{COUNTS, read_counts};
use crate::delivery::Lane;
use crate::ids::TenantId;
use crate::store::shared::surveys::disabled;
use crate::store::{Surveyed, Which};
use crate::tenant::{Dispatch, QuotaChanges};

/// Every part of it is found by an index, whatever a tenant has: of what waits only the first by its time. Which tenants these are
/// is found first: the planner would rather look at all there are, for each page of them, and sort.
pub(super) async fn survey(db: &mut PgConnection, which: Which) -> Result<Vec<Surveyed>, sqlx::Error> {
    let since = |lane: Lane| {
        let lane = lane as i16;
        format!(
            "(SELECT due_at FROM schedule WHERE tenant = t.id AND lane = {lane}::smallint AND wait = 'time' \
                ORDER BY due_at LIMIT 1)"
        )
    };
    look_up_each(db).await?;
    let survey = format!(
        "SELECT t.id, t.slug, t.weight, t.quota, t.dispatch, {PLAN}, c.*, e.*, \
         (SELECT coalesce(sum(deliveries), 0)::bigint FROM in_flight WHERE tenant = t.id) AS in_flight, \
         least({}, {}, {}, e.parked_since) AS waiting_since \
         FROM asked t JOIN plans p ON p.name = t.plan CROSS JOIN LATERAL (SELECT {COUNTS} WHERE tenant = t.id) c \
         CROSS JOIN LATERAL (SELECT count(*) AS endpoints, \
            count(*) FILTER (WHERE circuit <> 'closed') AS circuits, \
            string_agg(id::text || ':' || coalesce(status_reason, ''), ',' ORDER BY id) \
                FILTER (WHERE status = 'disabled') AS disabled, \
            min((SELECT due_at FROM schedule s WHERE s.tenant = p.tenant AND s.endpoint = p.id AND s.wait = 'parked' \
                ORDER BY due_at LIMIT 1)) AS parked_since \
            FROM endpoints p WHERE p.tenant = t.id AND p.status <> 'deleted') e ORDER BY t.id",
        since(Lane::First),
        since(Lane::Retry),
        since(Lane::Replay)
    );
    let mut query =
        QueryBuilder::new("WITH asked AS MATERIALIZED (SELECT * FROM tenants WHERE status = 'active' AND ");
    match which {
        Which::These(tenants) => {
            let ids: Vec<_> = tenants.iter().map(TenantId::uuid).collect();
            query.push("id = ANY(").push_bind(ids).push(")");
        }
        Which::Behind(after, limit) => {
            query.push("id > ").push_bind(after.map(|tenant| tenant.uuid()).unwrap_or_default());
            query.push(" ORDER BY id LIMIT ").push_bind(i64::from(limit));
        }
    }
    query.push(") ").push(survey);
    query.build().fetch_all(db).await?.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<Surveyed, sqlx::Error> {
    let plan = plans::read(row)?;
    let weight: Option<u32> = columns::maybe_number(row, "weight")?;
    let quota: QuotaChanges = columns::json(row, "quota")?;
    Ok(Surveyed {
        tenant: TenantId::from_uuid(columns::uuid(row, "id")?),
        slug: row.try_get::<Option<String>, _>("slug")?.unwrap_or_default(),
        weight: weight.unwrap_or(plan.weight).max(1),
        dispatch: columns::named(row, "dispatch", Dispatch::from_name)?,
        limits: quota.over(plan.limits),
        counts: read_counts(row)?,
        in_flight: columns::number(row, "in_flight")?,
        endpoints: columns::number(row, "endpoints")?,
        circuits: columns::number(row, "circuits")?,
        disabled: disabled(row.try_get("disabled")?)?,
        waiting_since: columns::maybe_time(row, "waiting_since")?,
    })
}
