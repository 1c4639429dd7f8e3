//! Connections, in pools that do not take one another's room, and transactions on them.
//!
//! A connection is used for one transaction at a time and has a deadline on each. One that is left half way (its caller
//! has gone, its time is over, its server does not answer) is closed and not used again: the server rolls back what was
//! not committed. There is no test of a connection before or after its use, which would cost a round trip each; one that
//! turns out to be dead at its first statement is replaced by a new one.

use std::sync::Mutex;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::error::{Failure, failure, store_error};
use crate::limits;
use crate::store::outage::Watch;
use crate::store::{BoxFuture, StoreError, locked};

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
    ) -> Self {
        let milliseconds = deadline.as_millis().to_string();
        let options = options.clone().application_name(&format!("fairhook {purpose}")).options([
            ("statement_timeout", milliseconds.as_str()),
            ("idle_in_transaction_session_timeout", milliseconds.as_str()),
            // It would compile plans that run for a millisecond.
            ("jit", "off"),
        ]);
        let options =
            options.statement_cache_capacity(limits::PG_STATEMENTS_CACHED).disable_statement_logging();
        Self {
            options,
            permits: Semaphore::new(count),
            idle: Mutex::new(Vec::with_capacity(count)),
            deadline,
            watch: Watch::new("reached"),
        }
    }

    /// When a transaction that begins now has to end.
    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// Runs `job` in a transaction that `begin` begins (`BEGIN` and what is set for it).
    pub(super) async fn run<T, F>(&self, begin: &str, until: Instant, job: F) -> Result<T, StoreError>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    {
        let result = self.lend(begin, until, job).await.map_err(store_error);
        self.watch.note(&result);
        result
    }

    /// The same for a batch, whose job may be run again: at once if somebody else was in the way, and with `true` if the
    /// database did not take its data: it has to find out whose it was.
    pub(super) async fn run_batch<T, F>(&self, begin: &str, job: F) -> Result<T, StoreError>
    where
        F: for<'c> Fn(&'c mut PgConnection, bool) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    {
        let until = self.until();
        let (mut conflicts, mut careful) = (0, false);
        let result = loop {
            let result = self.lend(begin, until, |connection| job(connection, careful)).await;
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
            let _permit = self.permits.acquire().await.expect("nobody closes the semaphore");
            let mut connection = self.begin(begin).await?;
            let result = job(&mut connection).await;
            let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
            let ended = sqlx::raw_sql(end).execute(&mut connection).await;
            if ended.is_ok() {
                locked(&self.idle).push(connection);
            }
            let result = result?;
            ended.map(|_| result)
        };
        timeout_at(until, transaction).await.unwrap_or_else(|_| Err(too_late()))
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

/// The error of a transaction whose time is over.
fn too_late() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time"))
}
