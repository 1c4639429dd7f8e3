//! Lists: every item once, in order, whatever the size of the pages.

use std::collections::HashSet;

use bytes::Bytes;
use fairhook_common::delivery::DeliveryState;
use fairhook_common::event::NewEvent;
use fairhook_common::ids::{EventId, JobId};
use fairhook_common::limits;
use fairhook_common::store::{
    Admission, DeliveryFilter, DeliveryView, EventFilter, JobKind, Order, PageRequest, TenantRef,
};

use super::given::{all_pages, first_page, made, states};
use super::harness::{START, World, accepted, at, event_at};

const ORDERS: [Order; 2] = [Order::Ascending, Order::Descending];
/// Sizes of pages: smaller and greater than an event's deliveries, and than the whole.
const SIZES: [u32; 4] = [1, 2, 7, 250];

/// `found` holds each of `expected` (oldest first) once, in this order.
fn assert_in_order<T: PartialEq + Clone + std::fmt::Debug>(found: &[T], expected: &[T], order: Order) {
    let mut expected = expected.to_vec();
    if order == Order::Descending {
        expected.reverse();
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn pages_hold_every_item_exactly_once() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let other = world.tenant("other").await;
    let mut endpoints = vec![];
    for _ in 0..3 {
        endpoints.push(world.endpoint(acme).await);
        world.endpoint(other).await;
    }
    // Events of both tenants side by side, at the same times.
    let (mut events, mut deliveries, mut jobs) = (vec![], vec![], vec![]);
    for second in 0..5 {
        deliveries.extend(world.deliveries_at(acme, 2, at(second)).await.iter().map(|sent| sent.id));
        world.deliveries_at(other, 2, at(second)).await;
        jobs.push(store.create_job(acme, JobKind::Replay, states(&[]), at(second)).await.expect("a job").id);
    }
    events.extend(deliveries.iter().map(|id| id.event));
    events.dedup();
    assert_eq!((events.len(), deliveries.len()), (10, 30));
    let (any, all) = (DeliveryFilter::default(), EventFilter::default());
    for order in ORDERS {
        for size in SIZES {
            let found = all_pages(size, order, |page| {
                let any = &any;
                async move { store.list_deliveries(acme, any, &page).await }
            });
            assert_in_order(&found.await.iter().map(|view| view.id).collect::<Vec<_>>(), &deliveries, order);
            let found = all_pages(size, order, |page| {
                let all = &all;
                async move { store.list_events(acme, all, &page).await }
            });
            assert_in_order(&found.await.iter().map(|view| view.id).collect::<Vec<_>>(), &events, order);
            let found = all_pages(size, order, |page| async move { store.list_jobs(acme, &page).await });
            assert_in_order(&found.await.iter().map(|job| job.id).collect::<Vec<_>>(), &jobs, order);
            let found =
                all_pages(size, order, |page| async move { store.list_endpoints(acme, &[], &page).await });
            assert_in_order(&found.await.iter().map(|e| e.id).collect::<Vec<_>>(), &endpoints, order);
            let found = all_pages(size, order, |page| async move { store.list_tenants(&page).await });
            assert_in_order(&found.await.iter().map(|t| t.id).collect::<Vec<_>>(), &[acme, other], order);
        }
    }
    world.assert_balanced().await;
}

#[tokio::test]
async fn dead_letters_have_a_list_of_their_own() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let sent = world.deliveries(acme, 20).await;
    world.record(sent.iter().map(|s| s.delivered(at(1))).collect()).await;
    let dying = world.deliveries_at(acme, 9, at(2)).await;
    world.record(dying.iter().rev().map(|s| s.dead(at(3))).collect()).await;
    let dead: Vec<_> = dying.iter().map(|sent| sent.id).collect();
    let filter = DeliveryFilter { states: vec![DeliveryState::Dead], ..DeliveryFilter::default() };
    for order in ORDERS {
        for size in SIZES {
            let found = all_pages(size, order, |page| async move {
                store.list_dead_letters(acme, &DeliveryFilter::default(), &page).await
            });
            assert_in_order(&found.await.iter().map(|view| view.id).collect::<Vec<_>>(), &dead, order);
            let found = all_pages(size, order, |page| {
                let filter = &filter;
                async move { store.list_deliveries(acme, filter, &page).await }
            });
            assert_in_order(&found.await.iter().map(|view| view.id).collect::<Vec<_>>(), &dead, order);
        }
    }
}

