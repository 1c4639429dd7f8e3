//! The rows of `attempts`.

use std::ops::Range;

use sqlx::sqlite::SqliteConnection;

use super::BoxFuture;
use super::bulk::{Storable, Text};
use super::values::blob;
use crate::delivery::AttemptRecord;
use crate::ids::DeliveryId;

/// An attempt with its number.
pub(super) struct Attempt<'a> {
    pub delivery: DeliveryId,
    pub n: u32,
    pub record: &'a AttemptRecord,
    /// Its outcome's index.
    pub outcome: usize,
}

impl Storable for Vec<Attempt<'_>> {
    fn store<'c>(
        &'c self,
        connection: &'c mut SqliteConnection,
        range: Range<usize>,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>> {
        const ATTEMPTS: Text = Text {
            before: "INSERT INTO attempts (event, ordinal, n, id, started_at, duration_ms, status_code, error_code, \
                     error_detail, response_snippet) VALUES ",
            row: "(?,?,?,?,?,?,?,?,?,?)",
            after: "",
        };
        Box::pin(async move {
            let stored = ATTEMPTS.execute(connection, &self[range], |query, attempt| {
                let record = attempt.record;
                let error = record.error.as_ref();
                query
                    .bind(blob(attempt.delivery.event.uuid()))
                    .bind(attempt.delivery.ordinal)
                    .bind(attempt.n)
                    .bind(blob(record.id))
                    .bind(record.started_at.0)
                    .bind(record.duration_ms)
                    .bind(record.status_code)
                    .bind(error.map(|e| e.code.name()))
                    .bind(error.map(|e| e.detail.clone()))
                    .bind(record.response_snippet.to_vec())
            });
            stored.await.map(drop)
        })
    }
}
