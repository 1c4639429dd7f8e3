//! `admit` and `settle_outbox`.

use fairhook_common::cloudevent::Context;
use fairhook_common::delivery::{DeliveryState, Lane};
use fairhook_common::event::NewEvent;
use fairhook_common::ids::{DeliveryId, EndpointId, TenantId};
use fairhook_common::store::{Admission, Load, Recovery, Settled, Ticket};

use super::harness::{LIFE, START, World, accepted, at, event, keyed};

#[tokio::test]
async fn an_event_goes_to_whoever_subscribes_and_to_nobody_else() {
    let world = World::new().await;
    let (ours, theirs) = (world.tenant("ours").await, world.tenant("theirs").await);
    let all = world.endpoint(ours).await;
    let orders = world.endpoint_for(ours, &["order.*", "user.made"]).await;
    let paused = world.endpoint_for(ours, &["order.paid"]).await;
    world.pause(ours, paused).await;
    let deleted = world.endpoint(ours).await;
    assert!(world.store.delete_endpoint(ours, deleted, START).await.unwrap());
    world.endpoint(theirs).await;

    let results = world.admit(vec![event(ours, "order.paid"), event(ours, "orders.paid")], at(1)).await;
    let [Admission::Accepted(paid), Admission::Accepted(other)] = &results[..] else { panic!("{results:?}") };
    let targets = |e: &fairhook_common::store::AcceptedEvent| {
        e.deliveries.iter().map(|d| (d.endpoint, d.state)).collect::<Vec<_>>()
    };
    use DeliveryState::{Held, Queued};
    assert_eq!(targets(paid), [(all, Queued), (orders, Queued), (paused, Held)]);
    assert_eq!(paid.deliveries.iter().map(|d| d.ordinal).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(targets(other), [(all, Queued)]);
    assert_eq!((paid.created_at, other.created_at), (at(1), at(1)));
    assert!(paid.id < other.id);

    // An endpoint made a moment ago counts.
    let new = world.endpoint(ours).await;
    let results = world.admit(vec![event(ours, "user.made")], at(1)).await;
    let [Admission::Accepted(made)] = &results[..] else { panic!("{results:?}") };
    assert_eq!(targets(made), [(all, Queued), (orders, Queued), (new, Queued)]);
    assert_eq!(world.counts(ours).await.backlog, 7);
    assert_eq!(world.counts(theirs).await.accepted, 0);
    world.assert_balanced().await;
}

#[tokio::test]
async fn the_same_key_is_admitted_once_in_one_batch_and_in_two() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let twins =
        vec![keyed(tenant, "a", 1), keyed(tenant, "a", 1), keyed(tenant, "a", 2), keyed(tenant, "b", 1)];
    let results = world.admit(twins, at(1)).await;
    let [Admission::Accepted(first), twin, conflict, Admission::Accepted(_)] = &results[..] else {
        panic!("{results:?}")
    };
    let is_replay = |admission: &Admission| {
        matches!(admission, Admission::Replayed { id, created_at, deliveries: 1 }
            if *id == first.id && *created_at == at(1))
    };
    assert!(is_replay(twin), "{twin:?}");
    assert!(matches!(conflict, Admission::IdempotencyConflict));

    // What was answered then is answered now, although the endpoints have changed.
    world.endpoint(tenant).await;
    let later = world.admit(vec![keyed(tenant, "a", 1), keyed(tenant, "a", 3)], at(2)).await;
    assert!(is_replay(&later[0]), "{:?}", later[0]);
    assert!(matches!(later[1], Admission::IdempotencyConflict));

    // A key is its tenant's own, and forgotten in time.
    let other = world.tenant("other").await;
    accepted(&world.admit(vec![keyed(other, "a", 9)], at(3)).await);
    let forgotten = world.admit(vec![keyed(tenant, "a", 9)], START.after(LIFE)).await;
    accepted(&forgotten);
    assert_eq!(world.counts(tenant).await.accepted, 2 + 2);
    world.assert_balanced().await;
}

