//! `admit` and `settle_outbox`: the way in.
//!
//! A batch costs a fixed number of statements: where its types go (once per tenant and type), its idempotency keys if it has
//! any, then the rows of each table together. Other processes admit at the same time; a key that two of them use is
//! inserted by one, and the other waits for it and answers from it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Mutex;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::counts::Moves;
use super::culprits::{Batch, Culprits};
use super::due::make_due;
use super::idempotency::{self, Known};
use super::routes::Routes;
use crate::cloudevent::Context;
use crate::delivery::{DeliveryState, Lane};
use crate::endpoint::EndpointStatus;
use crate::event::{Idempotency, NewEvent};
use crate::ids::{DeliveryId, EndpointId, EventId};
use crate::store::event_ids::{EventIds, made_at};
use crate::store::locked;
use crate::store::{AcceptedEvent, Admission, Admitted, NewDelivery, OutboxId, Settled};
use crate::time::Timestamp;

/// See [`crate::store::Deliveries::admit`].
pub(super) struct Admitting<'a> {
    pub events: &'a [NewEvent],
    pub ids: &'a Mutex<EventIds>,
    pub now: Timestamp,
}

#[async_trait]
impl Batch for Admitting<'_> {
    type Answer = Admitted;

    fn count(&self) -> usize {
        self.events.len()
    }

    async fn store(
        &self,
        connection: &mut PgConnection,
        range: Range<usize>,
        culprits: &Culprits,
    ) -> Result<Admitted, sqlx::Error> {
        admit(connection, &self.events[range], culprits, self.ids, self.now).await
    }
}

/// `culprits`, whose data the database does not take, are refused.
async fn admit(
    connection: &mut PgConnection,
    events: &[NewEvent],
    culprits: &Culprits,
    ids: &Mutex<EventIds>,
    now: Timestamp,
) -> Result<Admitted, sqlx::Error> {
    let routes = Routes::read(connection, events).await?;
    let mut sorted = Sorted::sort(events, culprits, &routes, ids, now);
    let keyed = sorted.fresh.iter().filter_map(|fresh| fresh.used()).collect();
    sorted.answer_used(idempotency::take(connection, keyed, now).await?);
    store_events(connection, &sorted.fresh).await?;
    store_deliveries(connection, &sorted.fresh).await?;
    store_waiting(connection, &sorted.fresh).await?;
    let outbox = settle_later(connection, &sorted.fresh, now).await?;
    let mut moves = Moves::default();
    for fresh in &sorted.fresh {
        moves.accepted(fresh.event.tenant, fresh.deliveries.len());
    }
    moves.write(connection, &BTreeSet::new(), &BTreeSet::new()).await?;
    Ok(Admitted { outbox, results: sorted.results(events) })
}

/// An event that nothing speaks against.
pub(super) struct Fresh<'a> {
    index: usize,
    pub event: &'a NewEvent,
    pub id: EventId,
    pub deliveries: Vec<NewDelivery>,
}

impl<'a> Fresh<'a> {
    fn used(&self) -> Option<(&Self, &'a Idempotency)> {
        Some((self, self.event.idempotency.as_ref()?))
    }
}

/// A batch, sorted by what becomes of its events.
#[derive(Default)]
struct Sorted<'a> {
    fresh: Vec<Fresh<'a>>,
    /// Answered already, by index.
    answered: HashMap<usize, Admission>,
    /// Events that are answered from an earlier one of the batch: their index and that one's.
    twins: Vec<(usize, usize)>,
    /// What the keys of some were used for before, by index.
    used: HashMap<usize, Known>,
}

impl<'a> Sorted<'a> {
    fn sort(
        events: &'a [NewEvent],
        culprits: &Culprits,
        routes: &Routes,
        ids: &Mutex<EventIds>,
        now: Timestamp,
    ) -> Self {
        let mut sorted = Self::default();
        let mut firsts = HashMap::new();
        let mut ids = locked(ids);
        for (index, event) in events.iter().enumerate() {
            if let Some(idempotency) = &event.idempotency {
                match firsts.entry((event.tenant, idempotency.key.as_str())) {
                    Entry::Occupied(first) => {
                        sorted.twins.push((index, *first.get()));
                        continue;
                    }
                    Entry::Vacant(first) => first.insert(index),
                };
            }
            if let Some(reason) = culprits.get(&index) {
                tracing::warn!(tenant = %event.tenant, %reason, "an event's data cannot be stored");
                sorted.answered.insert(index, Admission::Refused(reason.clone()));
                continue;
            }
            match routes.of(event) {
                Ok(targets) => {
                    let id = EventId::from_uuid(ids.next(now, rand::random()));
                    let deliveries = deliveries(targets, event, now);
                    sorted.fresh.push(Fresh { index, event, id, deliveries });
                }
                Err(answer) => drop(sorted.answered.insert(index, answer)),
            }
        }
        sorted
    }

