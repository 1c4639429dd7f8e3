//! The distributed engine's store: a database per test, made from one that is migrated once, and how its tables are proved
//! to agree with one another.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use fairhook_common::store::SharedStore;
use fairhook_common::store::postgres::PostgresStore;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Row};
use uuid::Uuid;

use crate::contradictions::CONTRADICTIONS;

/// What a template is made of.
const SCHEMA: [&str; 4] = [
    include_str!("../../../../migrations/postgres/0001_initial.sql"),
    include_str!("../../../../migrations/postgres/0002_tenant_role.sql"),
    include_str!("../../../../migrations/postgres/0003_dead_letters_by_event.sql"),
    include_str!("../../../../migrations/postgres/0004_nodes_behind.sql"),
];

/// The database of one test; gone with the test.
pub struct Home {
    server: String,
    database: String,
}

impl Home {
    pub fn new() -> Self {
        static TEMPLATE: OnceLock<String> = OnceLock::new();
        #[allow(clippy::disallowed_methods)] // Where the server is can only be said from outside.
        let server = std::env::var("TEST_POSTGRES_URL").unwrap_or_else(|_| {
            panic!("TEST_POSTGRES_URL must name a PostgreSQL server; `make test` starts one and sets it")
        });
        let template = TEMPLATE.get_or_init(|| elsewhere(|| template(server.clone())));
        let database = format!("fairhook_test_{}", Uuid::now_v7().simple());
        elsewhere(|| admin(server.clone(), format!("CREATE DATABASE {database} TEMPLATE {template}")));
        Self { server, database }
    }

    pub async fn open(&self) -> SharedStore {
        Arc::new(PostgresStore::open(&url_of(&self.server, &self.database)).await.expect("the store opens"))
    }

    /// Where it is.
    pub fn url(&self) -> String {
        url_of(&self.server, &self.database)
    }

    /// A connection past the store.
    pub async fn connect(&self) -> PgConnection {
        connect(&self.server, &self.database).await
    }

    /// Runs a statement past the store.
    pub async fn run(&self, sql: &str) {
        statement(&mut self.connect().await, sql).await;
    }

    /// Panics if the tables contradict one another.
    pub async fn assert_sound(&self) {
        let mut connection = connect(&self.server, &self.database).await;
        for (name, query) in CONTRADICTIONS {
            let found = sqlx::query(*query).fetch_all(&mut connection).await.expect(name);
            let found: Vec<Uuid> = found.iter().map(|row| row.get(0)).collect();
            assert!(found.is_empty(), "{name}: {found:?}");
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        elsewhere(|| admin(self.server.clone(), format!("DROP DATABASE {} WITH (FORCE)", self.database)));
    }
}

/// The database that those of tests are copies of, made by whoever comes first and kept for later runs of the same schema.
/// Nobody may be connected to it while it is copied.
async fn template(server: String) -> String {
    let mut schema = DefaultHasher::new();
    SCHEMA.hash(&mut schema);
    let name = format!("fairhook_template_{:016x}", schema.finish());
    let mut connection = connect(&server, "postgres").await;
    let known = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(&name);
    if known.fetch_optional(&mut connection).await.expect("reads").is_some() {
        return name;
    }
    let making = format!("{name}_{}", Uuid::now_v7().simple());
    admin(server.clone(), format!("CREATE DATABASE {making}")).await;
    let store = PostgresStore::open(&url_of(&server, &making)).await.expect("the store opens");
    store.close().await;
    drop(store);
    let rename = AssertSqlSafe(format!("ALTER DATABASE {making} RENAME TO {name}"));
    if sqlx::raw_sql(rename).execute(&mut connection).await.is_err() {
        // Another process was faster.
        admin(server, format!("DROP DATABASE {making} WITH (FORCE)")).await;
    }
    name
}

async fn admin(server: String, sql: String) {
    let options: PgConnectOptions = server.parse().expect("TEST_POSTGRES_URL is a URL of PostgreSQL");
    let mut connection = PgConnection::connect_with(&options).await.expect("TEST_POSTGRES_URL can be reached");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("done");
    connection.close().await.expect("closed");
}

/// Runs a statement that a test needs beside the store.
pub async fn statement(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect(sql);
}

async fn connect(server: &str, database: &str) -> PgConnection {
    PgConnection::connect(&url_of(server, database)).await.expect("connects")
}

fn url_of(server: &str, database: &str) -> String {
    let mut url: url::Url = server.parse().expect("TEST_POSTGRES_URL is a URL");
    url.set_path(database);
    url.into()
}

/// Runs something to its end from where nothing can be awaited, and apart from the runtime of a test.
fn elsewhere<T: Send, R: Future<Output = T>>(what: impl FnOnce() -> R + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(what())
    };
    std::thread::scope(|scope| scope.spawn(run).join().expect("it goes well"))
}
