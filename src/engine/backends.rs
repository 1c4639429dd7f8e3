//! What stands behind the two seams: SQLite and queues in this process, or Postgres and RabbitMQ.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fairhook_common::config::{self, Config, ServerUrl};
use fairhook_common::metrics::Families;
use fairhook_common::queue::Queue;
use fairhook_common::queue::memory::MemoryQueue;
use fairhook_common::queue::rabbit::{RabbitQueue, RabbitSettings};
use fairhook_common::store::postgres::PostgresStore;
use fairhook_common::store::sqlite::SqliteStore;
use fairhook_common::store::{Recovery, SharedStore, StoreError};
use fairhook_common::time::Timestamp;

use super::{StartError, waiting};
use crate::data_dir::{self, InUse};
use crate::recovery::Found;

/// A store and a queue that are open.
pub struct Backends {
    /// The truth.
    pub store: SharedStore,
    /// What spreads first attempts.
    pub queue: Arc<dyn Queue>,
    pair: Pair,
}

/// What only the one pair or the other has.
enum Pair {
    Embedded(PathBuf),
    Distributed(Arc<PostgresStore>),
}

/// What is given back when a process ends.
pub enum Hold {
    /// The mark in the data directory.
    Embedded(InUse),
    /// Connections to Postgres.
    Distributed(Arc<PostgresStore>),
}

/// Brings the store's schema up, which every start does too.
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    match config.backends() {
        config::Backends::Embedded(directory) => open_directory(config, directory).await.map(drop),
        config::Backends::Distributed { store, .. } => {
            open_postgres(config, store).await?.close().await;
            Ok(())
        }
    }
}

impl Backends {
    /// Opens those that are configured, the schema brought up. Waits for a Postgres that is not there yet; RabbitMQ need not
    /// be there, for nothing that is accepted waits for it.
    pub async fn open(config: &Config, node: &str, families: &Families) -> Result<Self, StartError> {
        match config.backends() {
            config::Backends::Embedded(directory) => Ok(Self {
                store: Arc::new(open_directory(config, directory).await?),
                queue: Arc::new(MemoryQueue::new()),
                pair: Pair::Embedded(directory.to_owned()),
            }),
            config::Backends::Distributed { store, queue } => {
                let opened = Arc::new(open_postgres(config, store).await?);
                let queue = Arc::new(dial(config, queue, node, families).await?);
                Ok(Self { store: opened.clone(), queue, pair: Pair::Distributed(opened) })
            }
        }
    }

    /// Takes up what an earlier process left behind, if nobody else can: what the embedded pair had queued or claimed lives
    /// on in no other process, so all of it is due. On the other pair leases and sweeps see to it, whoever has died.
    pub async fn take_up(&self) -> Result<(Hold, Option<Found>), StartError> {
        let directory = match &self.pair {
            Pair::Distributed(store) => return Ok((Hold::Distributed(Arc::clone(store)), None)),
            Pair::Embedded(directory) => directory,
        };
        let in_use = InUse::mark(directory).map_err(|e| StartError::DataDir(directory.clone(), e))?;
        let found = everything_due(&self.store, in_use.unclean).await.map_err(StartError::Recovery)?;
        Ok((Hold::Embedded(in_use), Some(found)))
    }
}

impl Hold {
    /// Everything has ended in order.
    pub async fn ended_in_order(self) {
        match self {
            Self::Embedded(in_use) => in_use.ended_in_order(),
            Self::Distributed(store) => store.close().await,
        }
    }
}

async fn open_directory(config: &Config, directory: &Path) -> Result<SqliteStore, StartError> {
    let elsewhere = (directory != config.data_dir).then_some(directory);
    for directory in [config.data_dir.as_path()].into_iter().chain(elsewhere) {
        data_dir::make(directory).map_err(|e| StartError::DataDir(directory.to_owned(), e))?;
    }
    SqliteStore::open(directory).await.map_err(|e| StartError::Store(directory.to_owned(), e))
}

async fn open_postgres(config: &Config, place: &ServerUrl) -> Result<PostgresStore, StartError> {
    let open = || PostgresStore::open(place.reveal());
    let opened = waiting::for_store(place, config.start_deadline, open).await;
    opened.map_err(|e| StartError::Postgres(place.clone(), e))
}

async fn dial(
    config: &Config,
    place: &ServerUrl,
    node: &str,
    families: &Families,
) -> Result<RabbitQueue, StartError> {
    let settings = RabbitSettings {
        queue_type: config.queue_type,
        connection_name: node.to_owned(),
        families: Some(families.clone()),
    };
    let dialled = RabbitQueue::connect(place.reveal(), settings).await;
    dialled.map_err(|e| StartError::RabbitMq(place.clone(), e))
}

async fn everything_due(store: &SharedStore, unclean: bool) -> Result<Found, StoreError> {
    let made_due = store.recover(Recovery::Everything, Timestamp::now()).await?;
    let counts = store.totals().await?;
    tracing::debug!(made_due, waiting = counts.waiting(), unclean, "took up what was left behind");
    Ok(Found { counts, unclean })
}
