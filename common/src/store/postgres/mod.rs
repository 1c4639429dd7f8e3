//! The distributed engine's store: one Postgres database for any number of processes.
//!
//! * `pools` lends connections, apart for admission, outcomes, the API's work and its first look-ups, with a deadline on
//!   every transaction;
//! * every other file is one verb, or a few of a kind, as plain functions over a connection.
//!
//! What locks more than one kind of row keeps the order that `migrations/postgres/0001_initial.sql` gives.

mod admit;
mod arrivals;
mod attempts;
mod browse;
mod claim;
mod columns;
mod conditions;
mod control;
mod counts;
mod culprits;
mod dead_letters;
mod deliveries;
mod due;
mod endpoints;
mod error;
mod facts;
mod idempotency;
mod jobs;
mod keys;
mod lifecycle;
mod limit_minutes;
mod listing;
mod load;
mod matching;
mod nodes;
mod notices;
mod overrides;
mod paging;
mod partitions;
mod plans;
mod pools;
mod record;
mod recover;
mod removal;
mod roster;
mod routes;
mod rows;
mod schema;
mod session;
mod sources;
mod survey;
mod sweep;
mod teardown;
mod tenant_role;
mod tenants;
mod waiting;
mod watch;

use std::sync::{Arc, Mutex};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{Instant, timeout_at};

use super::event_ids::EventIds;
use super::turns::Turns;
use super::{BoxFuture, Change, StoreError};
use crate::ids::TenantId;
use crate::limits;
use crate::time::Timestamp;
use notices::{Notices, Voice};
use pools::Pool;
use rows::LOOK_UP_JOINED;

/// A connection of this process to the database that all processes share.
pub struct PostgresStore {
    admit: Arc<Pool>,
    outcome: Arc<Pool>,
    api: Arc<Pool>,
    doors: Arc<Pool>,
    turns: Turns,
    changing: Turns,
    reading: Arc<Semaphore>,
    expiring: Mutex<partitions::Walk>,
    event_ids: Arc<Mutex<EventIds>>,
    changes: broadcast::Sender<Change>,
    voice: Arc<Voice>,
    notices: Notices,
}

