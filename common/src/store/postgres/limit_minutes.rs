//! What limits did, minute by minute. Several ingests add to the same rows, in the same order, so that none waits for another
//! that waits for it.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::columns;
use crate::limits;
use crate::store::{CountedBy, LimitCount, Tally};
use crate::time::Timestamp;

pub(super) async fn add(
    db: &mut PgConnection,
    minute: Timestamp,
    counts: &[LimitCount],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO limit_minutes (minute, counted_by, name, total, blocked) \
         SELECT $1, counted_by, name, total, blocked FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) \
         AS added (counted_by, name, total, blocked) ORDER BY counted_by, name \
         ON CONFLICT (minute, counted_by, name) DO UPDATE SET \
         total = limit_minutes.total + excluded.total, blocked = limit_minutes.blocked + excluded.blocked",
    )
    .bind(minute.0)
    .bind(counts.iter().map(|count| count.by.name()).collect::<Vec<_>>())
    .bind(counts.iter().map(|count| count.name.as_str()).collect::<Vec<_>>())
    .bind(counts.iter().map(|count| count.tally.total as i64).collect::<Vec<_>>())
    .bind(counts.iter().map(|count| count.tally.blocked as i64).collect::<Vec<_>>())
    .execute(db)
    .await
    .map(drop)
}

pub(super) async fn sums(
    db: &mut PgConnection,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<LimitCount>, sqlx::Error> {
    let mut sums = Vec::new();
    for by in CountedBy::ALL {
        let rows = sqlx::query(
            "SELECT name, sum(total)::bigint AS total, sum(blocked)::bigint AS blocked FROM limit_minutes \
             WHERE minute >= $1 AND minute < $2 AND counted_by = $3 GROUP BY name ORDER BY 2 DESC, 1 LIMIT $4",
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

fn read(row: &PgRow, by: CountedBy) -> Result<LimitCount, sqlx::Error> {
    let tally = Tally { total: columns::number(row, "total")?, blocked: columns::number(row, "blocked")? };
    Ok(LimitCount { by, name: row.try_get("name")?, tally })
}
