//! What one process changes the others hear of, and what they may have missed they are told to forget.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairhook_common::delivery::Outcome;
use fairhook_common::endpoint::StatusReason;
use fairhook_common::plan::{PlanChanges, PlanName};
use fairhook_common::store::{Change, JobKind, SharedStore, TenantChanges, TenantRef};
use fairhook_common::tenant::Ingest;
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, timeout};
use tracing::span;

use super::backend::{Home, statement};
use super::given::{new_tenant, states};
use super::harness::{START, World, at};

/// Far more than it takes.
const SOON: Duration = Duration::from_secs(20);

async fn heard(changes: &mut Receiver<Change>) -> Change {
    timeout(SOON, changes.recv()).await.expect("heard in time").expect("listens")
}

async fn make(store: &SharedStore, slug: &str) -> Change {
    Change::Tenant(store.create_tenant(new_tenant(slug), None, START).await.expect("a tenant").id)
}

#[tokio::test]
async fn others_hear_of_a_change_and_who_made_it_hears_of_it_once() {
    let home = Home::new();
    let (one, two) = (home.open().await, home.open().await);
    let (mut at_one, mut at_two) = (one.changes(), two.changes());
    let first = make(&one, "first").await;
    assert_eq!(at_one.try_recv(), Ok(first), "at once here");
    assert_eq!(heard(&mut at_two).await, first);
    let refused = one.create_tenant(new_tenant("first"), None, START).await;
    assert!(refused.is_err());
    // What comes back to its origin would have come before this.
    let second = make(&two, "second").await;
    assert_eq!(heard(&mut at_one).await, second);
    assert_eq!(at_two.try_recv(), Ok(second));
    // A plan is in many tenants.
    let changes = PlanChanges { weight: Some(9), ..PlanChanges::default() };
    one.put_plan(PlanName::STARTER, changes, START).await.expect("changed");
    assert_eq!(at_one.try_recv(), Ok(Change::Everything));
    assert_eq!(heard(&mut at_two).await, Change::Everything);
}

#[tokio::test]
async fn others_hear_of_an_endpoint_that_an_outcome_stopped_and_of_what_a_job_made_due() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let sent = world.deliveries(acme, 2).await;
    let other = world.home.open().await;
    let mut changes = other.changes();
    let gone = Outcome { disable: Some(StatusReason::Gone), ..sent[0].dead(at(1)) };
    world.record(vec![gone]).await;
    assert_eq!(heard(&mut changes).await, Change::Tenant(acme));
    let job = world.store.create_job(acme, JobKind::Replay, states(&[]), at(2)).await.expect("a job");
    world.store.advance_job(job.id, 10, at(3)).await.expect("a step");
    assert_eq!(heard(&mut changes).await, Change::Due(acme));
    let job = world.store.delete_tenant(acme, at(4)).await.expect("begun");
    assert_eq!(heard(&mut changes).await, Change::Tenant(acme));
    while world.store.advance_job(job.id, 10, at(5)).await.expect("a step").ended_at.is_none() {}
    assert_eq!(heard(&mut changes).await, Change::Tenant(acme), "it is gone");
}

#[tokio::test]
async fn after_a_lost_connection_everything_may_have_changed() {
    let home = Home::new();
    let (one, two) = (home.open().await, home.open().await);
    let mut changes = two.changes();
    let mut db = home.connect().await;
    statement(
        &mut db,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name = 'fairhook listen' AND datname = current_database()",
    )
    .await;
    assert_eq!(heard(&mut changes).await, Change::Everything);
    let made = make(&one, "later").await;
    assert_eq!(heard(&mut changes).await, made);
}

#[tokio::test]
async fn by_the_time_that_all_counts_as_heard_it_was_told() {
    let home = Home::new();
    let (one, two) = (home.open().await, home.open().await);
    let mut changes = two.changes();
    for n in 0..8 {
        let made = make(&one, &format!("tenant-{n}")).await;
        let answered = Instant::now();
        while two.heard_until() <= answered {
            tokio::task::yield_now().await;
        }
        assert_eq!(changes.try_recv(), Ok(made), "nobody waits for it any more");
    }
}

#[tokio::test]
async fn a_change_whose_caller_has_left_is_told_here_too() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let mut changes = world.store.changes();
    let (mut holder, mut looker) = (world.home.connect().await, world.home.connect().await);
    statement(&mut holder, "BEGIN; SELECT version FROM roster FOR UPDATE").await;
    let store = world.store.clone();
    let caller = tokio::spawn(async move {
        let blocked = TenantChanges { ingest: Some(Ingest::Blocked), ..TenantChanges::default() };
        store.update_tenant(acme, blocked, START).await
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut looker).await.expect("reads") == 0 {
        tokio::task::yield_now().await;
    }
    caller.abort();
    assert!(caller.await.is_err_and(|error| error.is_cancelled()));
    statement(&mut holder, "COMMIT").await;
    assert_eq!(heard(&mut changes).await, Change::Tenant(acme));
    let tenant = world.store.find_tenant(&TenantRef::Id(acme)).await.expect("read").expect("is there");
    assert_eq!(tenant.ingest, Ingest::Blocked);
}

/// Collects what the server tells its clients besides answers.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Told {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("sqlx::postgres::notice")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        self.0.lock().expect("nobody panics").push(format!("{event:?}"));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn a_start_on_what_is_there_already_says_nothing() {
    let home = Home::new();
    let told = Told::default();
    let _listening = tracing::subscriber::set_default(told.clone());
    drop(home.open().await);
    let told = told.0.lock().expect("nobody panics");
    assert!(told.is_empty(), "{told:?}");
}
