//! What a queue lost, as far as its own emptiness proves it, and what found no queue.
//!
//! A queue that was seen empty holds nothing that was published before; what was handed out of it is attempted, parked or
//! handed back within the longest hold. So what was published before and still waits for a message after that, lost it. Each
//! tenant's queue is looked after by the dispatcher that is first in serving it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::queue::{Consumer, Queue, QueueAddress, QueueDown, Received};
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{Recovery, SharedStore};
use fairhook_common::time::Timestamp;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::housekeeping::until_drained;
use super::metrics::Metrics;
use super::outage::Outage;
use super::places::Places;
use super::roster::Pokes;

/// What looking after queues takes.
#[derive(Clone)]
pub struct Lost {
    pub store: SharedStore,
    pub queue: Arc<dyn Queue>,
    pub places: Arc<Places>,
    pub pokes: Arc<Pokes>,
    pub metrics: Arc<Metrics>,
    pub outage: Arc<Outage>,
}

impl Lost {
    /// Looks at the queues of this dispatcher in turn.
    pub async fn look_after_queues(self, shutdown: Shutdown) {
        let looking = async {
            let mut emptied = Emptied::default();
            loop {
                let ours = self.places.ours();
                emptied.keep(&ours.iter().map(|address| address.tenant).collect());
                for some in ours.chunks(limits::QUEUE_LOOKS) {
                    self.look_at(some, &mut emptied).await;
                    sleep(limits::QUEUE_LOOK_PAUSE).await;
                }
                sleep(limits::SWEEP_INTERVAL).await;
            }
        };
        until_drained(looking, &shutdown).await;
    }

    /// Asks for all of them at once: the answers cost the broker little, and waiting for each a round of thousands too much.
    async fn look_at(&self, queues: &[QueueAddress], emptied: &mut Emptied) {
        let now = Timestamp::now();
        let asked = queues.iter().map(|address| async { (address.tenant, self.queue.depth(address).await) });
        for (tenant, depth) in join_all(asked).await {
            // While the queue is away nothing can be said of it, and the intake tells that it is.
            let Ok(depth) = depth else { continue };
            if let Some(before) = emptied.looked(tenant, depth, now) {
                self.recover(tenant, before, now).await;
            }
        }
    }

    async fn recover(&self, tenant: TenantId, before: Timestamp, now: Timestamp) {
        match self.store.recover(Recovery::Lost { tenant, before }, now).await {
            Ok(0) => {}
            Ok(count) => {
                self.metrics.lost.inc_by(count);
                self.pokes.due.notify_one();
                tracing::warn!(tenant.id = %tenant, deliveries = count, "recovered what the queue had lost");
            }
            Err(error) => self.outage.failed("recovering lost messages", &error),
        }
    }

    /// Makes due what found no queue, and makes the queue.
    pub async fn take_unrouted(self, shutdown: Shutdown) {
        let taking = async {
            loop {
                if let Ok(mut consumer) = self.queue.unrouted().await {
                    while let Ok(batch) = gather(consumer.as_mut()).await {
                        self.reroute(batch).await;
                    }
                }
                // The intake tells that the queue is away.
                sleep(limits::STORE_RETRY_MAX).await;
            }
        };
        until_drained(taking, &shutdown).await;
    }

    async fn reroute(&self, batch: Vec<Received>) {
        let mut deliveries = BTreeMap::<TenantId, Vec<_>>::new();
        for received in &batch {
            deliveries.entry(received.tenant).or_default().push(received.message.delivery);
        }
        for (tenant, deliveries) in deliveries {
            if let Some(address) = self.places.of(tenant) {
                // Asking makes the queue. If it cannot be made now, the next message comes here as well.
                let _ = self.queue.depth(&address).await;
            }
            let due = || self.store.make_due(&deliveries, Timestamp::now());
            let count = self.outage.persist("making unrouted deliveries due", due).await;
            self.metrics.unrouted.inc_by(count);
            tracing::warn!(tenant.id = %tenant, deliveries = count, "messages found no queue; their deliveries are due");
        }
        self.pokes.due.notify_one();
        for received in batch {
            received.receipt.ack().await;
        }
    }
}

/// The next message and what else is there already.
async fn gather(consumer: &mut dyn Consumer) -> Result<Vec<Received>, QueueDown> {
    let mut batch = vec![consumer.next().await?];
    while batch.len() < limits::LOAD_BATCH
        && let Ok(next) = timeout(limits::CLAIM_PAUSE, consumer.next()).await
    {
        batch.push(next?);
    }
    Ok(batch)
}

/// When queues were seen empty: pure.
#[derive(Debug, Default)]
struct Emptied(HashMap<TenantId, Timestamp>);

impl Emptied {
    /// At `now` it was asked how much is in a tenant's queue. `Some`: what was admitted before that time and still waits for
    /// its message has lost it.
    fn looked(&mut self, tenant: TenantId, depth: u64, now: Timestamp) -> Option<Timestamp> {
        let proven = self.0.get(&tenant).copied().filter(|at| now.since(*at) >= limits::LONGEST_HOLD);
        if proven.is_some() {
            self.0.remove(&tenant);
        }
        if depth == 0 {
            self.0.entry(tenant).or_insert(now);
        }
        // What was admitted a moment before may have been published a moment after.
        proven.map(|at| at.before(limits::OUTBOX_GRACE))
    }

    /// Forgets the queues that others look after.
    fn keep(&mut self, ours: &HashSet<TenantId>) {
        self.0.retain(|tenant, _| ours.contains(tenant));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_empty_queue_proves_a_loss_after_the_longest_hold() {
        let (mut emptied, tenant) = (Emptied::default(), TenantId::generate());
        let start = Timestamp(1_700_000_000_000);
        let hold = |part: u32| start.after(limits::LONGEST_HOLD / 4 * part);
        assert_eq!(emptied.looked(tenant, 3, start), None);
        assert_eq!(emptied.looked(tenant, 0, hold(1)), None);
        assert_eq!(emptied.looked(tenant, 5, hold(4)), None, "too early");
        let proven = emptied.looked(tenant, 7, hold(5));
        assert_eq!(proven, Some(hold(1).before(limits::OUTBOX_GRACE)), "whatever is in it by now");
        assert_eq!(emptied.looked(tenant, 0, hold(20)), None, "a proof is used once");
        emptied.keep(&HashSet::new());
        assert_eq!(emptied.looked(tenant, 0, hold(40)), None, "others looked after it meanwhile");
        assert!(
            limits::LONGEST_HOLD
                > limits::MESSAGE_HOLD + limits::ATTEMPT_TIMEOUT_MAX + Duration::from_secs(1)
        );
    }
}
