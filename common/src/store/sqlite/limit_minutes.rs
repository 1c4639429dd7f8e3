//! What limits did, minute by minute.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::columns;
use crate::limits;
use crate::store::{CountedBy, LimitCount, Tally};
use crate::time::Timestamp;

pub(super) async fn add(
    db: &mut SqliteConnection,
    minute: Timestamp,
    counts: &[LimitCount],
) -> Result<(), sqlx::Error> {
    for count in counts {
        sqlx::query(
            "INSERT INTO limit_minutes (minute, counted_by, name, total, blocked) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT DO UPDATE SET total = total + excluded.total, blocked = blocked + excluded.blocked",
        )
        .bind(minute.0)
        .bind(count.by.name())
        .bind(&count.name)
        .bind(count.tally.total as i64)
        .bind(count.tally.blocked as i64)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

pub(super) async fn sums(
    db: &mut SqliteConnection,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<LimitCount>, sqlx::Error> {
    let mut sums = Vec::new();
    for by in CountedBy::ALL {
        let rows = sqlx::query(
            "SELECT name, sum(total) AS total, sum(blocked) AS blocked FROM limit_minutes \
             WHERE minute >= ? AND minute < ? AND counted_by = ? GROUP BY name ORDER BY 2 DESC, 1 LIMIT ?",
        )
        .bind(from.0)
        .bind(to.0)
        .bind(by.name())
        .bind(i64::from(limits::LIMIT_SUMS))
        .fetch_all(&mut *db)
        .await?;
        for row in &rows {
            sums.push(read(row, *by)?);
        }
    }
    Ok(sums)
}

fn read(row: &SqliteRow, by: CountedBy) -> Result<LimitCount, sqlx::Error> {
    let tally = Tally { total: columns::number(row, "total")?, blocked: columns::number(row, "blocked")? };
    Ok(LimitCount { by, name: row.try_get("name")?, tally })
}