    /// Takes out those whose keys were used before.
    fn answer_used(&mut self, mut known: BTreeMap<EventId, Known>) {
        let used = &mut self.used;
        self.fresh.retain(|fresh| {
            let Some(known) = known.remove(&fresh.id) else { return true };
            used.insert(fresh.index, known);
            false
        });
    }

    /// One answer per event, in order.
    fn results(self, events: &[NewEvent]) -> Vec<Admission> {
        let mut answers = self.answered;
        for fresh in self.fresh {
            let accepted = AcceptedEvent {
                id: fresh.id,
                created_at: made_at(fresh.id.uuid()),
                deliveries: fresh.deliveries,
            };
            answers.insert(fresh.index, Admission::Accepted(accepted));
        }
        let again = |index: usize| events[index].idempotency.as_ref().expect("only these have keys");
        answers.extend(self.used.iter().map(|(&index, known)| (index, known.answer(again(index)))));
        for (index, first) in self.twins {
            let answer = match self.used.get(&first) {
                Some(known) => known.answer(again(index)),
                None => answer_twin(&answers[&first], again(first), again(index)),
            };
            answers.insert(index, answer);
        }
        (0..events.len()).map(|i| answers.remove(&i).expect("every event was sorted")).collect()
    }
}

fn answer_twin(answer: &Admission, first: &Idempotency, again: &Idempotency) -> Admission {
    match answer {
        Admission::Accepted(_) if first.fingerprint != again.fingerprint => Admission::IdempotencyConflict,
        Admission::Accepted(first) => Admission::Replayed {
            id: first.id,
            created_at: first.created_at,
            deliveries: first.deliveries.len() as u32,
        },
        other => other.clone(),
    }
}

/// An event whose time has not come waits for it wherever it goes; what its endpoint's status means then is seen then.
fn deliveries(
    targets: &[(EndpointId, EndpointStatus)],
    event: &NewEvent,
    now: Timestamp,
) -> Vec<NewDelivery> {
    let waits = event.deliver_at.is_some_and(|at| at > now);
    let state = |status| match status {
        _ if waits => DeliveryState::Scheduled,
        EndpointStatus::Active => DeliveryState::Queued,
        _ => DeliveryState::Held,
    };
    let delivery = |(ordinal, &(endpoint, status))| NewDelivery { ordinal, endpoint, state: state(status) };
    (0..u16::MAX).zip(targets).map(delivery).collect()
}

async fn store_events(connection: &mut PgConnection, events: &[Fresh<'_>]) -> Result<(), sqlx::Error> {
    const EVENTS: &str = "INSERT INTO events \
            (id, tenant, type, payload, metadata, cloudevent, created_at, deliver_at, expires_at, next_ordinal) \
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::bigint[], \
            $8::bigint[], $9::bigint[], $10::integer[])";
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query(EVENTS)
        .bind(events.iter().map(|e| e.id.uuid()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.event.tenant.uuid()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.event.event_type.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| &e.event.payload[..]).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.event.metadata.as_deref()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.event.cloudevent.as_ref().map(Context::json)).collect::<Vec<_>>())
        .bind(events.iter().map(|e| made_at(e.id.uuid()).0).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.event.deliver_at.map(|at| at.0)).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.event.expires_at.0).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.deliveries.len() as i32).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
}