#[tokio::test]
async fn unknown_tenants_and_endpoints_are_answered_one_by_one() {
    let world = World::new().await;
    let (ours, theirs) = (world.tenant("ours").await, world.tenant("theirs").await);
    let (mine, foreign) = (world.endpoint_for(ours, &["other"]).await, world.endpoint(theirs).await);
    let leaving = world.tenant("leaving").await;
    world.store.delete_tenant(leaving, START).await.unwrap();
    let only = |endpoint| NewEvent { only_endpoint: Some(endpoint), ..event(ours, "order.paid") };
    let batch = vec![
        event(TenantId::generate(), "a"),
        event(leaving, "a"),
        only(EndpointId::generate()),
        only(foreign),
        only(mine),
        event(ours, "nobody.listens"),
    ];
    let results = world.admit(batch, at(1)).await;
    use Admission::{Accepted, NoSuchEndpoint, NoSuchTenant};
    let [NoSuchTenant, NoSuchTenant, NoSuchEndpoint, NoSuchEndpoint, Accepted(test), Accepted(none)] =
        &results[..]
    else {
        panic!("{results:?}")
    };
    assert_eq!(test.deliveries.iter().map(|d| d.endpoint).collect::<Vec<_>>(), [mine]);
    assert!(none.deliveries.is_empty());
    assert!(world.store.find_event(ours, none.id).await.unwrap().is_some());
    world.assert_balanced().await;
}

#[tokio::test]
async fn what_is_to_be_delivered_later_waits_even_if_its_endpoint_is_paused() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let paused = world.endpoint(tenant).await;
    world.pause(tenant, paused).await;
    let later = |at| NewEvent { deliver_at: Some(at), ..event(tenant, "order.paid") };
    let admitted = world.store.admit(vec![later(at(60)), later(at(1))], at(1)).await.unwrap();
    let states = admitted.results.iter().map(|result| match result {
        Admission::Accepted(event) => event.deliveries.iter().map(|d| d.state).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    });
    let states: Vec<Vec<_>> = states.collect();
    use DeliveryState::{Held, Queued, Scheduled};
    assert_eq!(states, [vec![Scheduled, Scheduled], vec![Queued, Held]]);
    let work = world.store.due_work(at(59)).await.unwrap();
    assert_eq!((work.due, work.next_due_at), (vec![], Some(at(60))));
    assert_eq!(world.store.due_work(at(60)).await.unwrap().due, [(tenant, Lane::First)]);
    assert_eq!(world.claim_due(tenant, at(60)).await.len(), 2);
    world.assert_balanced().await;
}

#[tokio::test]
async fn one_event_that_cannot_be_stored_is_refused_alone() {
    let world = World::new().await;
    let (good, bad) = (world.tenant("good").await, world.tenant("bad").await);
    world.endpoint(good).await;
    world.endpoint(bad).await;
    let poison = "{\"a\": \"\0\"}";
    let (noted, contextual) = (Some(poison.to_owned()), Some(Context::stored(poison)));
    for (culprit, metadata, cloudevent) in [(0, noted.clone(), None), (37, None, contextual), (99, noted, None)] {
        let mut batch: Vec<_> = (0..100).map(|_| event(good, "order.paid")).collect();
        batch[culprit] = NewEvent { metadata, cloudevent, ..event(bad, "order.paid") };
        let mut results = world.admit(batch, at(1)).await;
        assert!(matches!(results.remove(culprit), Admission::Refused(_)));
        let ids = accepted(&results);
        assert!(ids.is_sorted());
    }
    assert_eq!(world.counts(good).await.accepted, 3 * 99);
    assert_eq!(world.counts(bad).await.accepted, 0);

    // Nor does it take its twin's answer with it, or leave its key behind.
    let poisoned = NewEvent { metadata: Some("\0".into()), ..keyed(bad, "key", 1) };
    let results = world.admit(vec![poisoned, keyed(bad, "key", 1)], at(1)).await;
    assert!(results.iter().all(|r| matches!(r, Admission::Refused(_))), "{results:?}");
    accepted(&world.admit(vec![keyed(bad, "key", 1)], at(1)).await);
    world.assert_balanced().await;
}

