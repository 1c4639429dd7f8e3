//! Connections that only read. Each use has a deadline, kept inside SQLite by its progress handler, so that a query
//! cannot go on behind the back of a caller who has given up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::Semaphore;

use super::checkpoint::Gate;
use super::error::store_error;
use super::{BoxFuture, locked};
use crate::store::StoreError;
use crate::store::outage::Watch;

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS_PER_LOOK: i32 = 4_000;

/// A bounded number of connections with one deadline for every use.
pub(super) struct Readers {
    options: SqliteConnectOptions,
    permits: Semaphore,
    idle: Mutex<Vec<Reader>>,
    deadline: Duration,
    gate: Gate,
    watch: Watch,
}

struct Reader {
    connection: SqliteConnection,
    limit: Arc<Limit>,
}

/// When the query under way has to end.
struct Limit {
    origin: Instant,
    micros: AtomicU64,
}

impl Limit {
    fn set(&self, deadline: Duration) {
        let at = self.origin.elapsed().saturating_add(deadline);
        self.micros.store(u64::try_from(at.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn has_time(&self) -> bool {
        self.origin.elapsed().as_micros() < u128::from(self.micros.load(Ordering::Relaxed))
    }
}

impl Readers {
    /// At most `count` connections, opened when they are needed.
    pub(super) fn new(options: SqliteConnectOptions, count: usize, deadline: Duration, gate: &Gate) -> Self {
        Self {
            options,
            permits: Semaphore::new(count),
            idle: Mutex::new(Vec::with_capacity(count)),
            deadline,
            gate: Arc::clone(gate),
            watch: Watch::new("read"),
        }
    }

    /// Runs `job` on a connection; the wait for one counts against the deadline. A job that is dropped half way costs
    /// its connection, which may be in any state.
    pub(super) async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        self.read_until(tokio::time::Instant::now() + self.deadline, job).await
    }

    /// The same with a deadline of the caller's.
    pub(super) async fn read_until<T, F>(
        &self,
        deadline: tokio::time::Instant,
        job: F,
    ) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        let result = self.lend(deadline, job).await;
        self.watch.note(&result);
        result
    }

    async fn lend<T, F>(&self, deadline: tokio::time::Instant, job: F) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        let permit = tokio::time::timeout_at(deadline, self.permits.acquire()).await;
        let _permit = permit.map_err(|_| StoreError::TooSlow)?.expect("nobody closes the semaphore");
        let gate = tokio::time::timeout_at(deadline, self.gate.read()).await;
        let _gate = gate.map_err(|_| StoreError::TooSlow)?;
        let idle = locked(&self.idle).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => self.open().await.map_err(store_error)?,
        };
        reader.limit.set(deadline.saturating_duration_since(tokio::time::Instant::now()));
        let result = job(&mut reader.connection).await;
        if !matches!(result, Err(sqlx::Error::WorkerCrashed)) {
            locked(&self.idle).push(reader);
        }
        result.map_err(store_error)
    }

    async fn open(&self) -> Result<Reader, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        let limit = Arc::new(Limit { origin: Instant::now(), micros: AtomicU64::new(u64::MAX) });
        let watched = Arc::clone(&limit);
        connection.lock_handle().await?.set_progress_handler(STEPS_PER_LOOK, move || watched.has_time());
        Ok(Reader { connection, limit })
    }
}
