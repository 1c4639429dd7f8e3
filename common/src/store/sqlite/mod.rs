//! The embedded store: one SQLite file, one writer, readers of their own.
//!
//! * `writer` owns the one connection that writes and commits what is waiting together;
//! * `readers` lends connections that only read, with a deadline on every use;
//! * `payloads` has the large payloads in files of their own, beside the writer;
//! * `recent` spares most loads the way through the file;
//! * `checkpoint` moves the write-ahead log into the file, off the path of the commits;
//! * every other file is one verb, or a few of a kind, as plain functions over a connection.

mod admit;
mod arrivals;
mod attempts;
mod browse;
mod bulk;
mod checkpoint;
mod claim;
mod columns;
mod conditions;
mod control;
mod counts;
mod dead_letters;
mod deliveries;
mod endpoints;
mod error;
mod facts;
mod jobs;
mod keys;
mod lifecycle;
mod limit_minutes;
mod listing;
mod load;
mod matching;
mod nodes;
mod overrides;
mod paging;
mod payloads;
mod plans;
mod readers;
mod recent;
mod record;
mod recover;
mod removal;
mod roster;
mod routes;
mod sources;
mod survey;
mod sweep;
mod teardown;
mod tenants;
mod values;
mod watch;
mod writer;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlSafeStr};
use tokio::sync::broadcast;
use tokio_util::sync::DropGuard;

use super::event_ids::EventIds;
use super::turns::Turns;
use super::{BoxFuture, Change, StoreError, locked};
use crate::ids::TenantId;
use crate::limits;
use payloads::Payloads;
use readers::Readers;
use recent::Recent;
use writer::{Class, Writer};

/// Pages in a connection's cache, in KiB (negative: that is how SQLite tells KiB from pages).
const CACHE_KIB: &str = "-16384";

/// The store in a directory. Only one process has it open.
pub struct SqliteStore {
    writer: Writer,
    doors: Readers,
    api: Readers,
    turns: Turns,
    changing: Turns,
    loaders: Readers,
    watcher: Readers,
    event_ids: Arc<Mutex<EventIds>>,
    recent: Arc<Recent>,
    payloads: Arc<Payloads>,
    /// While the store is open.
    _sweeping: DropGuard,
    cluster: Mutex<nodes::Cluster>,
    activities: Mutex<watch::Activities>,
    changes: broadcast::Sender<Change>,
}

impl SqliteStore {
    /// Opens or makes `directory/fairhook.db` and brings its schema up. A directory that another process has open is
    /// refused, after a short wait for one that is just ending.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        make_private(directory)?;
        let lock = Arc::new(lock(directory).await?);
        let payloads = Arc::new(Payloads::open(directory)?);
        let file = directory.join("fairhook.db");
        let options = options(&file);
        let mut connection = options.connect().await.map_err(error::store_error)?;
        migrations().run(&mut connection).await.map_err(|e| StoreError::Internal(e.to_string()))?;
        let event_ids = Arc::new(Mutex::new(EventIds::behind(greatest_event(&mut connection).await?)));
        let gate = checkpoint::Gate::default();
        let log =
            checkpoint::start(options.clone(), &file, Arc::clone(&gate)).await.map_err(error::store_error)?;
        let reading = options.clone().read_only(true);
        let recent = Arc::new(Recent::default());
        let sweeping = payloads.sweep_beside(reading.clone(), Arc::clone(&lock));
        Ok(Self {
            writer: Writer::start(connection, options, log, Arc::clone(&recent), lock)
                .map_err(|error| StoreError::Internal(format!("no thread to write with: {error}")))?,
            doors: Readers::new(reading.clone(), limits::DOOR_READERS, limits::READ_DEADLINE, &gate),
            turns: Turns::default(),
            changing: Turns::default(),
            api: Readers::new(reading.clone(), limits::API_READERS, limits::READ_DEADLINE, &gate),
            loaders: Readers::new(reading.clone(), limits::LOAD_READERS, limits::LOAD_DEADLINE, &gate),
            watcher: Readers::new(reading, 1, limits::LOAD_DEADLINE, &gate),
            event_ids,
            recent,
            payloads,
            _sweeping: sweeping,
            cluster: Mutex::default(),
            activities: Mutex::default(),
            changes: broadcast::channel(limits::CHANGES_WAITING).0,
        })
    }

    /// Runs a job of the control plane, of housekeeping or of a long job in the writer's next transaction. `Err` takes
    /// back what this job did and nothing else. The job must not begin, commit or roll back by itself.
    pub(in crate::store::sqlite) async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + 'static,
    {
        let recent = Arc::clone(&self.recent);
        let written = self.writer.write(Class::Control, move |connection| {
            recent.disturb();
            job(connection)
        });
        written.await
    }

    /// The same for a change on a tenant's behalf, one at a time for each: a tenant that floods the API with changes
    /// delays neither another's nor the kill switch.
    pub(in crate::store::sqlite) async fn write_of<T, F>(
        &self,
        tenant: TenantId,
        job: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + 'static,
    {
        let deadline = tokio::time::Instant::now() + limits::CONTROL_TURN_WAIT;
        let _turn = self.changing.take(tenant, deadline).await?;
        self.write(job).await
    }

    /// Runs a read of the API, which ends as [`StoreError::TooSlow`] after `limits::READ_DEADLINE`.
    pub(in crate::store::sqlite) async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        self.api.read(job).await
    }

    /// The same for a read on a tenant's behalf, one at a time for each: however long its lists are and however many of
    /// them it asks for, others read beside it.
    pub(in crate::store::sqlite) async fn read_of<T, F>(
        &self,
        tenant: TenantId,
        job: F,
    ) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        let deadline = tokio::time::Instant::now() + limits::READ_DEADLINE;
        let _turn = self.turns.take(tenant, deadline).await?;
        self.api.read_until(deadline, job).await
    }

    /// Looks up what every request or every dispatcher needs: never behind a list.
    pub(in crate::store::sqlite) async fn look_up<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        self.doors.read(job).await
    }

    /// Tells whoever listens; nobody listening is fine.
    pub(in crate::store::sqlite) fn announce(&self, change: Change) {
        let _ = self.changes.send(change);
    }

    /// What [`super::Store::changes`] answers.
    pub(in crate::store::sqlite) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }
}

