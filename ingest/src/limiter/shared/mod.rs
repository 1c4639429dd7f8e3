//! Limits that all ingests keep together, in Redis. While it is away, or slow, each ingest's share decides: no request
//! waits for Redis longer than its budget, and only a probe asks whether it is back.
//!
//! Deliberately absent: a queue of questions. The callers of one key ask one at a time, and what was refused is remembered.

pub mod lease;
mod line;
mod redis;

use std::sync::Arc;
use std::time::Instant as Clock;

use fairhook_common::health::Health;
use fairhook_common::metrics::Families;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::time::Timestamp;
use prometheus::{Histogram, IntCounter};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

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

    /// Asks for tokens of the limit that is kept under `key`: a batch, of use if it pays `cost`. `None`: there was no answer until
    /// `deadline`, or no connection.
    pub async fn lease(&self, key: &str, window: &Window, cost: u32, deadline: Instant) -> Option<Grant> {
        let (connection, number) = self.line.connection()?;
        let began = Clock::now();
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
mod redis_tests;
#[cfg(test)]
mod simulation_tests;
