//! Claims: what is due is handed out, to one dispatcher each. A claim waits for nobody: what somebody else has locked, for a
//! claim of its own or to record an outcome, it leaves out.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::rows::{Keys, delivery_id, lane, number};
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::store::{Claim, ClaimFrom, Claimed};
use crate::time::Timestamp;

/// See [`crate::store::Deliveries::claim`].
pub(super) async fn claim(
    connection: &mut PgConnection,
    wants: &[Claim],
    lease: Duration,
    now: Timestamp,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let mut found = due(connection, wants, now).await?;
    found.extend(parked(connection, wants).await?);
    // In the order of the wants. Two of them may name the same place.
    found.sort_by_key(|(n, _)| *n);
    let mut places = HashMap::with_capacity(found.len());
    let mut first = Vec::with_capacity(found.len());
    for (_, claimed) in found {
        if places.insert(claimed.delivery, ()).is_none() {
            first.push(claimed);
        }
    }
    take(connection, first, now.after(lease)).await
}

type Found = Vec<(i32, Claimed)>;

/// Finds and locks what is due, each want's oldest first.
async fn due(connection: &mut PgConnection, wants: &[Claim], now: Timestamp) -> Result<Found, sqlx::Error> {
    const DUE: &str = "SELECT s.event, s.ordinal, s.tenant, s.endpoint, s.lane, w.n \
        FROM unnest($1::integer[], $2::uuid[], $3::smallint[], $4::bigint[]) AS w (n, tenant, lane, most) \
        CROSS JOIN LATERAL (SELECT * FROM schedule WHERE wait = 'time' AND tenant = w.tenant AND lane = w.lane \
            AND due_at <= $5 ORDER BY due_at LIMIT w.most FOR UPDATE SKIP LOCKED) s ORDER BY w.n, s.due_at";
    let due = (0..).zip(wants).filter_map(|(n, want)| match want.from {
        ClaimFrom::Due(lane) => Some((n, want, lane as i16)),
        ClaimFrom::Parked { .. } => None,
    });
    let due: Vec<(i32, _, _)> = due.collect();
    if due.is_empty() {
        return Ok(Found::new());
    }
    let rows = sqlx::query(DUE)
        .bind(due.iter().map(|(n, ..)| *n).collect::<Vec<_>>())
        .bind(due.iter().map(|(_, want, _)| want.tenant.uuid()).collect::<Vec<_>>())
        .bind(due.iter().map(|(.., lane)| *lane).collect::<Vec<_>>())
        .bind(due.iter().map(|(_, want, _)| i64::from(want.limit)).collect::<Vec<_>>())
        .bind(now.0)
        .fetch_all(connection)
        .await?;
    rows.iter().map(found).collect()
}

/// The same for what is parked for room at an endpoint. Its lanes are looked at one after the other, until there is enough.
async fn parked(connection: &mut PgConnection, wants: &[Claim]) -> Result<Found, sqlx::Error> {
    // The words of the index: nobody else's are to find it.
    const PARKED: &str = "SELECT s.event, s.ordinal, s.tenant, s.endpoint, s.lane, w.n \
        FROM unnest($1::integer[], $2::uuid[], $3::uuid[], $4::smallint[], $5::smallint[], $6::smallint[], $7::bigint[]) \
            AS w (n, tenant, endpoint, first, second, third, most) \
        CROSS JOIN LATERAL (SELECT p.*, l.turn FROM \
            (SELECT * FROM unnest(ARRAY[w.first, w.second, w.third]) WITH ORDINALITY AS l (lane, turn) ORDER BY turn) l \
            CROSS JOIN LATERAL (SELECT * FROM schedule WHERE lane = l.lane AND tenant = w.tenant AND endpoint = w.endpoint \
                AND lower(wait) = 'parked' ORDER BY due_at LIMIT w.most FOR UPDATE SKIP LOCKED) p \
            LIMIT w.most) s ORDER BY w.n, s.turn, s.due_at";
    let parked = (0..).zip(wants).filter_map(|(n, want)| match want.from {
        ClaimFrom::Parked { endpoint, lanes } => Some((n, want, endpoint.uuid(), lanes)),
        ClaimFrom::Due(_) => None,
    });
    let parked: Vec<(i32, _, _, _)> = parked.collect();
    if parked.is_empty() {
        return Ok(Found::new());
    }
    let turn = |n: usize| parked.iter().map(|(.., lanes)| lanes[n] as i16).collect::<Vec<_>>();
    let rows = sqlx::query(PARKED)
        .bind(parked.iter().map(|(n, ..)| *n).collect::<Vec<_>>())
        .bind(parked.iter().map(|(_, want, ..)| want.tenant.uuid()).collect::<Vec<_>>())
        .bind(parked.iter().map(|(_, _, endpoint, _)| *endpoint).collect::<Vec<Uuid>>())
        .bind(turn(0))
        .bind(turn(1))
        .bind(turn(2))
        .bind(parked.iter().map(|(_, want, ..)| i64::from(want.limit)).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    rows.iter().map(found).collect()
}

fn found(row: &PgRow) -> Result<(i32, Claimed), sqlx::Error> {
    let claimed = Claimed {
        delivery: delivery_id(row)?,
        tenant: TenantId::from_uuid(row.try_get(2)?),
        endpoint: EndpointId::from_uuid(row.try_get(3)?),
        lane: lane(row, 4)?,
        generation: 0,
    };
    Ok((row.try_get(5)?, claimed))
}

/// Raises the generations and sets the leases; answers in the order of `found`.
async fn take(
    connection: &mut PgConnection,
    found: Vec<Claimed>,
    until: Timestamp,
) -> Result<Vec<Claimed>, sqlx::Error> {
    const TAKE: &str = "WITH free AS (SELECT d.event, d.ordinal \
            FROM unnest($1::uuid[], $2::integer[]) AS w (event, ordinal) \
            JOIN deliveries d ON d.event = w.event AND d.ordinal = w.ordinal AND d.event >= $3 \
            WHERE d.state IN ('scheduled', 'queued') FOR UPDATE OF d SKIP LOCKED), \
        raised AS (UPDATE deliveries d SET state = 'queued', generation = d.generation + 1 FROM free \
            WHERE d.event = free.event AND d.ordinal = free.ordinal AND d.event >= $3 \
            RETURNING d.event, d.ordinal, d.generation) \
        UPDATE schedule s SET wait = 'time', due_at = $4 FROM raised \
        WHERE s.event = raised.event AND s.ordinal = raised.ordinal \
        RETURNING raised.event, raised.ordinal, raised.generation";
    let mut raised: HashMap<DeliveryId, u32> = HashMap::with_capacity(found.len());
    for keys in Keys::by_day(found.iter().map(|claimed| claimed.delivery)) {
        let rows = sqlx::query(TAKE)
            .bind(keys.events)
            .bind(keys.ordinals)
            .bind(keys.least)
            .bind(until.0)
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            raised.insert(delivery_id(row)?, number(row, 2)?);
        }
    }
    let claimed = found
        .iter()
        .filter_map(|claimed| Some(Claimed { generation: *raised.get(&claimed.delivery)?, ..*claimed }));
    Ok(claimed.collect())
}
