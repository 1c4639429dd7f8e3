//! However far apart the events of a batch lie, its statements look up their keys and read no partition from end to end.

use fairhook_common::delivery::{Lane, Verdict};
use fairhook_common::ids::{DeliveryId, EventId};
use fairhook_common::store::{
    Claim, ClaimFrom, DeliveryFilter, EventFilter, JobKind, Recovery, SharedStore, Sweep, Which,
};
use fairhook_common::time::Timestamp;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::backend::statement;
use super::given::{first_page, states};
use super::harness::{DISABLE_AFTER, LEASE, START, Sent, World, at};

const DAY_MS: i64 = 24 * 3600 * 1000;
const DAYS: i64 = 12;
const EVENTS_A_DAY: i64 = 4_000;
const TABLES: [&str; 3] = ["events", "deliveries", "attempts"];

/// When a day begins, counted from the one before the tests' start.
fn begin(day: i64) -> i64 {
    (START.0 / DAY_MS - DAYS + 1 + day) * DAY_MS
}

fn partition(table: &str, day: i64) -> String {
    format!("{table}_{}", &Timestamp(begin(day)).to_string()[..10].replace('-', ""))
}

/// The first id of a millisecond.
fn first(ms: i64) -> Uuid {
    Uuid::from_u128((ms as u128) << 80)
}

/// The id of the n-th event of a day.
fn id(day: i64, n: i64) -> EventId {
    let ms = begin(day) + n * 10;
    EventId::from_uuid(Uuid::from_u128((ms as u128) << 80 | 7 << 76 | 2 << 62 | n as u128))
}

/// Partitions of many days, each with deliveries that wait for nothing.
async fn fill(db: &mut PgConnection, tenant: Uuid, endpoint: Uuid) {
    for day in 0..DAYS {
        let from = begin(day);
        for table in TABLES {
            let (least, behind, partition) = (first(from), first(from + DAY_MS), partition(table, day));
            let sql = format!(
                "CREATE TABLE {partition} PARTITION OF {table} FOR VALUES FROM ('{least}') TO ('{behind}')"
            );
            statement(db, &sql).await;
        }
        let ids: Vec<Uuid> = (0..EVENTS_A_DAY).map(|n| id(day, n).uuid()).collect();
        for sql in [
            "INSERT INTO events (id, tenant, type, payload, created_at, expires_at, next_ordinal) \
             SELECT e, $2, 'a', '', 0, 99999999999999, 1 + 0 * length($3::text) FROM unnest($1::uuid[]) e",
            "INSERT INTO deliveries (event, ordinal, tenant, endpoint, state, attempts, expires_at, finished_at) \
             SELECT e, 0, $2, $3, 'delivered', 1, 99999999999999, 0 FROM unnest($1::uuid[]) e",
            "INSERT INTO attempts (event, ordinal, n, tenant, id, started_at, duration_ms, response_snippet) \
             SELECT e, 0, 1, $2, $3, 0, 0, '' FROM unnest($1::uuid[]) e",
        ] {
            let fill = sqlx::query(AssertSqlSafe(sql)).bind(&ids).bind(tenant).bind(endpoint);
            fill.execute(&mut *db).await.expect(sql);
        }
    }
    statement(db, "ANALYZE").await;
}

/// The days in the middle of which more was read than the first rows that a list compares, with how many rows it was.
async fn read_in_passing(db: &mut PgConnection) -> Vec<(String, i64)> {
    let read = "SELECT relname::text, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables \
        WHERE relname = ANY($1) AND seq_tup_read + coalesce(idx_tup_fetch, 0) > 20";
    let days = (2..DAYS - 2).flat_map(|day| TABLES.map(|table| partition(table, day)));
    sqlx::query_as(read).bind(days.collect::<Vec<_>>()).fetch_all(db).await.expect("reads")
}

