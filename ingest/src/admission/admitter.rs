//! The loop between a waiting list and the store. There are two, for small events and for large ones (`limits::LARGE_PAYLOAD_BYTES`),
//! with a commit each under way.
//!
//! While one commit is under way the next batch fills: no delay is added when the store is idle, and batches grow under
//! load. Each event has its own caller, who is answered when its batch is durable, or refused, or at its deadline.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use fairhook_common::delivery::DeliveryState;
use fairhook_common::event::NewEvent;
use fairhook_common::ids::{DeliveryId, TenantId};
use fairhook_common::limits;
use fairhook_common::metrics::Families;
use fairhook_common::queue::{Message, QueueAddress};
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{AcceptedEvent, Admission, Admitted, StoreError};
use fairhook_common::time::Timestamp;
use prometheus::{Histogram, IntCounterVec, IntGauge};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Ledger;
use super::batch::{Bounds, NoRoom, WaitingList};
use super::counting::Counts;
use super::gathering::Gathering;
use super::publisher::Publisher;

/// Why an event was not admitted now. Each is worth another try, but for [`AdmitError::Failed`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum AdmitError {
    /// Too much waits.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The process is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The store is away.
    #[error(transparent)]
    Store(StoreError),
    /// It did not become durable in time; it may yet.
    #[error("the event could not be made durable in time")]
    TooSlow,
    /// A mistake of ours, with this event.
    #[error("the event could not be admitted")]
    Failed,
}

/// An event with its caller.
struct Pending {
    event: NewEvent,
    queue: QueueAddress,
    /// How many endpoints its tenant has, if that is known.
    endpoints: Option<u32>,
    caller: oneshot::Sender<Result<Admission, AdmitError>>,
}

/// The way into the waiting list.
pub(super) struct Door {
    list: Mutex<Inside>,
    offered: Notify,
    /// The last handle is gone: nothing more will be offered.
    abandoned: CancellationToken,
    waiting_bytes: IntGauge,
}

struct Inside {
    waiting: WaitingList<Pending>,
    open: bool,
}

/// The answer to come.
#[must_use]
pub struct Ticket(oneshot::Receiver<Result<Admission, AdmitError>>);

impl Ticket {
    /// Waits until the event is durable or refused, at most for `limits::ADMIT_DEADLINE`. A caller that stops waiting
    /// changes nothing for others; its own event may be admitted or not.
    pub async fn answer(self) -> Result<Admission, AdmitError> {
        match tokio::time::timeout(limits::ADMIT_DEADLINE, self.0).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(AdmitError::Stopping),
            Err(_elapsed) => Err(AdmitError::TooSlow),
        }
    }
}

impl Door {
    pub(super) fn new(bounds: Bounds, abandoned: CancellationToken, waiting_bytes: IntGauge) -> Self {
        Self {
            list: Mutex::new(Inside { waiting: WaitingList::new(bounds), open: true }),
            offered: Notify::new(),
            abandoned,
            waiting_bytes,
        }
    }

    pub(super) fn offer(
        &self,
        event: NewEvent,
        queue: QueueAddress,
        endpoints: Option<u32>,
    ) -> Result<Ticket, AdmitError> {
        let (caller, answer) = oneshot::channel();
        let notes = event.metadata.as_ref().map_or(0, String::len);
        let context = event.cloudevent.as_ref().map_or(0, |context| context.json().len());
        let bytes = event.payload.len() + notes + context + limits::ADMIT_EVENT_OVERHEAD_BYTES;
        let tenant = event.tenant;
        {
            let mut inside = self.inside();
            if !inside.open {
                return Err(AdmitError::Stopping);
            }
            inside.waiting.offer(tenant, bytes, Pending { event, queue, endpoints, caller })?;
            self.waiting_bytes.set(inside.waiting.bytes() as i64);
        }
        self.offered.notify_one();
        Ok(Ticket(answer))
    }

    fn waiting(&self) -> usize {
        self.inside().waiting.len()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.list.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The next batch. Callers who are gone are not worked for.
    fn fill(&self, fan_out: &FanOut) -> Vec<Pending> {
        let mut inside = self.inside();
        let batch = inside
            .waiting
            .fill(|tenant, pending| (!pending.caller.is_closed()).then(|| fan_out.estimate(tenant, pending)));
        self.waiting_bytes.set(inside.waiting.bytes() as i64);
        batch
    }

    /// Shuts the way in if nothing waits; returns whether it is shut.
    fn shut_if_empty(&self) -> bool {
        let mut inside = self.inside();
        if inside.waiting.is_empty() {
            inside.open = false;
        }
        !inside.open
    }
}

/// How many deliveries an event of a tenant makes, learnt from those admitted before.
#[derive(Default)]
struct FanOut(HashMap<TenantId, u32>);

impl FanOut {
    fn estimate(&self, tenant: TenantId, pending: &Pending) -> usize {
        if pending.event.only_endpoint.is_some() {
            return 1;
        }
        let known = self.0.get(&tenant).copied().or(pending.endpoints);
        known.map_or(1, |deliveries| deliveries as usize).max(1)
    }

    /// Rises at once and falls slowly. Forgetting all costs each tenant one estimate.
    fn learn(&mut self, tenant: TenantId, deliveries: u32) {
        if self.0.len() as u64 >= limits::CONTROL_CACHE_ENTRIES && !self.0.contains_key(&tenant) {
            self.0.clear();
        }
        let known = self.0.entry(tenant).or_default();
        *known = deliveries.max(*known - known.div_ceil(8));
    }
}

/// The loop's own.
pub(super) struct Admitter {
    pub(super) door: Arc<Door>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) counts: Arc<Counts>,
    /// The publisher ends with the last one.
    pub(super) _offers: Arc<DropGuard>,
}

