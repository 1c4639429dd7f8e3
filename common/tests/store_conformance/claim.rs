//! What waits: `due_work`, `claim`, `release_held`, `recover`.

use std::collections::HashSet;
use std::sync::Arc;

use fairhook_common::delivery::{DeliveryState, Lane, Verdict};
use fairhook_common::ids::{EndpointId, TenantId};
use fairhook_common::store::{Claim, ClaimFrom, Recorded, Recovery};
use fairhook_common::tenant::Dispatch;

use super::harness::{LEASE, START, World, applied, at};

fn due(tenant: TenantId, lane: Lane, limit: u32) -> Claim {
    Claim { tenant, from: ClaimFrom::Due(lane), limit }
}

fn parked(tenant: TenantId, endpoint: EndpointId, lanes: [Lane; 3], limit: u32) -> Claim {
    Claim { tenant, from: ClaimFrom::Parked { endpoint, lanes }, limit }
}

#[tokio::test]
async fn due_work_is_told_by_tenant_lane_and_endpoint() {
    let world = World::new().await;
    assert_eq!(world.store.due_work(at(1)).await.unwrap().next_due_at, None);
    let (a, b, idle) = (world.tenant("a").await, world.tenant("b").await, world.tenant("idle").await);
    let (one, two) = (world.endpoint_for(a, &["*"]).await, world.endpoint_for(a, &["*"]).await);
    world.endpoint(b).await;
    world.endpoint(idle).await;
    world.deliveries(idle, 3).await;
    let of_a = world.deliveries(a, 3).await;
    let of_b = world.deliveries(b, 2).await;
    let mut outcomes = vec![of_b[0].retry(at(30), at(1)), of_b[1].retry(at(60), at(1))];
    outcomes.extend(of_a.iter().map(|sent| match sent.endpoint == one {
        true => sent.verdict(Verdict::Park, at(1)),
        false => sent.retry(at(10), at(1)),
    }));
    world.record(outcomes).await;

    let work = world.store.due_work(at(5)).await.unwrap();
    assert_eq!((work.due, work.parked, work.next_due_at), (vec![], vec![(a, one)], Some(at(10))));
    let work = world.store.due_work(at(10)).await.unwrap();
    assert_eq!((work.due, work.next_due_at), (vec![(a, Lane::Retry)], Some(at(30))));
    let work = world.store.due_work(at(40)).await.unwrap();
    let due_now: HashSet<_> = work.due.into_iter().collect();
    assert_eq!(due_now, HashSet::from([(a, Lane::Retry), (b, Lane::Retry)]));
    assert_eq!(work.next_due_at, Some(at(60)));

    // Room at an endpoint is room for its own.
    let parked = |endpoint, limit| parked(a, endpoint, Lane::ALL, limit);
    assert!(world.claim(&[parked(two, 9)], at(41)).await.is_empty());
    assert_eq!(world.claim(&[parked(one, 2)], at(41)).await.len(), 2);
    let last = world.store.claim(&[parked(one, 2)], LEASE, at(41)).await.unwrap();
    assert_eq!(last.iter().map(|c| (c.lane, c.endpoint)).collect::<Vec<_>>(), [(Lane::First, one)]);
    assert!(world.store.due_work(at(41)).await.unwrap().parked.is_empty());
    world.assert_balanced().await;
}

