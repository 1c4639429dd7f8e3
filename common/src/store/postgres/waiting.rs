//! Who waits: who has something due, and the release of what is held.

use sqlx::Row;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::rows::{Keys, delivery_id, lane};
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::store::DueWork;
use crate::time::Timestamp;

/// See [`crate::store::Deliveries::due_work`]. Each step of the recursions is one look into an index. (The least time is asked for
/// as the first: for `min`, a plan that expects few rows may read them all.)
pub(super) async fn due_work(connection: &mut PgConnection, now: Timestamp) -> Result<DueWork, sqlx::Error> {
    const LANES: &str = "WITH RECURSIVE lanes AS ( \
            (SELECT tenant, lane FROM schedule WHERE wait = 'time' ORDER BY tenant, lane LIMIT 1) \
            UNION ALL SELECT next.tenant, next.lane FROM lanes l CROSS JOIN LATERAL (SELECT tenant, lane FROM schedule \
                WHERE wait = 'time' AND (tenant, lane) > (l.tenant, l.lane) ORDER BY tenant, lane LIMIT 1) next) \
        SELECT l.tenant, l.lane, \
            (SELECT s.due_at FROM schedule s WHERE s.wait = 'time' AND s.tenant = l.tenant AND s.lane = l.lane \
                ORDER BY s.due_at LIMIT 1), \
            (SELECT s.due_at FROM schedule s WHERE s.wait = 'time' AND s.tenant = l.tenant AND s.lane = l.lane \
                AND s.due_at > $1 ORDER BY s.due_at LIMIT 1) FROM lanes l";
    let mut work = DueWork::default();
    for row in sqlx::query(LANES).bind(now.0).fetch_all(&mut *connection).await? {
        if row.try_get::<Option<i64>, _>(2)?.is_some_and(|first| first <= now.0) {
            work.due.push((TenantId::from_uuid(row.try_get(0)?), lane(&row, 1)?));
        }
        let later = row.try_get::<Option<i64>, _>(3)?.map(Timestamp);
        work.next_due_at = work.next_due_at.into_iter().chain(later).min();
    }
    for row in sqlx::query(PARKED).fetch_all(connection).await? {
        work.parked.push((TenantId::from_uuid(row.try_get(0)?), EndpointId::from_uuid(row.try_get(1)?)));
    }
    Ok(work)
}

/// The endpoints with anything that waits, one look each.
macro_rules! waiting_endpoints {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE waiting AS ( \
                (SELECT tenant, endpoint FROM schedule ORDER BY tenant, endpoint LIMIT 1) \
                UNION ALL SELECT next.tenant, next.endpoint FROM waiting w CROSS JOIN LATERAL \
                (SELECT tenant, endpoint FROM schedule WHERE (tenant, endpoint) > (w.tenant, w.endpoint) \
                    ORDER BY tenant, endpoint LIMIT 1) next) ",
            $rest
        )
    };
}

const PARKED: &str = waiting_endpoints!(
    "SELECT w.tenant, w.endpoint FROM waiting w WHERE EXISTS (SELECT 1 FROM schedule p \
        WHERE p.tenant = w.tenant AND p.endpoint = w.endpoint AND p.wait = 'parked')"
);

const RELEASABLE: &str = waiting_endpoints!(
    "SELECT w.tenant, w.endpoint FROM waiting w JOIN endpoints e ON e.id = w.endpoint AND e.status = 'active' \
        JOIN tenants t ON t.id = w.tenant AND t.status = 'active' AND t.dispatch = 'open' \
        WHERE EXISTS (SELECT 1 FROM schedule h \
            WHERE h.tenant = w.tenant AND h.endpoint = w.endpoint AND h.wait = 'held')"
);

/// See [`crate::store::Deliveries::release_held`]. What somebody else has locked is left for the next time.
pub(super) async fn release_held(
    connection: &mut PgConnection,
    limit: u32,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    const RELEASE: &str = "WITH held AS (SELECT s.event, s.ordinal \
            FROM unnest($1::uuid[], $2::integer[]) AS w (event, ordinal) \
            JOIN schedule s ON s.event = w.event AND s.ordinal = w.ordinal \
            WHERE s.wait = 'held' FOR UPDATE OF s SKIP LOCKED), \
        free AS (SELECT d.event, d.ordinal FROM held \
            JOIN deliveries d ON d.event = held.event AND d.ordinal = held.ordinal AND d.event BETWEEN $3 AND $4 \
            WHERE d.state = 'held' FOR UPDATE OF d SKIP LOCKED), \
        released AS (UPDATE deliveries d SET state = 'scheduled' FROM free \
            WHERE d.event = free.event AND d.ordinal = free.ordinal AND d.event BETWEEN $3 AND $4 \
            RETURNING d.event, d.ordinal) \
        UPDATE schedule s SET wait = 'time', due_at = $5 FROM released \
        WHERE s.event = released.event AND s.ordinal = released.ordinal";
    let releasable = sqlx::query(RELEASABLE).fetch_all(&mut *connection).await?;
    if releasable.is_empty() {
        return Ok(0);
    }
    let of = releasable.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let of = of.collect::<Result<Vec<(Uuid, Uuid)>, sqlx::Error>>()?;
    let mut released = 0;
    for keys in Keys::by_day(in_equal_parts(connection, of, limit, now).await?.into_iter()) {
        let release = sqlx::query(RELEASE)
            .bind(keys.events)
            .bind(keys.ordinals)
            .bind(keys.least)
            .bind(keys.greatest)
            .bind(now.0);
        released += release.execute(&mut *connection).await?.rows_affected();
    }
    Ok(released)
}

/// At most `limit` of what may be released, the oldest of each endpoint first: one of each tenant, then a second of each,
/// and so on, or a large one would take step after step for itself. Who is the first changes, for when there are more
/// tenants than `limit`.
async fn in_equal_parts(
    connection: &mut PgConnection,
    of: Vec<(Uuid, Uuid)>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<DeliveryId>, sqlx::Error> {
    const PARTS: &str = "SELECT p.event, p.ordinal FROM (SELECT h.event, h.ordinal, w.tenant, \
            row_number() OVER (PARTITION BY w.tenant ORDER BY h.due_at, h.event, h.ordinal) AS nth \
            FROM unnest($1::uuid[], $2::uuid[]) AS w (tenant, endpoint) CROSS JOIN LATERAL (SELECT * FROM schedule \
                WHERE tenant = w.tenant AND endpoint = w.endpoint AND wait = 'held' ORDER BY due_at LIMIT $3) h) p \
        ORDER BY p.nth, md5(p.tenant::text || $4::bigint) LIMIT $5";
    // With many endpoints a few of each are enough, and more would be read for nothing.
    let of_each = (u64::from(limit) * 4 / of.len().max(1) as u64).clamp(1, u64::from(limit.max(1)));
    let (tenants, endpoints): (Vec<_>, Vec<_>) = of.into_iter().unzip();
    let rows = sqlx::query(PARTS)
        .bind(tenants)
        .bind(endpoints)
        .bind(of_each as i64)
        .bind(now.0)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?;
    rows.iter().map(delivery_id).collect()
}
