//! `recover`: what a crash or a lost queue left behind becomes due again, at the next generation.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::bulk::Text;
use super::claim::delivery_id;
use super::values::{blob, uuid};
use crate::delivery::Lane;
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::store::Recovery;
use crate::time::Timestamp;

/// Makes at most `limit` deliveries due; returns how many, and whether there may be more.
pub(super) async fn recover(
    connection: &mut SqliteConnection,
    what: Recovery,
    limit: u32,
    now: Timestamp,
) -> Result<(u64, bool), sqlx::Error> {
    match what {
        Recovery::Everything => everything(connection, limit, now).await,
        Recovery::Outbox { before } => outbox(connection, before, limit, now).await,
        Recovery::Lost { tenant, before } => lost(connection, tenant, before, limit, now).await,
    }
}

async fn everything(
    connection: &mut SqliteConnection,
    limit: u32,
    now: Timestamp,
) -> Result<(u64, bool), sqlx::Error> {
    let queued = "SELECT event, ordinal, tenant, endpoint, expires_at FROM deliveries INDEXED BY deliveries_queued \
                  WHERE state = 'queued' LIMIT ?";
    let rows = sqlx::query(queued).bind(limit).fetch_all(&mut *connection).await?;
    sqlx::query("DELETE FROM outbox").execute(&mut *connection).await?;
    make_due(connection, &rows, limit, now).await
}

/// The oldest row only; it goes once everything that it stands for is due.
async fn outbox(
    connection: &mut SqliteConnection,
    before: Timestamp,
    limit: u32,
    now: Timestamp,
) -> Result<(u64, bool), sqlx::Error> {
    let oldest = "SELECT id, first_event, last_event FROM outbox WHERE created_at < ? ORDER BY id LIMIT 1";
    let Some(row) = sqlx::query(oldest).bind(before.0).fetch_optional(&mut *connection).await? else {
        return Ok((0, false));
    };
    let queued = "SELECT event, ordinal, tenant, endpoint, expires_at FROM deliveries d WHERE event BETWEEN ? AND ? \
                  AND state = 'queued' AND NOT EXISTS \
                  (SELECT 1 FROM schedule s WHERE s.event = d.event AND s.ordinal = d.ordinal) LIMIT ?";
    let queued = sqlx::query(queued).bind(blob(uuid(&row, 1)?)).bind(blob(uuid(&row, 2)?)).bind(limit);
    let rows = queued.fetch_all(&mut *connection).await?;
    let (changed, more) = make_due(connection, &rows, limit, now).await?;
    if !more {
        let id: i64 = row.try_get(0)?;
        sqlx::query("DELETE FROM outbox WHERE id = ?").bind(id).execute(connection).await?;
    }
    Ok((changed, true))
}

async fn lost(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    before: Timestamp,
    limit: u32,
    now: Timestamp,
) -> Result<(u64, bool), sqlx::Error> {
    let queued = "SELECT event, ordinal, tenant, endpoint, expires_at FROM deliveries d INDEXED BY deliveries_queued \
                  WHERE tenant = ? AND event < ? AND state = 'queued' AND NOT EXISTS \
                  (SELECT 1 FROM schedule s WHERE s.event = d.event AND s.ordinal = d.ordinal) LIMIT ?";
    let bound = Uuid::from_u128((before.0.max(0) as u128) << 80);
    let queued = sqlx::query(queued).bind(blob(tenant.uuid())).bind(blob(bound)).bind(limit);
    let rows = queued.fetch_all(&mut *connection).await?;
    make_due(connection, &rows, limit, now).await
}

struct Place {
    delivery: DeliveryId,
    tenant: TenantId,
    endpoint: EndpointId,
    due_at: Timestamp,
    expires_at: Timestamp,
}

async fn make_due(
    connection: &mut SqliteConnection,
    rows: &[SqliteRow],
    limit: u32,
    now: Timestamp,
) -> Result<(u64, bool), sqlx::Error> {
    const RAISE: Text = Text {
        before: "UPDATE deliveries SET state = 'scheduled', generation = generation + 1 WHERE (event, ordinal) IN (VALUES ",
        row: "(?,?)",
        after: ")",
    };
    // A claim keeps its lane.
    const WAIT: Text = Text {
        before: "INSERT INTO schedule (event, ordinal, tenant, endpoint, lane, wait, due_at, expires_at) VALUES ",
        row: "(?,?,?,?,?,'time',?,?)",
        after: " ON CONFLICT (event, ordinal) DO UPDATE SET wait = 'time', due_at = excluded.due_at",
    };
    let places = rows.iter().map(|row| {
        Ok::<_, sqlx::Error>(Place {
            delivery: delivery_id(row)?,
            tenant: TenantId::from_uuid(uuid(row, 2)?),
            endpoint: EndpointId::from_uuid(uuid(row, 3)?),
            due_at: now,
            expires_at: Timestamp(row.try_get(4)?),
        })
    });
    let places = places.collect::<Result<Vec<_>, _>>()?;
    let raised = RAISE.execute(connection, &places, |query, place| {
        query.bind(blob(place.delivery.event.uuid())).bind(place.delivery.ordinal)
    });
    let raised = raised.await?;
    let wait = WAIT.execute(connection, &places, |query, place| {
        let query = query.bind(blob(place.delivery.event.uuid())).bind(place.delivery.ordinal);
        let query = query.bind(blob(place.tenant.uuid())).bind(blob(place.endpoint.uuid()));
        query.bind(Lane::First as u8).bind(place.due_at.0).bind(place.expires_at.0)
    });
    wait.await?;
    Ok((raised, rows.len() as u64 == u64::from(limit)))
}
