//! `record`: what came of deliveries. First attempts that arrived have a way of their own ([`arrivals`]); for the rest,
//! their deliveries are locked and read, the outcomes are applied in memory ([`Standing`]), and what changed is written,
//! table by table. What is read of endpoints is not locked, for every outcome reads it and few change it; those that change are
//! locked then, and if one is not as it was read, the outcomes are applied once more.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::arrivals::arrivals;
use super::attempts::{Attempt, keep};
use super::counts::{self, Moves};
use super::culprits::{Batch, Culprits};
use super::dead_letters::{bury, make_room};
use super::error::changed_underneath;
use super::facts::{Facts, Learnt, read_standings};
use super::rows::{Keys, bound, same_day};
use crate::delivery::{DeliveryState, Outcome, Verdict};
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::store::Recorded;
use crate::store::standing::{Standing, Waits};

/// See [`crate::store::Deliveries::record`]. Answers the tenants whose endpoints were stopped, too.
pub(super) struct Recording<'a> {
    pub outcomes: &'a [Outcome],
    pub disable_after: Duration,
}

#[async_trait]
impl Batch for Recording<'_> {
    type Answer = (Vec<Recorded>, Vec<TenantId>);

    fn count(&self) -> usize {
        self.outcomes.len()
    }

    async fn store(
        &self,
        connection: &mut PgConnection,
        range: Range<usize>,
        culprits: &Culprits,
    ) -> Result<Self::Answer, sqlx::Error> {
        for (index, reason) in culprits {
            let delivery = self.outcomes[range.start + index].delivery;
            tracing::error!(%delivery, %reason, "an attempt's data cannot be stored");
        }
        let outcomes = &self.outcomes[range];
        record(connection, outcomes, culprits, self.disable_after).await
    }
}

/// The attempts of `culprits`, whose data the database does not take, are not kept.
async fn record(
    connection: &mut PgConnection,
    outcomes: &[Outcome],
    culprits: &Culprits,
    disable_after: Duration,
) -> Result<(Vec<Recorded>, Vec<TenantId>), sqlx::Error> {
    let dead = outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Dead);
    let locked: BTreeSet<_> = dead.map(|outcome| outcome.tenant).collect();
    counts::lock(connection, &locked).await?;
    let (mut moves, mut cleared) = (Moves::default(), BTreeSet::new());
    let arrived = arrivals(connection, outcomes, culprits, &mut moves, &mut cleared).await?;
    let mut recorded = vec![ARRIVED; outcomes.len()];
    let rest: Vec<usize> = (0..outcomes.len()).filter(|index| !arrived.contains(index)).collect();
    let mut stopped = Vec::new();
    if !rest.is_empty() {
        let outcomes: Vec<_> = rest.iter().map(|&index| &outcomes[index]).collect();
        let spoilt = |n: usize| culprits.contains_key(&rest[n]);
        let results;
        (results, stopped) =
            the_rest(connection, &outcomes, spoilt, disable_after, (&cleared, &mut moves)).await?;
        rest.iter().zip(results).for_each(|(&index, result)| recorded[index] = result);
    }
    moves.write(connection, &locked, &cleared).await?;
    Ok((recorded, stopped))
}

const ARRIVED: Recorded =
    Recorded::Applied { state: DeliveryState::Delivered, due_at: None, endpoint_stopped: None };

async fn the_rest(
    connection: &mut PgConnection,
    outcomes: &[&Outcome],
    spoilt: impl Fn(usize) -> bool + Send,
    disable_after: Duration,
    (cleared, moves): (&BTreeSet<EndpointId>, &mut Moves),
) -> Result<(Vec<Recorded>, Vec<TenantId>), sqlx::Error> {
    let standings = read_standings(connection, outcomes).await?;
    let read = Facts::read(connection, outcomes).await?;
    let mut facts = read.clone();
    let mut applied = Applied::of(&standings, outcomes, &spoilt, &mut facts, disable_after);
    let learnt = facts.learnt();
    if !learnt.is_empty() {
        let ids: BTreeSet<_> = learnt.iter().map(|learnt| learnt.id).collect();
        facts = read;
        facts.hold(connection, &ids, cleared).await?;
        applied = Applied::of(&standings, outcomes, &spoilt, &mut facts, disable_after);
        if facts.learnt().iter().any(|learnt| !ids.contains(&learnt.id)) {
            return Err(changed_underneath());
        }
    }
    keep(connection, &applied.attempts).await?;
    applied.settle_dead_letters(connection, &facts, outcomes, moves).await?;
    let mut changed: Vec<_> = applied.standings.into_values().filter(Changed::is_changed).collect();
    changed.sort_unstable_by_key(|changed| changed.after.delivery);
    for Changed { before, after, .. } in &changed {
        moves.moved(after.tenant, (before.state, before.attempts), (after.state, after.attempts));
    }
    for day in changed.chunk_by(|a, b| same_day(a.after.delivery, b.after.delivery)) {
        write_standings(connection, day).await?;
    }
    write_schedule(connection, &changed).await?;
    let stopped = write_endpoints(connection, facts.learnt(), outcomes).await?;
    Ok((applied.results, stopped))
}

