//! Moves what has been committed from the write-ahead log into the database file.
//!
//! SQLite would do that inside some commit, which then takes several times as long as the others. Here a task does it
//! on a connection of its own, beside the writer. While the writer goes on, such a checkpoint never reaches the log's
//! end, so the log would grow for ever: when it is long, the rest (what was written meanwhile, so a little) is moved
//! while the writer waits, and the log begins anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::limits;

/// The writer's side of the log.
#[derive(Clone)]
pub(super) struct Log(Arc<Shared>);

struct Shared {
    /// Held by the writer during a transaction, and by the task while it moves the log's end.
    turn: Mutex<()>,
    /// Pages that were probably written since the last checkpoint.
    pages: AtomicU64,
    grown: Notify,
}

impl Log {
    /// The right to write, until dropped.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.0.turn.lock().await
    }

    /// A transaction was committed that probably wrote so many pages.
    pub(super) fn grew(&self, pages: u64) {
        let before = self.0.pages.fetch_add(pages, Ordering::Relaxed);
        if before < limits::CHECKPOINT_PAGES && before + pages >= limits::CHECKPOINT_PAGES {
            self.0.grown.notify_one();
        }
    }
}

/// Starts the task; it ends when the writer's [`Log`] is dropped.
pub(super) async fn start(options: SqliteConnectOptions) -> Result<Log, sqlx::Error> {
    let options = options.busy_timeout(limits::CHECKPOINT_BUSY);
    let mut connection = Some(options.connect().await?);
    let shared = Arc::new(Shared { turn: Mutex::new(()), pages: AtomicU64::new(0), grown: Notify::new() });
    let weak = Arc::downgrade(&shared);
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(limits::CHECKPOINT_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while let Some(shared) = weak.upgrade() {
            if shared.pages.swap(0, Ordering::Relaxed) > 0 {
                connection = checkpoint(connection.take(), &options, &shared).await;
            }
            let wait = async {
                tokio::select! { _ = tick.tick() => (), () = shared.grown.notified() => () }
            };
            wait.await;
        }
    });
    Ok(Log(shared))
}

/// A failure costs the connection and is told; the next round begins with a new one.
async fn checkpoint(
    connection: Option<SqliteConnection>,
    options: &SqliteConnectOptions,
    shared: &Shared,
) -> Option<SqliteConnection> {
    let attempt = async {
        let mut connection = match connection {
            Some(connection) => connection,
            None => options.connect().await?,
        };
        let started = Instant::now();
        let left = run(&mut connection, "PRAGMA wal_checkpoint(PASSIVE)").await?;
        tracing::trace!(
            elapsed_us = started.elapsed().as_micros() as u64,
            left.log,
            left.moved,
            "checkpoint"
        );
        if left.log >= limits::WAL_PAGES {
            let _turn = shared.turn.lock().await;
            run(&mut connection, "PRAGMA wal_checkpoint(RESTART)").await?;
        }
        Ok::<_, sqlx::Error>(connection)
    };
    attempt
        .await
        .inspect_err(|error| tracing::warn!(%error, "a checkpoint failed; the log grows until one succeeds"))
        .ok()
}

/// How many pages the log has, and how many of them are in the database file.
struct Progress {
    log: i64,
    moved: i64,
}

async fn run(connection: &mut SqliteConnection, pragma: &'static str) -> Result<Progress, sqlx::Error> {
    let row = sqlx::query(pragma).fetch_one(connection).await?;
    Ok(Progress { log: row.try_get(1)?, moved: row.try_get(2)? })
}
