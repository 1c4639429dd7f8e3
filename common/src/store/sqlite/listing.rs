//! Lists of events and deliveries. They may be long and what matches rare, so that they are looked through chunk by chunk
//! along the keys of the tenant's own index, for `limits::LIST_BUDGET`; what was found by then is the page.

use std::time::Instant;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::browse::{DELIVERY, DELIVERY_JOINS, EVENT, read_delivery, read_events};
use super::columns::{self, blob};
use super::paging::{Stretch, direction, fit, items, push_ids, push_keys};
use super::payloads::{self, Payloads};
use crate::ids::TenantId;
use crate::limits;
use crate::store::{DeliveryFilter, DeliveryView, EventFilter, EventView, Page, PageRequest, Position};

/// Which list of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// All of the tenant's.
    Deliveries,
    /// Its dead letters.
    DeadLetters,
}

impl Source {
    fn table(self) -> &'static str {
        match self {
            Self::Deliveries => "tenant_deliveries",
            Self::DeadLetters => "dead_letters",
        }
    }
}

pub(super) async fn deliveries(
    db: &mut SqliteConnection,
    source: Source,
    tenant: TenantId,
    filter: &DeliveryFilter,
    request: &PageRequest,
) -> Result<Page<DeliveryView>, sqlx::Error> {
    let wanted = items(request) as usize;
    let selective = !filter.states.is_empty() || filter.endpoint.is_some() || filter.event_type.is_some();
    let (started, mut found) = (Instant::now(), Vec::with_capacity(wanted));
    let mut rest = Stretch::asked(request).of_event(filter.event);
    loop {
        let end = if selective { deliveries_end(db, source, tenant, request, rest).await? } else { None };
        let mut query = QueryBuilder::new(format!(
            "SELECT {DELIVERY} FROM {} k CROSS JOIN deliveries d ",
            source.table()
        ));
        query.push("ON d.event = k.event AND d.ordinal = k.ordinal ").push(DELIVERY_JOINS);
        query.push(" WHERE k.tenant = ").push_bind(blob(tenant.uuid()));
        push_keys(rest.up_to(end, request.order), &mut query, "k");
        push_filter(&mut query, filter);
        push_order(&mut query, request, wanted + 1 - found.len());
        for row in query.build().fetch_all(&mut *db).await? {
            found.push(read_delivery(&row)?);
        }
        if found.len() > wanted {
            found.truncate(wanted);
            let last = found.last().map(|view| view.id);
            let next = last.map(|id| Position { uuid: id.event.uuid(), ordinal: id.ordinal });
            return Ok(Page { items: found, next });
        }
        if end.is_none() || started.elapsed() >= limits::LIST_BUDGET {
            return Ok(Page { items: found, next: end });
        }
        rest = rest.behind(end, request.order);
    }
}

/// The last key of the next chunk; `None`: what is left is less than a chunk.
async fn deliveries_end(
    db: &mut SqliteConnection,
    source: Source,
    tenant: TenantId,
    request: &PageRequest,
    rest: Stretch,
) -> Result<Option<Position>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT k.event, k.ordinal FROM {} k", source.table()));
    query.push(" WHERE k.tenant = ").push_bind(blob(tenant.uuid()));
    push_keys(rest, &mut query, "k");
    push_order(&mut query, request, 1);
    query.push(" OFFSET ").push_bind(limits::LIST_ROWS - 1);
    let row = query.build().fetch_optional(db).await?;
    let id = row.as_ref().map(columns::delivery).transpose()?;
    Ok(id.map(|id| Position { uuid: id.event.uuid(), ordinal: id.ordinal }))
}

fn push_order(query: &mut QueryBuilder<Sqlite>, request: &PageRequest, limit: usize) {
    let direction = direction(request.order);
    query.push(format!(" ORDER BY k.event {direction}, k.ordinal {direction} LIMIT "));
    query.push_bind(limit as i64);
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &DeliveryFilter) {
    if !filter.states.is_empty() {
        query.push(" AND d.state IN (");
        let mut names = query.separated(", ");
        for state in &filter.states {
            names.push_bind(state.name());
        }
        query.push(")");
    }
    if let Some(endpoint) = filter.endpoint {
        query.push(" AND d.endpoint = ").push_bind(blob(endpoint.uuid()));
    }
    if let Some(event_type) = &filter.event_type {
        query.push(" AND e.type = ").push_bind(event_type.clone());
    }
}

