//! What stands behind the two seams.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fairhook_common::config::{self, Config};
use fairhook_common::queue::Queue;
use fairhook_common::queue::memory::MemoryQueue;
use fairhook_common::store::sqlite::SqliteStore;
use fairhook_common::store::{Recovery, SharedStore, StoreError};
use fairhook_common::time::Timestamp;

use super::StartError;
use crate::data_dir::{self, InUse};
use crate::recovery::Found;

/// A store and a queue that are open.
pub struct Backends {
    /// The truth.
    pub store: SharedStore,
    /// What spreads first attempts.
    pub queue: Arc<dyn Queue>,
    directory: PathBuf,
}

/// Brings the store's schema up, which every start does too.
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    match config.backends() {
        config::Backends::Embedded(directory) => open_directory(config, directory).await.map(drop),
        config::Backends::Distributed { .. } => Err(StartError::NotInThisVersion),
    }
}

impl Backends {
    /// Opens those that are configured, the schema brought up.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        match config.backends() {
            config::Backends::Embedded(directory) => Ok(Self {
                store: Arc::new(open_directory(config, directory).await?),
                queue: Arc::new(MemoryQueue::new()),
                directory: directory.to_owned(),
            }),
            config::Backends::Distributed { .. } => Err(StartError::NotInThisVersion),
        }
    }

    /// Takes up what an earlier process left behind: what it had queued or claimed lives on in no other process, so all of
    /// it is due.
    pub async fn take_up(&self) -> Result<(InUse, Option<Found>), StartError> {
        let in_use =
            InUse::mark(&self.directory).map_err(|e| StartError::DataDir(self.directory.clone(), e))?;
        let found = everything_due(&self.store, in_use.unclean).await.map_err(StartError::Recovery)?;
        Ok((in_use, Some(found)))
    }
}

async fn open_directory(config: &Config, directory: &Path) -> Result<SqliteStore, StartError> {
    let elsewhere = (directory != config.data_dir).then_some(directory);
    for directory in [config.data_dir.as_path()].into_iter().chain(elsewhere) {
        data_dir::make(directory).map_err(|e| StartError::DataDir(directory.to_owned(), e))?;
    }
    SqliteStore::open(directory).await.map_err(|e| StartError::Store(directory.to_owned(), e))
}

async fn everything_due(store: &SharedStore, unclean: bool) -> Result<Found, StoreError> {
    let made_due = store.recover(Recovery::Everything, Timestamp::now()).await?;
    let counts = store.totals().await?;
    tracing::debug!(made_due, waiting = counts.waiting(), unclean, "took up what was left behind");
    Ok(Found { counts, unclean })
}
