//! The common case of `record`: first attempts that arrived, at deliveries that were published and are as they were when
//! they were admitted. They need no standing read before and touch no schedule, and are written in one statement per
//! table. Whichever of a batch is otherwise goes the long way with the rest.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::postgres::PgConnection;

use super::attempts::{Attempt, keep};
use super::counts::Moves;
use super::culprits::Culprits;
use super::rows::{Keys, delivery_id, same_day};
use crate::delivery::{DeliveryState, Outcome, Verdict};
use crate::ids::{DeliveryId, EndpointId};

/// Records those of `outcomes` that are such arrivals; returns which.
pub(super) async fn arrivals(
    connection: &mut PgConnection,
    outcomes: &[Outcome],
    culprits: &Culprits,
    moves: &mut Moves,
    cleared: &mut BTreeSet<EndpointId>,
) -> Result<HashSet<usize>, sqlx::Error> {
    // A queued delivery at generation 0 has no row in the schedule.
    const ARRIVED: &str = "UPDATE deliveries d SET state = 'delivered', attempts = 1, finished_at = w.finished_at \
        FROM unnest($1::uuid[], $2::integer[], $4::bigint[]) AS w (event, ordinal, finished_at) \
        WHERE d.event = w.event AND d.ordinal = w.ordinal AND d.event >= $3 \
            AND d.state = 'queued' AND d.generation = 0 AND d.attempts = 0 RETURNING d.event, d.ordinal";
    let first = first_attempts(outcomes, culprits);
    if first.is_empty() {
        return Ok(HashSet::new());
    }
    let mut arrived = HashSet::with_capacity(first.len());
    for day in first.chunk_by(|&a, &b| same_day(outcomes[a].delivery, outcomes[b].delivery)) {
        let keys = Keys::of(day.iter().map(|&index| outcomes[index].delivery));
        let rows = sqlx::query(ARRIVED)
            .bind(keys.events)
            .bind(keys.ordinals)
            .bind(keys.least)
            .bind(day.iter().map(|&index| outcomes[index].decided_at.0).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            arrived.insert(delivery_id(row)?);
        }
    }
    let first = first.into_iter().filter(|&index| arrived.contains(&outcomes[index].delivery));
    let arrived: HashSet<usize> = first.collect();
    let attempt = |&index: &usize| {
        let outcome = &outcomes[index];
        let record = outcome.attempt.as_ref()?;
        Some(Attempt { delivery: outcome.delivery, tenant: outcome.tenant, n: 1, record })
    };
    keep(connection, &arrived.iter().filter_map(attempt).collect::<Vec<_>>()).await?;
    for &index in &arrived {
        let outcome = &outcomes[index];
        moves.moved(outcome.tenant, (DeliveryState::Queued, 0), (DeliveryState::Delivered, 1));
        cleared.insert(outcome.endpoint);
    }
    Ok(arrived)
}

/// Those that may be the first of their delivery, at the generation of its admission, and went well. What an endpoint learns
/// it learns in order, so that one with other outcomes in the batch learns all of them the long way. In the order of keys,
/// as everything is locked.
fn first_attempts(outcomes: &[Outcome], culprits: &Culprits) -> Vec<usize> {
    let plain = |outcome: &Outcome| {
        outcome.verdict == Verdict::Delivered
            && outcome.generation == 0
            && outcome.disable.is_none()
            && outcome.attempt.is_some()
    };
    let mut times: HashMap<DeliveryId, u32> = HashMap::with_capacity(outcomes.len());
    let mut mixed = HashSet::new();
    for outcome in outcomes {
        *times.entry(outcome.delivery).or_default() += 1;
        if !plain(outcome) {
            mixed.insert(outcome.endpoint);
        }
    }
    let first = outcomes.iter().enumerate().filter(|(index, outcome)| {
        !mixed.contains(&outcome.endpoint) && times[&outcome.delivery] == 1 && !culprits.contains_key(index)
    });
    let mut first: Vec<_> = first.map(|(index, _)| index).collect();
    first.sort_unstable_by_key(|&index| outcomes[index].delivery);
    first
}
