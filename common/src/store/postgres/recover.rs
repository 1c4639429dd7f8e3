//! `recover`: what a crash or a lost queue left behind becomes due again, at the next generation.

use sqlx::Row;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::due::make_due;
use super::rows::{Keys, delivery_id};
use crate::ids::{DeliveryId, EventId, TenantId};
use crate::limits;
use crate::store::Recovery;
use crate::time::Timestamp;

/// What a step did.
pub(super) struct Step {
    /// So many deliveries are due.
    pub made_due: u64,
    /// Where the next one begins; `None`: nothing is left.
    pub next: Option<DeliveryId>,
}

impl Step {
    const LAST: Self = Self { made_due: 0, next: None };
}

/// Before everything.
pub(super) const START: DeliveryId = DeliveryId { event: EventId::from_uuid(Uuid::nil()), ordinal: 0 };

/// Makes at most `limits::SWEEP_ROWS` deliveries due, from `from` on.
pub(super) async fn step(
    connection: &mut PgConnection,
    what: Recovery,
    from: DeliveryId,
    now: Timestamp,
) -> Result<Step, sqlx::Error> {
    match what {
        Recovery::Everything => everything(connection, from, now).await,
        Recovery::Outbox { before } => outbox(connection, before, now).await,
        Recovery::Lost { tenant, before } => lost(connection, tenant, before, from.event.uuid(), now).await,
    }
}

/// Walks all there is: nobody else is there who would wait for it.
async fn everything(
    connection: &mut PgConnection,
    from: DeliveryId,
    now: Timestamp,
) -> Result<Step, sqlx::Error> {
    const QUEUED: &str = "SELECT event, ordinal FROM deliveries WHERE (event, ordinal) >= ($1, $2) AND state = 'queued' \
        ORDER BY event, ordinal LIMIT $3";
    // A claim keeps its lane.
    const DUE: &str = "WITH raised AS (UPDATE deliveries d SET state = 'scheduled', generation = d.generation + 1 \
            FROM unnest($1::uuid[], $2::integer[]) AS w (event, ordinal) \
            WHERE d.event = w.event AND d.ordinal = w.ordinal AND d.event BETWEEN $3 AND $4 AND d.state = 'queued' \
            RETURNING d.event, d.ordinal, d.tenant, d.endpoint, d.expires_at) \
        INSERT INTO schedule (event, ordinal, tenant, endpoint, lane, wait, due_at, expires_at) \
        SELECT event, ordinal, tenant, endpoint, 0, 'time', $5, expires_at FROM raised ORDER BY event, ordinal \
        ON CONFLICT (event, ordinal) DO UPDATE SET wait = 'time', due_at = excluded.due_at";
    sqlx::query("DELETE FROM outbox").execute(&mut *connection).await?;
    let queued = sqlx::query(QUEUED)
        .bind(from.event.uuid())
        .bind(i32::from(from.ordinal))
        .bind(i64::from(limits::SWEEP_ROWS))
        .fetch_all(&mut *connection)
        .await?;
    let queued = queued.iter().map(delivery_id).collect::<Result<Vec<_>, _>>()?;
    let Some(&last) = queued.last() else { return Ok(Step::LAST) };
    let mut made_due = 0;
    for keys in Keys::by_day(queued.iter().copied()) {
        let due = sqlx::query(DUE)
            .bind(keys.events)
            .bind(keys.ordinals)
            .bind(keys.least)
            .bind(keys.greatest)
            .bind(now.0);
        made_due += due.execute(&mut *connection).await?.rows_affected();
    }
    Ok(Step { made_due, next: Some(last) })
}

