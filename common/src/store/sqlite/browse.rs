//! What the API shows of events, deliveries and jobs: reads only, on the API's readers.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, QueryBuilder, Row, SqliteConnection};

use super::columns::{self, blob};
use super::listing::{self, Source};
use super::payloads::{self, Outside, Payloads};
use super::{SqliteStore, jobs};
use crate::delivery::{AttemptError, AttemptErrorCode, AttemptRecord, DeliveryState, DiscardReason};
use crate::ids::{DeliveryId, EndpointId, EventId, JobId, TenantId};
use crate::limits;
use crate::store::{
    AttemptView, Browse, DeliveryFilter, DeliveryView, EventFilter, EventView, Job, Page, PageRequest,
    StoreError,
};

#[async_trait]
impl Browse for SqliteStore {
    async fn list_events(
        &self,
        tenant: TenantId,
        filter: &EventFilter,
        page: &PageRequest,
    ) -> Result<Page<EventView>, StoreError> {
        let (filter, page, payloads) = (filter.clone(), page.clone(), Arc::clone(&self.payloads));
        self.read_of(tenant, move |db| {
            Box::pin(async move { listing::events(db, tenant, &filter, &page, &payloads).await })
        })
        .await
    }

    async fn find_event(&self, tenant: TenantId, event: EventId) -> Result<Option<EventView>, StoreError> {
        let payloads = Arc::clone(&self.payloads);
        self.read_of(tenant, move |db| {
            Box::pin(async move {
                match find_event(db, tenant, event, &payloads).await {
                    // If its row went in the meantime, that is seen now.
                    Err(error) if payloads::is_gone(&error) => find_event(db, tenant, event, &payloads).await,
                    found => found,
                }
            })
        })
        .await
    }

    async fn tenant_of_event(&self, event: EventId) -> Result<Option<TenantId>, StoreError> {
        self.read(move |db| Box::pin(tenant_of_event(db, event))).await
    }

