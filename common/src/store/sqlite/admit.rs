//! `admit` and `settle_outbox`: the way in.
//!
//! A batch costs a fixed number of statements: where its types go (once per tenant and type), its idempotency keys, then
//! the rows of each table together. Only when a row cannot be stored is the batch halved to find it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::BoxFuture;
use super::bulk::{Bound, Storable, Text, store_all};
use super::counts::Moves;
use super::locked;
use super::payloads::Outside;
use super::recent::Recent;
use super::routes::{Known, Routes, known_keys};
use super::values::blob;
use crate::delivery::{DeliveryState, Lane};
use crate::endpoint::EndpointStatus;
use crate::event::{Idempotency, NewEvent};
use crate::ids::{DeliveryId, EndpointId, EventId, TenantId};
use crate::store::event_ids::{EventIds, made_at};
use crate::store::{AcceptedEvent, Admission, Admitted, NewDelivery, OutboxId};
use crate::time::Timestamp;

/// See [`crate::store::Deliveries::admit`]; `outside` says of each event where its payload is.
pub(super) async fn admit(
    connection: &mut SqliteConnection,
    (events, outside): (&[NewEvent], &[Option<Outside>]),
    ids: &Arc<Mutex<EventIds>>,
    recent: &Recent,
    now: Timestamp,
) -> Result<Admitted, sqlx::Error> {
    let routes = Routes::read(connection, events, recent).await?;
    let known = known_keys(connection, events, now).await?;
    let mut sorted = Sorted::sort((events, outside), &routes, &known, ids, now);
    let count = sorted.fresh.len();
    for (index, reason) in store_all(connection, &sorted.fresh, count).await? {
        tracing::warn!(tenant = %sorted.fresh[index].event.tenant, %reason, "an event's data cannot be stored");
        sorted.fresh[index].refused = Some(reason);
    }
    let outbox = settle_later(connection, &sorted.fresh, now).await?;
    let mut moves = Moves::default();
    for fresh in sorted.fresh.iter().filter(|fresh| fresh.refused.is_none()) {
        moves.accepted(fresh.event.tenant, fresh.deliveries.len());
    }
    moves.write(connection).await?;
    Ok(Admitted { outbox, results: sorted.results(events) })
}

/// An event that nothing speaks against.
struct Fresh<'a> {
    index: usize,
    event: &'a NewEvent,
    outside: Option<Outside>,
    id: EventId,
    deliveries: Vec<NewDelivery>,
    refused: Option<String>,
}

/// A batch, sorted by what becomes of its events.
struct Sorted<'a> {
    fresh: Vec<Fresh<'a>>,
    /// Answered already, by index.
    answered: HashMap<usize, Admission>,
    /// Events that are answered from an earlier one of the batch: their index and that one's.
    twins: Vec<(usize, usize)>,
}

