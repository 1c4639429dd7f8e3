//! Ends and new beginnings of deliveries by somebody's decision: cancelled, purged, expired, replayed. (What comes of
//! attempts is recorded elsewhere.) Every function moves the counts along with the states.

use std::collections::BTreeSet;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::columns;
use super::counts::{self, Moves};
use super::rows::{Keys, same_day};
use crate::delivery::{DeliveryState, DiscardReason, Lane};
use crate::endpoint::EndpointStatus;
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::limits;
use crate::store::Replayed;
use crate::store::shared::replays::{Candidate, Replay, Unfinished, decide_replay};
use crate::time::Timestamp;

/// The deliveries `d` of [`Keys`], which are `$1` to `$4`.
const CHOSEN: &str = "unnest($1::uuid[], $2::int[]) c (event, ordinal)";
const IS_CHOSEN: &str = "d.event = c.event AND d.ordinal = c.ordinal AND d.event BETWEEN $3 AND $4";

/// The columns of a [`Candidate`], of `deliveries d` and `events e`.
pub(super) const CANDIDATE: &str = "d.event, d.ordinal, d.tenant, d.endpoint, d.state, d.discarded_reason, d.attempts, \
    d.replay_of IS NOT NULL AS is_replay, d.finished_at, e.type, e.expires_at AS event_expires_at, e.next_ordinal, \
    (SELECT p.status FROM endpoints p WHERE p.id = d.endpoint) AS endpoint_status";

pub(super) fn read_candidate(row: &PgRow) -> Result<Candidate, sqlx::Error> {
    let endpoint = columns::maybe_named(row, "endpoint_status", EndpointStatus::from_name)?;
    Ok(Candidate {
        id: columns::delivery(row)?,
        endpoint: EndpointId::from_uuid(columns::uuid(row, "endpoint")?),
        event_type: row.try_get("type")?,
        state: columns::named(row, "state", DeliveryState::from_name)?,
        reason: columns::maybe_named(row, "discarded_reason", DiscardReason::from_name)?,
        attempted: columns::number::<u32>(row, "attempts")? > 0,
        is_replay: row.try_get("is_replay")?,
        finished_at: columns::maybe_time(row, "finished_at")?,
        endpoint_gone: endpoint.is_none_or(|status| status == EndpointStatus::Deleted),
        event_expires_at: columns::time(row, "event_expires_at")?,
        next_ordinal: columns::number(row, "next_ordinal")?,
    })
}

/// These of the tenant's deliveries; unknown ones are missing.
pub(super) async fn find(
    db: &mut PgConnection,
    tenant: TenantId,
    ids: &[DeliveryId],
) -> Result<Vec<Candidate>, sqlx::Error> {
    find_with(db, tenant, ids, "").await
}

/// The same, held until the end of the transaction, and as they stand when they are had.
pub(super) async fn hold(
    db: &mut PgConnection,
    tenant: TenantId,
    ids: &[DeliveryId],
) -> Result<Vec<Candidate>, sqlx::Error> {
    find_with(db, tenant, ids, " FOR UPDATE OF d, e").await
}

async fn find_with(
    db: &mut PgConnection,
    tenant: TenantId,
    ids: &[DeliveryId],
    lock: &str,
) -> Result<Vec<Candidate>, sqlx::Error> {
    let sql = format!(
        "SELECT {CANDIDATE} FROM {CHOSEN} JOIN deliveries d ON {IS_CHOSEN} \
         JOIN events e ON e.id = d.event AND e.id BETWEEN $3 AND $4 WHERE d.tenant = $5 \
         ORDER BY d.event, d.ordinal{lock}"
    );
    let mut found = Vec::with_capacity(ids.len());
    for keys in Keys::by_day(ids.iter().copied()) {
        let rows = chosen(sql.clone(), &keys).bind(tenant.uuid()).fetch_all(&mut *db).await?;
        for row in &rows {
            found.push(read_candidate(row)?);
        }
    }
    Ok(found)
}

/// Waits until nobody else changes how many dead letters the tenant has. To be called before anything is held.
pub(super) async fn hold_dead(db: &mut PgConnection, tenant: TenantId) -> Result<(), sqlx::Error> {
    counts::lock(db, &BTreeSet::from([tenant])).await
}

/// Ends an unfinished delivery as cancelled; returns the state it has now.
pub(super) async fn cancel(
    db: &mut PgConnection,
    tenant: TenantId,
    id: DeliveryId,
    now: Timestamp,
) -> Result<Option<DeliveryState>, sqlx::Error> {
    let Some(candidate) = hold(db, tenant, &[id]).await?.pop() else {
        return Ok(None);
    };
    if !candidate.state.is_unfinished() {
        return Ok(Some(candidate.state));
    }
    let unfinished = Unfinished { id, tenant, attempted: candidate.attempted };
    discard(db, &[unfinished], DiscardReason::Cancelled, now).await?;
    Ok(Some(DeliveryState::Discarded))
}

