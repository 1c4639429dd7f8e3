//! Days are made ahead, and go as a whole with nothing lost from the counts.

use std::collections::BTreeSet;
use std::time::Duration;

use fairhook_common::delivery::Verdict;
use fairhook_common::limits;
use fairhook_common::store::Sweep;
use fairhook_common::time::Timestamp;
use sqlx::postgres::PgConnection;

use super::harness::World;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn partitions(db: &mut PgConnection, table: &str) -> BTreeSet<String> {
    let names = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::regclass",
    );
    names.bind(table).fetch_all(db).await.expect("reads").into_iter().collect()
}

async fn rows(db: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(db).await.expect("reads")
}

#[tokio::test]
async fn a_day_goes_as_a_whole_after_everything_in_it_has_ended() {
    let world = World::new().await;
    let mut db = world.home.connect().await;
    let now = Timestamp::now();
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let sent = world.deliveries_at(acme, 5, now).await;
    assert_eq!(
        rows(&mut db, "SELECT count(*) FROM deliveries_default").await,
        0,
        "they have a day of their own"
    );
    assert_eq!(rows(&mut db, "SELECT count(*) FROM events_default").await, 0);
    let later = now.after(Duration::from_secs(1));
    world
        .record(vec![
            sent[0].delivered(later),
            sent[1].dead(later),
            sent[2].retry(now.after(DAY), later),
            sent[3].verdict(Verdict::Park, later),
        ])
        .await;
    let before = partitions(&mut db, "deliveries").await;
    assert!(before.len() > 7, "a week ahead, and the default one: {before:?}");

    // Not while the day is only partly past.
    let sweep = |before: Timestamp| world.store.sweep(Sweep::Retention { before }, 2, now.after(DAY * 30));
    let days = i64::try_from(DAY.as_millis()).expect("fits");
    let midnight = Timestamp((now.0 / days + 1) * days);
    assert_eq!(sweep(Timestamp(midnight.0 - 1)).await.expect("a step"), 0);
    let mut steps = vec![];
    while steps.last() != Some(&0) {
        assert!(steps.len() < 20, "it never ends");
        steps.push(sweep(midnight).await.expect("a step"));
    }
    assert!(steps.len() > 3, "bounded steps: {steps:?}");
    for table in ["events", "deliveries", "attempts"] {
        let gone = &partitions(&mut db, table).await;
        let name = format!("{table}_{}", now.to_string()[..10].replace('-', ""));
        assert!(!gone.contains(&name), "{name} is there still");
    }
    let counts = world.counts(acme).await;
    assert!(counts.balanced(), "{counts:?}");
    assert_eq!((counts.accepted, counts.delivered, counts.discarded, counts.dead), (5, 1, 4, 0));
    assert!(world.dead_letters(acme).await.is_empty());
    assert_eq!(rows(&mut db, "SELECT count(*) FROM schedule").await, 0);
    assert!(partitions(&mut db, "deliveries").await.len() > 7, "and the next days are made");
}

#[tokio::test]
async fn a_large_day_is_looked_through_in_stretches() {
    let world = World::new().await;
    let mut db = world.home.connect().await;
    let now = Timestamp::now();
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let first = world.deliveries_at(acme, 1, now).await[0];
    world.record(vec![first.delivered(now)]).await;
    // Many more like it, and one behind them that waits.
    let many = 2 * i64::from(limits::PARTITION_WINDOW) + 10;
    let copies = "INSERT INTO deliveries (event, ordinal, tenant, endpoint, state, attempts, expires_at, finished_at) \
        SELECT (left(event::text, 24) || 'ffff' || lpad(to_hex(n), 8, '0'))::uuid, 0, tenant, endpoint, state, attempts, expires_at, \
        finished_at FROM deliveries, generate_series(1, $1) n";
    sqlx::query(copies).bind(many).execute(&mut db).await.expect("copied");
    world.deliveries_at(acme, 1, now.after(Duration::from_secs(1))).await;
    let days = i64::try_from(DAY.as_millis()).expect("fits");
    let before = Timestamp((now.0 / days + 1) * days);
    let sweep = || world.store.sweep(Sweep::Retention { before }, limits::SWEEP_ROWS, now.after(DAY * 30));
    let mut steps = vec![sweep().await.expect("a step")];
    // What was looked through already begins once more.
    let again = "WITH d AS (UPDATE deliveries SET state = 'scheduled' WHERE event = $1 RETURNING *) INSERT INTO schedule \
        SELECT event, ordinal, tenant, endpoint, 2, 'time', 0, expires_at FROM d";
    sqlx::query(again).bind(first.id.event.uuid()).execute(&mut db).await.expect("it does");
    while steps.last() != Some(&0) {
        assert!(steps.len() < 40, "it never ends");
        steps.push(sweep().await.expect("a step"));
    }
    assert!(steps.len() > 8, "a stretch at a time, and once more: {steps:?}");
    assert_eq!(rows(&mut db, "SELECT count(*) FROM deliveries").await, 0, "the day is gone");
    assert_eq!(rows(&mut db, "SELECT count(*) FROM schedule").await, 0, "what had begun has ended first");
}
