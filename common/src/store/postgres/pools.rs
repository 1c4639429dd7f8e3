//! Connections, in pools that do not take one another's room, and transactions on them.
//!
//! A connection is used for one transaction at a time and has a deadline on each. One that is left half way (its time is
//! over, its server does not answer) is closed and not used again: the server rolls back what was not committed. A caller
//! that goes away leaves nothing half way: what it asked for goes on to its end, in its place and for its tenant's turn, or
//! whoever asks and hangs up again and again would fill the server with connections that still work for nobody. There is no
//! test of a connection before or after its use, which would cost a round trip each; one that turns out to be dead at its
//! first statement is replaced by a new one.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::culprits::{self, Batch};
use super::error::{Failure, failure, store_error};
use crate::limits;
use crate::store::outage::Watch;
use crate::store::{BoxFuture, StoreError, locked};

/// For statements that find every row by the key of one of a batch: the planner is left nothing but to look up one key after
/// the other, with one plan for all batches, whatever it knows of a table. (With one plan alone it was seen to read all between the
/// least and the greatest key of a batch in a table that was new, where a statement said where its keys begin and where they
/// end. So statements say where they begin only, which leaves out earlier days.)
pub(super) fn by_key(options: &PgConnectOptions) -> PgConnectOptions {
    let off =
        ["enable_hashjoin", "enable_mergejoin", "enable_material", "enable_seqscan", "enable_bitmapscan"];
    options.clone().options([("plan_cache_mode", "force_generic_plan")]).options(off.map(|way| (way, "off")))
}

/// A bounded number of connections of one purpose.
pub(super) struct Pool {
    options: PgConnectOptions,
    permits: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
    deadline: Duration,
    watch: Watch,
}

impl Pool {
    /// At most `count` connections, opened when they are needed. `deadline` is that of a transaction, the wait for a
    /// connection included; a statement that runs for longer is ended by the server as well.
    pub(super) fn new(
        options: &PgConnectOptions,
        purpose: &'static str,
        count: usize,
        deadline: Duration,
    ) -> Arc<Self> {
        let milliseconds = deadline.as_millis().to_string();
        let options = options.clone().application_name(&format!("fairhook {purpose}")).options([
            ("statement_timeout", milliseconds.as_str()),
            ("idle_in_transaction_session_timeout", milliseconds.as_str()),
            // It would compile plans that run for a millisecond.
            ("jit", "off"),
        ]);
        let options =
            options.statement_cache_capacity(limits::PG_STATEMENTS_CACHED).disable_statement_logging();
        Arc::new(Self {
            options,
            permits: Semaphore::new(count),
            idle: Mutex::new(Vec::with_capacity(count)),
            deadline,
            watch: Watch::new("reached"),
        })
    }

