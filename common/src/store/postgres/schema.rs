//! How the schema is brought up while processes of an older version serve: a migration waits for a table for a moment only, and
//! otherwise lets go of everything and comes again. Whoever wants a table waits behind those that wait for it already, so a
//! migration that waited for as long as a dump takes would stop the engine for as long.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqlSafeStr};
use tokio::time::sleep;
use uuid::Uuid;

use super::error::store_error;
use super::tenant_role;
use crate::limits;
use crate::store::StoreError;

/// A lock was not to be had in time, and a deadlock of which we were to give way.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const IN_THE_WAY: [&str; 2] = ["55P03", "40P01"];

/// Brings the schema up; whoever comes second waits for the first and finds it done. Returns the greatest event id, so that
/// a process whose clock has stepped back goes on behind what it admitted before.
pub(super) async fn bring_up(options: &PgConnectOptions) -> Result<Uuid, StoreError> {
    let options = options.clone().application_name("fairhook schema");
    let mut connection = options.connect().await.map_err(store_error)?;
    tenant_role::provide(&mut connection).await?;
    // Not by the migrator, for the others' turn may be long in coming.
    connection.lock().await.map_err(broken)?;
    migrate(&mut connection).await?;
    connection.unlock().await.map_err(broken)?;
    let greatest =
        sqlx::query("SELECT id FROM events ORDER BY id DESC LIMIT 1").fetch_optional(&mut connection);
    let greatest = greatest.await.and_then(|row| row.map(|row| row.try_get(0)).transpose());
    Ok(greatest.map_err(store_error)?.unwrap_or_default())
}

/// Runs what has not been run yet, each migration in a transaction of its own.
async fn migrate(db: &mut PgConnection) -> Result<(), StoreError> {
    let mut migrations = migrations();
    migrations.set_locking(false);
    let milliseconds = limits::PG_SCHEMA_LOCK_WAIT.as_millis();
    set(db, format!("SET lock_timeout = {milliseconds}")).await?;
    let mut pauses = pauses();
    while let Err(error) = migrations.run(&mut *db).await {
        if !is_in_the_way(&error) {
            return Err(broken(error));
        }
        let Some(pause) = pauses.next() else {
            let detail =
                format!("the schema cannot be brought up, for somebody holds a table all the time: {error}");
            return Err(StoreError::Unavailable(detail));
        };
        tracing::warn!(
            error.detail = %error,
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "somebody uses a table that a migration changes; trying again"
        );
        sleep(pause).await;
    }
    set(db, "RESET lock_timeout".into()).await
}

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(limits::PG_SCHEMA_PAUSE_MIN)
        .with_max_delay(limits::PG_SCHEMA_PAUSE_MAX)
        .with_max_times(limits::PG_SCHEMA_TRIES)
        .build()
}

async fn set(db: &mut PgConnection, sql: String) -> Result<(), StoreError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await.map(drop).map_err(store_error)
}

fn is_in_the_way(error: &MigrateError) -> bool {
    let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = error else {
        return false;
    };
    let code = cause.as_database_error().and_then(|e| e.code());
    code.is_some_and(|code| IN_THE_WAY.contains(&&*code))
}

fn broken(error: MigrateError) -> StoreError {
    StoreError::Internal(error.to_string())
}

fn migrations() -> Migrator {
    let files = [
        (1, "initial", include_str!("../../../../migrations/postgres/0001_initial.sql")),
        (2, "tenant role", include_str!("../../../../migrations/postgres/0002_tenant_role.sql")),
        (
            3,
            "dead letters by event",
            include_str!("../../../../migrations/postgres/0003_dead_letters_by_event.sql"),
        ),
        (4, "nodes behind", include_str!("../../../../migrations/postgres/0004_nodes_behind.sql")),
        (5, "conditions", include_str!("../../../../migrations/postgres/0005_conditions.sql")),
        (6, "plans", include_str!("../../../../migrations/postgres/0006_plans.sql")),
        (7, "overrides", include_str!("../../../../migrations/postgres/0007_overrides.sql")),
        (8, "limit minutes", include_str!("../../../../migrations/postgres/0008_limit_minutes.sql")),
        (9, "sources", include_str!("../../../../migrations/postgres/0009_sources.sql")),
        (10, "cloudevents", include_str!("../../../../migrations/postgres/0010_cloudevents.sql")),
        (11, "parked by lane", include_str!("../../../../migrations/postgres/0011_parked_by_lane.sql")),
    ];
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(files.into_iter().map(migration).collect())
}
