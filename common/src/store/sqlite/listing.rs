//! Lists of events and deliveries. They may be long and what matches rare, so that they are looked through chunk by chunk
//! along the keys of the tenant's own index, for `limits::LIST_BUDGET`; what was found by then is the page.

use std::time::Instant;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::browse::{DELIVERY, DELIVERY_JOINS, EVENT, read_delivery, read_event};
use super::columns::{self, blob, first_uuid_at};
use super::paging::{beyond, direction, items};
use crate::ids::TenantId;
use crate::limits;
use crate::store::{
    DeliveryFilter, DeliveryView, EventFilter, EventView, Order, Page, PageRequest, Position,
};

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
            Self::Deliveries => "deliveries",
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
    let mut chunk = Chunk { tenant, request, filter, after: request.after, up_to: None };
    let (started, mut found) = (Instant::now(), Vec::with_capacity(wanted));
    loop {
        chunk.up_to = if selective { chunk.end(db, source.table()).await? } else { None };
        let mut query = QueryBuilder::new(format!(
            "SELECT {DELIVERY} FROM {} k CROSS JOIN deliveries d ",
            source.table()
        ));
        query.push("ON d.event = k.event AND d.ordinal = k.ordinal ").push(DELIVERY_JOINS);
        chunk.push(&mut query);
        push_filter(&mut query, filter);
        chunk.push_order(&mut query, wanted + 1 - found.len());
        for row in query.build().fetch_all(&mut *db).await? {
            found.push(read_delivery(&row)?);
        }
        if found.len() > wanted {
            found.truncate(wanted);
            let next =
                found.last().map(|view| Position { uuid: view.id.event.uuid(), ordinal: view.id.ordinal });
            return Ok(Page { items: found, next });
        }
        if chunk.up_to.is_none() || started.elapsed() >= limits::LIST_BUDGET {
            return Ok(Page { items: found, next: chunk.up_to });
        }
        chunk.after = chunk.up_to;
    }
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

/// A stretch of a tenant's keys `(event, ordinal)` in the order of the request.
struct Chunk<'a> {
    tenant: TenantId,
    request: &'a PageRequest,
    filter: &'a DeliveryFilter,
    after: Option<Position>,
    up_to: Option<Position>,
}

impl Chunk<'_> {
    /// The last key of the next chunk; `None`: what is left is less than a chunk.
    async fn end(&self, db: &mut SqliteConnection, table: &str) -> Result<Option<Position>, sqlx::Error> {
        let unbounded = Chunk { up_to: None, ..*self };
        let mut query = QueryBuilder::new(format!("SELECT k.event, k.ordinal FROM {table} k"));
        unbounded.push(&mut query);
        unbounded.push_order(&mut query, 1);
        query.push(" OFFSET ").push_bind(i64::from(limits::LIST_ROWS) - 1);
        let row = query.build().fetch_optional(db).await?;
        row.as_ref()
            .map(columns::delivery)
            .transpose()
            .map(|id| id.map(|id| Position { uuid: id.event.uuid(), ordinal: id.ordinal }))
    }

    fn push(&self, query: &mut QueryBuilder<Sqlite>) {
        query.push(" WHERE k.tenant = ").push_bind(blob(self.tenant.uuid()));
        if let Some(event) = self.filter.event {
            query.push(" AND k.event = ").push_bind(blob(event.uuid()));
        }
        push_times(query, "k.event", self.request);
        if let Some(after) = self.after {
            query.push(" AND (k.event, k.ordinal) ").push(beyond(self.request.order));
            push_position(query, after);
        }
        if let Some(up_to) = self.up_to {
            query.push(" AND (k.event, k.ordinal) ").push(up_to_here(self.request.order));
            push_position(query, up_to);
        }
    }

    fn push_order(&self, query: &mut QueryBuilder<Sqlite>, limit: usize) {
        let direction = direction(self.request.order);
        query.push(format!(" ORDER BY k.event {direction}, k.ordinal {direction} LIMIT "));
        query.push_bind(limit as i64);
    }
}

fn push_position(query: &mut QueryBuilder<Sqlite>, position: Position) {
    query.push("(").push_bind(blob(position.uuid)).push(", ").push_bind(position.ordinal).push(")");
}

/// Event ids hold the time of the admission, so that times are bounds of the key.
fn push_times(query: &mut QueryBuilder<Sqlite>, column: &str, request: &PageRequest) {
    if let Some(from) = request.from {
        query.push(format!(" AND {column} >= ")).push_bind(blob(first_uuid_at(from)));
    }
    if let Some(to) = request.to {
        query.push(format!(" AND {column} < ")).push_bind(blob(first_uuid_at(to)));
    }
}

