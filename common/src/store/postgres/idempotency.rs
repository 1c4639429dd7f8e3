//! Idempotency keys: whoever inserts one first has it, and everybody else is answered from its row.

use std::collections::{BTreeMap, HashSet};

use sqlx::Row;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::admit::Fresh;
use super::error::changed_underneath;
use super::rows::number;
use crate::event::Idempotency;
use crate::ids::EventId;
use crate::store::Admission;
use crate::store::event_ids::made_at;
use crate::time::Timestamp;

/// What an idempotency key was used for.
pub(super) struct Known {
    fingerprint: Vec<u8>,
    event: EventId,
    created_at: Timestamp,
    deliveries: u32,
}

impl Known {
    /// What is said to whoever uses the key again.
    pub(super) fn answer(&self, again: &Idempotency) -> Admission {
        if self.fingerprint != again.fingerprint {
            return Admission::IdempotencyConflict;
        }
        Admission::Replayed { id: self.event, created_at: self.created_at, deliveries: self.deliveries }
    }
}

/// Takes the keys of fresh events, those that are forgotten too; returns what the others were used for, by the event that
/// could not have its key. Somebody who is just taking one of them is waited for.
pub(super) async fn take(
    connection: &mut PgConnection,
    mut keyed: Vec<(&Fresh<'_>, &Idempotency)>,
    now: Timestamp,
) -> Result<BTreeMap<EventId, Known>, sqlx::Error> {
    // In the order of the keys, or two batches with the same ones would wait for each other.
    const TAKE: &str = "INSERT INTO idempotency_keys AS k \
            (tenant, key, fingerprint, event, created_at, deliveries, expires_at) \
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::uuid[], $5::bigint[], $6::integer[], $7::bigint[]) \
        ON CONFLICT (tenant, key) DO UPDATE SET fingerprint = excluded.fingerprint, event = excluded.event, \
            created_at = excluded.created_at, deliveries = excluded.deliveries, expires_at = excluded.expires_at \
            WHERE k.expires_at <= $8 \
        RETURNING event";
    if keyed.is_empty() {
        return Ok(BTreeMap::new());
    }
    keyed.sort_unstable_by_key(|(fresh, used)| (fresh.event.tenant, &used.key));
    let taken = sqlx::query(TAKE)
        .bind(keyed.iter().map(|(fresh, _)| fresh.event.tenant.uuid()).collect::<Vec<_>>())
        .bind(keyed.iter().map(|(_, used)| used.key.as_str()).collect::<Vec<_>>())
        .bind(keyed.iter().map(|(_, used)| &used.fingerprint[..]).collect::<Vec<_>>())
        .bind(keyed.iter().map(|(fresh, _)| fresh.id.uuid()).collect::<Vec<_>>())
        .bind(keyed.iter().map(|(fresh, _)| made_at(fresh.id.uuid()).0).collect::<Vec<_>>())
        .bind(keyed.iter().map(|(fresh, _)| fresh.deliveries.len() as i32).collect::<Vec<_>>())
        .bind(keyed.iter().map(|(_, used)| used.expires_at.0).collect::<Vec<_>>())
        .bind(now.0)
        .fetch_all(&mut *connection)
        .await?;
    let taken = taken.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<Uuid>, _>>()?;
    keyed.retain(|(fresh, _)| !taken.contains(&fresh.id.uuid()));
    known(connection, &keyed).await
}

async fn known(
    connection: &mut PgConnection,
    used: &[(&Fresh<'_>, &Idempotency)],
) -> Result<BTreeMap<EventId, Known>, sqlx::Error> {
    const USED: &str = "SELECT w.asked, k.fingerprint, k.event, k.created_at, k.deliveries \
        FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS w (tenant, key, asked) \
        JOIN idempotency_keys k ON k.tenant = w.tenant AND k.key = w.key";
    if used.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query(USED)
        .bind(used.iter().map(|(fresh, _)| fresh.event.tenant.uuid()).collect::<Vec<_>>())
        .bind(used.iter().map(|(_, used)| used.key.as_str()).collect::<Vec<_>>())
        .bind(used.iter().map(|(fresh, _)| fresh.id.uuid()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    if rows.len() < used.len() {
        // One was forgotten between the two statements.
        return Err(changed_underneath());
    }
    let known = rows.iter().map(|row| {
        let known = Known {
            fingerprint: row.try_get(1)?,
            event: EventId::from_uuid(row.try_get(2)?),
            created_at: Timestamp(row.try_get(3)?),
            deliveries: number(row, 4)?,
        };
        Ok((EventId::from_uuid(row.try_get(0)?), known))
    });
    known.collect()
}