    async fn list_deliveries(
        &self,
        tenant: TenantId,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, StoreError> {
        let dead_only = filter.states == [DeliveryState::Dead];
        let source = if dead_only { Source::DeadLetters } else { Source::Deliveries };
        self.list(source, tenant, filter, page).await
    }

    async fn find_delivery(
        &self,
        tenant: TenantId,
        delivery: DeliveryId,
    ) -> Result<Option<DeliveryView>, StoreError> {
        self.read_of(tenant, move |db| Box::pin(find_delivery(db, tenant, delivery))).await
    }

    async fn list_dead_letters(
        &self,
        tenant: TenantId,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, StoreError> {
        self.list(Source::DeadLetters, tenant, filter, page).await
    }

    async fn list_jobs(&self, tenant: TenantId, page: &PageRequest) -> Result<Page<Job>, StoreError> {
        let page = page.clone();
        self.read_of(tenant, move |db| Box::pin(async move { jobs::list(db, tenant, &page).await })).await
    }

    async fn find_job(&self, tenant: Option<TenantId>, job: JobId) -> Result<Option<Job>, StoreError> {
        match tenant {
            Some(owner) => self.read_of(owner, move |db| Box::pin(jobs::find(db, tenant, job))).await,
            None => self.read(move |db| Box::pin(jobs::find(db, tenant, job))).await,
        }
    }
}

impl SqliteStore {
    async fn list(
        &self,
        source: Source,
        tenant: TenantId,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read_of(tenant, move |db| {
            Box::pin(async move { listing::deliveries(db, source, tenant, &filter, &page).await })
        })
        .await
    }
}

/// The columns of an [`EventView`], of `events e`.
pub(super) const EVENT: &str = "e.id, e.type, e.payload, e.metadata, e.cloudevent, e.created_at, e.deliver_at, e.expires_at, \
    e.payload_file, e.payload_bytes";

/// The columns of a [`DeliveryView`], of `deliveries d`, `events e` and, where it waits, `schedule s`. The time in the
/// schedule of a claimed delivery is its claim's end, and nobody's business.
pub(super) const DELIVERY: &str = "d.event, d.ordinal, d.endpoint, e.type, d.state, d.generation, d.attempts, e.created_at, \
    d.expires_at, d.finished_at, d.discarded_reason, d.replay_of, \
    CASE WHEN d.state = 'scheduled' AND s.wait = 'time' THEN s.due_at END AS next_attempt_at";

/// How the three are joined to `deliveries d`.
pub(super) const DELIVERY_JOINS: &str =
    "JOIN events e ON e.id = d.event LEFT JOIN schedule s ON s.event = d.event AND s.ordinal = d.ordinal";

/// The events of these rows, with the payloads that lie outside.
pub(super) async fn read_events(
    rows: &[SqliteRow],
    payloads: &Payloads,
) -> Result<Vec<EventView>, sqlx::Error> {
    let mut views = rows.iter().map(read_event).collect::<Result<Vec<_>, _>>()?;
    let outside = rows.iter().map(payloads::outside).collect::<Result<Vec<_>, _>>()?;
    let files: Vec<Outside> = outside.iter().flatten().copied().collect();
    let large = views.iter_mut().zip(&outside).filter(|(_, outside)| outside.is_some());
    for ((view, _), payload) in large.zip(payloads.read(files).await?) {
        view.payload = payload;
    }
    Ok(views)
}

fn read_event(row: &SqliteRow) -> Result<EventView, sqlx::Error> {
    Ok(EventView {
        id: EventId::from_uuid(columns::uuid(row, "id")?),
        event_type: row.try_get("type")?,
        payload: Bytes::from(row.try_get::<Vec<u8>, _>("payload")?),
        metadata: row.try_get("metadata")?,
        cloudevent: row.try_get("cloudevent")?,
        created_at: columns::time(row, "created_at")?,
        deliver_at: columns::maybe_time(row, "deliver_at")?,
        expires_at: columns::time(row, "expires_at")?,
        deliveries: Vec::new(),
    })
}

pub(super) fn read_delivery(row: &SqliteRow) -> Result<DeliveryView, sqlx::Error> {
    let id = columns::delivery(row)?;
    let replay_of = columns::maybe_number(row, "replay_of")?;
    Ok(DeliveryView {
        id,
        endpoint: EndpointId::from_uuid(columns::uuid(row, "endpoint")?),
        event_type: row.try_get("type")?,
        state: columns::named(row, "state", DeliveryState::from_name)?,
        generation: columns::number(row, "generation")?,
        attempt_count: columns::number(row, "attempts")?,
        attempts: Vec::new(),
        created_at: columns::time(row, "created_at")?,
        expires_at: columns::time(row, "expires_at")?,
        next_attempt_at: columns::maybe_time(row, "next_attempt_at")?,
        finished_at: columns::maybe_time(row, "finished_at")?,
        discarded_reason: columns::maybe_named(row, "discarded_reason", DiscardReason::from_name)?,
        replay_of: replay_of.map(|ordinal| DeliveryId { ordinal, ..id }),
    })
}

async fn find_event(
    db: &mut SqliteConnection,
    tenant: TenantId,
    event: EventId,
    payloads: &Payloads,
) -> Result<Option<EventView>, sqlx::Error> {
    let mut query = QueryBuilder::new(format!("SELECT {EVENT} FROM events e WHERE e.id = "));
    query.push_bind(blob(event.uuid())).push(" AND e.tenant = ").push_bind(blob(tenant.uuid()));
    let Some(row) = query.build().fetch_optional(&mut *db).await? else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT {DELIVERY} FROM deliveries d {DELIVERY_JOINS} WHERE d.event = ? ORDER BY d.ordinal DESC LIMIT ?"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(blob(event.uuid())).bind(limits::RELATED_ITEMS);
    let deliveries = query.fetch_all(db).await?;
    let deliveries = deliveries.iter().rev().map(read_delivery).collect::<Result<_, _>>()?;
    let event = read_events(&[row], payloads).await?.pop();
    Ok(event.map(|event| EventView { deliveries, ..event }))
}

async fn tenant_of_event(db: &mut SqliteConnection, event: EventId) -> Result<Option<TenantId>, sqlx::Error> {
    let row = sqlx::query("SELECT tenant FROM events WHERE id = ?").bind(blob(event.uuid()));
    row.fetch_optional(db).await?.as_ref().map(columns::tenant).transpose()
}

async fn find_delivery(
    db: &mut SqliteConnection,
    tenant: TenantId,
    id: DeliveryId,
) -> Result<Option<DeliveryView>, sqlx::Error> {
    let sql = format!(
        "SELECT {DELIVERY} FROM deliveries d {DELIVERY_JOINS} WHERE d.event = ? AND d.ordinal = ? AND d.tenant = ?"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(blob(id.event.uuid())).bind(id.ordinal);
    let Some(row) = query.bind(blob(tenant.uuid())).fetch_optional(&mut *db).await? else {
        return Ok(None);
    };
    let rows = sqlx::query(
        "SELECT n, id, started_at, duration_ms, status_code, error_code, error_detail, response_snippet \
         FROM attempts WHERE event = ? AND ordinal = ? ORDER BY n DESC LIMIT ?",
    )
    .bind(blob(id.event.uuid()))
    .bind(id.ordinal)
    .bind(limits::RELATED_ITEMS)
    .fetch_all(db)
    .await?;
    let attempts = rows.iter().rev().map(read_attempt).collect::<Result<_, _>>()?;
    Ok(Some(DeliveryView { attempts, ..read_delivery(&row)? }))
}

fn read_attempt(row: &SqliteRow) -> Result<AttemptView, sqlx::Error> {
    let code = columns::maybe_named(row, "error_code", AttemptErrorCode::from_name)?;
    let detail: Option<String> = row.try_get("error_detail")?;
    let record = AttemptRecord {
        id: columns::uuid(row, "id")?,
        started_at: columns::time(row, "started_at")?,
        duration_ms: columns::number(row, "duration_ms")?,
        status_code: columns::maybe_number(row, "status_code")?,
        error: code.map(|code| AttemptError { code, detail: detail.unwrap_or_default() }),
        response_snippet: Bytes::from(row.try_get::<Vec<u8>, _>("response_snippet")?),
    };
    Ok(AttemptView { n: columns::number(row, "n")?, record })
}
