//! What our connections set for themselves: what a commit promises, and how large values are compressed.
//!
//! A 202 says that an event is on disk, and so has every commit that stands behind one to be. A role, a database or the whole server
//! may be set to answer before that. What can be set for a connection is set for ours; the rest is told.

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::error::store_error;
use crate::store::StoreError;

/// Options of connections whose commits are as durable as the server makes any, and whose large values cost it little.
pub(super) async fn settled(options: PgConnectOptions) -> Result<PgConnectOptions, StoreError> {
    let mut connection =
        options.clone().application_name("fairhook schema").connect().await.map_err(store_error)?;
    const ASKED: &str = "SELECT name, setting, coalesce('lz4' = ANY (enumvals), false) FROM pg_settings WHERE name IN \
        ('synchronous_commit', 'fsync', 'full_page_writes', 'default_toast_compression') ORDER BY name";
    let asked = sqlx::query_as::<_, (String, String, bool)>(ASKED).fetch_all(&mut connection).await;
    let mut ours = Vec::new();
    for (name, setting, has_lz4) in asked.map_err(store_error)? {
        match (name.as_str(), setting.as_str()) {
            ("synchronous_commit", "off") => {
                tracing::warn!(
                    "synchronous_commit is off for this role and database; Fairhook's connections set it on"
                );
                ours.push((name, "on"));
            }
            (_, "off") => tracing::warn!(
                setting = name,
                "the server's setting is off: what was accepted may be lost when its machine crashes"
            ),
            // To insert a mebibyte of JSON takes 22 to 32 ms with the other compression, 8 to 12 with this one and 8 to 9 with none: the
            // rest is time for a processor, which others wait for. A server before version 14, or one that was built without it, does
            // not have it.
            ("default_toast_compression", "pglz") if has_lz4 => ours.push((name, "lz4")),
            _ => {}
        }
    }
    Ok(options.options(ours))
}

#[cfg(test)]
mod tests {
    use sqlx::PgConnection;

    use super::*;

    async fn connect(set: (&str, &str)) -> PgConnection {
        #[allow(clippy::disallowed_methods)] // Where the server is can only be said from outside.
        let url = std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL names a server");
        let options: PgConnectOptions = url.parse().expect("a URL");
        settled(options.options([set])).await.expect("asked").connect().await.expect("connects")
    }

    #[tokio::test]
    async fn our_commits_wait_for_the_disk_where_others_need_not() {
        for (set, expected) in
            [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
        {
            let mut connection = connect(("synchronous_commit", set)).await;
            let setting: String = sqlx::query_scalar("SHOW synchronous_commit")
                .fetch_one(&mut connection)
                .await
                .expect("shown");
            assert_eq!(setting, expected, "it was {set}");
        }
    }

    #[tokio::test]
    async fn large_values_are_compressed_in_the_way_that_takes_least() {
        let mut connection = connect(("default_toast_compression", "pglz")).await;
        let mut insert = async |text: String| -> String {
            let sql = "CREATE TEMPORARY TABLE IF NOT EXISTS large (value text)";
            sqlx::query(sql).execute(&mut connection).await.expect("made");
            sqlx::query("TRUNCATE large").execute(&mut connection).await.expect("empty");
            sqlx::query("INSERT INTO large VALUES ($1)")
                .bind(text)
                .execute(&mut connection)
                .await
                .expect("stored");
            let sql = "SELECT coalesce(pg_column_compression(value), 'none') FROM large";
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("read")
        };
        assert_eq!(insert("a short one".into()).await, "none");
        assert_eq!(insert("a long one, ".repeat(10_000)).await, "lz4");
    }
}
