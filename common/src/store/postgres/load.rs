//! `load`: what attempts need, in two reads per batch; and whether they are still wanted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::rows::{Keys, damaged, named, number, same_day};
use crate::cloudevent::Context;
use crate::delivery::{DeliveryState, DiscardReason};
use crate::endpoint::{BodyForm, EndpointStatus, Secrets};
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::signature::SigningSecret;
use crate::store::{EndpointSnapshot, Load, Loaded, Ticket};
use crate::time::Timestamp;

/// See [`crate::store::Deliveries::load`].
pub(super) async fn load(
    connection: &mut PgConnection,
    tickets: &[Ticket],
    now: Timestamp,
) -> Result<Vec<Load>, sqlx::Error> {
    // The endpoint's and the tenant's rows may be gone; the event's goes with its deliveries.
    const WANTED: &str = "SELECT w.n, d.state, d.generation, d.tenant, d.endpoint, d.expires_at, d.attempts, \
            d.schedule_position, v.type, v.payload, v.created_at, v.cloudevent, e.status, t.status = 'active', t.dispatch = 'open' \
        FROM unnest($1::integer[], $2::uuid[], $3::integer[]) AS w (n, event, ordinal) \
        JOIN deliveries d ON d.event = w.event AND d.ordinal = w.ordinal AND d.event >= $4 \
        JOIN events v ON v.id = w.event AND v.id >= $4 \
        LEFT JOIN endpoints e ON e.id = d.endpoint LEFT JOIN tenants t ON t.id = d.tenant";
    let mut sorted: Vec<(i32, DeliveryId)> =
        (0..).zip(tickets.iter().map(|ticket| ticket.delivery)).collect();
    sorted.sort_unstable_by_key(|(_, delivery)| *delivery);
    let mut rows = Vec::with_capacity(tickets.len());
    for day in sorted.chunk_by(|(_, a), (_, b)| same_day(*a, *b)) {
        let keys = Keys::of(day.iter().map(|(_, delivery)| *delivery));
        let wanted = sqlx::query(WANTED)
            .bind(day.iter().map(|(n, _)| *n).collect::<Vec<_>>())
            .bind(keys.events)
            .bind(keys.ordinals)
            .bind(keys.least);
        rows.extend(wanted.fetch_all(&mut *connection).await?);
    }
    let mut answers = vec![Load::Stale; tickets.len()];
    let mut wanted = Vec::new();
    for row in rows {
        let n: usize = row.try_get::<i32, _>(0)? as usize;
        match standing(&row, tickets[n], now)? {
            None => wanted.push((n, EndpointId::from_uuid(row.try_get(4)?), row)),
            Some(answer) => answers[n] = answer,
        }
    }
    let snapshots = snapshots(connection, wanted.iter().map(|(_, endpoint, _)| *endpoint).collect()).await?;
    for (n, endpoint, row) in wanted {
        answers[n] = match snapshots.get(&endpoint) {
            Some(snapshot) => Load::Attempt(Box::new(loaded(&row, tickets[n], Arc::clone(snapshot))?)),
            // Its row went between the two reads.
            None => Load::Discard(DiscardReason::EndpointDeleted),
        };
    }
    Ok(answers)
}

/// What is said instead of an attempt; `None`: go ahead.
fn standing(row: &PgRow, ticket: Ticket, now: Timestamp) -> Result<Option<Load>, sqlx::Error> {
    let state = named(row, 1, DeliveryState::from_name)?;
    let generation: u32 = number(row, 2)?;
    let expires_at = Timestamp(row.try_get(5)?);
    let endpoint: Option<&str> = row.try_get(12)?;
    let endpoint = endpoint.and_then(EndpointStatus::from_name).unwrap_or(EndpointStatus::Deleted);
    let tenant_lives = row.try_get::<Option<bool>, _>(13)?.unwrap_or(false);
    let dispatch_open = row.try_get::<Option<bool>, _>(14)?.unwrap_or(false);
    Ok(if state != DeliveryState::Queued || generation != ticket.generation {
        Some(Load::Stale)
    } else if !tenant_lives {
        Some(Load::Discard(DiscardReason::TenantDeleted))
    } else if endpoint == EndpointStatus::Deleted {
        Some(Load::Discard(DiscardReason::EndpointDeleted))
    } else if expires_at <= now {
        Some(Load::Discard(DiscardReason::Expired))
    } else if endpoint != EndpointStatus::Active || !dispatch_open {
        Some(Load::Hold)
    } else {
        None
    })
}

fn loaded(row: &PgRow, ticket: Ticket, endpoint: Arc<EndpointSnapshot>) -> Result<Loaded, sqlx::Error> {
    Ok(Loaded {
        delivery: ticket.delivery,
        tenant: TenantId::from_uuid(row.try_get(3)?),
        endpoint,
        event_type: row.try_get::<&str, _>(8)?.into(),
        payload: Bytes::copy_from_slice(row.try_get(9)?),
        cloudevent: row.try_get::<Option<&str>, _>(11)?.map(Context::stored),
        created_at: Timestamp(row.try_get(10)?),
        expires_at: Timestamp(row.try_get(5)?),
        attempts: number(row, 6)?,
        schedule_position: number(row, 7)?,
    })
}

/// The endpoints of a batch, each read and parsed once.
async fn snapshots(
    connection: &mut PgConnection,
    endpoints: BTreeSet<EndpointId>,
) -> Result<HashMap<EndpointId, Arc<EndpointSnapshot>>, sqlx::Error> {
    const ENDPOINTS: &str = "SELECT id, url, headers, secret, previous_secret, previous_until, timeout_ms, retry, body, \
        rate_limit_per_s, handshake FROM endpoints WHERE id = ANY($1)";
    if endpoints.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = endpoints.iter().map(EndpointId::uuid).collect();
    let rows = sqlx::query(ENDPOINTS).bind(ids).fetch_all(connection).await?;
    rows.iter().map(|row| snapshot(row).map(|snapshot| (snapshot.id, Arc::new(snapshot)))).collect()
}

fn snapshot(row: &PgRow) -> Result<EndpointSnapshot, sqlx::Error> {
    let json = |column: usize| row.try_get::<&str, _>(column);
    let timeout_ms = u64::try_from(row.try_get::<i64, _>(6)?).map_err(|e| damaged(6, e))?;
    let rate_limit: Option<i64> = row.try_get(9)?;
    let previous = match (row.try_get::<Option<&str>, _>(4)?, row.try_get::<Option<i64>, _>(5)?) {
        (Some(text), Some(until)) => Some((secret(4, text)?, Timestamp(until))),
        _ => None,
    };
    Ok(EndpointSnapshot {
        id: EndpointId::from_uuid(row.try_get(0)?),
        url: row.try_get(1)?,
        headers: serde_json::from_str(json(2)?).map_err(|e| damaged(2, e))?,
        secrets: Secrets { current: secret(3, row.try_get(3)?)?, previous },
        timeout: Duration::from_millis(timeout_ms),
        retry: serde_json::from_str(json(7)?).map_err(|e| damaged(7, e))?,
        body: named(row, 8, BodyForm::from_name)?,
        handshake: row.try_get(10)?,
        rate_limit_per_s: rate_limit.map(u32::try_from).transpose().map_err(|e| damaged(9, e))?,
    })
}

fn secret(column: usize, text: &str) -> Result<SigningSecret, sqlx::Error> {
    SigningSecret::parse(text).map_err(|e| damaged(column, e))
}
