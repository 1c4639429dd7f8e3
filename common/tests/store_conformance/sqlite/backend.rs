//! The embedded store: where it keeps its data, how it is opened, and how its tables are proved to agree with one another.

use std::path::PathBuf;
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

    /// The files of large payloads, in the order of their names.
    pub fn payload_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.path().join("payloads")).expect("a directory");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort_unstable();
        files
    }

    /// Runs a statement past the store.
    pub async fn run(&self, sql: &'static str) {
        let options = SqliteConnectOptions::new().filename(self.0.path().join("fairhook.db"));
        let options = options.busy_timeout(Duration::from_secs(20));
        let mut connection: SqliteConnection = sqlx::ConnectOptions::connect(&options).await.expect("opens");
        sqlx::query(sql).execute(&mut connection).await.expect(sql);
    }

    /// Panics if the tables contradict one another, or the files with payloads are others than they name.
    pub async fn assert_sound(&self) {
        let options = SqliteConnectOptions::new().filename(self.0.path().join("fairhook.db")).read_only(true);
        let mut connection: SqliteConnection = sqlx::ConnectOptions::connect(&options).await.expect("opens");
        for (name, query) in CONTRADICTIONS {
            let found = sqlx::query(*query).fetch_all(&mut connection).await.expect(name);
            let found: Vec<Vec<u8>> = found.iter().map(|row| row.get(0)).collect();
            assert!(found.is_empty(), "{name}: {found:?}");
        }
        let named = "SELECT lower(hex(payload_file)) AS name, payload_bytes FROM events WHERE payload_file IS NOT NULL ORDER BY 1";
        let named = sqlx::query(named).fetch_all(&mut connection).await.expect("the files named");
        let named: Vec<(String, u64)> = named.iter().map(|row| (row.get(0), row.get(1))).collect();
        let there = self.payload_files().into_iter().map(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
            (name, std::fs::metadata(path).expect("is there").len())
        });
        assert_eq!(there.collect::<Vec<_>>(), named, "files that are there, then those named");
    }
}
