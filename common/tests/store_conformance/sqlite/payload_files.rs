//! Where this backend keeps large payloads: in files of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bytes::Bytes;
use fairhook_common::event::NewEvent;
use fairhook_common::ids::{DeliveryId, TenantId};
use fairhook_common::limits;
use fairhook_common::store::{Load, StoreError, Sweep, Ticket};

use super::harness::{START, World, accepted, at, event, event_at, keyed};

fn large(tenant: TenantId) -> NewEvent {
    NewEvent {
        payload: Bytes::from(vec![b'x'; limits::LARGE_PAYLOAD_BYTES]),
        ..event_at(tenant, "order.paid", START)
    }
}

#[tokio::test]
async fn a_large_payload_is_a_private_file_and_a_smaller_one_none() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let small = Bytes::from(vec![b'x'; limits::LARGE_PAYLOAD_BYTES - 1]);
    world.admit(vec![NewEvent { payload: small, ..event(tenant, "a") }], START).await;
    assert!(world.home.payload_files().is_empty());
    accepted(&world.admit(vec![large(tenant)], START).await);
    let files = world.home.payload_files();
    assert_eq!(files.len(), 1);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&files[0]), mode(files[0].parent().unwrap())), (0o600, 0o700));
    assert_eq!(fs::read(&files[0]).unwrap(), vec![b'x'; limits::LARGE_PAYLOAD_BYTES]);
}

#[tokio::test]
async fn no_file_is_left_of_what_was_not_admitted_or_was_removed() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let with_key =
        |fingerprint| NewEvent { idempotency: keyed(tenant, "1", fingerprint).idempotency, ..large(tenant) };
    world.admit(vec![with_key(1)], START).await;
    world.admit(vec![with_key(1), with_key(2), large(TenantId::generate())], START).await;
    assert_eq!(world.home.payload_files().len(), 1);
    world.admit((0..3).map(|_| large(tenant)).collect(), at(1_000)).await;
    while world.store.sweep(Sweep::Retention { before: at(500) }, 100, at(2_000)).await.unwrap() > 0 {}
    assert_eq!(world.home.payload_files().len(), 3);
    let job = world.store.delete_tenant(tenant, at(2_001)).await.unwrap().id;
    while world.store.advance_job(job, 100, at(2_002)).await.unwrap().ended_at.is_none() {}
    assert!(world.home.payload_files().is_empty());
}

#[tokio::test]
async fn a_start_removes_what_a_crash_left_and_nothing_else() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let event = accepted(&world.admit(vec![large(tenant)], START).await)[0];
    let kept = world.home.payload_files().remove(0);
    // Written by a process that was killed before its row was: in full, and in part.
    let orphans = [1u128, 2].map(|n| kept.with_file_name(format!("{n:032x}")));
    fs::write(&orphans[0], vec![b'x'; limits::LARGE_PAYLOAD_BYTES]).unwrap();
    fs::write(&orphans[1], "").unwrap();
    let world = world.reopen().await;
    let swept = async {
        while orphans.iter().any(|orphan| orphan.exists()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), swept).await.expect("they go");
    assert_eq!(world.home.payload_files(), [kept]);
    let view = world.store.find_event(tenant, event).await.unwrap().unwrap();
    assert_eq!(view.payload.len(), limits::LARGE_PAYLOAD_BYTES);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_file_that_is_damaged_is_its_own_events_matter() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let gone = accepted(&world.admit(vec![large(tenant)], START).await)[0];
    let file = world.home.payload_files().remove(0);
    let whole = accepted(&world.admit(vec![large(tenant)], START).await)[0];
    let ticket = |event| Ticket { delivery: DeliveryId { event, ordinal: 0 }, generation: 0 };
    let damages: [fn(&std::path::Path); 2] = [
        |file| fs::write(file, vec![b'x'; limits::LARGE_PAYLOAD_BYTES - 1]).unwrap(),
        |file| fs::remove_file(file).unwrap(),
    ];
    for damage in damages {
        damage(&file);
        let shown = world.store.find_event(tenant, gone).await.unwrap_err();
        assert!(matches!(shown, StoreError::Internal(_)), "{shown:?}");
        let load = world.store.load(&[ticket(gone)], at(1)).await.unwrap_err();
        // So that whoever loads finds it by halving.
        assert!(matches!(load, StoreError::Internal(_)), "{load:?}");
        assert!(matches!(world.store.load(&[ticket(whole)], at(1)).await.unwrap()[0], Load::Attempt(_)));
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_for_now_and_small_events_are_not() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    accepted(&world.admit(vec![large(tenant)], START).await);
    let directory = world.home.payload_files()[0].parent().unwrap().to_owned();
    let aside = directory.with_file_name("aside");
    fs::rename(&directory, &aside).unwrap();
    let refused = world.store.admit(vec![large(tenant)], START).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    accepted(&world.admit(vec![event(tenant, "a")], START).await);
    fs::rename(&aside, &directory).unwrap();
    accepted(&world.admit(vec![large(tenant)], START).await);
    assert_eq!(world.home.payload_files().len(), 2);
    world.assert_balanced().await;
}
