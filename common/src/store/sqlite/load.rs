//! `load`: what attempts need, in one read per batch; and whether they are still wanted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::bulk::Text;
use super::payloads::{self, Payloads};
use super::values::{blob, damaged, named, uuid};
use crate::cloudevent::Context;
use crate::delivery::{DeliveryState, DiscardReason};
use crate::endpoint::{BodyForm, EndpointStatus, Secrets};
use crate::ids::{EndpointId, TenantId};
use crate::signature::SigningSecret;
use crate::store::{EndpointSnapshot, Load, Loaded, Ticket};
use crate::time::Timestamp;

/// See [`crate::store::Deliveries::load`].
pub(super) async fn load(
    connection: &mut SqliteConnection,
    tickets: &[Ticket],
    payloads: &Payloads,
    now: Timestamp,
) -> Result<Vec<Load>, sqlx::Error> {
    match read(connection, tickets, payloads, now).await {
        // If its row went in the meantime, that is seen now.
        Err(error) if payloads::is_gone(&error) => read(connection, tickets, payloads, now).await,
        loads => loads,
    }
}

async fn read(
    connection: &mut SqliteConnection,
    tickets: &[Ticket],
    payloads: &Payloads,
    now: Timestamp,
) -> Result<Vec<Load>, sqlx::Error> {
    // The endpoint's and the tenant's rows may be gone; the event's goes with its deliveries.
    const WANTED: Text = Text {
        before: "WITH wanted (n, event, ordinal) AS (VALUES ",
        row: "(?,?,?)",
        after: ") SELECT w.n, d.state, d.generation, d.tenant, d.endpoint, d.expires_at, d.attempts, d.schedule_position, \
                v.type, v.payload, v.created_at, v.cloudevent, e.status, t.status = 'active', t.dispatch = 'open', \
                v.payload_file, v.payload_bytes \
                FROM wanted w CROSS JOIN deliveries d ON d.event = w.event AND d.ordinal = w.ordinal \
                CROSS JOIN events v ON v.id = d.event \
                LEFT JOIN endpoints e ON e.id = d.endpoint LEFT JOIN tenants t ON t.id = d.tenant",
    };
    let numbered: Vec<_> = tickets.iter().enumerate().collect();
    let rows = WANTED.fetch(connection, &numbered, |query, (n, ticket)| {
        query.bind(*n as i64).bind(blob(ticket.delivery.event.uuid())).bind(ticket.delivery.ordinal)
    });
    let mut answers = vec![Load::Stale; tickets.len()];
    let mut wanted = Vec::new();
    for row in rows.await? {
        let n: u32 = row.try_get(0)?;
        let n = n as usize;
        match standing(&row, tickets[n], now)? {
            None => wanted.push((n, EndpointId::from_uuid(uuid(&row, 4)?), row)),
            Some(answer) => answers[n] = answer,
        }
    }
    let snapshots = snapshots(connection, wanted.iter().map(|(_, endpoint, _)| *endpoint).collect()).await?;
    let mut outside = Vec::new();
    for (n, endpoint, row) in wanted {
        answers[n] = match snapshots.get(&endpoint) {
            Some(snapshot) => {
                outside.extend(payloads::outside(&row)?.map(|outside| (n, outside)));
                Load::Attempt(Box::new(loaded(&row, tickets[n], Arc::clone(snapshot))?))
            }
            // Its row went between the two reads.
            None => Load::Discard(DiscardReason::EndpointDeleted),
        };
    }
    let files = payloads.read(outside.iter().map(|(_, outside)| *outside).collect()).await?;
    for ((n, _), payload) in outside.into_iter().zip(files) {
        if let Load::Attempt(loaded) = &mut answers[n] {
            loaded.payload = payload;
        }
    }
    Ok(answers)
}

/// What is said instead of an attempt; `None`: go ahead.
fn standing(row: &SqliteRow, ticket: Ticket, now: Timestamp) -> Result<Option<Load>, sqlx::Error> {
    let state = named(row, 1, DeliveryState::from_name)?;
    let generation: u32 = row.try_get(2)?;
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

fn loaded(row: &SqliteRow, ticket: Ticket, endpoint: Arc<EndpointSnapshot>) -> Result<Loaded, sqlx::Error> {
    Ok(Loaded {
        delivery: ticket.delivery,
        tenant: TenantId::from_uuid(uuid(row, 3)?),
        endpoint,
        event_type: row.try_get::<&str, _>(8)?.into(),
        payload: Bytes::copy_from_slice(row.try_get(9)?),
        cloudevent: row.try_get::<Option<&str>, _>(11)?.map(Context::stored),
        created_at: Timestamp(row.try_get(10)?),
        expires_at: Timestamp(row.try_get(5)?),
        attempts: row.try_get(6)?,
        schedule_position: row.try_get(7)?,
    })
}

/// The endpoints of a batch, each read and parsed once.
async fn snapshots(
    connection: &mut SqliteConnection,
    mut endpoints: Vec<EndpointId>,
) -> Result<HashMap<EndpointId, Arc<EndpointSnapshot>>, sqlx::Error> {
    const ENDPOINTS: Text = Text {
        before: "SELECT id, url, headers, secret, previous_secret, previous_until, timeout_ms, retry, body, rate_limit_per_s, handshake \
                 FROM endpoints WHERE id IN (",
        row: "?",
        after: ")",
    };
    endpoints.sort_unstable();
    endpoints.dedup();
    let rows = ENDPOINTS.fetch(connection, &endpoints, |query, id| query.bind(blob(id.uuid()))).await?;
    rows.iter().map(|row| snapshot(row).map(|snapshot| (snapshot.id, Arc::new(snapshot)))).collect()
}

fn snapshot(row: &SqliteRow) -> Result<EndpointSnapshot, sqlx::Error> {
    let json = |column: usize| row.try_get::<&str, _>(column);
    let timeout_ms: u32 = row.try_get(6)?;
    let previous = match (row.try_get::<Option<&str>, _>(4)?, row.try_get::<Option<i64>, _>(5)?) {
        (Some(text), Some(until)) => Some((secret(4, text)?, Timestamp(until))),
        _ => None,
    };
    Ok(EndpointSnapshot {
        id: EndpointId::from_uuid(uuid(row, 0)?),
        url: row.try_get(1)?,
        headers: serde_json::from_str(json(2)?).map_err(|e| damaged(2, e))?,
        secrets: Secrets { current: secret(3, row.try_get(3)?)?, previous },
        timeout: Duration::from_millis(timeout_ms.into()),
        retry: serde_json::from_str(json(7)?).map_err(|e| damaged(7, e))?,
        body: named(row, 8, BodyForm::from_name)?,
        handshake: row.try_get(10)?,
        rate_limit_per_s: row.try_get(9)?,
    })
}

fn secret(column: usize, text: &str) -> Result<SigningSecret, sqlx::Error> {
    SigningSecret::parse(text).map_err(|e| damaged(column, e))
}
