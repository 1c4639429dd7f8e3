//! The embedded store: where it keeps its data, how it is opened, and how its tables are proved to agree with one another.

use std::sync::Arc;
use std::time::Duration;

use fairhook_common::store::SharedStore;
use fairhook_common::store::sqlite::SqliteStore;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

use crate::contradictions::CONTRADICTIONS;

/// Where a store of one test keeps its data; gone with the test.
pub struct Home(TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    pub async fn open(&self) -> SharedStore {
        Arc::new(SqliteStore::open(self.0.path()).await.expect("the store opens"))
    }

    /// Runs a statement past the store.
    pub async fn run(&self, sql: &'static str) {
        let options = SqliteConnectOptions::new().filename(self.0.path().join("fairhook.db"));
        let options = options.busy_timeout(Duration::from_secs(20));
        let mut connection: SqliteConnection = sqlx::ConnectOptions::connect(&options).await.expect("opens");
        sqlx::query(sql).execute(&mut connection).await.expect(sql);
    }

    /// Panics if the tables contradict one another.
    pub async fn assert_sound(&self) {
        let options = SqliteConnectOptions::new().filename(self.0.path().join("fairhook.db")).read_only(true);
        let mut connection: SqliteConnection = sqlx::ConnectOptions::connect(&options).await.expect("opens");
        for (name, query) in CONTRADICTIONS {
            let found = sqlx::query(*query).fetch_all(&mut connection).await.expect(name);
            let found: Vec<Vec<u8>> = found.iter().map(|row| row.get(0)).collect();
            assert!(found.is_empty(), "{name}: {found:?}");
        }
    }
}