/// Reads the columns `event`, `ordinal`, `tenant` and `attempts`.
pub(super) fn read_unfinished(row: &PgRow) -> Result<Unfinished, sqlx::Error> {
    Ok(Unfinished {
        id: columns::delivery(row)?,
        tenant: columns::tenant(row)?,
        attempted: columns::number::<u32>(row, "attempts")? > 0,
    })
}

/// Ends unfinished deliveries, which this transaction holds.
pub(super) async fn discard(
    db: &mut PgConnection,
    deliveries: &[Unfinished],
    reason: DiscardReason,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let ids = deliveries.iter().map(|delivery| delivery.id);
    finish(db, ids.clone(), reason, now).await?;
    let keys = Keys::of(ids);
    let sql = "DELETE FROM schedule s USING unnest($1::uuid[], $2::int[]) c (event, ordinal) \
               WHERE s.event = c.event AND s.ordinal = c.ordinal";
    sqlx::query(sql).bind(&keys.events).bind(&keys.ordinals).execute(&mut *db).await?;
    let mut moves = Moves::default();
    for delivery in deliveries {
        let attempts = u32::from(delivery.attempted);
        let (from, to) = ((DeliveryState::Queued, attempts), (DeliveryState::Discarded, attempts));
        moves.moved(delivery.tenant, from, to);
    }
    moves.write(db, &BTreeSet::new(), &BTreeSet::new()).await
}

/// Ends a tenant's dead letters, which this transaction holds with their count, as purged or expired.
pub(super) async fn purge(
    db: &mut PgConnection,
    tenant: TenantId,
    dead: &[DeliveryId],
    reason: DiscardReason,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    finish(db, dead.iter().copied(), reason, now).await?;
    unlist(db, tenant, dead).await?;
    let mut moves = Moves::default();
    for _ in dead {
        moves.moved(tenant, (DeliveryState::Dead, 0), (DeliveryState::Discarded, 0));
    }
    moves.write(db, &BTreeSet::from([tenant]), &BTreeSet::new()).await
}

/// Replays one delivery.
pub(super) async fn replay(
    db: &mut PgConnection,
    tenant: TenantId,
    id: DeliveryId,
    now: Timestamp,
) -> Result<Option<Replayed>, sqlx::Error> {
    hold_dead(db, tenant).await?;
    let Some(candidate) = hold(db, tenant, &[id]).await?.pop() else {
        return Ok(None);
    };
    let decision = decide_replay(&candidate, 0, now);
    match decision {
        Replay::Refused(refusal) => return Ok(Some(refusal)),
        Replay::Again | Replay::Anew(_) => apply_replays(db, tenant, &[(candidate, decision)], now).await?,
    }
    let ordinal = if let Replay::Anew(ordinal) = decision { ordinal } else { id.ordinal };
    Ok(Some(Replayed::Due(DeliveryId { ordinal, ..id })))
}

/// Makes a tenant's deliveries, which this transaction holds with the count of the dead, due as was decided for each;
/// refused ones are left alone.
pub(super) async fn apply_replays(
    db: &mut PgConnection,
    tenant: TenantId,
    replays: &[(Candidate, Replay)],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut moves = Moves::default();
    let (mut again, mut anew) = (Vec::new(), Vec::new());
    for (candidate, replay) in replays {
        match replay {
            Replay::Again => {
                let attempts = u32::from(candidate.attempted);
                moves.moved(tenant, (candidate.state, attempts), (DeliveryState::Scheduled, attempts));
                again.push(candidate.id);
            }
            Replay::Anew(ordinal) => {
                moves.accepted(tenant, 1);
                let made = DeliveryId { ordinal: *ordinal, ..candidate.id };
                anew.push((made, i32::from(candidate.id.ordinal)));
            }
            Replay::Refused(_) => {}
        }
    }
    let expires_at = now.after(limits::RETENTION);
    if !again.is_empty() {
        begin_again(db, tenant, &again, expires_at).await?;
    }
    anew.sort_unstable();
    for day in anew.chunk_by(|a, b| same_day(a.0, b.0)) {
        begin_anew(db, day, expires_at).await?;
    }
    again.extend(anew.into_iter().map(|(made, _)| made));
    let sql = format!(
        "INSERT INTO schedule (event, ordinal, tenant, endpoint, lane, wait, due_at, expires_at) \
         SELECT d.event, d.ordinal, d.tenant, d.endpoint, {}, 'time', $5, d.expires_at \
         FROM {CHOSEN} JOIN deliveries d ON {IS_CHOSEN} ORDER BY d.event, d.ordinal \
         ON CONFLICT (event, ordinal) DO UPDATE SET lane = excluded.lane, wait = excluded.wait, \
         due_at = excluded.due_at, expires_at = excluded.expires_at",
        Lane::Replay as u8
    );
    for keys in Keys::by_day(again.into_iter()) {
        chosen(sql.clone(), &keys).bind(now.0).execute(&mut *db).await?;
    }
    moves.write(db, &BTreeSet::from([tenant]), &BTreeSet::new()).await
}