#[tokio::test]
async fn lists_of_deliveries_filter() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let all = world.endpoint(acme).await;
    let orders = world.endpoint_for(acme, &["order.*"]).await;
    let types = ["order.paid", "user.made", "order.sent"];
    let admissions = world.admit(types.map(|t| event_at(acme, t, START)).to_vec(), START).await;
    let events = accepted(&admissions);
    let Admission::Accepted(paid) = &admissions[0] else { panic!("{admissions:?}") };
    assert_eq!(paid.deliveries.len(), 2);
    let sent = world.all(acme).await;
    let kept = |keep: &dyn Fn(&DeliveryView) -> bool| {
        sent.iter().filter(|view| keep(view)).map(|view| view.id).collect::<Vec<_>>()
    };
    let list = |filter: DeliveryFilter| async move {
        let page = PageRequest { order: Order::Ascending, ..first_page() };
        let found = store.list_deliveries(acme, &filter, &page).await.expect("a list");
        assert_eq!(found.next, None);
        found.items.iter().map(|view| view.id).collect::<Vec<_>>()
    };
    let filter = DeliveryFilter::default;
    assert_eq!(
        list(DeliveryFilter { endpoint: Some(orders), ..filter() }).await,
        kept(&|v| v.endpoint == orders)
    );
    assert_eq!(
        list(DeliveryFilter { event: Some(events[2]), ..filter() }).await,
        kept(&|v| v.id.event == events[2])
    );
    let of_type = DeliveryFilter { event_type: Some("user.made".into()), ..filter() };
    assert_eq!(list(of_type).await, kept(&|v| v.event_type == "user.made"));
    let both = DeliveryFilter { endpoint: Some(all), event_type: Some("order.paid".into()), ..filter() };
    assert_eq!(list(both).await, kept(&|v| v.endpoint == all && v.event_type == "order.paid"));
    let queued = DeliveryFilter { states: vec![DeliveryState::Queued, DeliveryState::Dead], ..filter() };
    assert_eq!(list(queued).await.len(), 5);
    let held = DeliveryFilter { states: vec![DeliveryState::Held], ..filter() };
    assert_eq!(list(held).await, []);
    let of_type = EventFilter { event_type: Some("order.sent".into()) };
    let found = store.list_events(acme, &of_type, &first_page()).await.expect("a list");
    assert_eq!(found.items.iter().map(|view| view.id).collect::<Vec<_>>(), [events[2]]);
}

#[tokio::test]
async fn from_and_to_bound_the_creation() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let mut sent = vec![];
    for second in 0..6 {
        sent.extend(world.deliveries_at(acme, 1, at(second)).await);
        store.create_job(acme, JobKind::Replay, states(&[]), at(second)).await.expect("a job");
    }
    for order in ORDERS {
        let page = PageRequest { from: Some(at(1)), to: Some(at(4)), order, ..first_page() };
        let expected: Vec<EventId> = sent[1..4].iter().map(|sent| sent.id.event).collect();
        let found = store.list_deliveries(acme, &DeliveryFilter::default(), &page).await.expect("a list");
        let found: Vec<_> = found.items.iter().map(|view| view.id.event).collect();
        assert_in_order(&found, &expected, order);
        let found = store.list_events(acme, &EventFilter::default(), &page).await.expect("a list");
        assert_in_order(&found.items.iter().map(|view| view.id).collect::<Vec<_>>(), &expected, order);
        let found = store.list_jobs(acme, &page).await.expect("a list");
        let times: Vec<_> = found.items.iter().map(|job| job.created_at).collect();
        assert_in_order(&times, &[at(1), at(2), at(3)], order);
    }
}

#[tokio::test]
async fn rare_matches_are_found_among_many() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let many = limits::LIST_ROWS as usize + 300;
    let sent = world.deliveries(acme, many).await;
    let rare = [&sent[0], &sent[many / 2], &sent[many - 1]];
    world.record(rare.iter().map(|s| s.delivered(at(1))).collect()).await;
    let filter = DeliveryFilter { states: vec![DeliveryState::Delivered], ..DeliveryFilter::default() };
    let rare: Vec<_> = rare.iter().map(|sent| sent.id).collect();
    for order in ORDERS {
        for size in [1, 2, 3, 250] {
            let found = all_pages(size, order, |page| {
                let filter = &filter;
                async move { store.list_deliveries(acme, filter, &page).await }
            });
            assert_in_order(&found.await.iter().map(|view| view.id).collect::<Vec<_>>(), &rare, order);
        }
    }
    let admissions = world.admit(vec![event_at(acme, "rare.one", at(2))], at(2)).await;
    let filter = EventFilter { event_type: Some("rare.one".into()) };
    for order in ORDERS {
        let found = all_pages(5, order, |page| {
            let filter = &filter;
            async move { store.list_events(acme, filter, &page).await }
        });
        assert_eq!(found.await.iter().map(|view| view.id).collect::<Vec<_>>(), accepted(&admissions));
    }
}

