//! Statements over many rows. A batch is cut into pieces of 512, 256, 128 and 64 rows and one of the rest, so that there
//! are few different texts and each stays prepared; and what SQLite cannot store is told from what it can.

use std::ops::Range;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Sqlite};

use super::BoxFuture;
use super::error::{Failure, failure};
use super::writer::UNDO;

/// Rows in one statement: with at most 16 values each, far below SQLite's 32,766.
const PIECE: usize = 512;

/// Up to so many rows are one statement whatever their number: so many texts of each kind stay prepared.
const SMALL: usize = 64;

/// A statement that is being given its values.
pub(super) type Bound = Query<'static, Sqlite, SqliteArguments>;

/// A statement's text: `before`, then `row` once per row with commas between, then `after`.
///
/// An `UPDATE … FROM` over such rows says `table.key = +row.key`: the sign keeps SQLite from making an index of the rows
/// and walking the whole table past it, which it takes for cheaper once the rows are many.
pub(super) struct Text {
    pub before: &'static str,
    pub row: &'static str,
    pub after: &'static str,
}

impl Text {
    /// Only our own constants get into the text.
    fn over(&self, rows: usize) -> Bound {
        let length = self.before.len() + self.after.len() + rows * (self.row.len() + 1);
        let mut text = String::with_capacity(length);
        text.push_str(self.before);
        for i in 0..rows {
            text.push_str(if i == 0 { "" } else { "," });
            text.push_str(self.row);
        }
        text.push_str(self.after);
        sqlx::query(AssertSqlSafe(text))
    }

    /// Runs the statement over `rows`; returns how many rows it changed.
    pub(super) async fn execute<R>(
        &self,
        connection: &mut SqliteConnection,
        rows: &[R],
        bind: fn(Bound, &R) -> Bound,
    ) -> Result<u64, sqlx::Error> {
        let mut changed = 0;
        for piece in pieces(rows) {
            let query = piece.iter().fold(self.over(piece.len()), bind);
            changed += query.execute(&mut *connection).await?.rows_affected();
        }
        Ok(changed)
    }

    /// Runs the statement over `rows`; returns all rows that it answers.
    pub(super) async fn fetch<R>(
        &self,
        connection: &mut SqliteConnection,
        rows: &[R],
        bind: fn(Bound, &R) -> Bound,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut found = Vec::new();
        for piece in pieces(rows) {
            let query = piece.iter().fold(self.over(piece.len()), bind);
            found.append(&mut query.fetch_all(&mut *connection).await?);
        }
        Ok(found)
    }
}

/// `rows` in pieces, the greatest first: powers of two down to [`SMALL`], then what is left. A statement is a hand-over to
/// SQLite's thread and back, so that a small batch should be one.
fn pieces<R>(mut rows: &[R]) -> impl Iterator<Item = &[R]> {
    std::iter::from_fn(move || {
        let size = match rows.len() {
            0 => return None,
            n if n <= SMALL => n,
            n => 1 << n.ilog2().min(PIECE.ilog2()),
        };
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

/// Rows that are stored together unless one of them cannot be.
pub(super) trait Storable: Sync {
    /// Stores those of `range`, all or none being the caller's business.
    fn store<'c>(
        &'c self,
        connection: &'c mut SqliteConnection,
        range: Range<usize>,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>>;
}

/// Stores `count` rows but those whose own data cannot be stored, which it finds by halving; returns them with the
/// reason, in order. The first thing that its job writes: what is to be taken back, is with the job.
pub(super) async fn store_all(
    connection: &mut SqliteConnection,
    rows: &dyn Storable,
    count: usize,
) -> Result<Vec<(usize, String)>, sqlx::Error> {
    match rows.store(connection, 0..count).await {
        Ok(()) => return Ok(Vec::new()),
        Err(error) if failure(&error) != Failure::Data => return Err(error),
        Err(_) => sqlx::query(UNDO).execute(&mut *connection).await?,
    };
    let mut refused = Vec::new();
    let mut ranges = Vec::new();
    ranges.push(0..count);
    while let Some(range) = ranges.pop() {
        if range.is_empty() {
            continue;
        }
        sqlx::query("SAVEPOINT part").execute(&mut *connection).await?;
        let stored = rows.store(connection, range.clone()).await;
        if let Err(error) = stored {
            if failure(&error) != Failure::Data {
                return Err(error);
            }
            sqlx::query("ROLLBACK TO part").execute(&mut *connection).await?;
            let middle = range.start + range.len() / 2;
            match range.len() {
                1 => refused.push((range.start, error.to_string())),
                _ => ranges.extend([middle..range.end, range.start..middle]),
            }
        }
        sqlx::query("RELEASE part").execute(&mut *connection).await?;
    }
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_of_few_sizes_and_cover_everything() {
        for n in 0..2_000usize {
            let rows: Vec<_> = (0..n).collect();
            let pieces: Vec<_> = pieces(&rows).collect();
            let known = |n: usize| n <= SMALL || n.is_power_of_two() && n <= PIECE;
            assert!(pieces.iter().all(|piece| known(piece.len())));
            assert_eq!(pieces.concat(), rows);
        }
    }
}
