//! Which deliveries a job's filter means, looked for in bounded steps, oldest first.

use std::time::Instant;

use sqlx::{QueryBuilder, SqliteConnection};

use super::columns::blob;
use super::lifecycle::{self, CANDIDATE, read_candidate};
use super::paging::push_keys;
use crate::delivery::DeliveryState;
use crate::ids::{DeliveryId, TenantId};
use crate::limits;
use crate::store::shared::matching::{admitted, matches, named, states};
use crate::store::shared::replays::Candidate;
use crate::store::{JobFilter, Order, Position};
use crate::time::Timestamp;

/// The next `limit` deliveries behind `after` that may match; fewer: there are no more.
pub(super) async fn look(
    db: &mut SqliteConnection,
    tenant: TenantId,
    filter: &JobFilter,
    after: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<Candidate>, sqlx::Error> {
    // Dead letters have a list of their own, however long the other is.
    let list = match states(filter) == [DeliveryState::Dead] {
        true => "dead_letters",
        false => "tenant_deliveries",
    };
    let mut query = QueryBuilder::new(format!(
        "SELECT {CANDIDATE} FROM {list} k CROSS JOIN deliveries d ON d.event = k.event AND d.ordinal = k.ordinal \
         JOIN events e ON e.id = k.event WHERE k.tenant = "
    ));
    query.push_bind(blob(tenant.uuid()));
    let after = after.map(|id| Position { uuid: id.event.uuid(), ordinal: id.ordinal });
    push_keys(admitted(filter).behind(after, Order::Ascending), &mut query, "k");
    query.push(" ORDER BY k.event, k.ordinal LIMIT ").push_bind(i64::from(limit));
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