#[tokio::test]
async fn claims_are_oldest_first_within_their_limits() {
    let world = World::new().await;
    let (a, b) = (world.tenant("a").await, world.tenant("b").await);
    world.endpoint(a).await;
    world.endpoint(b).await;
    let (of_a, of_b) = (world.deliveries(a, 5).await, world.deliveries(b, 5).await);
    let retries = of_a.iter().chain(&of_b).enumerate().map(|(n, s)| s.retry(at(20 - n as u64), at(1)));
    world.record(retries.collect()).await;
    let claimed =
        world.claim(&[due(a, Lane::Retry, 2), due(b, Lane::Retry, 9), due(a, Lane::First, 9)], at(19)).await;
    let ids: Vec<_> = claimed.iter().map(|c| c.id).collect();
    let expected = [of_a[4], of_a[3], of_b[4], of_b[3], of_b[2], of_b[1], of_b[0]].map(|s| s.id);
    assert_eq!(ids, expected);
    assert!(claimed.iter().all(|c| c.generation == 1));
    // The same want twice in one call hands out nothing twice.
    let claimed = world.claim(&[due(a, Lane::Retry, 2), due(a, Lane::Retry, 2)], at(20)).await;
    let ids: HashSet<_> = claimed.iter().map(|c| c.id).collect();
    assert_eq!(ids.len(), claimed.len());
    assert!(world.claim(&[due(a, Lane::Retry, 0)], at(20)).await.is_empty());
    world.assert_balanced().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_handed_to_two() {
    let world = Arc::new(World::new().await);
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 200).await;
    world.record(sent.iter().map(|s| s.retry(at(5), at(1))).collect()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let world = Arc::clone(&world);
        tasks.spawn(async move {
            let mut mine = vec![];
            loop {
                let claimed = world.claim(&[due(tenant, Lane::Retry, 7)], at(5)).await;
                if claimed.is_empty() {
                    return mine;
                }
                mine.extend(claimed);
            }
        });
    }
    let claimed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let ids: HashSet<_> = claimed.iter().map(|c| c.id).collect();
    assert_eq!((claimed.len(), ids.len()), (200, 200));
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_claim_that_nobody_settles_comes_back_and_its_first_holder_is_stale() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 1).await[0];
    world.record_one(sent.retry(at(5), at(1))).await;
    let first = world.claim_due(tenant, at(5)).await[0];
    let until = at(5).after(LEASE);
    assert!(world.claim_due(tenant, at(100)).await.is_empty());
    assert_eq!(world.store.due_work(at(100)).await.unwrap().next_due_at, Some(until));
    let second = world.claim_due(tenant, until).await[0];
    assert_eq!((second.id, second.generation), (first.id, first.generation + 1));
    assert_eq!(world.record_one(first.retry(at(999), at(200))).await, Recorded::Stale);
    assert_eq!(applied(world.record_one(second.retry(at(999), at(200))).await).1, Some(at(999)));
    assert!(world.claim_due(tenant, at(998)).await.is_empty(), "its lease went with its outcome");
    world.assert_balanced().await;
}

#[tokio::test]
async fn parking_keeps_the_lane() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let endpoint = world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 2).await;
    world.record(vec![sent[0].retry(at(2), at(1)), sent[1].verdict(Verdict::Park, at(1))]).await;
    let retry = world.claim_due(tenant, at(2)).await[0];
    world.record_one(retry.verdict(Verdict::Park, at(3))).await;
    let want = parked(tenant, endpoint, Lane::ALL, 9);
    let claimed = world.store.claim(&[want], LEASE, at(4)).await.unwrap();
    let lanes: Vec<_> = claimed.iter().map(|c| (c.delivery, c.lane)).collect();
    assert_eq!(
        lanes,
        [(sent[1].id, Lane::First), (sent[0].id, Lane::Retry)],
        "what is new first"
    );
    world.assert_balanced().await;
}

#[tokio::test]
async fn what_is_parked_comes_in_the_wanted_order_of_lanes_and_the_oldest_of_each_first() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let endpoint = world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 7).await;
    // Replays are parked before retries, and those before what is new.
    world.record(sent[..2].iter().map(|s| s.dead(at(1))).collect()).await;
    world.record(sent[2..4].iter().map(|s| s.retry(at(2), at(1))).collect()).await;
    for dead in &sent[..2] {
        world.store.replay(tenant, dead.id, at(2)).await.unwrap();
    }
    let replays = world.claim(&[due(tenant, Lane::Replay, 2)], at(2)).await;
    let retries = world.claim(&[due(tenant, Lane::Retry, 2)], at(2)).await;
    for (n, waiting) in (3..).zip(replays.iter().chain(&retries).chain(&sent[4..])) {
        world.record_one(waiting.verdict(Verdict::Park, at(n))).await;
    }
    let mut claimed = Vec::new();
    let [first, retry, replay] = Lane::ALL;
    for lanes in [[replay, first, retry], [retry, replay, first], [first, replay, retry]] {
        let of_it = world.claim(&[parked(tenant, endpoint, lanes, 3)], at(20)).await;
        claimed.push(of_it.iter().map(|c| c.id).collect::<Vec<_>>());
    }
    let [new, retried, replayed] = [&sent[4..], &retries, &replays].map(|of| of.iter().map(|s| s.id).collect::<Vec<_>>());
    let first = [replayed, new[..1].to_vec()].concat();
    assert_eq!(claimed, [first, [retried, new[1..2].to_vec()].concat(), new[2..].to_vec()]);
    world.assert_balanced().await;
}