impl PostgresStore {
    /// Connects to `url` (`postgres://…`) and brings the schema up, one process at a time.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions =
            url.parse().map_err(|e: sqlx::Error| StoreError::Internal(e.to_string()))?;
        // That something is there already, which a start looks for, is no news.
        let options = options.options([("client_min_messages", "warning")]);
        let options = session::settled(options).await?;
        let greatest = schema::bring_up(&options).await?;
        let changes = broadcast::channel(limits::CHANGES_WAITING).0;
        let voice = Voice::new(changes.clone());
        let by_key = pools::by_key(&options);
        let store = Self {
            admit: Pool::new(&by_key, "admit", limits::PG_ADMIT_CONNECTIONS, limits::PG_WRITE_DEADLINE),
            outcome: Pool::new(&by_key, "outcome", limits::PG_OUTCOME_CONNECTIONS, limits::PG_WRITE_DEADLINE),
            api: Pool::new(&options, "api", limits::PG_API_CONNECTIONS, limits::PG_WRITE_DEADLINE),
            doors: Pool::new(&options, "look up", limits::PG_DOOR_CONNECTIONS, limits::READ_DEADLINE),
            turns: Turns::default(),
            changing: Turns::default(),
            reading: Arc::new(Semaphore::new(limits::PG_API_READS)),
            expiring: Mutex::default(),
            event_ids: Arc::new(Mutex::new(EventIds::behind(greatest))),
            notices: Notices::start(&options, Arc::clone(&voice)).await?,
            voice,
            changes,
        };
        store.make_partitions(Timestamp::now()).await?;
        Ok(store)
    }

    /// Closes the idle connections.
    pub async fn close(&self) {
        self.notices.close().await;
        for pool in [&self.admit, &self.outcome, &self.api, &self.doors] {
            pool.close().await;
        }
    }

    /// Runs a job of the control plane, of housekeeping or of a long job in a transaction of its own, and again if somebody
    /// else was in the way. `Err` takes back what it did. The job must not begin, commit or roll back by itself.
    pub(in crate::store::postgres) async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + Sync + 'static,
    {
        self.api.run_again("BEGIN", job).await
    }

    /// The same for a change on a tenant's behalf, one at a time for each and process: a tenant that floods the API with
    /// changes delays neither another's nor the kill switch.
    pub(in crate::store::postgres) async fn write_of<T, F>(
        &self,
        tenant: TenantId,
        job: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + Sync + 'static,
    {
        let turn = self.changing.take(tenant, Instant::now() + limits::CONTROL_TURN_WAIT).await?;
        self.write(move |db| {
            // It has its turn until the end.
            let _ = &turn;
            job(db)
        })
        .await
    }

    /// Runs a read of the API as the engine, which ends after `limits::READ_DEADLINE`.
    pub(in crate::store::postgres) async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + 'static,
    {
        let until = Instant::now() + limits::READ_DEADLINE;
        let place = self.place_to_read(until).await?;
        let read = self.api.run(begin_read(until), until, move |db| {
            Box::pin(async move {
                let _place = place;
                job(db).await
            })
        });
        read.await
    }

    /// A read on a tenant's behalf, in the tenant's role, which sees that tenant's rows and no others; one at a time for
    /// each: however long its lists are and however many of them it asks for, others read beside it. It has its time from
    /// its turn on, for which it waits as long at most.
    pub(in crate::store::postgres) async fn read_of<T, F>(
        &self,
        tenant: TenantId,
        job: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + 'static,
    {
        let turn = self.turns.take(tenant, Instant::now() + limits::READ_DEADLINE).await?;
        let until = Instant::now() + limits::READ_DEADLINE;
        let place = self.place_to_read(until).await?;
        let begin = format!(
            "{}; SET LOCAL ROLE fairhook_tenant; SELECT set_config('fairhook.tenant', '{}', true)",
            begin_read(until),
            tenant.uuid()
        );
        let read = self.api.run(begin, until, move |db| {
            Box::pin(async move {
                // It has its turn until the end.
                let _held = (turn, place);
                job(db).await
            })
        });
        read.await
    }

    /// However many tenants read at once, some of the API's connections are left to whoever changes something.
    async fn place_to_read(&self, until: Instant) -> Result<OwnedSemaphorePermit, StoreError> {
        let place = timeout_at(until, Arc::clone(&self.reading).acquire_owned()).await;
        Ok(place.map_err(|_| StoreError::TooSlow)?.expect("nobody closes the semaphore"))
    }

    /// Looks up what every request or every dispatcher needs: never behind a list.
    pub(in crate::store::postgres) async fn look_up<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + Sync + 'static,
    {
        self.doors.ask(job).await
    }

    /// Runs a change of the small tables that every process asks about each second: never behind a list. It is run again
    /// if somebody else was in the way.
    pub(in crate::store::postgres) async fn beside_lists<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + Sync + 'static,
    {
        self.doors.run_again("BEGIN", job).await
    }

    /// Makes the partitions of the days to come.
    pub(in crate::store::postgres) async fn make_partitions(
        &self,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(move |db| Box::pin(partitions::make_ahead(db, now))).await
    }

    /// Tells whoever listens here; nobody listening is fine.
    pub(in crate::store::postgres) fn announce(&self, change: Change) {
        let _ = self.changes.send(change);
    }

    /// What [`super::Store::changes`] answers.
    pub(in crate::store::postgres) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }
}

impl super::Store for PostgresStore {
    fn changes(&self) -> broadcast::Receiver<Change> {
        self.subscribe()
    }

    fn heard_until(&self) -> Instant {
        self.notices.heard_until()
    }
}

/// Begins a read that the server ends as well when its caller has given up.
fn begin_read(until: Instant) -> String {
    let milliseconds = until.saturating_duration_since(Instant::now()).as_millis().max(1);
    format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; {LOOK_UP_JOINED}")
}
