//! After the 202: hands first attempts to the queue and settles the outbox. No caller waits for it.
//!
//! Two loops over one [`Lineup`]: one publishes in chunks and takes the confirms, one settles rows. Whatever either of
//! them does not finish is still in the outbox, from where any node makes it due.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use fairhook_common::limits;
use fairhook_common::metrics::Families;
use fairhook_common::queue::{Message, Published, Queue, QueueAddress};
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{OutboxId, Settled};
use fairhook_common::time::Timestamp;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Ledger;
use super::lineup::{Bounds, Chunk, Lineup};

/// Where the admitter leaves what is to be published.
pub struct Publisher {
    lineup: Mutex<Lineup>,
    /// There is something to publish.
    offered: Notify,
    /// There is something to settle.
    settled: Notify,
    /// It should not wait for more.
    urgent: Notify,
    /// Nothing more will be offered.
    closed: CancellationToken,
    /// Everything offered has been published.
    published: CancellationToken,
    metrics: Metrics,
}

struct Metrics {
    deliveries: IntCounterVec,
    waiting: IntGauge,
    settle_failures: IntCounter,
    left: IntCounter,
}

impl Metrics {
    fn new(families: &Families) -> Self {
        Self {
            deliveries: families.counters(
                "fairhook_publish_deliveries_total",
                "First attempts offered to the queue, by what became of them",
                &["result"],
            ),
            waiting: families.gauge("fairhook_publish_waiting", "Deliveries that wait to be published"),
            settle_failures: families.counter(
                "fairhook_outbox_settle_failures_total",
                "Transactions that failed to settle the outbox",
            ),
            left: families.counter(
                "fairhook_outbox_left_rows_total",
                "Outbox rows left to housekeeping because too many waited to be settled",
            ),
        }
    }

    fn count(&self, result: &str, deliveries: usize) {
        if deliveries > 0 {
            self.deliveries.with_label_values(&[result]).inc_by(deliveries as u64);
        }
    }
}

impl Publisher {
    /// Starts both loops in `tasks`. They end once nothing is left to do and nobody [`offers`](Self::offers) more.
    pub fn start(
        ledger: Arc<dyn Ledger>,
        queue: Arc<dyn Queue>,
        families: &Families,
        tasks: &mut JoinSet<()>,
        shutdown: &Shutdown,
    ) -> Arc<Self> {
        let publisher = Arc::new(Self {
            lineup: Mutex::new(Lineup::new(Bounds::default())),
            offered: Notify::new(),
            settled: Notify::new(),
            urgent: Notify::new(),
            closed: CancellationToken::new(),
            published: CancellationToken::new(),
            metrics: Metrics::new(families),
        });
        tasks.spawn(publisher.clone().publish(queue));
        tasks.spawn(publisher.clone().settle(ledger, shutdown.clone()));
        publisher
    }

    /// Takes over the deliveries of an admitted batch. Never waits: what finds no room becomes due.
    pub fn offer(&self, outbox: OutboxId, messages: Vec<(QueueAddress, Message)>) {
        let without_room = self.change(|lineup| lineup.offer(outbox, messages));
        self.metrics.count("no_room", without_room);
        self.offered.notify_one();
    }

    /// Nothing more will be offered once this is dropped.
    pub fn offers(&self) -> DropGuard {
        self.closed.clone().drop_guard()
    }

    fn lineup(&self) -> MutexGuard<'_, Lineup> {
        self.lineup.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn publish(self: Arc<Self>, queue: Arc<dyn Queue>) {
        let mut under_way: JoinSet<(Chunk, Vec<Published>)> = JoinSet::new();
        loop {
            while under_way.len() < limits::PUBLISHES_IN_FLIGHT {
                let chunk = self.lineup().take(limits::PUBLISH_CHUNK);
                if chunk.messages.is_empty() {
                    break;
                }
                let queue = queue.clone();
                under_way.spawn(async move {
                    let published = queue.publish(&chunk.messages).await;
                    (chunk, published)
                });
            }
            let done = under_way.is_empty() && self.closed.is_cancelled() && self.lineup().waiting() == 0;
            if done {
                break;
            }
            tokio::select! {
                Some(ended) = under_way.join_next() => match ended {
                    Ok((chunk, published)) => self.finish(chunk, &published),
                    // A panic of the queue's is a mistake of ours: it takes the process down, as any task's does.
                    Err(failed) => match failed.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(_cancelled) => break,
                    },
                },
                () = self.offered.notified() => {}
                () = self.closed.cancelled(), if !self.closed.is_cancelled() => {}
            }
        }
        self.published.cancel();
    }

    fn finish(&self, chunk: Chunk, published: &[Published]) {
        let confirmed = published.iter().filter(|p| **p == Published::Confirmed).count();
        self.metrics.count("confirmed", confirmed);
        self.metrics.count("refused", chunk.messages.len().saturating_sub(confirmed));
        self.change(|lineup| lineup.finish(chunk, published));
    }

    /// Changes the lineup and wakes whom it concerns.
    fn change<T>(&self, change: impl FnOnce(&mut Lineup) -> T) -> T {
        let (answer, has_settled, urgent) = {
            let mut lineup = self.lineup();
            let answer = change(&mut lineup);
            self.metrics.waiting.set(lineup.waiting() as i64);
            self.metrics.left.inc_by(lineup.take_left());
            (answer, lineup.has_settled(), lineup.is_urgent())
        };
        if has_settled {
            self.settled.notify_one();
        }
        if urgent {
            self.urgent.notify_one();
        }
        answer
    }

    async fn settle(self: Arc<Self>, ledger: Arc<dyn Ledger>, shutdown: Shutdown) {
        loop {
            while !self.lineup().has_settled() && !self.published.is_cancelled() {
                tokio::select! {
                    () = self.settled.notified() => {}
                    () = self.published.cancelled() => {}
                }
            }
            // Rows gather for a moment, unless deliveries wait to become due.
            if !self.lineup().is_urgent() {
                tokio::select! {
                    () = self.urgent.notified() => {}
                    () = self.published.cancelled() => {}
                    () = tokio::time::sleep(limits::SETTLE_INTERVAL) => {}
                }
            }
            let last = self.published.is_cancelled();
            let rows = self.lineup().take_settled(limits::SETTLE_ROWS);
            if !rows.is_empty() {
                self.settle_rows(&ledger, rows, &shutdown).await;
            } else if last {
                break;
            }
        }
    }

    /// Retried while the store is away; an orderly stop ends that: the rows are in the outbox.
    async fn settle_rows(&self, ledger: &Arc<dyn Ledger>, rows: Vec<Settled>, shutdown: &Shutdown) {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times();
        let settling = (|| ledger.settle_outbox(&rows, Timestamp::now()))
            .retry(backoff)
            .when(|error| error.is_retryable() && !shutdown.is_draining())
            .notify(|error, _| {
                self.metrics.settle_failures.inc();
                // The store tells of its outage itself, once.
                tracing::debug!(error.detail = %error, rows = rows.len(), "the outbox cannot be settled now");
            });
        if let Err(error) = settling.await {
            self.metrics.settle_failures.inc();
            tracing::error!(error.detail = %error, rows = rows.len(), "outbox rows are left to housekeeping");
        }
    }
}