    /// When a transaction that begins now has to end.
    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// Runs `job` in a transaction that `begin` begins (`BEGIN` and what is set for it), to its end in any case.
    pub(super) async fn run<T, F>(
        self: &Arc<Self>,
        begin: String,
        until: Instant,
        job: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + 'static,
    {
        let pool = Arc::clone(self);
        let result = to_the_end(async move { pool.lend(&begin, until, job).await });
        let result = result.await.map_err(store_error);
        self.watch.note(&result);
        result
    }

    /// The same for a job that may be run again: it is, at once, if somebody else was in the way.
    pub(super) async fn run_again<T, F>(
        self: &Arc<Self>,
        begin: &'static str,
        job: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + Sync + 'static,
    {
        let pool = Arc::clone(self);
        let result = to_the_end(async move {
            let until = pool.until();
            let mut conflicts = 0;
            loop {
                match pool.lend(begin, until, &job).await {
                    Err(error)
                        if failure(&error) == Failure::Conflict && conflicts < limits::PG_CONFLICTS =>
                    {
                        conflicts += 1;
                    }
                    result => return result,
                }
            }
        });
        let result = result.await.map_err(store_error);
        self.watch.note(&result);
        result
    }

    /// Runs a read that needs no transaction: each of its statements sees what is committed by then, as it would in one, and two
    /// round trips are saved. It is asked again if the connection turns out to have ended while it was idle.
    pub(super) async fn ask<T, F>(self: &Arc<Self>, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + Sync + 'static,
    {
        let (pool, until) = (Arc::clone(self), self.until());
        let asking = async move {
            let asked = timeout_at(until, pool.answer(&job)).await;
            asked.unwrap_or_else(|_| Err(too_late()))
        };
        let result = to_the_end(asking).await.map_err(store_error);
        self.watch.note(&result);
        result
    }

    async fn answer<T, F>(&self, job: &F) -> Result<T, sqlx::Error>
    where
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    {
        let _permit = self.permits.acquire().await.expect("nobody closes the semaphore");
        let idle = locked(&self.idle).pop();
        if let Some(mut connection) = idle {
            match job(&mut connection).await {
                // The server has ended it, and so the others.
                Err(error) if failure(&error) == Failure::Unavailable => locked(&self.idle).clear(),
                result => return self.keep(connection, result),
            }
        }
        let mut connection = self.options.connect().await?;
        let result = job(&mut connection).await;
        self.keep(connection, result)
    }

    /// A connection on which something went wrong is closed.
    fn keep<T>(&self, connection: PgConnection, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if result.is_ok() {
            locked(&self.idle).push(connection);
        }
        result
    }

    /// As [`Self::run_again`] for a batch; if the database does not take its data, it finds out whose it was and goes on without.
    pub(super) async fn run_batch<B: Batch>(&self, begin: &str, batch: &B) -> Result<B::Answer, StoreError> {
        let until = self.until();
        let (mut conflicts, mut careful) = (0, false);
        let result = loop {
            let transaction = async {
                let mut lent = self.take(begin).await?;
                let result = culprits::run(batch, &mut lent.connection, careful).await;
                lent.end(result).await
            };
            let result = timeout_at(until, transaction).await.unwrap_or_else(|_| Err(too_late()));
            match result.as_ref().map_err(failure) {
                Err(Failure::Conflict) if conflicts < limits::PG_CONFLICTS => conflicts += 1,
                Err(Failure::Data) if !careful => careful = true,
                _ => break result.map_err(store_error),
            }
        };
        self.watch.note(&result);
        result
    }

    async fn lend<T, F>(&self, begin: &str, until: Instant, job: F) -> Result<T, sqlx::Error>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    {
        let transaction = async {
            let mut lent = self.take(begin).await?;
            let result = job(&mut lent.connection).await;
            lent.end(result).await
        };
        timeout_at(until, transaction).await.unwrap_or_else(|_| Err(too_late()))
    }

    async fn take(&self, begin: &str) -> Result<Lent<'_>, sqlx::Error> {
        let permit = self.permits.acquire().await.expect("nobody closes the semaphore");
        Ok(Lent { connection: self.begin(begin).await?, pool: self, _permit: permit })
    }

    /// A connection with a transaction begun on it.
    async fn begin(&self, begin: &str) -> Result<PgConnection, sqlx::Error> {
        let idle = locked(&self.idle).pop();
        if let Some(mut connection) = idle {
            match sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut connection).await {
                Ok(_) => return Ok(connection),
                // The server has ended it, and so the others.
                Err(error) if failure(&error) == Failure::Unavailable => locked(&self.idle).clear(),
                Err(error) => return Err(error),
            }
        }
        let mut connection = self.options.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut connection).await?;
        Ok(connection)
    }

    /// Closes what is idle and lends nothing any more once what is under way has ended.
    pub(super) async fn close(&self) {
        let idle: Vec<_> = locked(&self.idle).drain(..).collect();
        for connection in idle {
            // It is gone either way.
            let _ = connection.close().await;
        }
    }
}

/// A connection with a transaction on it; closed when dropped, which rolls back.
struct Lent<'a> {
    connection: PgConnection,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Lent<'_> {
    /// Commits if it went well, and gives the connection back.
    async fn end<T>(self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let Self { mut connection, pool, .. } = self;
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = sqlx::raw_sql(end).execute(&mut connection).await;
        if ended.is_ok() {
            locked(&pool.idle).push(connection);
        }
        let result = result?;
        ended.map(|_| result)
    }
}

/// Waits for something that goes on when nobody waits for it any more.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, sqlx::Error> {
    tokio::spawn(work).await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        // The runtime ends.
        Err(_) => Err(sqlx::Error::WorkerCrashed),
    })
}

/// The error of a transaction whose time is over.
fn too_late() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time"))
}
