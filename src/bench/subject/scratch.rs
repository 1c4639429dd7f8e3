//! A database of the bench's own on the server that is there, and what its engine leaves at the broker. Both go with it.
//!
//! The bench is no part of the engine: here, and where the raw parts are measured, it talks to the servers itself.

use std::thread;

use futures_util::StreamExt;
use futures_util::stream;
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use uuid::Uuid;

use super::Servers;
use crate::bench::BenchError;

/// Queues that are deleted at the same time.
const DELETED_AT_ONCE: usize = 64;

/// A database that is dropped with it, and with it every queue that its engine made. What every engine has in common at the
/// broker, such as its exchanges, stays.
pub struct Scratch {
    /// The servers, with the database of our own.
    pub servers: Servers,
    outside: Servers,
    database: String,
}

impl Scratch {
    /// Makes a database, empty.
    pub async fn make(outside: &Servers) -> Result<Self, BenchError> {
        let database = format!("fairhook_bench_{}", Uuid::new_v4().simple());
        let mut connection = PgConnection::connect(outside.store.as_str()).await?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut connection).await?;
        let scratch = Self { servers: outside.with_database(&database), outside: outside.clone(), database };
        connection.close().await?;
        Ok(scratch)
    }

    /// Takes everything away.
    async fn remove(&self) -> Result<(), BenchError> {
        let queues = self.queues().await.unwrap_or_default();
        if !queues.is_empty() {
            self.delete(queues).await?;
        }
        let mut connection = PgConnection::connect(self.outside.store.as_str()).await?;
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// The queues that an engine on this database has made: the tenants', and the mark of its epoch.
    async fn queues(&self) -> Result<Vec<String>, BenchError> {
        let mut connection = PgConnection::connect(self.servers.store.as_str()).await?;
        let named = "SELECT queue FROM tenants UNION ALL \
                     SELECT 'fairhook.epoch.' || queue_epoch FROM cluster WHERE queue_epoch IS NOT NULL";
        let queues = sqlx::query_scalar(named).fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(queues)
    }

    async fn delete(&self, queues: Vec<String>) -> Result<(), BenchError> {
        let connection = Connection::connect(&self.servers.queue, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let deleted = stream::iter(queues)
            .map(|queue| channel.queue_delete(queue.into(), QueueDeleteOptions::default()))
            .buffer_unordered(DELETED_AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        connection.close(200, "done".into()).await?;
        deleted.into_iter().try_for_each(|deleted| deleted.map(drop)).map_err(BenchError::from)
    }
}

/// However the bench ends, but for a crash: on a thread with a runtime of its own, since nothing can be awaited here.
impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = thread::scope(|scope| {
            let removing = scope.spawn(|| {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
                runtime.block_on(self.remove())
            });
            removing.join()
        });
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("fairhook bench: {} is left behind: {error}", self.database),
            Err(_panicked) => eprintln!("fairhook bench: {} is left behind", self.database),
        }
    }
}