/// First the keys of the page, then the events: their payloads may be large, and the page is shorter then.
pub(super) async fn events(
    db: &mut SqliteConnection,
    tenant: TenantId,
    filter: &EventFilter,
    request: &PageRequest,
    payloads: &Payloads,
) -> Result<Page<EventView>, sqlx::Error> {
    let wanted = items(request) as usize;
    let (found, searched_to) = matching_events(db, tenant, filter, request, wanted + 1).await?;
    let shown = fit(&found, wanted);
    let next = if shown < found.len() { found[..shown].last().map(|(id, _)| *id) } else { searched_to };
    let items = match fetch_events(db, &found[..shown], payloads).await {
        // If its row went in the meantime, that is seen now.
        Err(error) if payloads::is_gone(&error) => fetch_events(db, &found[..shown], payloads).await?,
        items => items?,
    };
    Ok(Page { items, next: next.map(|uuid| Position { uuid, ordinal: 0 }) })
}

/// At most `limit` events that match, with their sizes, and how far the list was searched if not to its
/// end.
async fn matching_events(
    db: &mut SqliteConnection,
    tenant: TenantId,
    filter: &EventFilter,
    request: &PageRequest,
    limit: usize,
) -> Result<(Vec<(Uuid, usize)>, Option<Uuid>), sqlx::Error> {
    let (started, mut found) = (Instant::now(), Vec::new());
    let mut rest = Stretch::asked(request);
    loop {
        let end = match filter.event_type {
            Some(_) => events_end(db, tenant, request, rest).await?,
            None => None,
        };
        let last = end.map(|uuid| Position { uuid, ordinal: 0 });
        let mut query = QueryBuilder::new(
            "SELECT e.id, coalesce(e.payload_bytes, length(e.payload)) + coalesce(length(e.cloudevent), 0) AS bytes FROM events e",
        );
        query.push(" WHERE e.tenant = ").push_bind(blob(tenant.uuid()));
        push_ids(rest.up_to(last, request.order), &mut query, "e.id");
        if let Some(event_type) = &filter.event_type {
            query.push(" AND e.type = ").push_bind(event_type.clone());
        }
        push_events_order(&mut query, request, limit - found.len());
        for row in query.build().fetch_all(&mut *db).await? {
            found.push((columns::uuid(&row, "id")?, columns::number(&row, "bytes")?));
        }
        if found.len() == limit || end.is_none() || started.elapsed() >= limits::LIST_BUDGET {
            return Ok((found, end));
        }
        rest = rest.behind(last, request.order);
    }
}

/// The last event of the next chunk; `None`: what is left is less than a chunk.
async fn events_end(
    db: &mut SqliteConnection,
    tenant: TenantId,
    request: &PageRequest,
    rest: Stretch,
) -> Result<Option<Uuid>, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT e.id FROM events e WHERE e.tenant = ");
    query.push_bind(blob(tenant.uuid()));
    push_ids(rest, &mut query, "e.id");
    push_events_order(&mut query, request, 1);
    query.push(" OFFSET ").push_bind(limits::LIST_ROWS - 1);
    let row = query.build().fetch_optional(db).await?;
    row.map(|row| columns::uuid(&row, "id")).transpose()
}

fn push_events_order(query: &mut QueryBuilder<Sqlite>, request: &PageRequest, limit: usize) {
    query.push(format!(" ORDER BY e.id {} LIMIT ", direction(request.order))).push_bind(limit as i64);
}

async fn fetch_events(
    db: &mut SqliteConnection,
    found: &[(Uuid, usize)],
    payloads: &Payloads,
) -> Result<Vec<EventView>, sqlx::Error> {
    let ids: Vec<_> = found.iter().map(|(id, _)| format!("\"{}\"", id.simple())).collect();
    let mut query = QueryBuilder::new(format!("SELECT {EVENT} FROM json_each("));
    query.push_bind(format!("[{}]", ids.join(",")));
    query.push(") k CROSS JOIN events e ON e.id = unhex(k.value) ORDER BY k.key");
    read_events(&query.build().fetch_all(db).await?, payloads).await
}
