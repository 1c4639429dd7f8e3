//! What is on its way in a queue, or was, becomes due instead.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;

use super::rows::{Keys, bound};
use crate::delivery::Lane;
use crate::ids::DeliveryId;
use crate::time::Timestamp;

/// Makes due what is queued and in no dispatcher's hands, at its present generation or, with `raise`, one that makes its
/// message stale; returns how many deliveries. Each is locked before it is judged, and one that somebody claims at the same
/// time has a row in the schedule already and is left alone.
pub(super) async fn make_due(
    connection: &mut PgConnection,
    deliveries: &[DeliveryId],
    raise: u32,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    const DUE: &str = "WITH queued AS (SELECT d.event, d.ordinal, d.tenant, d.endpoint, d.expires_at \
            FROM unnest($1::uuid[], $2::integer[]) AS w (event, ordinal) \
            JOIN deliveries d ON d.event = w.event AND d.ordinal = w.ordinal AND d.event >= $3 \
            WHERE d.state = 'queued' ORDER BY d.event, d.ordinal FOR UPDATE OF d), \
        due AS (INSERT INTO schedule (event, ordinal, tenant, endpoint, lane, wait, due_at, expires_at) \
            SELECT event, ordinal, tenant, endpoint, $4, 'time', $5, expires_at FROM queued \
            ON CONFLICT DO NOTHING RETURNING event, ordinal) \
        UPDATE deliveries d SET state = 'scheduled', generation = d.generation + $6 FROM due \
        WHERE d.event = due.event AND d.ordinal = due.ordinal AND d.event >= $3";
    let distinct: BTreeSet<_> = deliveries.iter().copied().collect();
    let mut made = 0;
    for keys in Keys::by_day(distinct.into_iter()) {
        let due = sqlx::query(DUE)
            .bind(keys.events)
            .bind(keys.ordinals)
            .bind(keys.least)
            .bind(Lane::First as i16)
            .bind(now.0)
            .bind(bound(raise));
        made += due.execute(&mut *connection).await?.rows_affected();
    }
    Ok(made)
}