impl super::Store for SqliteStore {
    fn changes(&self) -> broadcast::Receiver<Change> {
        self.subscribe()
    }

    /// No other process changes anything, and the writer tells with the commit.
    fn heard_until(&self) -> tokio::time::Instant {
        tokio::time::Instant::now()
    }
}

fn unavailable(what: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("{what}: {error}"))
}

/// Payloads and signing secrets lie here: nobody else on the machine may look.
fn make_private(directory: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|e| unavailable("the data directory cannot be made", e))
}

async fn lock(directory: &Path) -> Result<File, StoreError> {
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(directory.join("lock"));
    let file = file.map_err(|e| unavailable("the data directory cannot be written", e))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < limits::STORE_LOCK_WAIT => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Unavailable("another process has the data directory open".into()));
            }
            Err(TryLockError::Error(e)) => return Err(unavailable("the data directory cannot be locked", e)),
        }
    }
}

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit is an fsync of the log: 202 means durable.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(limits::STORE_BUSY)
        .foreign_keys(false)
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", CACHE_KIB)
        .pragma("temp_store", "memory")
        .statement_cache_capacity(limits::STATEMENTS_CACHED)
        .thread_name(|id| format!("sqlite-{id}"))
        .disable_statement_logging()
}

fn migrations() -> Migrator {
    let files = [
        (1, "initial", include_str!("../../../../migrations/sqlite/0001_initial.sql")),
        (2, "conditions", include_str!("../../../../migrations/sqlite/0002_conditions.sql")),
        (3, "by_event", include_str!("../../../../migrations/sqlite/0003_by_event.sql")),
        (4, "plans", include_str!("../../../../migrations/sqlite/0004_plans.sql")),
        (5, "overrides", include_str!("../../../../migrations/sqlite/0005_overrides.sql")),
        (6, "limit_minutes", include_str!("../../../../migrations/sqlite/0006_limit_minutes.sql")),
        (7, "sources", include_str!("../../../../migrations/sqlite/0007_sources.sql")),
        (8, "cloudevents", include_str!("../../../../migrations/sqlite/0008_cloudevents.sql")),
        (9, "payload_files", include_str!("../../../../migrations/sqlite/0009_payload_files.sql")),
        (10, "parked_by_lane", include_str!("../../../../migrations/sqlite/0010_parked_by_lane.sql")),
    ];
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(files.into_iter().map(migration).collect())
}

async fn greatest_event(connection: &mut SqliteConnection) -> Result<uuid::Uuid, StoreError> {
    let greatest = sqlx::query("SELECT max(id) FROM events").fetch_one(connection).await;
    let greatest = greatest.and_then(|row| values::optional_uuid(&row, 0));
    Ok(greatest.map_err(error::store_error)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