#[tokio::test]
async fn held_deliveries_are_released_only_where_everything_is_active() {
    let world = World::new().await;
    let (a, b) = (world.tenant("a").await, world.tenant("b").await);
    let (of_a, other, of_b) = (world.endpoint(a).await, world.endpoint(a).await, world.endpoint(b).await);
    for (tenant, endpoint) in [(a, of_a), (a, other), (b, of_b)] {
        world.pause(tenant, endpoint).await;
    }
    let held = world.deliveries(a, 3).await;
    world.deliveries(b, 3).await;
    assert_eq!(world.store.release_held(100, at(1)).await.unwrap(), 0);
    world.dispatch(b, Dispatch::Paused).await;
    world.resume(a, of_a).await;
    world.resume(b, of_b).await;
    assert_eq!(world.store.release_held(2, at(1)).await.unwrap(), 2, "bounded");
    assert_eq!(world.store.release_held(100, at(1)).await.unwrap(), 1);
    assert_eq!(world.store.release_held(100, at(1)).await.unwrap(), 0);
    for sent in &held {
        let state = if sent.endpoint == of_a { DeliveryState::Scheduled } else { DeliveryState::Held };
        assert_eq!(world.state(sent).await, state);
    }
    assert_eq!(world.claim_due(a, at(1)).await.len(), 3);
    world.dispatch(b, Dispatch::Open).await;
    assert_eq!(world.store.release_held(100, at(2)).await.unwrap(), 3);
    world.store.delete_endpoint(a, other, at(3)).await.unwrap();
    assert_eq!(
        world.store.release_held(100, at(4)).await.unwrap(),
        0,
        "a deleted endpoint's are not released"
    );
    world.assert_balanced().await;
}

#[tokio::test]
async fn after_a_crash_everything_unfinished_is_due_and_old_messages_are_stale() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 1_100).await;
    world
        .record(vec![
            sent[0].delivered(at(1)),
            sent[1].retry(at(5), at(1)),
            sent[2].retry(at(9_000), at(1)),
            sent[3].dead(at(1)),
        ])
        .await;
    let claimed = world.claim_due(tenant, at(5)).await[0];
    let world = world.reopen().await;
    assert_eq!(world.counts(tenant).await.accepted, 1_100, "202 means durable");
    assert_eq!(world.store.recover(Recovery::Everything, at(6)).await.unwrap(), 1_097);
    assert_eq!(world.store.recover(Recovery::Everything, at(6)).await.unwrap(), 0);
    assert_eq!(world.store.recover(Recovery::Outbox { before: at(6) }, at(6)).await.unwrap(), 0);
    let again = world.claim(&[due(tenant, Lane::Retry, 9), due(tenant, Lane::First, 2_000)], at(6)).await;
    assert_eq!(again.len(), 1_097);
    assert_eq!((again[0].id, again[0].generation), (claimed.id, claimed.generation + 2));
    assert_eq!(again[1].generation, 2);
    let load = world.load(&sent[7], at(7)).await;
    assert!(matches!(load, fairhook_common::store::Load::Stale), "{load:?}");
    assert_eq!(world.record_one(sent[7].dead(at(7))).await, Recorded::Stale);
    assert_eq!(applied(world.record_one(sent[8].delivered(at(7))).await).0, DeliveryState::Delivered);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_batch_whose_outbox_row_stays_is_made_due_but_not_what_is_in_hand() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let old = world.deliveries_at(tenant, 5, at(1)).await;
    let young = world.deliveries_at(tenant, 5, at(50)).await;
    world.record(vec![old[0].delivered(at(2)), old[1].retry(at(3), at(2))]).await;
    let claimed = world.claim_due(tenant, at(3)).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(world.store.recover(Recovery::Outbox { before: at(40) }, at(41)).await.unwrap(), 3);
    assert_eq!(world.store.recover(Recovery::Outbox { before: at(40) }, at(41)).await.unwrap(), 0);
    assert_eq!(world.view(&claimed[0]).await.generation, claimed[0].generation);
    assert_eq!(world.state(&young[0]).await, DeliveryState::Queued);
    assert_eq!(world.claim_due(tenant, at(41)).await.len(), 3);
    world.assert_balanced().await;
}

