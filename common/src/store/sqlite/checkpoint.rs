//! Moves what has been committed from the write-ahead log into the database file.
//!
//! SQLite would do that inside some commit, which then takes several times as long as the others. Here a task does it
//! on a connection of its own, beside the writer. While the writer goes on, such a checkpoint never reaches the log's
//! end, so the log would grow for ever: when it is long, the rest (what was written meanwhile, so a little) is moved
//! while the writer waits, and the log begins anew. Reads that are under way would be in the way of that: those that would
//! begin then are held up for a moment ([`Gate`]).
//!
//! SQLite brings the pages that it moved to the disk at the end, all at once, and a commit in the meantime would wait for
//! the disk as long as that takes. So they are brought there beside it, a few at a time.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use tokio::sync::{Mutex, OwnedMutexGuard, RwLock, watch};
use tokio::time::timeout;

use super::error::store_error;
use crate::limits;
use crate::store::StoreError;
use crate::store::outage::Watch;

/// Shared by the reads under way, and shut while the log begins anew.
pub(super) type Gate = Arc<RwLock<()>>;

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

/// Starts the task, for the database in `file`; it ends when the [`Log`] is dropped.
pub(super) async fn start(
    options: SqliteConnectOptions,
    file: &Path,
    gate: Gate,
) -> Result<Log, sqlx::Error> {
    // Open as long as the task: to close it ends the locks that SQLite has on the file in this process.
    let file = Arc::new(File::open(file)?);
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
            connection =
                checkpoint(connection.take(), &options, &file, (&turn, &gate), &mut last, &watch).await;
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
    file: &Arc<File>,
    (turn, gate): (&Mutex<()>, &RwLock<()>),
    last: &mut Instant,
    watch: &Watch,
) -> Option<SqliteConnection> {
    let attempt = async {
        let mut connection = match connection {
            Some(connection) => connection,
            None => options.connect().await?,
        };
        let waiting = run(&mut connection, "PRAGMA wal_checkpoint(NOOP)").await?;
        if waiting.log < limits::WAL_PAGES
            && waiting.log - waiting.moved < limits::CHECKPOINT_PAGES
            && last.elapsed() < limits::CHECKPOINT_INTERVAL
        {
            return Ok::<_, sqlx::Error>(connection);
        }
        *last = Instant::now();
        let mut left = move_some(&mut connection, file).await?;
        if left.log >= limits::WAL_PAGES {
            // The more is moved beside the writer, the less it waits for.
            for _ in 0..limits::CHECKPOINT_ROUNDS {
                if left.log - left.moved > limits::CHECKPOINT_REST {
                    left = move_some(&mut connection, file).await?;
                }
            }
            // All reads end within their deadline, which is long; as a rule they have ended in a moment, or will next time.
            let is_urgent = left.log >= limits::WAL_PAGES_MAX;
            let patience = if is_urgent { limits::READ_DEADLINE } else { limits::CHECKPOINT_GATE };
            let shut = timeout(patience, gate.write()).await;
            if is_urgent && shut.is_err() {
                tracing::warn!(
                    pages = left.log,
                    "reads do not end, so that the log cannot begin anew and grows"
                );
            }
            if let Ok(_shut) = shut
                && let Ok(_turn) = timeout(limits::CHECKPOINT_GATE, turn.lock()).await
            {
                run(&mut connection, "PRAGMA wal_checkpoint(RESTART)").await?;
            }
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

/// Moves what no reader needs any more in the log, beside the writer.
async fn move_some(connection: &mut SqliteConnection, file: &Arc<File>) -> Result<Progress, sqlx::Error> {
    let mut moving = std::pin::pin!(run(connection, "PRAGMA wal_checkpoint(PASSIVE)"));
    loop {
        let flushing = async {
            tokio::time::sleep(limits::CHECKPOINT_FLUSH).await;
            let file = Arc::clone(file);
            // Whether it worked is seen by SQLite, which syncs the file as well.
            let _ = tokio::task::spawn_blocking(move || file.sync_data()).await;
        };
        tokio::select! {
            biased;
            moved = &mut moving => return moved,
            () = flushing => {}
        }
    }
}

async fn run(connection: &mut SqliteConnection, pragma: &'static str) -> Result<Progress, sqlx::Error> {
    let row = sqlx::query(pragma).fetch_one(connection).await?;
    Ok(Progress { log: row.try_get(1)?, moved: row.try_get(2)? })
}
