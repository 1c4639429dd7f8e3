//! Payloads that are large, wherever a backend keeps them.

use bytes::Bytes;
use fairhook_common::delivery::DeliveryState;
use fairhook_common::event::NewEvent;
use fairhook_common::ids::{DeliveryId, TenantId};
use fairhook_common::limits;
use fairhook_common::store::{
    Admission, EventFilter, JobKind, JobStatus, Load, Order, PageRequest, Sweep, Ticket,
};
use fairhook_common::time::Timestamp;

use super::given::states;
use super::harness::{START, World, accepted, at, event, keyed};

/// Any bytes, so many, another for each `first`.
fn payload(first: u8, bytes: usize) -> Bytes {
    (0..=255u8).map(|byte| byte.wrapping_add(first)).cycle().take(bytes).collect()
}

fn large(tenant: TenantId, first: u8) -> NewEvent {
    NewEvent { payload: payload(first, limits::LARGE_PAYLOAD_BYTES), ..event(tenant, "order.paid") }
}

async fn loaded(world: &World, delivery: DeliveryId, generation: u32, now: Timestamp) -> Bytes {
    let ticket = Ticket { delivery, generation };
    match world.store.load(&[ticket], now).await.expect("read").remove(0) {
        Load::Attempt(loaded) => loaded.payload,
        other => panic!("no attempt: {other:?}"),
    }
}

#[tokio::test]
async fn a_large_payload_is_the_same_wherever_it_is_read_and_after_a_restart() {
    let mut world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let bound = limits::LARGE_PAYLOAD_BYTES;
    let payloads = [bound - 1, bound, 3, limits::REQUEST_BODY_BYTES, bound + 1];
    let payloads: Vec<_> = (1..).zip(payloads).map(|(first, bytes)| payload(first, bytes)).collect();
    let batch =
        payloads.iter().map(|payload| NewEvent { payload: payload.clone(), ..event(tenant, "order.paid") });
    let ids = accepted(&world.admit(batch.collect(), START).await);
    for restarted in [false, true] {
        for (id, payload) in ids.iter().zip(&payloads) {
            let view = world.store.find_event(tenant, *id).await.expect("read").expect("is there");
            assert!(view.payload == *payload, "shown, {restarted}");
            let delivery = DeliveryId { event: *id, ordinal: 0 };
            assert!(loaded(&world, delivery, 0, at(1)).await == *payload, "loaded, {restarted}");
        }
        let page = PageRequest { limit: 250, order: Order::Ascending, ..PageRequest::default() };
        let list = world.store.list_events(tenant, &EventFilter::default(), &page).await.expect("a list");
        let listed: Vec<_> = list.items.into_iter().map(|view| view.payload).collect();
        assert!(listed == payloads, "listed, {restarted}");
        // One batch of all of them, as dispatchers load.
        let tickets = ids.iter().map(|&event| DeliveryId { event, ordinal: 0 });
        let tickets: Vec<_> = tickets.map(|delivery| Ticket { delivery, generation: 0 }).collect();
        for (load, payload) in world.store.load(&tickets, at(1)).await.expect("read").iter().zip(&payloads) {
            assert!(matches!(load, Load::Attempt(loaded) if loaded.payload == *payload));
        }
        world.assert_balanced().await;
        world = world.reopen().await;
    }
}

#[tokio::test]
async fn a_page_ends_where_its_large_payloads_end_it() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let count = limits::PAGE_BYTES / limits::LARGE_PAYLOAD_BYTES + 6;
    let batch = (0..count).map(|n| large(tenant, n as u8)).collect();
    accepted(&world.admit(batch, START).await);
    let page = PageRequest { limit: 250, order: Order::Ascending, ..PageRequest::default() };
    let list = world.store.list_events(tenant, &EventFilter::default(), &page).await.expect("a list");
    assert_eq!(list.items.len(), limits::PAGE_BYTES / limits::LARGE_PAYLOAD_BYTES);
    let rest = PageRequest { after: list.next, ..page };
    let list = world.store.list_events(tenant, &EventFilter::default(), &rest).await.expect("a list");
    assert_eq!(list.items.len(), 6);
    world.assert_balanced().await;
}

#[tokio::test]
async fn what_does_not_become_an_event_leaves_nothing() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let with_key = |key, fingerprint, first| NewEvent {
        idempotency: keyed(tenant, key, fingerprint).idempotency,
        ..large(tenant, first)
    };
    let first = accepted(&world.admit(vec![with_key("1", 1, 1)], START).await)[0];
    let batch = vec![
        with_key("1", 1, 1),
        with_key("1", 2, 2),
        with_key("2", 1, 3),
        with_key("2", 1, 3),
        large(TenantId::generate(), 4),
    ];
    let answers = world.admit(batch, at(1)).await;
    assert!(matches!(answers[0], Admission::Replayed { id, .. } if id == first), "{answers:?}");
    assert!(matches!(answers[1], Admission::IdempotencyConflict), "{answers:?}");
    assert!(matches!(answers[2], Admission::Accepted(_)), "{answers:?}");
    assert!(matches!(answers[3], Admission::Replayed { .. }), "{answers:?}");
    assert!(matches!(answers[4], Admission::NoSuchTenant), "{answers:?}");
    // The backend looks for what is left over.
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_replay_sends_a_large_payload_again() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let event = accepted(&world.admit(vec![large(tenant, 7)], START).await)[0];
    let dead = super::harness::Sent {
        id: DeliveryId { event, ordinal: 0 },
        tenant,
        endpoint: world.all(tenant).await[0].endpoint,
        generation: 0,
    };
    world.record_one(dead.dead(at(1))).await;
    let job = world.store.create_job(tenant, JobKind::Replay, states(&[DeliveryState::Dead]), at(2));
    let job = job.await.expect("a job").id;
    while world.store.advance_job(job, 100, at(3)).await.expect("a step").status != JobStatus::Succeeded {}
    let again = world.claim_due(tenant, at(4)).await;
    assert_eq!(again.len(), 1);
    let sent = loaded(&world, again[0].id, again[0].generation, at(4)).await;
    assert!(sent == payload(7, limits::LARGE_PAYLOAD_BYTES));
    world.assert_balanced().await;
}

#[tokio::test]
async fn large_payloads_go_with_their_events() {
    let world = World::new().await;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let old = (0..5).map(|n| large(acme, n)).chain([large(other, 9)]).collect();
    accepted(&world.admit(old, START).await);
    let kept = accepted(&world.admit(vec![large(acme, 1), large(other, 2)], at(1_000)).await);
    while world.store.sweep(Sweep::Retention { before: at(500) }, 2, at(2_000)).await.expect("a step") > 0 {}
    world.assert_balanced().await;
    for (tenant, event, first) in [(acme, kept[0], 1), (other, kept[1], 2)] {
        let view = world.store.find_event(tenant, event).await.expect("read").expect("is there");
        assert!(view.payload == payload(first, limits::LARGE_PAYLOAD_BYTES));
    }
    let job = world.store.delete_tenant(acme, at(2_001)).await.expect("begun").id;
    while world.store.advance_job(job, 100, at(2_002)).await.expect("a step").ended_at.is_none() {}
    world.assert_balanced().await;
    assert!(world.store.find_event(acme, kept[0]).await.expect("read").is_none());
    assert!(world.store.find_event(other, kept[1]).await.expect("read").is_some());
}