#[tokio::test]
async fn ids_ascend_in_the_order_of_commits_whatever_the_clock_and_a_restart() {
    let mut world = World::new().await;
    let tenant = world.tenant("acme").await;
    let mut last = None;
    for now in [at(100), at(100), at(50), at(101), START] {
        let batch = (0..50).map(|_| event(tenant, "order.paid")).collect();
        for id in accepted(&world.admit(batch, now).await) {
            assert!(Some(id) > last, "{id} after {last:?} at {now}");
            last = Some(id);
        }
        world = world.reopen().await;
    }
    world.assert_balanced().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_side_by_side_are_all_admitted_with_ids_of_their_own() {
    let world = std::sync::Arc::new(World::new().await);
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let world = std::sync::Arc::clone(&world);
        tasks.spawn(async move { world.deliveries(tenant, 20).await });
    }
    let mut ids: Vec<_> = tasks.join_all().await.into_iter().flatten().map(|sent| sent.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 400);
    assert_eq!(world.counts(tenant).await.backlog, 400);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_payload_comes_back_byte_for_byte() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let payload = bytes::Bytes::from((0..=255u8).cycle().take(100_000).collect::<Vec<_>>());
    let new = NewEvent { payload: payload.clone(), metadata: Some("{}".into()), ..event(tenant, "a") };
    let id = accepted(&world.admit(vec![new], at(1)).await)[0];
    let view = world.store.find_event(tenant, id).await.unwrap().unwrap();
    assert_eq!(view.payload, payload);
    assert_eq!((view.metadata.as_deref(), view.cloudevent), (Some("{}"), None));
}

#[tokio::test]
async fn what_came_as_a_cloudevent_is_shown_and_attempted_as_one() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let context = Context::stored(r#"{"id":"1","source":"/ä","specversion":"1.0","type":"a"}"#);
    let new = NewEvent { cloudevent: Some(context.clone()), ..event(tenant, "a") };
    let results = world.admit(vec![new], at(1)).await;
    let id = accepted(&results)[0];
    let view = world.store.find_event(tenant, id).await.unwrap().unwrap();
    assert_eq!(view.cloudevent.as_deref(), Some(context.json()));
    let ticket = Ticket { delivery: DeliveryId { event: id, ordinal: 0 }, generation: 0 };
    // Read, then remembered if the store remembers.
    for load in world.store.load(&[ticket], at(1)).await.unwrap() {
        let Load::Attempt(loaded) = load else { panic!("no attempt: {load:?}") };
        assert_eq!(loaded.cloudevent, Some(context.clone()));
    }
    if let Some(Load::Attempt(loaded)) = world.store.at_hand(&[ticket], at(1)).remove(0) {
        assert_eq!(loaded.cloudevent, Some(context));
    }
}

#[tokio::test]
async fn what_the_queue_did_not_take_becomes_due_once() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let endpoint = world.endpoint(tenant).await;
    let batch = (0..4).map(|_| event(tenant, "order.paid")).collect();
    let admitted = world.store.admit(batch, START).await.unwrap();
    let outbox = admitted.outbox.expect("something was queued");
    let sent = accepted(&admitted.results).into_iter().map(|event| super::harness::Sent {
        id: fairhook_common::ids::DeliveryId { event, ordinal: 0 },
        tenant,
        endpoint,
        generation: 0,
    });
    let sent: Vec<_> = sent.collect();
    // One of them arrived in spite of the missing confirm.
    world.record_one(sent[1].delivered(at(1))).await;
    let settled = [Settled { outbox, unpublished: vec![sent[1].id, sent[2].id, sent[3].id] }];
    for _ in 0..2 {
        world.store.settle_outbox(&settled, at(2)).await.unwrap();
    }
    let mut states = vec![];
    for sent in &sent {
        states.push(world.state(sent).await);
    }
    use DeliveryState::{Delivered, Queued, Scheduled};
    assert_eq!(states, [Queued, Delivered, Scheduled, Scheduled]);
    assert_eq!(world.view(&sent[2]).await.generation, 0);
    let claimed = world.claim_due(tenant, at(2)).await;
    assert_eq!(
        claimed.iter().map(|c| (c.id, c.generation)).collect::<Vec<_>>(),
        [(sent[2].id, 1), (sent[3].id, 1)]
    );
    // The row is gone: settling once more takes nothing out of a dispatcher's hands, and nothing is left to recover.
    world.store.settle_outbox(&settled, at(3)).await.unwrap();
    assert!(world.claim_due(tenant, at(3)).await.is_empty());
    assert_eq!(world.store.recover(Recovery::Outbox { before: at(9) }, at(9)).await.unwrap(), 0);
    // A batch that queues nothing has no row.
    let paused = world.tenant("paused").await;
    let admitted = world.store.admit(vec![event(paused, "a")], START).await.unwrap();
    assert_eq!(admitted.outbox, None);
    world.assert_balanced().await;
}
