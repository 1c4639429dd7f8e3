//! Ends and new beginnings of deliveries by somebody's decision: cancelled, purged, expired, replayed. (What comes of
//! attempts is recorded elsewhere.) Every function moves the counts along with the states.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::columns::{self, blob};
use crate::delivery::{DeliveryState, DiscardReason, Lane};
use crate::endpoint::EndpointStatus;
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::limits;
use crate::store::Replayed;
use crate::store::shared::replays::{Candidate, Replay, Unfinished, decide_replay};
use crate::time::Timestamp;

/// The keys in `?1`, a JSON array of `[event in hex, ordinal]`: one statement text for any number of them.
const CHOSEN: &str = "WITH chosen (event, ordinal) AS MATERIALIZED \
                      (SELECT unhex(value ->> 0), value ->> 1 FROM json_each(?1)) ";
const IN_CHOSEN: &str = "(event, ordinal) IN (SELECT event, ordinal FROM chosen)";

/// The columns of a [`Candidate`], of `deliveries d` and `events e`.
pub(super) const CANDIDATE: &str = "d.event, d.ordinal, d.tenant, d.endpoint, d.state, d.discarded_reason, d.attempts, \
    d.replay_of IS NOT NULL AS is_replay, d.finished_at, e.type, e.expires_at AS event_expires_at, e.next_ordinal, \
    (SELECT p.status FROM endpoints p WHERE p.id = d.endpoint) AS endpoint_status";

pub(super) fn read_candidate(row: &SqliteRow) -> Result<Candidate, sqlx::Error> {
    let endpoint = columns::maybe_named(row, "endpoint_status", EndpointStatus::from_name)?;
    Ok(Candidate {
        id: columns::delivery(row)?,
        endpoint: EndpointId::from_uuid(columns::uuid(row, "endpoint")?),
        event_type: columns::text(row, "type")?,
        state: columns::named(row, "state", DeliveryState::from_name)?,
        reason: columns::maybe_named(row, "discarded_reason", DiscardReason::from_name)?,
        attempted: columns::number::<u32>(row, "attempts")? > 0,
        is_replay: columns::number::<u32>(row, "is_replay")? > 0,
        finished_at: columns::maybe_time(row, "finished_at")?,
        endpoint_gone: endpoint.is_none_or(|status| status == EndpointStatus::Deleted),
        event_expires_at: columns::time(row, "event_expires_at")?,
        next_ordinal: columns::number(row, "next_ordinal")?,
    })
}