/// A delivery before and after a batch.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    pub before: Standing,
    pub after: Standing,
    /// Attempts that were recorded before this batch and come again in it.
    pub repeated: HashSet<Uuid>,
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
}

impl<'a> Applied<'a> {
    /// Applies the outcomes, in order, to deliveries as they stand.
    fn of(
        standings: &HashMap<DeliveryId, Changed>,
        outcomes: &[&'a Outcome],
        spoilt: &impl Fn(usize) -> bool,
        facts: &mut Facts,
        disable_after: Duration,
    ) -> Self {
        let mut applied = Self { standings: standings.clone(), ..Self::default() };
        for (index, outcome) in outcomes.iter().enumerate() {
            applied.apply(index, outcome, spoilt(index), facts, disable_after);
        }
        applied
    }

    fn apply(
        &mut self,
        index: usize,
        outcome: &'a Outcome,
        spoilt: bool,
        facts: &mut Facts,
        disable_after: Duration,
    ) {
        let Some(standing) = self.standings.get_mut(&outcome.delivery) else {
            return self.results.push(Recorded::Stale);
        };
        let after = &mut standing.after;
        if let Some(record) = &outcome.attempt {
            if !standing.repeated.insert(record.id) {
                return self.results.push(after.answer(None));
            }
            if !spoilt {
                let (delivery, tenant) = (outcome.delivery, after.tenant);
                self.attempts.push(Attempt { delivery, tenant, n: after.attempts + 1, record });
            }
        }
        let (endpoint, tenant) = facts.of(after);
        let was_dead = after.state == DeliveryState::Dead;
        let result = after.apply(outcome, endpoint, tenant, disable_after);
        if !was_dead && after.state == DeliveryState::Dead {
            self.died.insert(outcome.delivery, index);
        }
        self.results.push(match result {
            Recorded::Applied { .. } if spoilt => Recorded::WithoutAttempt,
            result => result,
        });
    }

    /// Lists the new dead letters, and lets the oldest go where the policy says so, new ones among them if need be.
    async fn settle_dead_letters(
        &mut self,
        connection: &mut PgConnection,
        facts: &Facts,
        outcomes: &[&Outcome],
        moves: &mut Moves,
    ) -> Result<(), sqlx::Error> {
        if self.died.is_empty() {
            return Ok(());
        }
        let died =
            self.died.iter().map(|(id, &index)| (*id, outcomes[index].tenant, outcomes[index].decided_at));
        bury(connection, &died.collect::<Vec<_>>()).await?;
        let surplus = facts.surplus();
        if surplus.is_empty() {
            return Ok(());
        }
        let knows = |id: &DeliveryId| self.standings.contains_key(id);
        for id in make_room(connection, &surplus, knows, moves).await? {
            let Some(standing) = self.standings.get_mut(&id) else { continue };
            standing.after.overflow();
            if let Some(&index) = self.died.get(&id)
                && self.results[index] != Recorded::WithoutAttempt
            {
                self.results[index] = standing.after.answer(None);
            }
        }
        Ok(())
    }
}

/// Writes deliveries of one day.
async fn write_standings(connection: &mut PgConnection, changed: &[Changed]) -> Result<(), sqlx::Error> {
    const STAND: &str = "UPDATE deliveries d SET state = w.state, attempts = w.attempts, \
            schedule_position = w.position, finished_at = w.finished_at, discarded_reason = w.reason \
        FROM unnest($1::uuid[], $2::integer[], $4::text[], $5::integer[], $6::integer[], $7::bigint[], $8::text[]) \
            AS w (event, ordinal, state, attempts, position, finished_at, reason) \
        WHERE d.event = w.event AND d.ordinal = w.ordinal AND d.event >= $3";
    let after = || changed.iter().map(|changed| &changed.after);
    let keys = Keys::of(after().map(|after| after.delivery));
    sqlx::query(STAND)
        .bind(keys.events)
        .bind(keys.ordinals)
        .bind(keys.least)
        .bind(after().map(|after| after.state.name()).collect::<Vec<_>>())
        .bind(after().map(|after| bound(after.attempts)).collect::<Vec<_>>())
        .bind(after().map(|after| bound(after.position)).collect::<Vec<_>>())
        .bind(after().map(|after| after.finished_at.map(|at| at.0)).collect::<Vec<_>>())
        .bind(after().map(|after| after.reason.map(|reason| reason.name())).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
}

async fn write_schedule(connection: &mut PgConnection, changed: &[Changed]) -> Result<(), sqlx::Error> {
    const WAIT: &str = "INSERT INTO schedule (event, ordinal, tenant, endpoint, lane, wait, due_at, expires_at) \
        SELECT * FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::uuid[], $5::smallint[], $6::text[], $7::bigint[], \
            $8::bigint[]) \
        ON CONFLICT (event, ordinal) DO UPDATE SET lane = excluded.lane, wait = excluded.wait, due_at = excluded.due_at";
    const GO: &str = "DELETE FROM schedule s USING unnest($1::uuid[], $2::integer[]) AS w (event, ordinal) \
        WHERE s.event = w.event AND s.ordinal = w.ordinal";
    let moved = || changed.iter().filter(|c| c.before.waits != c.after.waits).map(|c| &c.after);
    let wait: Vec<(&Standing, Waits)> = moved().filter_map(|after| Some((after, after.waits?))).collect();
    if !wait.is_empty() {
        let keys = Keys::of(wait.iter().map(|(after, _)| after.delivery));
        sqlx::query(WAIT)
            .bind(keys.events)
            .bind(keys.ordinals)
            .bind(wait.iter().map(|(after, _)| after.tenant.uuid()).collect::<Vec<_>>())
            .bind(wait.iter().map(|(after, _)| after.endpoint.uuid()).collect::<Vec<_>>())
            .bind(wait.iter().map(|(_, waits)| waits.lane as i16).collect::<Vec<_>>())
            .bind(wait.iter().map(|(_, waits)| waits.wait.name()).collect::<Vec<_>>())
            .bind(wait.iter().map(|(_, waits)| waits.due_at.0).collect::<Vec<_>>())
            .bind(wait.iter().map(|(after, _)| after.expires_at.0).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    let go = Keys::of(moved().filter(|after| after.waits.is_none()).map(|after| after.delivery));
    if !go.events.is_empty() {
        sqlx::query(GO).bind(go.events).bind(go.ordinals).execute(connection).await?;
    }
    Ok(())
}

/// Writes what was learnt of endpoints, which are held. Whoever read one before its status changed learns that by its
/// `updated_at`.
async fn write_endpoints(
    connection: &mut PgConnection,
    learnt: Vec<Learnt>,
    outcomes: &[&Outcome],
) -> Result<Vec<TenantId>, sqlx::Error> {
    const LEARN: &str = "UPDATE endpoints e SET failing_since = w.failing_since, status = w.status, \
            status_reason = w.reason, \
            updated_at = CASE WHEN w.stopped THEN greatest($6, e.updated_at + 1) ELSE e.updated_at END \
        FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::boolean[]) \
            AS w (id, failing_since, status, reason, stopped) WHERE e.id = w.id";
    if learnt.is_empty() {
        return Ok(Vec::new());
    }
    let now = outcomes.iter().map(|outcome| outcome.decided_at).max().unwrap_or_default();
    sqlx::query(LEARN)
        .bind(learnt.iter().map(|l| EndpointId::uuid(&l.id)).collect::<Vec<_>>())
        .bind(learnt.iter().map(|l| l.after.failing_since.map(|at| at.0)).collect::<Vec<_>>())
        .bind(learnt.iter().map(|l| l.after.status.name()).collect::<Vec<_>>())
        .bind(learnt.iter().map(|l| l.after.reason.map(|reason| reason.name())).collect::<Vec<_>>())
        .bind(learnt.iter().map(Learnt::stopped).collect::<Vec<_>>())
        .bind(now.0)
        .execute(connection)
        .await?;
    let stopped: BTreeSet<_> = learnt.iter().filter(|l| l.stopped()).map(|l| l.after.tenant).collect();
    Ok(stopped.into_iter().collect())
}
