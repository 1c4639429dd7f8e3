//! `record`: what came of deliveries. Three reads, then the outcomes are applied in memory ([`Standing`]), then what
//! changed is written, table by table. The common case, first attempts that arrive, has a way of its own ([`arrivals`]).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use super::arrivals::arrivals;
use super::attempts::Attempt;
use super::bulk::{Bound, Text, store_all};
use super::counts::Moves;
use super::dead_letters::{bury, make_room};
use super::facts::{Facts, read_standings};
use super::values::blob;
use crate::delivery::{DeliveryState, Outcome};
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::store::Recorded;
use crate::store::standing::{EndpointFacts, Standing, Waits};
use crate::time::Timestamp;

/// See [`crate::store::Deliveries::record`]. Returns the tenants whose endpoints were stopped, too.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    outcomes: &[Outcome],
    disable_after: Duration,
) -> Result<(Vec<Recorded>, Vec<TenantId>), sqlx::Error> {
    if let Some(recorded) = arrivals(connection, outcomes).await? {
        return Ok((recorded, Vec::new()));
    }
    let mut facts = Facts::read(connection, outcomes).await?;
    let mut applied =
        Applied { standings: read_standings(connection, outcomes).await?, ..Applied::default() };
    for (index, outcome) in outcomes.iter().enumerate() {
        applied.apply(index, outcome, &mut facts, disable_after);
    }
    let attempts = std::mem::take(&mut applied.attempts);
    let count = attempts.len();
    for (index, reason) in store_all(connection, &attempts, count).await? {
        let attempt = &attempts[index];
        tracing::error!(delivery = %attempt.delivery, %reason, "an attempt's data cannot be stored");
        if applied.results[attempt.outcome] != Recorded::Stale {
            applied.results[attempt.outcome] = Recorded::WithoutAttempt;
        }
    }
    applied.settle_dead_letters(connection, &facts, outcomes).await?;
    let changed: Vec<_> = applied.standings.into_values().filter(Changed::is_changed).collect();
    write(connection, &changed, applied.moves).await?;
    let stopped = write_endpoints(connection, facts.changed_endpoints(), outcomes).await?;
    Ok((applied.results, stopped))
}

/// A delivery before and after a batch.
#[derive(Debug)]
pub(super) struct Changed {
    pub before: Standing,
    pub after: Standing,
    /// Attempts that were recorded before this batch and come again in it.
    pub repeated: HashSet<uuid::Uuid>,
}

impl Changed {
    fn is_changed(&self) -> bool {
        let key = |s: &Standing| (s.state, s.attempts, s.position, s.waits);
        key(&self.before) != key(&self.after)
    }
}

#[derive(Default)]
struct Applied<'a> {
    standings: HashMap<DeliveryId, Changed>,
    results: Vec<Recorded>,
    attempts: Vec<Attempt<'a>>,
    /// Deliveries that died in this batch, with their outcomes' indices.
    died: HashMap<DeliveryId, usize>,
    moves: Moves,
}

impl<'a> Applied<'a> {
    fn apply(&mut self, index: usize, outcome: &'a Outcome, facts: &mut Facts, disable_after: Duration) {
        let Some(standing) = self.standings.get_mut(&outcome.delivery) else {
            return self.results.push(Recorded::Stale);
        };
        let after = &mut standing.after;
        if let Some(attempt) = &outcome.attempt {
            if !standing.repeated.insert(attempt.id) {
                return self.results.push(after.answer(None));
            }
            self.attempts.push(Attempt {
                delivery: outcome.delivery,
                n: after.attempts + 1,
                record: attempt,
                outcome: index,
            });
        }
        let (endpoint, tenant) = facts.of(after);
        let was_dead = after.state == DeliveryState::Dead;
        let result = after.apply(outcome, endpoint, tenant, disable_after);
        if !was_dead && after.state == DeliveryState::Dead {
            self.died.insert(outcome.delivery, index);
        }
        self.results.push(result);
    }

    /// Lists the new dead letters, and lets the oldest go where the policy says so, new ones among them if need be.
    async fn settle_dead_letters(
        &mut self,
        connection: &mut SqliteConnection,
        facts: &Facts,
        outcomes: &[Outcome],
    ) -> Result<(), sqlx::Error> {
        if self.died.is_empty() {
            return Ok(());
        }
        let died =
            self.died.iter().map(|(id, &index)| (*id, outcomes[index].tenant, outcomes[index].decided_at));
        bury(connection, &died.collect::<Vec<_>>()).await?;
        for (tenant, surplus) in facts.surplus() {
            let knows = |id: &DeliveryId| self.standings.contains_key(id);
            for id in make_room(connection, tenant, surplus, knows, &mut self.moves).await? {
                let Some(standing) = self.standings.get_mut(&id) else { continue };
                standing.after.overflow();
                if let Some(&index) = self.died.get(&id)
                    && self.results[index] != Recorded::WithoutAttempt
                {
                    self.results[index] = standing.after.answer(None);
                }
            }
        }
        Ok(())
    }
}

