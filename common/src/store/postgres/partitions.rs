//! Partitions of `events`, `deliveries` and `attempts`: one of each for a day (UTC) of event ids, made days ahead. A day goes by
//! dropping its three tables, after everything unfinished or dead in them has ended as expired. What lies in the default
//! partitions (ids of a clock that was far off, or of days for which nobody was there to make a partition) goes in chunks.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::columns::{self, damaged, first_uuid_at};
use super::{counts, lifecycle};
use crate::delivery::{DeliveryState, DiscardReason};
use crate::ids::{DeliveryId, TenantId};
use crate::limits;
use crate::store::shared::replays::{Candidate, Unfinished};
use crate::time::Timestamp;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The partitioned tables with what differs between their partitions. The last ones are dropped first, so that an event
/// is there for as long as anything of it.
const TABLES: [(&str, &str, &str); 3] =
    [("events", "id", ""), ("deliveries", "event", " WITH (fillfactor = 70)"), ("attempts", "event", "")];

/// Other processes do the same; one at a time does it, and the others do not wait for it.
const TURN: &str = "SELECT pg_try_advisory_xact_lock(7246120231)";

/// A day, counted from the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Day(i64);

impl Day {
    fn of(at: Timestamp) -> Self {
        Self(at.0.div_euclid(DAY_MS))
    }

    /// The ids of the day: from the first one on, before the second one.
    fn ids(self) -> (Uuid, Uuid) {
        let start = |day: i64| first_uuid_at(Timestamp(day.saturating_mul(DAY_MS)));
        (start(self.0), start(self.0 + 1))
    }

    /// `20231114`, from the time's RFC 3339 form.
    fn name(self) -> String {
        let text = Timestamp(self.0.saturating_mul(DAY_MS)).to_string();
        text.chars().take_while(|c| *c != 'T').filter(char::is_ascii_digit).collect()
    }
}

/// Makes the partitions of the day of `now` and of the days after it that are not there yet; returns how many days. A day
/// whose ids lie in the default partitions already stays there.
pub(super) async fn make_ahead(db: &mut PgConnection, now: Timestamp) -> Result<u64, sqlx::Error> {
    let today = Day::of(now).0;
    let known = days(db).await?;
    let missing: Vec<_> = (today..=today + limits::PARTITION_DAYS_AHEAD)
        .map(Day)
        .filter(|day| !known.contains_key(&day.name()))
        .collect();
    if missing.is_empty() || !sqlx::query_scalar::<_, bool>(TURN).fetch_one(&mut *db).await? {
        return Ok(0);
    }
    bound_waits(db).await?;
    // Somebody else may have made them before it was our turn.
    let known = days(db).await?;
    let mut made = 0;
    for day in missing.into_iter().filter(|day| !known.contains_key(&day.name())) {
        made += u64::from(make(db, day).await?);
    }
    Ok(made)
}

/// How far the oldest day was looked through: everything in it below this id has ended. Of the process alone, which looks
/// through the day once more when it starts anew.
pub(super) type Walk = Option<Uuid>;

/// One step towards dropping the oldest day that lies before `bound` as a whole: ends about `limit` of what is unfinished or
/// dead in its next stretch, or passes over that if there is nothing, or drops the day behind the last one. Returns how many
/// rows, stretches or days that were (0: there is no such day), and how far the day is looked through now.
pub(super) async fn drop_below(
    db: &mut PgConnection,
    bound: Uuid,
    walk: Walk,
    limit: u32,
    now: Timestamp,
) -> Result<(u64, Walk), sqlx::Error> {
    let Some((name, day)) = days(db).await?.into_iter().find(|(_, day)| day.ids().1 <= bound) else {
        return Ok((0, None));
    };
    let deliveries = format!("deliveries_{name}");
    let (first, behind) = day.ids();
    let from = walk.filter(|from| (first..behind).contains(from)).unwrap_or(first);
    let sql = format!("SELECT event FROM {deliveries} WHERE event >= $1 ORDER BY event OFFSET $2 LIMIT 1");
    let end = sqlx::query_scalar(AssertSqlSafe(sql)).bind(from).bind(i64::from(limits::PARTITION_WINDOW));
    let end: Option<Uuid> = end.fetch_optional(&mut *db).await?;
    let ended = expire(db, &deliveries, (from, end.unwrap_or(behind)), limit, now).await?;
    if ended > 0 {
        return Ok((ended, Some(from)));
    }
    if end.is_some() {
        return Ok((1, end));
    }
    if !sqlx::query_scalar::<_, bool>(TURN).fetch_one(&mut *db).await? {
        return Ok((0, Some(from)));
    }
    bound_waits(db).await?;
    // Everybody waits from here on, so that it has to be short: what a replay has begun in between is seen by its pointer.
    run(db, "LOCK TABLE ONLY attempts, ONLY deliveries, ONLY events IN ACCESS EXCLUSIVE MODE".into()).await?;
    const BEGUN: &str = "SELECT EXISTS (SELECT FROM schedule WHERE event >= $1 AND event < $2) \
        OR EXISTS (SELECT FROM dead_letters WHERE event >= $1 AND event < $2)";
    if sqlx::query_scalar(BEGUN).bind(first).bind(behind).fetch_one(&mut *db).await? {
        return Ok((1, None));
    }
    for (table, ..) in TABLES.iter().rev() {
        run(db, format!("DROP TABLE {table}_{name}")).await?;
    }
    Ok((1, None))
}

