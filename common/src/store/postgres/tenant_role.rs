//! The tenant's role. It belongs to the whole server and not to our database, so that it is looked after at every start and
//! not by a migration alone: a database may have come here from another server.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::error::store_error;
use crate::store::StoreError;

/// Not allowed to do that.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Sees to it that the role is there, that the engine's may act as it, and that it is bound by row-level security. What the
/// engine's role may not do itself the error says, as the SQL that an administrator has to run.
pub(super) async fn provide(db: &mut PgConnection) -> Result<(), StoreError> {
    const KNOWN: &str = "SELECT quote_ident(current_user) AS engine, (SELECT rolsuper OR rolbypassrls FROM pg_roles \
        WHERE rolname = 'fairhook_tenant') AS unbound";
    let row = sqlx::query(KNOWN).fetch_one(&mut *db).await.map_err(store_error)?;
    let engine: String = row.try_get("engine").map_err(store_error)?;
    match row.try_get::<Option<bool>, _>("unbound").map_err(store_error)? {
        None => allowed(run(db, "CREATE ROLE fairhook_tenant NOLOGIN").await, &engine)?,
        Some(true) => {
            return Err(StoreError::Internal(
                "the role fairhook_tenant sees the rows of all tenants; let an administrator run: \
                 ALTER ROLE fairhook_tenant NOSUPERUSER NOBYPASSRLS"
                    .into(),
            ));
        }
        Some(false) => {}
    }
    // To be a member is not enough with every version of the server: what counts is whether it can be done.
    if act(db).await.is_err() {
        allowed(run(db, &format!("GRANT fairhook_tenant TO {engine}")).await, &engine)?;
        allowed(act(db).await, &engine)?;
    }
    Ok(())
}

async fn act(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    run(db, "BEGIN; SET LOCAL ROLE fairhook_tenant; COMMIT").await
}

async fn run(db: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *db).await;
    if done.is_err() {
        // It may have begun a transaction.
        sqlx::raw_sql("ROLLBACK").execute(db).await?;
    }
    done.map(drop)
}

/// What another process is doing at the same time it may have done by now: whether it has is seen next.
fn allowed(done: Result<(), sqlx::Error>, engine: &str) -> Result<(), StoreError> {
    match done {
        Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE) => {
            Err(StoreError::Internal(format!(
                "the role {engine} may not provide itself with the role fairhook_tenant ({e}); let an administrator run: \
                 CREATE ROLE fairhook_tenant NOLOGIN (unless it is there); GRANT fairhook_tenant TO {engine}"
            )))
        }
        Err(sqlx::Error::Database(_)) | Ok(()) => Ok(()),
        Err(error) => Err(store_error(error)),
    }
}