#[tokio::test]
async fn a_batch_of_old_and_new_reads_no_day_as_a_whole() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let endpoint = world.endpoint(acme).await;
    let mut db = world.home.connect().await;
    fill(&mut db, acme.uuid(), endpoint.uuid()).await;
    // A few of the oldest and of the newest day are on their way.
    let far: Vec<Sent> = [0, 1, DAYS - 2, DAYS - 1]
        .into_iter()
        .flat_map(|day| (0..6).map(move |n| DeliveryId { event: id(day, 100 * n), ordinal: 0 }))
        .map(|id| Sent { id, tenant: acme, endpoint, generation: 0 })
        .collect();
    let ids: Vec<Uuid> = far.iter().map(|sent| sent.id.event.uuid()).collect();
    let wake =
        "UPDATE deliveries SET state = 'queued', attempts = 0, finished_at = NULL WHERE event = ANY($1)";
    sqlx::query(wake).bind(&ids).execute(&mut db).await.expect("they wait");
    sqlx::query("DELETE FROM attempts WHERE event = ANY($1)")
        .bind(&ids)
        .execute(&mut db)
        .await
        .expect("none yet");
    let count = format!(
        "UPDATE delivery_counts SET accepted = {}, delivered = {}, backlog = {} WHERE tenant = '{}' AND part = 0",
        DAYS * EVENTS_A_DAY,
        DAYS * EVENTS_A_DAY - far.len() as i64,
        far.len(),
        acme.uuid()
    );
    statement(&mut db, &count).await;
    statement(&mut db, "SELECT pg_stat_reset()").await;

    let world = world.reopen().await;
    let store = &world.store;
    let tickets: Vec<_> = far.iter().map(Sent::ticket).collect();
    // More than often enough for the planner to think that it knows these batches.
    for _ in 0..8 {
        store.load(&tickets, START).await.expect("loads");
    }
    let (recorded, rest) = far.split_at(4);
    store.make_due(&rest.iter().map(|sent| sent.id).collect::<Vec<_>>(), at(1)).await.expect("due");
    let claimed = world.claim_due(acme, at(2)).await;
    assert_eq!(claimed.len(), rest.len());
    let outcomes = recorded.iter().map(|sent| sent.delivered(at(3)));
    let outcomes = outcomes.chain(claimed.iter().enumerate().map(|(n, sent)| match n % 4 {
        0 => sent.delivered(at(3)),
        1 => sent.dead(at(3)),
        2 => sent.retry(at(50), at(3)),
        _ => sent.verdict(Verdict::Hold, at(3)),
    }));
    store.record(outcomes.collect(), DISABLE_AFTER).await.expect("recorded");
    store.release_held(100, at(4)).await.expect("released");
    store.recover(Recovery::Outbox { before: at(5) }, at(5)).await.expect("recovered");
    let job = store.create_job(acme, JobKind::Replay, states(&[]), at(6)).await.expect("a job");
    while store.advance_job(job.id, 100, at(7)).await.expect("a step").ended_at.is_none() {}
    for claimed in world.claim_due(acme, at(100)).await {
        store.cancel(acme, claimed.id, at(101)).await.expect("cancelled");
    }
    store.sweep(Sweep::Expired, 100, at(102)).await.expect("swept");
    store.sweep(Sweep::DeletedEndpoints, 100, at(102)).await.expect("swept");
    let page = first_page();
    store.list_events(acme, &EventFilter::default(), &page).await.expect("a list");
    store.list_deliveries(acme, &DeliveryFilter::default(), &page).await.expect("a list");
    store.list_dead_letters(acme, &DeliveryFilter::default(), &page).await.expect("a list");

    end(world.store, &mut db).await;
    let read = read_in_passing(&mut db).await;
    assert!(read.is_empty(), "nothing of these days was asked for: {read:#?}");
}

/// Ends the store's connections: what one has read is told at its end.
async fn end(store: SharedStore, db: &mut PgConnection) {
    drop(store);
    while connected(db).await > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// How many connections the store still has.
async fn connected(db: &mut PgConnection) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'fairhook%'";
    sqlx::query_scalar(count).fetch_one(db).await.expect("reads")
}

/// Something is parked now and then, at one endpoint much of it, while plans are as they were when nothing was.
#[tokio::test]
async fn what_is_parked_is_not_read_from_end_to_end_by_a_plan_of_when_nothing_was() {
    const MANY: i32 = 20_000;
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let endpoint = world.endpoint(acme).await;
    let mut db = world.home.connect().await;
    let waits = |wait: &str, lane: i16| {
        format!(
            "INSERT INTO schedule (event, ordinal, tenant, endpoint, lane, wait, due_at, expires_at) \
             SELECT gen_random_uuid(), 0, '{}', '{}', {lane}, '{wait}', {} + n, 99999999999999 \
             FROM generate_series(1, {MANY}) n",
            acme.uuid(),
            endpoint.uuid(),
            at(10).0
        )
    };
    statement(&mut db, &waits("time", 1)).await;
    statement(&mut db, "ANALYZE").await;
    let world = world.reopen().await;
    let look = async || {
        for _ in 0..5 {
            let work = world.store.due_work(at(1)).await.expect("looks");
            assert!(work.due.is_empty());
            let from = ClaimFrom::Parked { endpoint, lanes: [Lane::Retry, Lane::Replay, Lane::First] };
            let claim = [Claim { tenant: acme, from, limit: 5 }];
            world.store.claim(&claim, LEASE, at(1)).await.expect("claims");
            world.store.survey(Which::Behind(None, 9)).await.expect("looks over all");
        }
    };
    look().await;
    statement(&mut db, &waits("parked", 2)).await;
    statement(&mut db, "SELECT pg_stat_reset()").await;
    look().await;
    end(world.store, &mut db).await;
    let read =
        "SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes WHERE relname = 'schedule'";
    let read: i64 = sqlx::query_scalar(read).fetch_one(&mut db).await.expect("reads");
    assert!((10..500).contains(&read), "{read} of {MANY} rows were read");
}