/// The oldest row that nobody else is at; it goes once everything that it stands for is due.
async fn outbox(
    connection: &mut PgConnection,
    before: Timestamp,
    now: Timestamp,
) -> Result<Step, sqlx::Error> {
    const OLDEST: &str =
        "SELECT id, events FROM outbox WHERE created_at < $1 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
    const QUEUED: &str = "SELECT d.event, d.ordinal FROM deliveries d WHERE d.event = ANY($1) \
        AND d.event BETWEEN $2 AND $3 AND d.state = 'queued' AND NOT EXISTS \
        (SELECT 1 FROM schedule s WHERE s.event = d.event AND s.ordinal = d.ordinal) LIMIT $4";
    let Some(row) = sqlx::query(OLDEST).bind(before.0).fetch_optional(&mut *connection).await? else {
        return Ok(Step::LAST);
    };
    let events: Vec<Uuid> = row.try_get(1)?;
    let bounds = (events.iter().min().copied(), events.iter().max().copied());
    let queued = sqlx::query(QUEUED).bind(events).bind(bounds.0).bind(bounds.1);
    let queued = queued.bind(i64::from(limits::SWEEP_ROWS)).fetch_all(&mut *connection).await?;
    let queued = queued.iter().map(delivery_id).collect::<Result<Vec<_>, _>>()?;
    let made_due = make_due(connection, &queued, 1, now).await?;
    if queued.len() < limits::SWEEP_ROWS as usize {
        let id: i64 = row.try_get(0)?;
        sqlx::query("DELETE FROM outbox WHERE id = $1").bind(id).execute(connection).await?;
    }
    Ok(Step { made_due, next: Some(START) })
}

/// Looks through the tenant's deliveries from where the last search ended.
async fn lost(
    connection: &mut PgConnection,
    tenant: TenantId,
    before: Timestamp,
    from: Uuid,
    now: Timestamp,
) -> Result<Step, sqlx::Error> {
    const FROM: &str = "SELECT below FROM lost_scans WHERE tenant = $1";
    // A window of the tenant's deliveries, of which most have long been delivered.
    const WINDOW: &str = "SELECT event FROM deliveries WHERE tenant = $1 AND event >= $2 AND event < $3 \
        ORDER BY event, ordinal LIMIT 1 OFFSET $4";
    const QUEUED: &str = "SELECT d.event, d.ordinal FROM deliveries d WHERE d.tenant = $1 AND d.event >= $2 \
        AND d.event < $3 AND d.state = 'queued' AND NOT EXISTS \
        (SELECT 1 FROM schedule s WHERE s.event = d.event AND s.ordinal = d.ordinal)";
    const DONE: &str = "INSERT INTO lost_scans (tenant, below) VALUES ($1, $2) ON CONFLICT (tenant) \
        DO UPDATE SET below = greatest(lost_scans.below, excluded.below)";
    let tenant = tenant.uuid();
    let bound = first_at(before);
    let stored = sqlx::query(FROM).bind(tenant).fetch_optional(&mut *connection).await?;
    let from = from.max(stored.map(|row| row.try_get(0)).transpose()?.unwrap_or_default());
    let window = sqlx::query(WINDOW).bind(tenant).bind(from).bind(bound);
    let window = window.bind(i64::from(limits::SWEEP_ROWS)).fetch_optional(&mut *connection).await?;
    let end: Option<Uuid> = window.map(|row| row.try_get(0)).transpose()?;
    // An event's deliveries are looked through together, however many it has: the window's end lies behind them.
    let end = end.map(|event| Uuid::from_u128(event.as_u128() + 1));
    let queued = sqlx::query(QUEUED).bind(tenant).bind(from).bind(end.unwrap_or(bound));
    let queued = queued.fetch_all(&mut *connection).await?;
    let queued = queued.iter().map(delivery_id).collect::<Result<Vec<_>, _>>()?;
    let made_due = make_due(connection, &queued, 1, now).await?;
    // Events of a transaction that is not committed yet may still appear below the bound; the next search looks there again.
    let settled = first_at(Timestamp(now.0 - limits::PG_LATE_COMMIT.as_millis() as i64));
    let below = end.unwrap_or(bound).min(settled);
    sqlx::query(DONE).bind(tenant).bind(below).execute(connection).await?;
    Ok(Step { made_due, next: end.map(|end| DeliveryId { event: EventId::from_uuid(end), ordinal: 0 }) })
}

/// The least event id of a millisecond.
fn first_at(at: Timestamp) -> Uuid {
    Uuid::from_u128((at.0.max(0) as u128) << 80)
}