impl<'a> Sorted<'a> {
    fn sort(
        (events, outside): (&'a [NewEvent], &[Option<Outside>]),
        routes: &Routes,
        known: &HashMap<(TenantId, String), Known>,
        ids: &Mutex<EventIds>,
        now: Timestamp,
    ) -> Self {
        let mut sorted =
            Self { fresh: Vec::with_capacity(events.len()), answered: HashMap::new(), twins: vec![] };
        let mut firsts = HashMap::new();
        let mut ids = locked(ids);
        for (index, event) in events.iter().enumerate() {
            if let Some(idempotency) = &event.idempotency {
                let key = (event.tenant, idempotency.key.clone());
                if let Some(known) = known.get(&key) {
                    sorted.answered.insert(index, known.answer(idempotency));
                    continue;
                }
                match firsts.entry(key) {
                    Entry::Occupied(first) => {
                        sorted.twins.push((index, *first.get()));
                        continue;
                    }
                    Entry::Vacant(first) => first.insert(index),
                };
            }
            match routes.of(event) {
                Ok(targets) => {
                    let id = EventId::from_uuid(ids.next(now, rand::random()));
                    let deliveries = deliveries(targets, event, now);
                    let outside = outside[index];
                    sorted.fresh.push(Fresh { index, event, outside, id, deliveries, refused: None });
                }
                Err(answer) => drop(sorted.answered.insert(index, answer)),
            }
        }
        sorted
    }

    /// One answer per event, in order.
    fn results(self, events: &[NewEvent]) -> Vec<Admission> {
        let mut answers = self.answered;
        for fresh in self.fresh {
            let answer = match fresh.refused {
                Some(reason) => Admission::Refused(reason),
                None => Admission::Accepted(AcceptedEvent {
                    id: fresh.id,
                    created_at: made_at(fresh.id.uuid()),
                    deliveries: fresh.deliveries,
                }),
            };
            answers.insert(fresh.index, answer);
        }
        for (index, first) in self.twins {
            let pair = (&events[index].idempotency, &events[first].idempotency);
            let answer = answer_twin(&answers[&first], pair);
            answers.insert(index, answer);
        }
        (0..events.len()).map(|i| answers.remove(&i).expect("every event was sorted")).collect()
    }
}

fn answer_twin(first: &Admission, pair: (&Option<Idempotency>, &Option<Idempotency>)) -> Admission {
    let same = pair.0.as_ref().map(|i| i.fingerprint) == pair.1.as_ref().map(|i| i.fingerprint);
    match first {
        Admission::Accepted(_) if !same => Admission::IdempotencyConflict,
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

impl Storable for Vec<Fresh<'_>> {
    fn store<'c>(
        &'c self,
        connection: &'c mut SqliteConnection,
        range: Range<usize>,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>> {
        Box::pin(store(connection, &self[range]))
    }
}

async fn store(connection: &mut SqliteConnection, events: &[Fresh<'_>]) -> Result<(), sqlx::Error> {
    const EVENTS: Text = Text {
        before: "INSERT INTO events (id, tenant, type, payload, metadata, cloudevent, created_at, deliver_at, expires_at, next_ordinal, payload_file, payload_bytes) VALUES ",
        row: "(?,?,?,?,?,?,?,?,?,?,?,?)",
        after: "",
    };
    const DELIVERIES: Text = Text {
        before: "INSERT INTO deliveries (event, ordinal, tenant, endpoint, state, expires_at) VALUES ",
        row: "(?,?,?,?,?,?)",
        after: "",
    };
    const WAITING: Text = Text {
        before: "INSERT INTO schedule (event, ordinal, tenant, endpoint, lane, wait, due_at, expires_at) VALUES ",
        row: "(?,?,?,?,?,?,?,?)",
        after: "",
    };
    const KEYS: Text = Text {
        before: "INSERT OR REPLACE INTO idempotency_keys (tenant, key, fingerprint, event, created_at, deliveries, expires_at) VALUES ",
        row: "(?,?,?,?,?,?,?)",
        after: "",
    };
    EVENTS.execute(connection, events, bind_event).await?;
    let deliveries: Vec<_> = events.iter().flat_map(|e| e.deliveries.iter().map(move |d| (e, d))).collect();
    DELIVERIES.execute(connection, &deliveries, bind_delivery).await?;
    let waiting: Vec<_> = deliveries.into_iter().filter(|(_, d)| d.state != DeliveryState::Queued).collect();
    WAITING.execute(connection, &waiting, bind_waiting).await?;
    let keyed = events.iter().filter_map(|e| Some((e, e.event.idempotency.as_ref()?)));
    KEYS.execute(connection, &keyed.collect::<Vec<_>>(), bind_key).await.map(drop)
}

fn bind_event(query: Bound, fresh: &Fresh<'_>) -> Bound {
    let (event, outside) = (fresh.event, fresh.outside);
    let payload = if outside.is_some() { Vec::new() } else { event.payload.to_vec() };
    query
        .bind(blob(fresh.id.uuid()))
        .bind(blob(event.tenant.uuid()))
        .bind(event.event_type.as_str().to_owned())
        .bind(payload)
        .bind(event.metadata.clone())
        .bind(event.cloudevent.as_ref().map(|context| context.json().to_owned()))
        .bind(made_at(fresh.id.uuid()).0)
        .bind(event.deliver_at.map(|at| at.0))
        .bind(event.expires_at.0)
        .bind(fresh.deliveries.len() as i64)
        .bind(outside.map(|outside| blob(outside.file)))
        .bind(outside.map(|outside| outside.bytes as i64))
}

fn bind_delivery(query: Bound, (fresh, delivery): &(&Fresh<'_>, &NewDelivery)) -> Bound {
    query
        .bind(blob(fresh.id.uuid()))
        .bind(delivery.ordinal)
        .bind(blob(fresh.event.tenant.uuid()))
        .bind(blob(delivery.endpoint.uuid()))
        .bind(delivery.state.name())
        .bind(fresh.event.expires_at.0)
}

fn bind_waiting(query: Bound, (fresh, delivery): &(&Fresh<'_>, &NewDelivery)) -> Bound {
    let made_at = made_at(fresh.id.uuid());
    let (wait, since) = match (delivery.state, fresh.event.deliver_at) {
        (DeliveryState::Scheduled, Some(at)) => ("time", at),
        _ => ("held", made_at),
    };
    query
        .bind(blob(fresh.id.uuid()))
        .bind(delivery.ordinal)
        .bind(blob(fresh.event.tenant.uuid()))
        .bind(blob(delivery.endpoint.uuid()))
        .bind(Lane::First as u8)
        .bind(wait)
        .bind(since.0)
        .bind(fresh.event.expires_at.0)
}

fn bind_key(query: Bound, (fresh, idempotency): &(&Fresh<'_>, &Idempotency)) -> Bound {
    query
        .bind(blob(fresh.event.tenant.uuid()))
        .bind(idempotency.key.clone())
        .bind(idempotency.fingerprint.to_vec())
        .bind(blob(fresh.id.uuid()))
        .bind(made_at(fresh.id.uuid()).0)
        .bind(fresh.deliveries.len() as i64)
        .bind(idempotency.expires_at.0)
}

/// Makes the batch's outbox row, if it has anything to publish.
async fn settle_later(
    connection: &mut SqliteConnection,
    events: &[Fresh<'_>],
    now: Timestamp,
) -> Result<Option<OutboxId>, sqlx::Error> {
    let queued = |fresh: &&Fresh<'_>| {
        fresh.refused.is_none() && fresh.deliveries.iter().any(|d| d.state == DeliveryState::Queued)
    };
    let mut queued = events.iter().filter(queued).map(|fresh| fresh.id);
    let Some(first) = queued.next() else { return Ok(None) };
    let last = queued.next_back().unwrap_or(first);
    let insert = "INSERT INTO outbox (first_event, last_event, created_at) VALUES (?, ?, ?)";
    let insert = sqlx::query(insert).bind(blob(first.uuid())).bind(blob(last.uuid())).bind(now.0);
    Ok(Some(OutboxId(insert.execute(connection).await?.last_insert_rowid())))
}

/// Removes these rows of the outbox.
pub(super) async fn settle_outbox(
    connection: &mut SqliteConnection,
    rows: &[OutboxId],
) -> Result<(), sqlx::Error> {
    const DONE: Text = Text { before: "DELETE FROM outbox WHERE id IN (", row: "?", after: ")" };
    DONE.execute(connection, rows, |query, row| query.bind(row.0)).await.map(drop)
}

/// Makes due what is queued and in no dispatcher's hands, at its present generation; returns how many deliveries.
pub(super) async fn make_due(
    connection: &mut SqliteConnection,
    deliveries: &[(DeliveryId, Timestamp)],
) -> Result<u64, sqlx::Error> {
    const WAIT: Text = Text {
        before: "WITH wanted (event, ordinal, due_at) AS (VALUES ",
        row: "(?,?,?)",
        after: ") INSERT INTO schedule (event, ordinal, tenant, endpoint, lane, wait, due_at, expires_at) \
                SELECT d.event, d.ordinal, d.tenant, d.endpoint, 0, 'time', w.due_at, d.expires_at \
                FROM wanted w CROSS JOIN deliveries d ON d.event = w.event AND d.ordinal = w.ordinal \
                WHERE d.state = 'queued' ON CONFLICT DO NOTHING RETURNING event, ordinal",
    };
    const STATE: Text = Text {
        before: "UPDATE deliveries SET state = 'scheduled' WHERE (event, ordinal) IN (VALUES ",
        row: "(?,?)",
        after: ")",
    };
    let due = WAIT.fetch(connection, deliveries, |query, (id, now)| {
        query.bind(blob(id.event.uuid())).bind(id.ordinal).bind(now.0)
    });
    let due = due.await?;
    let due = due.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let due = due.collect::<Result<Vec<(Vec<u8>, u16)>, sqlx::Error>>()?;
    let state =
        STATE.execute(connection, &due, |query, (event, ordinal)| query.bind(event.clone()).bind(*ordinal));
    state.await
}
