//! Limits that all ingests keep together, in Redis. While it is away, or slow, each ingest's share decides: no request
//! waits for Redis longer than its budget, and only a probe asks whether it is back.
//!
//! Deliberately absent: a queue of questions. The callers of one key ask one at a time, and what was refused is remembered.

pub mod lease;
mod line;
mod redis;

use std::sync::Arc;
use std::time::{Duration, Instant as Began};

use fairhook_common::health::Health;
use fairhook_common::limits;
use fairhook_common::metrics::Families;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::time::Timestamp;
use prometheus::{Histogram, IntCounter};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::decision::{Clock, Decision, Now};
use lease::{Grant, Window};
use line::Line;

pub use self::redis::{BadRedisUrl, RedisAddress};

/// With whom limits are shared, and where they are kept.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// How many ingests live, this one included. Without Redis each enforces its share of every limit.
    pub ingests: watch::Receiver<usize>,
    /// Where all ingests keep what was sent.
    pub redis: Option<RedisAddress>,
}

impl Sharing {
    /// This is the only ingest.
    pub fn alone() -> Self {
        Self { ingests: watch::channel(1).1, redis: None }
    }
}

/// How long one event, or a request of another kind, may still wait for Redis, whatever number of policies decide about it.
#[derive(Debug, Clone, Copy)]
pub struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(limits::REDIS_BUDGET)
    }
}

/// What is asked of Redis when leased tokens are used up.
pub struct Question<'a> {
    /// Held by the one that asks; the others of its key wait for it, and find what it got.
    pub asking: &'a Mutex<()>,
    /// The limit.
    pub window: Window,
    /// What the request takes of it.
    pub cost: u32,
}

/// Leases of tokens out of Redis.
pub struct Shared {
    line: Arc<Line>,
    metrics: Metrics,
}

struct Metrics {
    round_trips: Histogram,
    errors: IntCounter,
    shares: IntCounter,
}

impl Shared {
    /// Starts what keeps the connection, in `tasks`, and says in `health` while it is away.
    pub fn start(
        address: RedisAddress,
        families: &Families,
        health: &Health,
        tasks: &mut JoinSet<()>,
        shutdown: &Shutdown,
    ) -> Arc<Self> {
        let line = Arc::new(Line::new(families));
        let standing = line.clone();
        health.add_helper("redis", move || {
            let away = standing.away();
            Box::pin(async move { away.map_or(Ok(()), Err) })
        });
        let (kept, shutdown) = (line.clone(), shutdown.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = kept.keep(&address) => {}
                () = shutdown.draining() => {}
            }
        });
        let metrics = Metrics {
            round_trips: families.seconds(
                "fairhook_quota_redis_round_trip_seconds",
                "Questions for tokens that Redis answered, by the time it took",
            ),
            errors: families.counter(
                "fairhook_quota_redis_errors_total",
                "Questions for tokens that failed or were not answered in time",
            ),
            shares: families.counter(
                "fairhook_quota_share_decisions_total",
                "Requests about which this ingest's share decided because Redis did not",
            ),
        };
        Arc::new(Self { line, metrics })
    }

    /// Whether there is a connection that answered last time.
    pub fn answers(&self) -> bool {
        self.line.is_up()
    }

    /// Since when there is none.
    pub fn away_since(&self) -> Option<Timestamp> {
        self.line.away_since()
    }

    /// Questions that failed or were not answered in time.
    pub fn errors(&self) -> u64 {
        self.metrics.errors.get()
    }

    /// This ingest's share decided.
    pub fn count_share(&self) {
        self.metrics.shares.inc();
    }

    /// Spends leased tokens by `spend`, and asks for more when that is needed: `learn` takes the grant to a question of a moment.
    /// The limit is kept under `key`. `None`: Redis is away or `patience` is at its end, and the share decides.
    pub async fn take(
        &self,
        question: Question<'_>,
        key: impl FnOnce(&Window) -> String,
        (patience, clock): (&mut Patience, Clock),
        spend: impl Fn(Now) -> Option<Decision>,
        learn: impl FnOnce(&Grant, Duration, Now) -> Decision,
    ) -> Option<Decision> {
        if !self.answers() {
            return None;
        }
        if let Some(decision) = spend(clock.now()) {
            return Some(decision);
        }
        let begin = Instant::now();
        let deadline = begin + patience.0;
        let decision = self.ask(question, key, (deadline, clock), spend, learn).await;
        patience.0 = patience.0.saturating_sub(begin.elapsed());
        decision
    }

    /// What [`Shared::take`] does when there are no tokens here. `None`: there is no answer until `deadline`.
    async fn ask(
        &self,
        Question { asking, window, cost }: Question<'_>,
        key: impl FnOnce(&Window) -> String,
        (deadline, clock): (Instant, Clock),
        spend: impl Fn(Now) -> Option<Decision>,
        learn: impl FnOnce(&Grant, Duration, Now) -> Decision,
    ) -> Option<Decision> {
        // Asked with less time for an answer, Redis would be called away for it.
        let latest = deadline.checked_sub(limits::REDIS_ANSWER).filter(|latest| Instant::now() <= *latest)?;
        let _asking = timeout_at(latest, asking.lock()).await.ok()?;
        let asked_at = clock.now();
        if let Some(decision) = spend(asked_at) {
            return Some(decision);
        }
        let grant = self.lease(&key(&window), &window, cost, deadline).await?;
        Some(learn(&grant, asked_at.monotonic, clock.now()))
    }

    /// Asks for a batch of tokens, of use if it pays `cost`. `None`: there was no answer until `deadline`, or no connection.
    async fn lease(&self, key: &str, window: &Window, cost: u32, deadline: Instant) -> Option<Grant> {
        let (connection, number) = self.line.connection()?;
        let began = Began::now();
        let asked = redis::lease(connection, key, window, (cost, window.batch().max(cost)));
        let why = match timeout_at(deadline, asked).await {
            Ok(Ok(grant)) => {
                self.metrics.round_trips.observe(began.elapsed().as_secs_f64());
                return Some(grant);
            }
            Ok(Err(error)) => redis::told(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        self.metrics.errors.inc();
        self.line.lost(number, why);
        None
    }
}

#[cfg(test)]
mod measured_tests;
#[cfg(test)]
mod redis_tests;
#[cfg(test)]
mod simulation_tests;
