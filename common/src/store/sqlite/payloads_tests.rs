use std::time::Duration;

use super::super::{SqliteStore, migrations, options};
use super::*;
use crate::event::EventType;
use crate::ids::{EventId, TenantId};
use crate::store::{Admission, Browse, Control, Deliveries, NewTenant};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn event(tenant: TenantId, bytes: usize) -> NewEvent {
    NewEvent {
        tenant,
        event_type: EventType::parse("a.b").expect("a type"),
        payload: vec![b'x'; bytes].into(),
        metadata: None,
        cloudevent: None,
        deliver_at: None,
        expires_at: Timestamp(NOW.0 + 1_000_000),
        idempotency: None,
        only_endpoint: None,
    }
}

async fn tenant(store: &SqliteStore) -> TenantId {
    let new = NewTenant {
        slug: "acme".into(),
        name: "acme".into(),
        plan: crate::plan::PlanName::STARTER,
        weight: None,
        metadata: "{}".into(),
    };
    store.create_tenant(new, None, NOW).await.expect("a tenant").id
}

fn is_accepted(admission: &Admission) -> bool {
    matches!(admission, Admission::Accepted(_))
}

/// The names of the files.
fn there(payloads: &Payloads) -> HashSet<String> {
    let entries = std::fs::read_dir(&payloads.directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
}

#[tokio::test]
async fn while_a_file_is_written_small_events_are_admitted() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Arc::new(SqliteStore::open(directory.path()).await.expect("opens"));
    let tenant = tenant(&store).await;
    let disk = store.payloads.writing.acquire_many(limits::PAYLOAD_WRITES as u32).await.expect("open");
    let beside = Arc::clone(&store);
    let large =
        tokio::spawn(
            async move { beside.admit(vec![event(tenant, limits::LARGE_PAYLOAD_BYTES)], NOW).await },
        );
    for _ in 0..10 {
        let small = store.admit(vec![event(tenant, limits::LARGE_PAYLOAD_BYTES - 1)], NOW);
        let small = tokio::time::timeout(Duration::from_secs(20), small).await.expect("it does not wait");
        assert!(is_accepted(&small.expect("admitted").results[0]));
    }
    assert!(!large.is_finished(), "its file is not written");
    assert!(there(&store.payloads).is_empty());
    drop(disk);
    let large = large.await.expect("it ran").expect("admitted");
    assert!(is_accepted(&large.results[0]));
    assert_eq!(there(&store.payloads).len(), 1);
}

#[tokio::test]
async fn only_what_an_earlier_run_left_is_swept() {
    let directory = tempfile::tempdir().expect("a directory");
    let reading = options(&directory.path().join("fairhook.db")).read_only(true);
    let store = SqliteStore::open(directory.path()).await.expect("opens");
    let tenant = tenant(&store).await;
    let large = || event(tenant, limits::LARGE_PAYLOAD_BYTES);
    store.admit(vec![large()], NOW).await.expect("admitted");
    let kept = there(&store.payloads);
    // More than one step's worth, on the disk and in no row: as if a process had ended here, or were about to hand them in.
    let events: Vec<_> = (0..limits::PAYLOADS_SWEPT + 3).map(|_| large()).collect();
    store.payloads.write(&events).await.expect("written");
    std::fs::write(store.payloads.directory.join("README"), "not ours").expect("written");
    let all = there(&store.payloads);
    assert_eq!(all.len(), events.len() + 2);
    assert_eq!(store.payloads.sweep(reading.clone()).await.expect("swept"), 0, "all are of this run");
    assert_eq!(there(&store.payloads), all);
    let next = Payloads::open(directory.path()).expect("opens");
    assert_eq!(next.sweep(reading).await.expect("swept"), events.len() as u64);
    let mut left = kept;
    left.insert("README".into());
    assert_eq!(there(&next), left, "whose row is there, and what is not ours");
}

#[tokio::test]
async fn what_cannot_be_written_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let payloads = Payloads::open(directory.path()).expect("opens");
    let events: Vec<_> = (0..5).map(|_| event(TenantId::generate(), limits::LARGE_PAYLOAD_BYTES)).collect();
    // The name of the third is taken.
    let taken = payloads.path(Uuid::from_u64_pair(payloads.run, 2));
    std::fs::create_dir(&taken).expect("made");
    let refused = payloads.write(&events).await.expect_err("refused");
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    std::fs::remove_dir(taken).expect("removed");
    assert!(there(&payloads).is_empty());
    assert!(payloads.write(&events).await.is_ok());
    assert_eq!(there(&payloads).len(), 5);
}

/// A large payload of a version that kept all of them in rows stays there, and that version does not open what is newer.
#[tokio::test]
async fn large_payloads_of_older_versions_stay_in_their_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("fairhook.db");
    let mut connection = options(&file).connect().await.expect("opens");
    let before = migrations().iter().filter(|migration| migration.version < 9).cloned().collect();
    let before = sqlx::migrate::Migrator::with_migrations(before);
    before.run(&mut connection).await.expect("migrates");
    let (id, owner) = (Uuid::now_v7(), TenantId::generate());
    let payload: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let insert = "INSERT INTO events (id, tenant, type, payload, created_at, expires_at, next_ordinal) \
                  VALUES (?, ?, 'a', ?, 1, 2, 0)";
    let insert = sqlx::query(insert).bind(blob(id)).bind(blob(owner.uuid())).bind(payload.clone());
    insert.execute(&mut connection).await.expect("inserted");
    sqlx::Connection::close(connection).await.expect("closed");

    let store = SqliteStore::open(directory.path()).await.expect("opens");
    let found = store.find_event(owner, EventId::from_uuid(id)).await.expect("read").expect("is there");
    assert_eq!(found.payload, payload);
    drop(store);
    let mut connection = options(&file).connect().await.expect("opens");
    let refused = before.run(&mut connection).await.expect_err("newer than it");
    assert!(matches!(refused, sqlx::migrate::MigrateError::VersionMissing(9)), "{refused:?}");
}
