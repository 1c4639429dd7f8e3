//! Moves what has been committed from the write-ahead log into the database file.
//!
//! SQLite would do that inside some commit, which then takes several times as long as the others. Here a task does it
//! on a connection of its own, beside the writer. While the writer goes on, such a checkpoint never reaches the log's
//! end, so the log would grow for ever: when it is long, the rest (what was written meanwhile, so a little) is moved
//! while the writer waits, and the log begins anew.

use std::sync::Arc;
use std::time::Instant;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use super::error::store_error;
use crate::limits;
use crate::store::StoreError;
use crate::store::outage::Watch;

/// The writer's side of the log.
pub(super) struct Log {
    /// Held by the writer during a transaction, and by the task while it moves the log's end.
    turn: Arc<Mutex<()>>,
    written: watch::Sender<()>,
}

impl Log {
    /// The right to write, until dropped.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// A transaction was committed.
    pub(super) fn grew(&self) {
        self.written.send_replace(());
    }
}

/// Starts the task; it ends when the [`Log`] is dropped.
pub(super) async fn start(options: SqliteConnectOptions) -> Result<Log, sqlx::Error> {
    let options = options.busy_timeout(limits::CHECKPOINT_BUSY);
    let mut connection = Some(options.connect().await?);
    let turn = Arc::new(Mutex::new(()));
    let (written, mut commits) = watch::channel(());
    let log = Log { turn: Arc::clone(&turn), written };
    tokio::spawn(async move {
        let mut last = Instant::now();
        // The log grows until one succeeds.
        let watch = Watch::new("checkpointed");
        while commits.changed().await.is_ok() {
            connection = checkpoint(connection.take(), &options, &turn, &mut last, &watch).await;
            tokio::time::sleep(limits::CHECKPOINT_LOOK).await;
        }
    });
    Ok(log)
}

/// A checkpoint if there is enough to move, or something has waited for long. A failure costs the connection and is
/// told; the next round begins with a new one.
async fn checkpoint(
    connection: Option<SqliteConnection>,
    options: &SqliteConnectOptions,
    turn: &Mutex<()>,
    last: &mut Instant,
    watch: &Watch,
) -> Option<SqliteConnection> {
    let attempt = async {
        let mut connection = match connection {
            Some(connection) => connection,
            None => options.connect().await?,
        };
        let waiting = run(&mut connection, "PRAGMA wal_checkpoint(NOOP)").await?;
        if waiting.log - waiting.moved < limits::CHECKPOINT_PAGES
            && last.elapsed() < limits::CHECKPOINT_INTERVAL
        {
            return Ok::<_, sqlx::Error>(connection);
        }
        *last = Instant::now();
        let mut left = run(&mut connection, "PRAGMA wal_checkpoint(PASSIVE)").await?;
        if left.log >= limits::WAL_PAGES {
            // The more is moved beside the writer, the less it waits for.
            for _ in 0..limits::CHECKPOINT_ROUNDS {
                if left.log - left.moved > limits::CHECKPOINT_REST {
                    left = run(&mut connection, "PRAGMA wal_checkpoint(PASSIVE)").await?;
                }
            }
            let _turn = turn.lock().await;
            run(&mut connection, "PRAGMA wal_checkpoint(RESTART)").await?;
        }
        Ok(connection)
    };
    let checkpointed = attempt.await.map_err(store_error);
    watch.note(&checkpointed);
    if let Err(error @ StoreError::Internal(_)) = &checkpointed {
        tracing::error!(%error, "a checkpoint failed; the log grows until one succeeds");
    }
    checkpointed.ok()
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