/// Ends about `limit` of what is unfinished or dead in one partition of deliveries and within these ids (both ends included); returns how many.
pub(super) async fn expire(
    db: &mut PgConnection,
    partition: &str,
    (first, last): (Uuid, Uuid),
    limit: u32,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let open = "event BETWEEN $1 AND $2 AND state IN ('queued', 'scheduled', 'held', 'dead')";
    let sql = format!(
        "SELECT event, ordinal, tenant, attempts, state FROM {partition} WHERE {open} ORDER BY event, ordinal LIMIT $3"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(first).bind(last).bind(i64::from(limit));
    let rows = rows.fetch_all(&mut *db).await?;
    let mut tenants: BTreeMap<TenantId, Vec<DeliveryId>> = BTreeMap::new();
    for row in &rows {
        tenants.entry(columns::tenant(row)?).or_default().push(columns::delivery(row)?);
    }
    // The counts of all come first, in the order of tenants, then the deliveries: see the order of locks.
    counts::lock(db, &tenants.keys().copied().collect()).await?;
    let (mut unfinished, mut dead) = (Vec::new(), Vec::new());
    for (tenant, ids) in &tenants {
        for Candidate { id, state, attempted, .. } in lifecycle::hold(db, *tenant, ids).await? {
            if state == DeliveryState::Dead {
                dead.push((*tenant, id));
            } else if state.is_unfinished() {
                unfinished.push(Unfinished { id, tenant: *tenant, attempted });
            }
        }
    }
    if !unfinished.is_empty() {
        lifecycle::discard(db, &unfinished, DiscardReason::Expired, now).await?;
    }
    for of_one in dead.chunk_by(|a, b| a.0 == b.0) {
        let ids: Vec<_> = of_one.iter().map(|(_, id)| *id).collect();
        lifecycle::purge(db, of_one[0].0, &ids, DiscardReason::Expired, now).await?;
    }
    Ok((unfinished.len() + dead.len()) as u64)
}

/// The days that have a partition of deliveries, by name, the oldest first.
async fn days(db: &mut PgConnection) -> Result<BTreeMap<String, Day>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = 'deliveries'::regclass",
    )
    .fetch_all(db)
    .await?;
    let mut days = BTreeMap::new();
    for row in rows {
        let name: String = row.try_get("name")?;
        let Some(date) = name.strip_prefix("deliveries_").filter(|date| *date != "default") else {
            continue;
        };
        let (year, month_day) = date.split_at_checked(4).ok_or_else(|| damaged(&name))?;
        let (month, day) = month_day.split_at_checked(2).ok_or_else(|| damaged(&name))?;
        let start = Timestamp::parse(&format!("{year}-{month}-{day}T00:00:00Z"));
        days.insert(date.to_owned(), Day::of(start.ok_or_else(|| damaged(&name))?));
    }
    Ok(days)
}

/// Makes a day's partitions beside the tables and attaches them then, which stops writers for an instant only. Whether it
/// could.
async fn make(db: &mut PgConnection, day: Day) -> Result<bool, sqlx::Error> {
    let (first, behind) = day.ids();
    for (table, key, _) in TABLES {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table}_default WHERE {key} >= $1 AND {key} < $2)");
        let taken = sqlx::query_scalar(AssertSqlSafe(sql)).bind(first).bind(behind);
        if taken.fetch_one(&mut *db).await? {
            return Ok(false);
        }
    }
    for (table, _, with) in TABLES {
        let partition = format!("{table}_{}", day.name());
        run(
            db,
            format!("CREATE TABLE {partition} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS){with}"),
        )
        .await?;
        run(
            db,
            format!(
                "ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ('{first}') TO ('{behind}')"
            ),
        )
        .await?;
    }
    Ok(true)
}

/// A change of the tables waits for whoever uses them, and everybody else behind it: not for long.
async fn bound_waits(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    let milliseconds = limits::PARTITION_LOCK_WAIT.as_millis();
    run(db, format!("SET LOCAL lock_timeout = {milliseconds}")).await
}

async fn run(db: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_a_name_and_all_ids_made_in_it() {
        let at = Timestamp::parse("2023-11-14T22:13:20Z").expect("a time");
        let day = Day::of(at);
        assert_eq!(day.name(), "20231114");
        let (first, behind) = day.ids();
        let id = first_uuid_at(at);
        assert!(first <= id && id < behind);
        assert_eq!(behind, Day::of(at.after(std::time::Duration::from_secs(24 * 3600))).ids().0);
    }
}
