//! How tenants stand, many at a time.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteConnection};

use super::columns::{self, blob};
use super::plans::{self, COLUMNS as PLAN};
use super::tenants::read_counts;
use crate::delivery::Lane;
use crate::ids::TenantId;
use crate::store::shared::surveys::disabled;
use crate::store::{Surveyed, Which};
use crate::tenant::{Dispatch, QuotaChanges};

/// Every part of it is found by an index, whatever a tenant has: of what waits only the first by its time.
pub(super) async fn survey(db: &mut SqliteConnection, which: Which) -> Result<Vec<Surveyed>, sqlx::Error> {
    const OWN: &str = "FROM endpoints p WHERE p.tenant = t.id AND p.status <> 'deleted'";
    let since = |lane: Lane| {
        let lane = lane as u8;
        format!("(SELECT min(due_at) FROM schedule WHERE tenant = t.id AND lane = {lane} AND wait = 'time')")
    };
    let mut query = QueryBuilder::new(format!(
        "SELECT t.id, t.slug, t.weight, t.quota, t.dispatch, {PLAN}, c.accepted, c.delivered, c.dead, c.discarded, \
         c.backlog, c.retrying, \
         (SELECT coalesce(sum(deliveries), 0) FROM in_flight WHERE tenant = t.id) AS in_flight, \
         (SELECT count(*) {OWN}) AS endpoints, (SELECT count(*) {OWN} AND circuit <> 'closed') AS circuits, \
         (SELECT group_concat(hex(id) || ':' || coalesce(status_reason, ''), ',') {OWN} AND status = 'disabled') \
            AS disabled, \
         {} AS first_since, {} AS retry_since, {} AS replay_since, \
         (SELECT min((SELECT min(due_at) FROM schedule s \
            WHERE s.tenant = p.tenant AND s.endpoint = p.id AND s.wait = 'parked')) {OWN}) AS parked_since \
         FROM tenants t JOIN delivery_counts c ON c.tenant = t.id CROSS JOIN plans p ON p.name = t.plan WHERE t.status = 'active' AND ",
        since(Lane::First),
        since(Lane::Retry),
        since(Lane::Replay)
    ));
    match which {
        Which::These(tenants) => {
            let ids: Vec<_> = tenants.iter().map(|id| id.uuid().simple().to_string()).collect();
            query.push("t.id IN (SELECT unhex(value) FROM json_each(");
            query.push_bind(columns::to_json(&ids)?).push(")) ORDER BY t.id");
        }
        Which::Behind(after, limit) => {
            query.push("t.id > ").push_bind(blob(after.map(|tenant| tenant.uuid()).unwrap_or_default()));
            query.push(" ORDER BY t.id LIMIT ").push_bind(limit);
        }
    }
    query.build().fetch_all(db).await?.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<Surveyed, sqlx::Error> {
    let plan = plans::read(row)?;
    let weight: Option<u32> = columns::maybe_number(row, "weight")?;
    let quota: QuotaChanges = columns::json(row, "quota")?;
    let mut waiting_since = None;
    for column in ["first_since", "retry_since", "replay_since", "parked_since"] {
        let since = columns::maybe_time(row, column)?;
        waiting_since = waiting_since.into_iter().chain(since).min();
    }
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
        waiting_since,
    })
}
