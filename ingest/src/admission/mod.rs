//! From an event that may pass to its 202: batches, commits, publishing.
//!
//! ```text
//! backlog ─► waiting list ─► batch ─► commit ─► 202
//!                                              └─► lineup ─► publish ─► settle the outbox
//! ```
//!
//! Small events and large ones have a waiting list and batches each: what a large one takes to become durable, no small one
//! waits for.

mod admitter;
mod backlog;
mod batch;
mod counting;
mod gathering;
mod lineup;
mod publisher;
mod usages;

use std::sync::Arc;

use async_trait::async_trait;
use fairhook_common::event::NewEvent;
use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::metrics::Families;
use fairhook_common::queue::{Queue, QueueAddress};
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{Admission, Admitted, Settled, SharedStore, StoreError, Usage};
use fairhook_common::time::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use admitter::{AdmitError, Ticket};
pub use batch::NoRoom;

use admitter::{Admitter, Door, Metrics};
use backlog::Backlog;
use counting::Counts;
use publisher::Publisher;

/// What admission needs of the store.
#[async_trait]
pub(crate) trait Ledger: Send + Sync + 'static {
    async fn admit(&self, events: Vec<NewEvent>, now: Timestamp) -> Result<Admitted, StoreError>;
    async fn settle_outbox(&self, settled: &[Settled], now: Timestamp) -> Result<(), StoreError>;
    async fn usages(&self, tenants: &[TenantId]) -> Result<Vec<Usage>, StoreError>;
}

#[async_trait]
impl Ledger for SharedStore {
    async fn admit(&self, events: Vec<NewEvent>, now: Timestamp) -> Result<Admitted, StoreError> {
        self.as_ref().admit(events, now).await
    }

    async fn settle_outbox(&self, settled: &[Settled], now: Timestamp) -> Result<(), StoreError> {
        self.as_ref().settle_outbox(settled, now).await
    }

    async fn usages(&self, tenants: &[TenantId]) -> Result<Vec<Usage>, StoreError> {
        self.as_ref().usages(tenants).await
    }
}

/// The way in, as the handlers of the API hold it. Once the last clone is gone, what waits is admitted and published,
/// and the tasks end.
#[derive(Clone)]
pub struct AdmissionHandle {
    small: Arc<Door>,
    large: Arc<Door>,
    backlog: Backlog,
    counts: Arc<Counts>,
    _last: Arc<DropGuard>,
}

/// Starts the admitters and the publisher in `tasks`.
pub fn start(
    store: SharedStore,
    queue: Arc<dyn Queue>,
    families: &Families,
    tasks: &mut JoinSet<()>,
    shutdown: &Shutdown,
) -> AdmissionHandle {
    let handle = start_over(Arc::new(store.clone()), queue, families, tasks, shutdown);
    tasks.spawn(handle.counts.clone().tell(store, shutdown.clone()));
    handle
}

pub(crate) fn start_over(
    ledger: Arc<dyn Ledger>,
    queue: Arc<dyn Queue>,
    families: &Families,
    tasks: &mut JoinSet<()>,
    shutdown: &Shutdown,
) -> AdmissionHandle {
    let abandoned = CancellationToken::new();
    let publisher = Publisher::start(ledger.clone(), queue, families, tasks, shutdown);
    let waiting = families.gauges(
        "fairhook_admission_waiting_bytes",
        "Bytes of events that wait to be made durable: of small events, and of large ones",
        &["events"],
    );
    let (metrics, counts) = (Arc::new(Metrics::new(families)), Arc::new(Counts::default()));
    let offers = Arc::new(publisher.offers());
    let [small, large] = ["small", "large"].map(|events| {
        let waiting = waiting.with_label_values(&[events]);
        let door = Arc::new(Door::new(batch::Bounds::default(), abandoned.clone(), waiting));
        let admitter = Admitter {
            door: Arc::clone(&door),
            ledger: Arc::clone(&ledger),
            publisher: Arc::clone(&publisher),
            metrics: Arc::clone(&metrics),
            counts: Arc::clone(&counts),
            _offers: Arc::clone(&offers),
        };
        tasks.spawn(admitter.run(shutdown.clone()));
        door
    });
    let (backlog, last) = (Backlog::new(ledger), Arc::new(abandoned.drop_guard()));
    AdmissionHandle { small, large, backlog, counts, _last: last }
}

impl AdmissionHandle {
    /// Puts an event on its way; `queue` is its tenant's. The answer is the ticket's.
    pub fn offer(&self, event: NewEvent, queue: QueueAddress) -> Result<Ticket, AdmitError> {
        let endpoints = self.backlog.endpoints(event.tenant);
        let is_large = event.payload.len() >= limits::LARGE_PAYLOAD_BYTES;
        let door = if is_large { &self.large } else { &self.small };
        door.offer(event, queue, endpoints)
    }

    /// Makes an event durable.
    pub async fn admit(&self, event: NewEvent, queue: QueueAddress) -> Result<Admission, AdmitError> {
        self.offer(event, queue)?.answer().await
    }

    /// An event of a tenant's was refused over a quota: that of its rate, or another.
    pub fn throttled(&self, tenant: TenantId, over_rate: bool) {
        self.counts.throttled(tenant, over_rate);
    }

    /// What a tenant uses, at most a second old.
    pub async fn usage(&self, tenant: TenantId) -> Result<Usage, StoreError> {
        self.backlog.usage(tenant, Instant::now()).await
    }
}

#[cfg(test)]
mod tests;