async fn write(
    connection: &mut SqliteConnection,
    changed: &[Changed],
    mut moves: Moves,
) -> Result<(), sqlx::Error> {
    const STAND: Text = Text {
        before: "WITH new (event, ordinal, state, attempts, position, finished_at, reason) AS (VALUES ",
        row: "(?,?,?,?,?,?,?)",
        after: ") UPDATE deliveries SET state = new.state, attempts = new.attempts, schedule_position = new.position, \
                finished_at = new.finished_at, discarded_reason = new.reason FROM new \
                WHERE deliveries.event = +new.event AND deliveries.ordinal = +new.ordinal",
    };
    const WAIT: Text = Text {
        before: "INSERT INTO schedule (event, ordinal, tenant, endpoint, lane, wait, due_at, expires_at) VALUES ",
        row: "(?,?,?,?,?,?,?,?)",
        after: " ON CONFLICT (event, ordinal) DO UPDATE SET lane = excluded.lane, wait = excluded.wait, due_at = excluded.due_at",
    };
    const GO: Text =
        Text { before: "DELETE FROM schedule WHERE (event, ordinal) IN (VALUES ", row: "(?,?)", after: ")" };
    for Changed { before, after, .. } in changed {
        moves.moved(after.tenant, (before.state, before.attempts), (after.state, after.attempts));
    }
    STAND.execute(connection, changed, bind_standing).await?;
    let waits = changed.iter().filter(|c| c.before.waits != c.after.waits);
    let wait: Vec<_> = waits.clone().filter_map(|c| Some((&c.after, c.after.waits?))).collect();
    WAIT.execute(connection, &wait, bind_waits).await?;
    let go: Vec<_> = waits.filter(|c| c.after.waits.is_none()).map(|c| c.after.delivery).collect();
    GO.execute(connection, &go, |query, id| query.bind(blob(id.event.uuid())).bind(id.ordinal)).await?;
    moves.write(connection).await
}

fn bind_standing(query: Bound, changed: &Changed) -> Bound {
    let after = &changed.after;
    query
        .bind(blob(after.delivery.event.uuid()))
        .bind(after.delivery.ordinal)
        .bind(after.state.name())
        .bind(after.attempts)
        .bind(after.position)
        .bind(after.finished_at.map(|at| at.0))
        .bind(after.reason.map(|reason| reason.name()))
}

fn bind_waits(query: Bound, (after, waits): &(&Standing, Waits)) -> Bound {
    query
        .bind(blob(after.delivery.event.uuid()))
        .bind(after.delivery.ordinal)
        .bind(blob(after.tenant.uuid()))
        .bind(blob(after.endpoint.uuid()))
        .bind(waits.lane as u8)
        .bind(waits.wait.name())
        .bind(waits.due_at.0)
        .bind(after.expires_at.0)
}

/// Writes what was learnt of endpoints. Whoever read one before its status changed learns that by its `updated_at`.
async fn write_endpoints(
    connection: &mut SqliteConnection,
    changed: Vec<(EndpointId, EndpointFacts, bool)>,
    outcomes: &[Outcome],
) -> Result<Vec<TenantId>, sqlx::Error> {
    const LEARN: Text = Text {
        before: "WITH new (id, failing_since, status, reason, updated_at) AS (VALUES ",
        row: "(?,?,?,?,?)",
        after: ") UPDATE endpoints SET failing_since = new.failing_since, status = new.status, status_reason = new.reason, \
                updated_at = coalesce(max(new.updated_at, endpoints.updated_at + 1), endpoints.updated_at) \
                FROM new WHERE endpoints.id = +new.id",
    };
    let now = outcomes.iter().map(|outcome| outcome.decided_at).max().unwrap_or_default();
    let rows: Vec<_> =
        changed.iter().map(|(id, facts, stopped)| (*id, *facts, stopped.then_some(now))).collect();
    let learn =
        LEARN.execute(connection, &rows, |query, (id, facts, at): &(_, EndpointFacts, Option<Timestamp>)| {
            let id: &EndpointId = id;
            query
                .bind(blob(id.uuid()))
                .bind(facts.failing_since.map(|at| at.0))
                .bind(facts.status.name())
                .bind(facts.reason.map(|reason| reason.name()))
                .bind(at.map(|at| at.0))
        });
    learn.await?;
    let mut stopped: Vec<_> =
        changed.iter().filter(|(.., stopped)| *stopped).map(|(_, f, _)| f.tenant).collect();
    stopped.sort_unstable();
    stopped.dedup();
    Ok(stopped)
}
