//! What a commit promises. A 202 says that an event is on disk, and so has every commit that stands behind one to be.
//!
//! A role, a database or the whole server may be set to answer before that. What can be set for a connection is set for ours; the
//! rest is told.

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::error::store_error;
use crate::store::StoreError;

/// Options of connections whose commits are as durable as the server makes any.
pub(super) async fn durable(options: PgConnectOptions) -> Result<PgConnectOptions, StoreError> {
    const LAX: &str = "SELECT name FROM pg_settings WHERE setting = 'off' \
        AND name IN ('synchronous_commit', 'fsync', 'full_page_writes') ORDER BY name";
    let mut connection =
        options.clone().application_name("fairhook schema").connect().await.map_err(store_error)?;
    let lax: Vec<String> = sqlx::query_scalar(LAX).fetch_all(&mut connection).await.map_err(store_error)?;
    let (ours, theirs): (Vec<_>, Vec<_>) = lax.iter().partition(|name| *name == "synchronous_commit");
    for name in theirs {
        tracing::warn!(
            setting = name,
            "the server's setting is off: what was accepted may be lost when its machine crashes"
        );
    }
    if ours.is_empty() {
        return Ok(options);
    }
    tracing::warn!("synchronous_commit is off for this role and database; Fairhook's connections set it on");
    Ok(options.options([("synchronous_commit", "on")]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn our_commits_wait_for_the_disk_where_others_need_not() {
        #[allow(clippy::disallowed_methods)] // Where the server is can only be said from outside.
        let url = std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL names a server");
        let options: PgConnectOptions = url.parse().expect("a URL");
        for (set, expected) in
            [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
        {
            let given = options.clone().options([("synchronous_commit", set)]);
            let mut connection = durable(given).await.expect("asked").connect().await.expect("connects");
            let setting: String = sqlx::query_scalar("SHOW synchronous_commit")
                .fetch_one(&mut connection)
                .await
                .expect("shown");
            assert_eq!(setting, expected, "it was {set}");
        }
    }
}