/// These of the tenant's deliveries, in no order; unknown ones are missing.
pub(super) async fn find(
    db: &mut SqliteConnection,
    tenant: TenantId,
    ids: &[DeliveryId],
) -> Result<Vec<Candidate>, sqlx::Error> {
    let sql = format!(
        "{CHOSEN} SELECT {CANDIDATE} FROM chosen c CROSS JOIN deliveries d ON d.event = c.event \
         AND d.ordinal = c.ordinal JOIN events e ON e.id = d.event WHERE d.tenant = ?2"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(keys(ids.iter())).bind(blob(tenant.uuid()));
    query.fetch_all(db).await?.iter().map(read_candidate).collect()
}

/// Ends an unfinished delivery as cancelled; returns the state it has now.
pub(super) async fn cancel(
    db: &mut SqliteConnection,
    tenant: TenantId,
    id: DeliveryId,
    now: Timestamp,
) -> Result<Option<DeliveryState>, sqlx::Error> {
    let Some(candidate) = find(db, tenant, &[id]).await?.pop() else {
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
pub(super) fn read_unfinished(row: &SqliteRow) -> Result<Unfinished, sqlx::Error> {
    Ok(Unfinished {
        id: columns::delivery(row)?,
        tenant: columns::tenant(row)?,
        attempted: columns::number::<u32>(row, "attempts")? > 0,
    })
}

/// Ends unfinished deliveries. They were read in this transaction, so that all of them still are unfinished.
pub(super) async fn discard(
    db: &mut SqliteConnection,
    deliveries: &[Unfinished],
    reason: DiscardReason,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let chosen = keys(deliveries.iter().map(|delivery| &delivery.id));
    finish(db, &chosen, reason, now).await?;
    run(db, format!("{CHOSEN} DELETE FROM schedule WHERE {IN_CHOSEN}"), &chosen).await?;
    let mut moves: BTreeMap<TenantId, Move> = BTreeMap::new();
    for delivery in deliveries {
        let tenant = moves.entry(delivery.tenant).or_default();
        *tenant.waiting(delivery.attempted) -= 1;
        tenant.discarded += 1;
    }
    for (tenant, by) in moves {
        move_counts(db, tenant, by).await?;
    }
    Ok(())
}

/// Ends a tenant's dead letters as purged.
pub(super) async fn purge(
    db: &mut SqliteConnection,
    tenant: TenantId,
    dead: &[DeliveryId],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let chosen = keys(dead.iter());
    finish(db, &chosen, DiscardReason::Purged, now).await?;
    bury(db, &chosen).await?;
    let count = dead.len() as i64;
    move_counts(db, tenant, Move { dead: -count, discarded: count, ..Move::default() }).await
}

/// Replays one delivery.
pub(super) async fn replay(
    db: &mut SqliteConnection,
    tenant: TenantId,
    id: DeliveryId,
    now: Timestamp,
) -> Result<Option<Replayed>, sqlx::Error> {
    let Some(candidate) = find(db, tenant, &[id]).await?.pop() else {
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

/// Makes a tenant's deliveries due as was decided for each; refused ones are left alone.
pub(super) async fn apply_replays(
    db: &mut SqliteConnection,
    tenant: TenantId,
    replays: &[(Candidate, Replay)],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut moves = Move::default();
    let (mut again, mut anew, mut origins) = (Vec::new(), Vec::new(), Vec::new());
    for (candidate, replay) in replays {
        match replay {
            Replay::Again => {
                let dead = candidate.state == DeliveryState::Dead;
                *(if dead { &mut moves.dead } else { &mut moves.discarded }) -= 1;
                *moves.waiting(candidate.attempted) += 1;
                again.push(candidate.id);
            }
            Replay::Anew(ordinal) => {
                moves.accepted += 1;
                moves.backlog += 1;
                origins.push(candidate.id.ordinal);
                anew.push(DeliveryId { ordinal: *ordinal, ..candidate.id });
            }
            Replay::Refused(_) => {}
        }
    }
    let expires_at = now.after(limits::RETENTION);
    if !again.is_empty() {
        begin_again(db, &keys(again.iter()), expires_at).await?;
    }
    if !anew.is_empty() {
        begin_anew(db, &anew, &origins, expires_at).await?;
    }
    again.extend(anew);
    let sql = format!(
        "{CHOSEN} INSERT OR REPLACE INTO schedule (event, ordinal, tenant, endpoint, lane, wait, due_at, expires_at) \
         SELECT event, ordinal, tenant, endpoint, {}, 'time', ?2, expires_at FROM deliveries WHERE {IN_CHOSEN}",
        Lane::Replay as u8
    );
    sqlx::query(AssertSqlSafe(sql)).bind(keys(again.iter())).bind(now.0).execute(&mut *db).await?;
    move_counts(db, tenant, moves).await
}

async fn begin_again(
    db: &mut SqliteConnection,
    chosen: &str,
    expires_at: Timestamp,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "{CHOSEN} UPDATE deliveries SET state = 'scheduled', generation = generation + 1, schedule_position = 0, \
         finished_at = NULL, discarded_reason = NULL, \
         expires_at = (SELECT min(?2, e.expires_at) FROM events e WHERE e.id = deliveries.event) WHERE {IN_CHOSEN}"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(chosen).bind(expires_at.0).execute(&mut *db).await?;
    bury(db, chosen).await
}

/// Makes `anew`, each repeating the delivery of the same event with the ordinal at its place in `origins`.
async fn begin_anew(
    db: &mut SqliteConnection,
    anew: &[DeliveryId],
    origins: &[u16],
    expires_at: Timestamp,
) -> Result<(), sqlx::Error> {
    let row = |(id, origin): (&DeliveryId, &u16)| {
        format!("[\"{}\",{},{origin}]", id.event.uuid().simple(), id.ordinal)
    };
    let rows: Vec<_> = anew.iter().zip(origins).map(row).collect();
    sqlx::query(
        "WITH made (event, ordinal, origin) AS MATERIALIZED \
         (SELECT unhex(value ->> 0), value ->> 1, value ->> 2 FROM json_each(?1)) \
         INSERT INTO deliveries (event, ordinal, tenant, endpoint, state, expires_at, replay_of) \
         SELECT m.event, m.ordinal, d.tenant, d.endpoint, 'scheduled', min(?2, e.expires_at), m.origin \
         FROM made m CROSS JOIN deliveries d ON d.event = m.event AND d.ordinal = m.origin \
         JOIN events e ON e.id = m.event",
    )
    .bind(format!("[{}]", rows.join(",")))
    .bind(expires_at.0)
    .execute(&mut *db)
    .await?;
    let sql = format!(
        "{CHOSEN} UPDATE events SET next_ordinal = max(next_ordinal, \
         (SELECT max(c.ordinal) + 1 FROM chosen c WHERE c.event = events.id)) WHERE id IN (SELECT event FROM chosen)"
    );
    run(db, sql, &keys(anew.iter())).await
}

async fn finish(
    db: &mut SqliteConnection,
    chosen: &str,
    reason: DiscardReason,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "{CHOSEN} UPDATE deliveries SET state = 'discarded', discarded_reason = ?2, finished_at = ?3 WHERE {IN_CHOSEN}"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(chosen).bind(reason.name()).bind(now.0).execute(db).await?;
    Ok(())
}

/// Removes the pointers to what is dead no longer.
async fn bury(db: &mut SqliteConnection, chosen: &str) -> Result<(), sqlx::Error> {
    let sql = format!(
        "{CHOSEN} DELETE FROM dead_letters WHERE (tenant, event, ordinal) IN \
         (SELECT d.tenant, d.event, d.ordinal FROM chosen c CROSS JOIN deliveries d \
          ON d.event = c.event AND d.ordinal = c.ordinal)"
    );
    run(db, sql, chosen).await
}

async fn run(db: &mut SqliteConnection, sql: String, chosen: &str) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(sql)).bind(chosen).execute(db).await?;
    Ok(())
}

fn keys<'a>(ids: impl Iterator<Item = &'a DeliveryId>) -> String {
    let rows: Vec<_> = ids.map(|id| format!("[\"{}\",{}]", id.event.uuid().simple(), id.ordinal)).collect();
    format!("[{}]", rows.join(","))
}

/// By how much counts move; the sum of all but `accepted` is `accepted`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Move {
    pub(super) accepted: i64,
    pub(super) dead: i64,
    pub(super) discarded: i64,
    pub(super) backlog: i64,
    pub(super) retrying: i64,
}

impl Move {
    /// The count of unfinished deliveries with or without an attempt behind them.
    pub(super) fn waiting(&mut self, attempted: bool) -> &mut i64 {
        if attempted { &mut self.retrying } else { &mut self.backlog }
    }
}

pub(super) async fn move_counts(
    db: &mut SqliteConnection,
    tenant: TenantId,
    by: Move,
) -> Result<(), sqlx::Error> {
    debug_assert_eq!(
        by.accepted,
        by.dead + by.discarded + by.backlog + by.retrying,
        "{by:?} loses something"
    );
    sqlx::query(
        "UPDATE delivery_counts SET accepted = accepted + ?, dead = dead + ?, discarded = discarded + ?, \
         backlog = backlog + ?, retrying = retrying + ? WHERE tenant = ?",
    )
    .bind(by.accepted)
    .bind(by.dead)
    .bind(by.discarded)
    .bind(by.backlog)
    .bind(by.retrying)
    .bind(blob(tenant.uuid()))
    .execute(db)
    .await?;
    Ok(())
}
