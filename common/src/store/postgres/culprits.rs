//! Whose data it is that a batch fails on. Found only after a batch has failed, so that the others cost nothing for it.

use std::collections::BTreeMap;
use std::ops::Range;

use sqlx::postgres::PgConnection;

use super::error::{Failure, failure};
use crate::store::BoxFuture;

/// Items of a batch, by their index, whose own data cannot be stored, with the reason.
pub(super) type Culprits = BTreeMap<usize, String>;

/// Tries what `attempt` does with ever smaller parts of a batch of `count`, takes everything back, and returns the items
/// that fail on their own.
pub(super) async fn find<F>(
    connection: &mut PgConnection,
    count: usize,
    attempt: F,
) -> Result<Culprits, sqlx::Error>
where
    F: for<'c> Fn(&'c mut PgConnection, Range<usize>) -> BoxFuture<'c, Result<(), sqlx::Error>> + Sync,
{
    let mut culprits = Culprits::new();
    let mut ranges = Vec::new();
    ranges.push(0..count);
    while let Some(range) = ranges.pop() {
        sqlx::raw_sql("SAVEPOINT part").execute(&mut *connection).await?;
        let tried = attempt(connection, range.clone()).await;
        if let Err(error) = &tried
            && failure(error) != Failure::Data
        {
            return tried.map(|()| culprits);
        }
        sqlx::raw_sql("ROLLBACK TO part; RELEASE part").execute(&mut *connection).await?;
        let Err(error) = tried else { continue };
        let middle = range.start + range.len() / 2;
        match range.len() {
            0 => return Err(error),
            1 => drop(culprits.insert(range.start, error.to_string())),
            _ => ranges.extend([middle..range.end, range.start..middle]),
        }
    }
    Ok(culprits)
}
