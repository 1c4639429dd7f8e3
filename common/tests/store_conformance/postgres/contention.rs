//! Who waits for whom, and what becomes of it: with transactions that a test holds open where it wants.

use std::time::Duration;

use fairhook_common::delivery::DeliveryState;
use fairhook_common::plan::{PlanChanges, PlanName};
use fairhook_common::store::{Admission, EventFilter, Replayed, StoreError, TenantRef};
use fairhook_common::tenant::{Dispatch, QuotaChanges};
use sqlx::postgres::PgConnection;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::backend::statement;
use super::given::{first_page, new_endpoint};
use super::harness::{DISABLE_AFTER, START, World, at, keyed};

/// Far more than it takes.
const SOON: Duration = Duration::from_secs(20);

/// How many of the store's connections wait for somebody.
async fn waiting(db: &mut PgConnection, purpose: &str) -> i64 {
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1 \
         AND wait_event_type = 'Lock'",
    );
    count.bind(purpose).fetch_one(db).await.expect("reads")
}

/// Waits until one of them does.
async fn until_one_waits(db: &mut PgConnection, purpose: &str) {
    let deadline = Instant::now() + SOON;
    while waiting(db, purpose).await == 0 {
        assert!(Instant::now() < deadline, "nobody waits");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_event_that_is_admitted_while_its_tenant_ends_goes_with_it() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let (mut db, mut look) = (world.home.connect().await, world.home.connect().await);
    // Somebody is about to use the same key, so that the admission waits half way.
    statement(
        &mut db,
        &format!(
            "BEGIN; INSERT INTO idempotency_keys VALUES ('{}', 'key', '', '{}', 0, 0, 0)",
            acme.uuid(),
            acme.uuid()
        ),
    )
    .await;
    let store = world.store.clone();
    let admission = tokio::spawn(async move { store.admit(vec![keyed(acme, "key", 1)], START).await });
    until_one_waits(&mut look, "fairhook admit").await;
    let job = world.store.delete_tenant(acme, at(1)).await.expect("begun");
    for _ in 0..20 {
        match world.store.advance_job(job.id, 100, at(2)).await {
            Ok(job) => assert_eq!(job.ended_at, None, "an event of the tenant's is on its way"),
            Err(StoreError::TooSlow) => break,
            Err(error) => panic!("{error}"),
        }
    }
    statement(&mut db, "ROLLBACK").await;
    let admitted = admission.await.expect("runs").expect("admitted");
    assert!(matches!(admitted.results[0], Admission::Accepted(_)), "{admitted:?}");
    while world.store.advance_job(job.id, 100, at(3)).await.expect("a step").ended_at.is_none() {}
    let later = world.admit(vec![keyed(acme, "another", 1)], at(4)).await;
    assert!(matches!(later[0], Admission::NoSuchTenant), "{later:?}");
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_change_that_met_a_deadlock_is_made_all_the_same() {
    let world = World::new().await;
    let mut db = world.home.connect().await;
    // The store's connection is the one that notices.
    let database: String =
        sqlx::query_scalar("SELECT current_database()").fetch_one(&mut db).await.expect("reads");
    statement(&mut db, &format!("ALTER DATABASE {database} SET deadlock_timeout = '2s'")).await;
    statement(&mut db, "SET deadlock_timeout = '60s'").await;
    let world = world.reopen().await;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let sent = world.deliveries(acme, 1).await[0];
    world.record(vec![sent.dead(at(1))]).await;
    let mut look = world.home.connect().await;
    statement(&mut db, "BEGIN; SELECT 1 FROM deliveries FOR UPDATE").await;
    let store = world.store.clone();
    let replay = tokio::spawn(async move { store.replay(acme, sent.id, at(2)).await });
    until_one_waits(&mut look, "fairhook api").await;
    statement(&mut db, "SELECT 1 FROM delivery_counts WHERE part = 0 FOR UPDATE; ROLLBACK").await;
    let replayed = replay.await.expect("runs").expect("replayed");
    assert_eq!(replayed, Some(Replayed::Due(sent.id)));
    assert_eq!(world.state(&sent).await, DeliveryState::Scheduled);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_migration_gives_way_to_whoever_serves_and_is_made_in_the_end() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let (mut dump, mut look) = (world.home.connect().await, world.home.connect().await);
    // As a process of the version before leaves the schema, which goes on serving.
    for undo in [
        "DELETE FROM _sqlx_migrations WHERE version = 10",
        "ALTER TABLE events DROP COLUMN cloudevent",
        "ALTER TABLE endpoints DROP COLUMN handshake",
    ] {
        world.home.run(undo).await;
    }
    statement(&mut dump, "BEGIN; LOCK TABLE endpoints IN ACCESS SHARE MODE").await;
    let mut opening = Box::pin(world.home.open());
    tokio::select! {
        _ = &mut opening => panic!("the migration needs the table that somebody has"),
        () = until_one_waits(&mut look, "fairhook schema") => {}
    }
    // It has the events and waits for the endpoints. An admission comes, which the dump would let pass.
    let admission = statement(&mut look, "BEGIN; LOCK TABLE events IN ROW EXCLUSIVE MODE; COMMIT");
    tokio::select! {
        _ = &mut opening => panic!("the migration went before"),
        done = timeout(SOON, admission) => done.expect("the migration lets go of what it has"),
    }
    statement(&mut dump, "ROLLBACK").await;
    let store = timeout(SOON, opening).await.expect("it is tried again");
    assert!(store.list_endpoints(acme, &[], &first_page()).await.is_ok_and(|page| page.items.len() == 1));
}

#[tokio::test]
async fn what_is_looked_up_over_a_connection_that_the_server_has_ended_is_looked_up_again() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let mut db = world.home.connect().await;
    let ends = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
        WHERE application_name IN ('fairhook look up', 'fairhook outcome') AND datname = current_database()";
    for _ in 0..2 {
        world.store.due_work(at(1)).await.expect("reads");
        let found = world.store.find_tenant(&TenantRef::Id(acme)).await.expect("reads");
        assert_eq!(found.map(|tenant| tenant.id), Some(acme));
        let ended: Vec<bool> = sqlx::query_scalar(ends).fetch_all(&mut db).await.expect("ends them");
        assert!(ended.len() >= 2 && ended.iter().all(|ended| *ended), "{ended:?}");
    }
}

#[tokio::test]
async fn whoever_asks_and_hangs_up_has_one_turn_all_the_same() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let (mut db, mut look) = (world.home.connect().await, world.home.connect().await);
    statement(&mut db, "BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await;
    for _ in 0..10 {
        let (filter, page) = (EventFilter::default(), first_page());
        let list = world.store.list_events(acme, &filter, &page);
        // Its caller goes away while it waits for the table, or for its turn.
        assert!(timeout(Duration::from_millis(100), list).await.is_err(), "the table is locked");
    }
    let under_way = waiting(&mut look, "fairhook api").await;
    assert!(under_way <= 1, "{under_way} at once of one tenant");
    statement(&mut db, "ROLLBACK").await;
}

#[tokio::test]
async fn a_change_is_made_beside_however_many_slow_lists() {
    let world = World::new().await;
    let mut tenants = vec![];
    for n in 0..12 {
        tenants.push(world.tenant(&format!("tenant-{n}")).await);
    }
    let (mut db, mut look) = (world.home.connect().await, world.home.connect().await);
    statement(&mut db, "BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await;
    let mut lists = JoinSet::new();
    for &tenant in &tenants {
        let store = world.store.clone();
        lists.spawn(async move { store.list_events(tenant, &EventFilter::default(), &first_page()).await });
    }
    until_one_waits(&mut look, "fairhook api").await;
    tokio::select! {
        () = world.dispatch(tenants[0], Dispatch::Paused) => {}
        list = lists.join_next() => panic!("a list ended first: {list:?}"),
    }
    statement(&mut db, "ROLLBACK").await;
}

#[tokio::test]
async fn an_endpoint_of_which_many_learn_at_once_holds_up_nobody() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    world.endpoint(acme).await;
    let sent = world.deliveries(acme, 120).await;
    let stores = [world.store.clone(), world.home.open().await];
    let mut recording = JoinSet::new();
    for (n, batch) in sent.chunks(6).enumerate() {
        let store = stores[n % 2].clone();
        // Every batch has something to say of both endpoints, in either order, and each says something else.
        let outcomes = batch.iter().enumerate().map(|(i, s)| match (n + i / 2) % 2 {
            0 => s.delivered(at(n as u64)),
            _ => s.retry(at(100 + n as u64), at(n as u64)),
        });
        let outcomes = outcomes.collect();
        recording.spawn(async move { store.record(outcomes, DISABLE_AFTER).await });
    }
    while let Some(recorded) = recording.join_next().await {
        recorded.expect("runs").expect("recorded");
    }
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_tenant_that_gets_another_plan_while_somebody_waits_for_it_is_found_with_that_plan() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let none = QuotaChanges { max_endpoints: Some(0), ..QuotaChanges::default() };
    let changes = PlanChanges { limits: none, ..PlanChanges::default() };
    world.store.put_plan(PlanName::STARTER, changes, START).await.expect("changed");
    let (mut db, mut look) = (world.home.connect().await, world.home.connect().await);
    statement(&mut db, "BEGIN; UPDATE tenants SET plan = 'enterprise'").await;
    let store = world.store.clone();
    let made = tokio::spawn(async move { store.create_endpoint(new_endpoint(acme, None), START).await });
    until_one_waits(&mut look, "fairhook api").await;
    statement(&mut db, "COMMIT").await;
    made.await.expect("ends").expect("there is room by the plan that it has now");
}