#[tokio::test]
async fn a_page_of_large_events_is_short() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let large = Bytes::from(vec![b'7'; limits::REQUEST_BODY_BYTES]);
    let events = (0..7).map(|_| NewEvent { payload: large.clone(), ..event_at(acme, "a", START) });
    let ids = accepted(&world.admit(events.collect(), START).await);
    let page = store.list_events(acme, &EventFilter::default(), &first_page()).await.expect("a page");
    assert_eq!(page.items.len(), limits::PAGE_BYTES / limits::REQUEST_BODY_BYTES);
    let found = all_pages(250, Order::Ascending, |page| async move {
        store.list_events(acme, &EventFilter::default(), &page).await
    });
    let found = found.await;
    assert_eq!(found.iter().map(|view| view.id).collect::<Vec<_>>(), ids);
    assert!(found.iter().all(|view| view.payload == large));
}

#[tokio::test]
async fn a_delivery_is_shown_with_its_attempts() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let sent = world.deliveries(acme, 1).await[0];
    let first = sent.retry(at(60), at(1));
    world.record_one(first.clone()).await;
    let view = world.view(&sent).await;
    assert_eq!((view.state, view.next_attempt_at), (DeliveryState::Scheduled, Some(at(60))));
    let claimed = world.claim_due(acme, at(60)).await[0];
    let view = world.view(&sent).await;
    assert_eq!((view.state, view.next_attempt_at), (DeliveryState::Queued, None), "a claim is no plan");
    let second = claimed.delivered(at(61));
    world.record_one(second.clone()).await;
    let view = world.view(&sent).await;
    let shown: Vec<_> =
        view.attempts.iter().map(|attempt| (attempt.n, Some(attempt.record.clone()))).collect();
    assert_eq!(shown, [(1, first.attempt), (2, second.attempt)]);
    assert_eq!((view.attempt_count, view.finished_at), (2, Some(at(61))));
    assert_eq!((view.created_at, view.event_type.as_str()), (START, "order.paid"));

    let event = world.store.find_event(acme, sent.id.event).await.expect("read").expect("there is one");
    assert_eq!(
        event.deliveries.iter().map(|d| (d.id, d.state)).collect::<Vec<_>>(),
        [(sent.id, DeliveryState::Delivered)]
    );
    assert_eq!(&event.payload[..], b"{\"id\": 7 }");
}

#[tokio::test]
async fn another_tenants_objects_are_not_there() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let other = made(&world, "other").await.id;
    world.endpoint(acme).await;
    let sent = world.deliveries(acme, 1).await[0];
    let job = store.create_job(acme, JobKind::Purge, states(&[]), START).await.expect("a job");
    assert!(store.find_event(other, sent.id.event).await.expect("read").is_none());
    assert!(store.find_delivery(other, sent.id).await.expect("read").is_none());
    assert!(store.cancel(other, sent.id, START).await.expect("asked").is_none());
    assert!(store.replay(other, sent.id, START).await.expect("asked").is_none());
    assert!(store.find_job(Some(other), job.id).await.expect("read").is_none());
    assert!(store.cancel_job(other, job.id, START).await.expect("asked").is_none());
    assert_eq!(store.find_job(Some(acme), job.id).await.expect("read"), Some(job.clone()));
    assert_eq!(store.find_job(None, job.id).await.expect("read"), Some(job), "an operator sees every job");
    assert!(store.find_job(None, JobId::generate()).await.expect("read").is_none());
    assert_eq!(store.tenant_of_event(sent.id.event).await.expect("read"), Some(acme));
    let ids: HashSet<_> = [acme, other].into();
    let found = store.list_tenants(&first_page()).await.expect("a list").items;
    assert_eq!(found.iter().map(|tenant| tenant.id).collect::<HashSet<_>>(), ids);
    assert!(store.find_tenant(&TenantRef::Slug("acme".into())).await.expect("read").is_some());
    assert_eq!(world.state(&sent).await, DeliveryState::Queued);
}