async fn store_deliveries(connection: &mut PgConnection, events: &[Fresh<'_>]) -> Result<(), sqlx::Error> {
    const DELIVERIES: &str = "INSERT INTO deliveries (event, ordinal, tenant, endpoint, state, expires_at) \
        SELECT * FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[])";
    let made = || events.iter().flat_map(|e| e.deliveries.iter().map(move |d| (e, d)));
    if made().next().is_none() {
        return Ok(());
    }
    sqlx::query(DELIVERIES)
        .bind(made().map(|(e, _)| e.id.uuid()).collect::<Vec<_>>())
        .bind(made().map(|(_, d)| i32::from(d.ordinal)).collect::<Vec<_>>())
        .bind(made().map(|(e, _)| e.event.tenant.uuid()).collect::<Vec<_>>())
        .bind(made().map(|(_, d)| d.endpoint.uuid()).collect::<Vec<_>>())
        .bind(made().map(|(_, d)| d.state.name()).collect::<Vec<_>>())
        .bind(made().map(|(e, _)| e.event.expires_at.0).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
}

/// What waits from the first: for its `deliver_at`, or held.
async fn store_waiting(connection: &mut PgConnection, events: &[Fresh<'_>]) -> Result<(), sqlx::Error> {
    const WAITING: &str = "INSERT INTO schedule (event, ordinal, tenant, endpoint, lane, wait, due_at, expires_at) \
        SELECT event, ordinal, tenant, endpoint, $1, wait, due_at, expires_at FROM unnest($2::uuid[], $3::integer[], \
            $4::uuid[], $5::uuid[], $6::text[], $7::bigint[], $8::bigint[]) \
            AS w (event, ordinal, tenant, endpoint, wait, due_at, expires_at)";
    let made = events.iter().flat_map(|e| e.deliveries.iter().map(move |d| (e, d)));
    let waiting: Vec<_> = made.filter(|(_, d)| d.state != DeliveryState::Queued).collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let wait = |(e, d): &(&Fresh<'_>, &NewDelivery)| match (d.state, e.event.deliver_at) {
        (DeliveryState::Scheduled, Some(at)) => ("time", at.0),
        _ => ("held", made_at(e.id.uuid()).0),
    };
    let (waits, since): (Vec<_>, Vec<_>) = waiting.iter().map(wait).unzip();
    sqlx::query(WAITING)
        .bind(Lane::First as i16)
        .bind(waiting.iter().map(|(e, _)| e.id.uuid()).collect::<Vec<_>>())
        .bind(waiting.iter().map(|(_, d)| i32::from(d.ordinal)).collect::<Vec<_>>())
        .bind(waiting.iter().map(|(e, _)| e.event.tenant.uuid()).collect::<Vec<_>>())
        .bind(waiting.iter().map(|(_, d)| d.endpoint.uuid()).collect::<Vec<_>>())
        .bind(waits)
        .bind(since)
        .bind(waiting.iter().map(|(e, _)| e.event.expires_at.0).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
}

/// Makes the batch's outbox row, if it has anything to publish.
async fn settle_later(
    connection: &mut PgConnection,
    events: &[Fresh<'_>],
    now: Timestamp,
) -> Result<Option<OutboxId>, sqlx::Error> {
    let queued = |fresh: &&Fresh<'_>| fresh.deliveries.iter().any(|d| d.state == DeliveryState::Queued);
    let queued: Vec<Uuid> = events.iter().filter(queued).map(|fresh| fresh.id.uuid()).collect();
    if queued.is_empty() {
        return Ok(None);
    }
    let insert = "INSERT INTO outbox (events, created_at) VALUES ($1, $2) RETURNING id";
    let row = sqlx::query(insert).bind(queued).bind(now.0).fetch_one(connection).await?;
    Ok(Some(OutboxId(row.try_get(0)?)))
}

/// See [`crate::store::Deliveries::settle_outbox`].
pub(super) async fn settle_outbox(
    connection: &mut PgConnection,
    settled: &[Settled],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    // In order, for others look after rows that were left behind.
    const DONE: &str = "DELETE FROM outbox WHERE id IN \
        (SELECT id FROM outbox WHERE id = ANY($1) ORDER BY id FOR UPDATE) RETURNING id";
    let rows: Vec<_> = settled.iter().map(|settled| settled.outbox.0).collect();
    let gone = sqlx::query(DONE).bind(rows).fetch_all(&mut *connection).await?;
    let gone = gone.iter().map(|row| row.try_get(0)).collect::<Result<BTreeSet<i64>, _>>()?;
    let open = settled.iter().filter(|settled| gone.contains(&settled.outbox.0));
    let unpublished: Vec<DeliveryId> = open.flat_map(|settled| &settled.unpublished).copied().collect();
    make_due(connection, &unpublished, 0, now).await.map(drop)
}