#[tokio::test]
async fn what_found_no_queue_is_made_due_as_it_is_unless_somebody_has_it() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 5).await;
    world
        .record(vec![sent[0].delivered(at(1)), sent[1].retry(at(2), at(1)), sent[2].retry(at(90), at(1))])
        .await;
    let claimed = world.claim_due(tenant, at(2)).await[0];
    let mut ids: Vec<_> = sent.iter().map(|s| s.id).collect();
    ids.push(fairhook_common::ids::DeliveryId { ordinal: 9, ..sent[0].id });
    ids.push(sent[4].id);
    assert_eq!(world.store.make_due(&ids, at(3)).await.unwrap(), 2);
    assert_eq!(world.store.make_due(&ids, at(3)).await.unwrap(), 0, "once is enough");
    assert_eq!(world.store.make_due(&[], at(3)).await.unwrap(), 0);
    assert_eq!(world.view(&claimed).await.generation, 1, "it is in a dispatcher's hands");
    assert_eq!(world.view(&sent[3]).await.generation, 0, "the message, should it come after all, is good");
    let due = world.claim(&[due(tenant, Lane::First, 9)], at(3)).await;
    let due: HashSet<_> = due.iter().map(|c| (c.id, c.generation)).collect();
    assert_eq!(due, HashSet::from([(sent[3].id, 1), (sent[4].id, 1)]));
    world.assert_balanced().await;
}

#[tokio::test]
async fn what_an_empty_queue_lost_is_made_due_for_that_tenant_alone() {
    let world = World::new().await;
    let (ours, theirs) = (world.tenant("ours").await, world.tenant("theirs").await);
    world.endpoint(ours).await;
    world.endpoint(theirs).await;
    let old = world.deliveries_at(ours, 4, at(1)).await;
    let foreign = world.deliveries_at(theirs, 2, at(1)).await;
    let young = world.deliveries_at(ours, 2, at(10)).await;
    world.record_one(old[0].retry(at(2), at(2))).await;
    let claimed = world.claim_due(ours, at(2)).await[0];
    let lost = Recovery::Lost { tenant: ours, before: at(10) };
    assert_eq!(world.store.recover(lost, at(20)).await.unwrap(), 3);
    assert_eq!(world.store.recover(lost, at(20)).await.unwrap(), 0);
    assert_eq!(world.view(&claimed).await.generation, claimed.generation, "it is in a dispatcher's hands");
    for sent in [&foreign[0], &young[0]] {
        assert_eq!((world.state(sent).await, world.view(sent).await.generation), (DeliveryState::Queued, 0));
    }
    let again = world.claim_due(ours, at(20)).await;
    assert_eq!(again.iter().map(|c| c.generation).collect::<Vec<_>>(), [2, 2, 2]);
    assert!(START < at(1));
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_tenant_with_much_that_is_held_does_not_take_whole_steps_of_the_release() {
    let world = World::new().await;
    let mut waiting = Vec::new();
    for (slug, events) in [("first", 40), ("second", 3), ("third", 40)] {
        let tenant = world.tenant(slug).await;
        let endpoint = world.endpoint(tenant).await;
        world.pause(tenant, endpoint).await;
        world.deliveries(tenant, events).await;
        waiting.push((tenant, endpoint));
    }
    for (tenant, endpoint) in &waiting {
        world.resume(*tenant, *endpoint).await;
    }
    assert_eq!(world.store.release_held(30, at(1)).await.unwrap(), 30, "a whole step");
    let mut released = Vec::new();
    for (tenant, _) in &waiting {
        released
            .push(world.all(*tenant).await.iter().filter(|d| d.state == DeliveryState::Scheduled).count());
    }
    assert_eq!(released[1], 3, "all of the small one");
    assert!(released[0] >= 10 && released[2] >= 10, "{released:?}");
    assert_eq!(world.store.release_held(500, at(1)).await.unwrap(), 53, "and then the rest");
}