fn up_to_here(order: Order) -> &'static str {
    match order {
        Order::Ascending => "<= ",
        Order::Descending => ">= ",
    }
}

pub(super) async fn events(
    db: &mut SqliteConnection,
    tenant: TenantId,
    filter: &EventFilter,
    request: &PageRequest,
) -> Result<Page<EventView>, sqlx::Error> {
    let wanted = items(request) as usize;
    let started = Instant::now();
    let mut after = request.after.map(|position| position.uuid);
    let mut found: Vec<(uuid::Uuid, usize)> = Vec::with_capacity(wanted);
    // First the keys of the page, then the events: their payloads may be large, and the page is shorter then.
    let scanned_to = loop {
        let end = if filter.event_type.is_some() {
            let mut query = QueryBuilder::new("SELECT e.id FROM events e");
            push_events(&mut query, tenant, request, after, None, 1);
            query.push(" OFFSET ").push_bind(i64::from(limits::LIST_ROWS) - 1);
            let row = query.build().fetch_optional(&mut *db).await?;
            row.map(|row| columns::uuid(&row, "id")).transpose()?
        } else {
            None
        };
        let mut query = QueryBuilder::new("SELECT e.id, length(e.payload) AS bytes FROM events e");
        push_matching(&mut query, tenant, filter, request, (after, end), wanted + 1 - found.len());
        for row in query.build().fetch_all(&mut *db).await? {
            found.push((columns::uuid(&row, "id")?, columns::number(&row, "bytes")?));
        }
        if found.len() > wanted || end.is_none() || started.elapsed() >= limits::LIST_BUDGET {
            break end;
        }
        after = end;
    };
    let shown = fit(&found, wanted);
    let next = if shown < found.len() { Some(found[shown - 1].0) } else { scanned_to };
    let views = fetch_events(db, &found[..shown]).await?;
    Ok(Page { items: views, next: next.map(|uuid| Position { uuid, ordinal: 0 }) })
}

/// How many of the events fit on a page: at least one, then as many as stay within its bytes.
fn fit(found: &[(uuid::Uuid, usize)], wanted: usize) -> usize {
    let mut bytes = 0;
    let within = found.iter().take(wanted).take_while(|(_, size)| {
        bytes += size;
        bytes <= limits::PAGE_BYTES
    });
    within.count().max(1).min(found.len())
}

async fn fetch_events(
    db: &mut SqliteConnection,
    found: &[(uuid::Uuid, usize)],
) -> Result<Vec<EventView>, sqlx::Error> {
    let ids: Vec<_> = found.iter().map(|(id, _)| format!("\"{}\"", id.simple())).collect();
    let mut query = QueryBuilder::new(format!("SELECT {EVENT} FROM json_each("));
    query.push_bind(format!("[{}]", ids.join(",")));
    query.push(") k CROSS JOIN events e ON e.id = unhex(k.value) ORDER BY k.key");
    query.build().fetch_all(db).await?.iter().map(read_event).collect()
}

fn push_matching(
    query: &mut QueryBuilder<Sqlite>,
    tenant: TenantId,
    filter: &EventFilter,
    request: &PageRequest,
    (after, up_to): (Option<uuid::Uuid>, Option<uuid::Uuid>),
    limit: usize,
) {
    push_events_where(query, tenant, request, after, up_to);
    if let Some(event_type) = &filter.event_type {
        query.push(" AND e.type = ").push_bind(event_type.clone());
    }
    push_events_order(query, request, limit);
}

fn push_events(
    query: &mut QueryBuilder<Sqlite>,
    tenant: TenantId,
    request: &PageRequest,
    after: Option<uuid::Uuid>,
    up_to: Option<uuid::Uuid>,
    limit: usize,
) {
    push_events_where(query, tenant, request, after, up_to);
    push_events_order(query, request, limit);
}

fn push_events_where(
    query: &mut QueryBuilder<Sqlite>,
    tenant: TenantId,
    request: &PageRequest,
    after: Option<uuid::Uuid>,
    up_to: Option<uuid::Uuid>,
) {
    query.push(" WHERE e.tenant = ").push_bind(blob(tenant.uuid()));
    push_times(query, "e.id", request);
    if let Some(after) = after {
        query.push(" AND e.id ").push(beyond(request.order)).push_bind(blob(after));
    }
    if let Some(up_to) = up_to {
        query.push(" AND e.id ").push(up_to_here(request.order)).push_bind(blob(up_to));
    }
}

fn push_events_order(query: &mut QueryBuilder<Sqlite>, request: &PageRequest, limit: usize) {
    query.push(format!(" ORDER BY e.id {} LIMIT ", direction(request.order))).push_bind(limit as i64);
}