async fn begin_again(
    db: &mut PgConnection,
    tenant: TenantId,
    deliveries: &[DeliveryId],
    expires_at: Timestamp,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE deliveries d SET state = 'scheduled', generation = d.generation + 1, schedule_position = 0, \
         finished_at = NULL, discarded_reason = NULL, expires_at = least($5, e.expires_at) \
         FROM {CHOSEN} JOIN events e ON e.id = c.event AND e.id BETWEEN $3 AND $4 WHERE {IS_CHOSEN}"
    );
    for keys in Keys::by_day(deliveries.iter().copied()) {
        chosen(sql.clone(), &keys).bind(expires_at.0).execute(&mut *db).await?;
    }
    unlist(db, tenant, deliveries).await
}

/// Makes deliveries of one day, each repeating the one of the same event with the ordinal beside it.
async fn begin_anew(
    db: &mut PgConnection,
    anew: &[(DeliveryId, i32)],
    expires_at: Timestamp,
) -> Result<(), sqlx::Error> {
    let keys = Keys::of(anew.iter().map(|(made, _)| *made));
    let origins: Vec<i32> = anew.iter().map(|(_, origin)| *origin).collect();
    let sql = "INSERT INTO deliveries (event, ordinal, tenant, endpoint, state, expires_at, replay_of) \
         SELECT m.event, m.ordinal, d.tenant, d.endpoint, 'scheduled', least($5, e.expires_at), m.origin \
         FROM unnest($1::uuid[], $2::int[], $6::int[]) m (event, ordinal, origin) \
         JOIN deliveries d ON d.event = m.event AND d.ordinal = m.origin AND d.event BETWEEN $3 AND $4 \
         JOIN events e ON e.id = m.event AND e.id BETWEEN $3 AND $4";
    chosen(sql.to_owned(), &keys).bind(expires_at.0).bind(origins).execute(&mut *db).await?;
    let sql = "UPDATE events e SET next_ordinal = greatest(e.next_ordinal, m.next) \
         FROM (SELECT event, max(ordinal) + 1 AS next FROM unnest($1::uuid[], $2::int[]) c (event, ordinal) GROUP BY event) m \
         WHERE e.id = m.event AND e.id BETWEEN $3 AND $4";
    chosen(sql.to_owned(), &keys).execute(db).await?;
    Ok(())
}

async fn finish(
    db: &mut PgConnection,
    deliveries: impl Iterator<Item = DeliveryId>,
    reason: DiscardReason,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE deliveries d SET state = 'discarded', discarded_reason = $5, finished_at = $6 FROM {CHOSEN} WHERE {IS_CHOSEN}"
    );
    for keys in Keys::by_day(deliveries) {
        chosen(sql.clone(), &keys).bind(reason.name()).bind(now.0).execute(&mut *db).await?;
    }
    Ok(())
}

/// Removes the pointers to what is dead no longer.
async fn unlist(
    db: &mut PgConnection,
    tenant: TenantId,
    deliveries: &[DeliveryId],
) -> Result<(), sqlx::Error> {
    let keys = Keys::of(deliveries.iter().copied());
    sqlx::query(
        "DELETE FROM dead_letters l USING unnest($1::uuid[], $2::int[]) c (event, ordinal) \
         WHERE l.tenant = $3 AND l.event = c.event AND l.ordinal = c.ordinal",
    )
    .bind(&keys.events)
    .bind(&keys.ordinals)
    .bind(tenant.uuid())
    .execute(db)
    .await?;
    Ok(())
}

/// A statement whose `$1` to `$4` are the keys and their bounds.
fn chosen(
    sql: String,
    keys: &Keys,
) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let query = sqlx::query(AssertSqlSafe(sql)).bind(keys.events.clone()).bind(keys.ordinals.clone());
    query.bind(keys.least).bind(keys.greatest)
}