/// What becomes of an event that is offered, as a label.
const RESULTS: [&str; 5] = ["accepted", "replayed", "rejected", "refused", "unavailable"];

pub(super) struct Metrics {
    events: IntCounterVec,
    batch: Histogram,
    commit: Histogram,
}

impl Metrics {
    pub(super) fn new(families: &Families) -> Self {
        let events = families.counters(
            "fairhook_admission_events_total",
            "Events offered for admission, by what became of them",
            &["result"],
        );
        // What begins at 1 has no rate at first.
        RESULTS.iter().for_each(|result| drop(events.with_label_values(&[result])));
        Self {
            events,
            batch: families.sizes("fairhook_admission_batch_events", "Events in a transaction of admission"),
            commit: families
                .seconds("fairhook_admission_commit_seconds", "Time of a transaction of admission"),
        }
    }

    fn count(&self, result: &str) {
        self.events.with_label_values(&[result]).inc();
    }
}

impl Admitter {
    /// Runs until the last handle is gone and nothing waits; after an orderly stop began, at most a little longer.
    pub(super) async fn run(self, shutdown: Shutdown) {
        let mut fan_out = FanOut::default();
        let lingered = async {
            shutdown.draining().await;
            tokio::time::sleep(limits::ADMIT_LINGER).await;
        };
        tokio::pin!(lingered);
        let mut closing = false;
        let mut gathering = Gathering::default();
        loop {
            let batch = self.door.fill(&fan_out);
            if !batch.is_empty() {
                let (callers, began) = (batch.len(), Instant::now());
                self.admit(batch, &mut fan_out).await;
                gathering.committed(callers, self.door.waiting(), began.elapsed());
                self.gather(&gathering).await;
            } else if closing && self.door.shut_if_empty() {
                break;
            } else {
                tokio::select! {
                    () = self.door.offered.notified() => {}
                    () = self.door.abandoned.cancelled(), if !closing => closing = true,
                    () = &mut lingered, if !closing => closing = true,
                }
            }
        }
    }

    /// Waits for callers who are about to come back.
    async fn gather(&self, gathering: &Gathering) {
        let began = tokio::time::Instant::now();
        while let Some(patience) = gathering.patience(self.door.waiting()) {
            tokio::select! {
                () = self.door.offered.notified() => {}
                () = tokio::time::sleep_until(began + patience) => return,
            }
        }
    }

    /// Commits a batch and answers its callers. A batch that fails by a mistake, not for want of the store, is halved
    /// until what it cannot take is alone, so that one tenant never fails another's request.
    async fn admit(&self, batch: Vec<Pending>, fan_out: &mut FanOut) {
        let mut parts = vec![batch];
        let mut bisections = limits::ADMIT_BISECTIONS;
        while let Some(mut part) = parts.pop() {
            let events: Vec<_> = part.iter().map(|pending| pending.event.clone()).collect();
            let began = Instant::now();
            let admitted = self.ledger.admit(events, Timestamp::now()).await;
            self.metrics.commit.observe(began.elapsed().as_secs_f64());
            self.metrics.batch.observe(part.len() as f64);
            match admitted {
                Ok(admitted) => self.answer(part, admitted, fan_out),
                Err(error) if !error.is_retryable() && part.len() > 1 && bisections > 0 => {
                    bisections -= 1;
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                Err(error) => self.refuse(part, error),
            }
        }
    }

    fn answer(&self, part: Vec<Pending>, admitted: Admitted, fan_out: &mut FanOut) {
        debug_assert_eq!(part.len(), admitted.results.len(), "the store answers for each event");
        let mut messages = Vec::new();
        for (pending, admission) in part.into_iter().zip(admitted.results) {
            self.metrics.count(match &admission {
                Admission::Accepted(_) => "accepted",
                Admission::Replayed { .. } => "replayed",
                Admission::Refused(reason) => {
                    tracing::error!(tenant = %pending.event.tenant, reason, "the store cannot keep an event");
                    "refused"
                }
                _ => "rejected",
            });
            if let Admission::Accepted(accepted) = &admission {
                self.counts.admitted(pending.event.tenant, accepted.deliveries.len());
                fan_out.learn(pending.event.tenant, accepted.deliveries.len() as u32);
                messages.extend(to_publish(&pending.queue, accepted));
            }
            // A caller who is gone has an event all the same.
            let _ = pending.caller.send(Ok(admission));
        }
        if let Some(outbox) = admitted.outbox {
            self.publisher.offer(outbox, messages);
        }
    }

    fn refuse(&self, part: Vec<Pending>, error: StoreError) {
        match error.is_retryable() {
            // The store tells of its outage itself, once.
            true => tracing::debug!(error.detail = %error, events = part.len(), "a batch was not admitted"),
            false => {
                tracing::error!(error.detail = %error, events = part.len(), "a batch cannot be admitted")
            }
        }
        let refusal = match error {
            StoreError::Internal(_) => AdmitError::Failed,
            error => AdmitError::Store(error),
        };
        for pending in part {
            self.metrics.count("unavailable");
            let _ = pending.caller.send(Err(refusal.clone()));
        }
    }
}

/// The messages of an event's deliveries that are to be published.
fn to_publish<'a>(
    queue: &'a QueueAddress,
    accepted: &'a AcceptedEvent,
) -> impl Iterator<Item = (QueueAddress, Message)> + 'a {
    let queued = accepted.deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Queued);
    queued.map(|delivery| {
        let id = DeliveryId { event: accepted.id, ordinal: delivery.ordinal };
        (queue.clone(), Message { delivery: id, endpoint: delivery.endpoint, generation: 0 })
    })
}
