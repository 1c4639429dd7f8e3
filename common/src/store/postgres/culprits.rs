//! Whose data it is that a batch fails on. Found only after a batch has failed, so that the others cost nothing for it.

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

use super::error::{Failure, failure};

/// Items of a batch, by their index in what is run, whose own data cannot be stored, with the reason.
pub(super) type Culprits = BTreeMap<usize, String>;

/// Items that are stored together unless one of them cannot be.
#[async_trait]
pub(super) trait Batch: Sync {
    /// What is answered.
    type Answer: Send;

    /// How many items there are.
    fn count(&self) -> usize;

    /// Stores those of `range` but the data of `culprits`.
    async fn store(
        &self,
        connection: &mut PgConnection,
        range: Range<usize>,
        culprits: &Culprits,
    ) -> Result<Self::Answer, sqlx::Error>;
}

/// Stores a batch; if it is `careful`, which costs more, but those whose own data cannot be stored.
pub(super) async fn run<B: Batch>(
    batch: &B,
    connection: &mut PgConnection,
    careful: bool,
) -> Result<B::Answer, sqlx::Error> {
    let culprits = if careful { find(batch, connection).await? } else { Culprits::new() };
    batch.store(connection, 0..batch.count(), &culprits).await
}

/// Tries ever smaller parts of a batch, takes everything back, and returns the items that fail on their own.
async fn find<B: Batch>(batch: &B, connection: &mut PgConnection) -> Result<Culprits, sqlx::Error> {
    let mut culprits = Culprits::new();
    let mut ranges = Vec::new();
    ranges.push(0..batch.count());
    while let Some(range) = ranges.pop() {
        sqlx::raw_sql("SAVEPOINT part").execute(&mut *connection).await?;
        let tried = batch.store(connection, range.clone(), &Culprits::new()).await;
        if let Err(error) = &tried
            && failure(error) != Failure::Data
        {
            return tried.map(|_| culprits);
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
