//! The common case of `record`: a batch of first attempts that all arrived, at deliveries that were published and are as they
//! were when they were admitted. It needs no standing read before and no schedule touched after, and is written in one
//! statement per table; whatever is otherwise takes the whole batch the long way.

use std::collections::HashSet;

use sqlx::sqlite::SqliteConnection;

use super::attempts::Attempt;
use super::bulk::{Storable, Text};
use super::counts::Moves;
use super::error::{Failure, failure};
use super::values::blob;
use super::writer::UNDO;
use crate::delivery::{DeliveryState, Outcome, Verdict};
use crate::store::Recorded;

/// Records `outcomes` if all of them are such arrivals; `None`: some are not, and nothing has changed. The first thing that its
/// job does: what it has to take back, it takes back with the job.
pub(super) async fn arrivals(
    connection: &mut SqliteConnection,
    outcomes: &[Outcome],
) -> Result<Option<Vec<Recorded>>, sqlx::Error> {
    let Some(attempts) = first_attempts(outcomes) else { return Ok(None) };
    let all = match write(connection, outcomes, attempts).await {
        Ok(all) => all,
        // Data that cannot be stored is found the long way.
        Err(error) if failure(&error) == Failure::Data => false,
        Err(error) => return Err(error),
    };
    if !all {
        sqlx::query(UNDO).execute(connection).await?;
    }
    let arrived = Recorded::Applied { state: DeliveryState::Delivered, due_at: None, endpoint_stopped: None };
    Ok(all.then(|| vec![arrived; outcomes.len()]))
}

/// The attempts, if every outcome is the first of its delivery, at the generation of its admission, and went well.
fn first_attempts(outcomes: &[Outcome]) -> Option<Vec<Attempt<'_>>> {
    let mut seen = HashSet::with_capacity(outcomes.len());
    let first = |(index, outcome): (usize, &'_ Outcome)| {
        let plain =
            outcome.verdict == Verdict::Delivered && outcome.generation == 0 && outcome.disable.is_none();
        let first = plain && seen.insert(outcome.delivery);
        first.then_some((index, outcome.delivery))
    };
    let ids: Vec<_> = outcomes.iter().enumerate().map(first).collect::<Option<_>>()?;
    let attempt = |(index, delivery): (usize, _)| {
        let record = outcomes[index].attempt.as_ref()?;
        Some(Attempt { delivery, n: 1, record, outcome: index })
    };
    ids.into_iter().map(attempt).collect()
}

/// Writes them; returns whether every delivery stood as it was admitted. If not, what was written is to be taken back.
async fn write(
    connection: &mut SqliteConnection,
    outcomes: &[Outcome],
    attempts: Vec<Attempt<'_>>,
) -> Result<bool, sqlx::Error> {
    // A queued delivery at generation 0 has no row in the schedule. An endpoint that failed before has to learn that it no
    // longer does, which is the long way's. (`+` keeps SQLite from walking the table for large batches.)
    const ARRIVED: Text = Text {
        before: "WITH new (event, ordinal, finished_at) AS (VALUES ",
        row: "(?,?,?)",
        after: ") UPDATE deliveries SET state = 'delivered', attempts = 1, finished_at = new.finished_at FROM new \
                WHERE deliveries.event = +new.event AND deliveries.ordinal = +new.ordinal \
                AND +deliveries.state = 'queued' AND deliveries.generation = 0 AND deliveries.attempts = 0 \
                AND NOT EXISTS (SELECT 1 FROM endpoints f WHERE f.id = deliveries.endpoint AND f.failing_since IS NOT NULL)",
    };
    let changed = ARRIVED.execute(connection, outcomes, |query, outcome| {
        let id = outcome.delivery;
        query.bind(blob(id.event.uuid())).bind(id.ordinal).bind(outcome.decided_at.0)
    });
    if changed.await? != outcomes.len() as u64 {
        return Ok(false);
    }
    let count = attempts.len();
    attempts.store(connection, 0..count).await?;
    let mut moves = Moves::default();
    for outcome in outcomes {
        moves.moved(outcome.tenant, (DeliveryState::Queued, 0), (DeliveryState::Delivered, 1));
    }
    moves.write(connection).await?;
    Ok(true)
}
