//! Which deliveries a job's filter means, looked for in bounded steps, oldest first.

use std::time::Instant;

use sqlx::{QueryBuilder, SqliteConnection};

use super::columns::blob;
use super::lifecycle::{self, CANDIDATE, Candidate, read_candidate};
use super::paging::Stretch;
use crate::delivery::{DeliveryState, DiscardReason};
use crate::ids::{DeliveryId, TenantId};
use crate::limits;
use crate::store::{JobFilter, Order, Position};
use crate::time::Timestamp;

/// The states that a filter means; it means dead letters if it says nothing.
pub(super) fn states(filter: &JobFilter) -> &[DeliveryState] {
    if filter.states.is_empty() { &[DeliveryState::Dead] } else { &filter.states }
}

/// Whether a job that was made at `as_of` means this delivery. Not what ended since: a replay that succeeds while its job
/// is under way is not replayed again. Nor what a replay has made: the delivery that it repeats stands for it.
pub(super) fn matches(candidate: &Candidate, filter: &JobFilter, as_of: Timestamp) -> bool {
    let state = match candidate.state {
        DeliveryState::Discarded => candidate.reason == Some(DiscardReason::DlqOverflow),
        DeliveryState::Delivered => {
            !candidate.is_replay && candidate.finished_at.is_none_or(|at| at <= as_of)
        }
        _ => true,
    };
    state
        && states(filter).contains(&candidate.state)
        && filter.endpoint.is_none_or(|endpoint| endpoint == candidate.endpoint)
        && filter.event_type.as_ref().is_none_or(|wanted| *wanted == candidate.event_type)
        && admitted(filter).holds(candidate.id)
}

/// The next `limit` deliveries behind `after` that may match; fewer: there are no more.
pub(super) async fn look(
    db: &mut SqliteConnection,
    tenant: TenantId,
    filter: &JobFilter,
    after: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<Candidate>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {CANDIDATE} FROM "));
    // Dead letters have a list of their own, however long the other is.
    let table = if states(filter) == [DeliveryState::Dead] {
        query.push(
            "dead_letters k CROSS JOIN deliveries d ON d.event = k.event AND d.ordinal = k.ordinal \
             JOIN events e ON e.id = k.event",
        );
        "k"
    } else {
        query.push("deliveries d JOIN events e ON e.id = d.event");
        "d"
    };
    query.push(format!(" WHERE {table}.tenant = ")).push_bind(blob(tenant.uuid()));
    let after = after.map(|id| Position { uuid: id.event.uuid(), ordinal: id.ordinal });
    admitted(filter).behind(after, Order::Ascending).push_keys(&mut query, table);
    query.push(format!(" ORDER BY {table}.event, {table}.ordinal LIMIT ")).push_bind(i64::from(limit));
    query.build().fetch_all(db).await?.iter().map(read_candidate).collect()
}

/// How many deliveries match, counted up to `limit` and for `limits::LIST_BUDGET`.
pub(super) async fn count(
    db: &mut SqliteConnection,
    tenant: TenantId,
    filter: &JobFilter,
    limit: u64,
) -> Result<u64, sqlx::Error> {
    if !filter.deliveries.is_empty() {
        let found = lifecycle::find(db, tenant, &named(filter)).await?;
        let count = found.iter().filter(|candidate| matches(candidate, filter, Timestamp::MAX)).count();
        return Ok(limit.min(count as u64));
    }
    let started = Instant::now();
    let (mut count, mut after) = (0, None);
    loop {
        let looked = look(db, tenant, filter, after, limits::LIST_ROWS).await?;
        count += looked.iter().filter(|c| matches(c, filter, Timestamp::MAX)).count() as u64;
        after = looked.last().map(|candidate| candidate.id);
        let exhausted = looked.len() < limits::LIST_ROWS as usize;
        if exhausted || count >= limit || started.elapsed() >= limits::LIST_BUDGET {
            return Ok(count.min(limit));
        }
    }
}

/// The deliveries that a filter names one by one; what is no id is left out.
pub(super) fn named(filter: &JobFilter) -> Vec<DeliveryId> {
    filter.deliveries.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The deliveries of events that were admitted when the filter says.
fn admitted(filter: &JobFilter) -> Stretch {
    Stretch::made(filter.from_ms.map(Timestamp), filter.to_ms.map(Timestamp))
}
