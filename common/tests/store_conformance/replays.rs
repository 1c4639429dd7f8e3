//! One delivery replayed or cancelled, from every state.

use fairhook_common::delivery::{DeliveryState, DiscardReason, Lane, Verdict};
use fairhook_common::event::NewEvent;
use fairhook_common::ids::{DeliveryId, TenantId};
use fairhook_common::store::{Change, Claim, ClaimFrom, Recorded, Replayed};
use fairhook_common::tenant::DlqOverflow;

use super::harness::{LIFE, START, Sent, World, accepted, applied, at, event};

async fn replay(world: &World, sent: &Sent, seconds: u64) -> Replayed {
    let replayed = world.store.replay(sent.tenant, sent.id, at(seconds)).await.expect("asked");
    replayed.expect("there is such a delivery")
}

async fn claim_replays(world: &World, tenant: TenantId, seconds: u64) -> Vec<Sent> {
    world.claim(&[Claim { tenant, from: ClaimFrom::Due(Lane::Replay), limit: 10 }], at(seconds)).await
}

#[tokio::test]
async fn a_dead_letter_is_due_again() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let sent = world.deliveries(acme, 1).await[0];
    world.record_one(sent.retry(at(5), at(1))).await;
    let sent = world.claim_due(acme, at(5)).await[0];
    world.record_one(sent.dead(at(6))).await;
    assert_eq!(world.dead_letters(acme).await, [sent.id]);
    let mut changes = world.store.changes();
    assert_eq!(replay(&world, &sent, 100).await, Replayed::Due(sent.id));
    assert_eq!(changes.try_recv(), Ok(Change::Due(acme)));
    let view = world.view(&sent).await;
    assert_eq!((view.state, view.generation), (DeliveryState::Scheduled, 2));
    assert_eq!((view.next_attempt_at, view.finished_at), (Some(at(100)), None));
    assert_eq!(view.expires_at, START.after(LIFE), "no later than its event's");
    assert_eq!(world.dead_letters(acme).await, []);
    assert_eq!(world.counts(acme).await.retrying, 1);
    world.assert_balanced().await;

    let again = replay(&world, &sent, 100).await;
    assert_eq!(again, Replayed::NotReplayable(DeliveryState::Scheduled), "it is under way");
    let claimed = claim_replays(&world, acme, 100).await[0];
    assert_eq!(claimed.generation, 3);
    let fairhook_common::store::Load::Attempt(loaded) = world.load(&claimed, at(100)).await else {
        panic!("not loaded")
    };
    assert_eq!(
        (loaded.schedule_position, loaded.attempts),
        (0, 2),
        "the schedule begins anew, not the numbers"
    );
    // What was decided before the replay no longer counts.
    assert_eq!(world.record_one(sent.dead(at(101))).await, Recorded::Stale);
    world.record_one(claimed.delivered(at(102))).await;
    assert_eq!(world.state(&sent).await, DeliveryState::Delivered);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_dead_letter_without_an_attempt_waits_in_the_backlog() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let sent = world.deliveries(acme, 1).await[0];
    world.record_one(sent.verdict(Verdict::Dead, at(1))).await;
    assert_eq!(replay(&world, &sent, 2).await, Replayed::Due(sent.id));
    let counts = world.counts(acme).await;
    assert_eq!((counts.backlog, counts.retrying, counts.dead), (1, 0, 0));
    world.assert_balanced().await;
}

#[tokio::test]
async fn an_overflowed_delivery_is_due_again() {
    let world = World::new().await;
    let acme = world.tenant_with_dlq(1, DlqOverflow::DropOldest).await;
    world.endpoint(acme).await;
    let sent = world.deliveries(acme, 2).await;
    for (sent, second) in sent.iter().zip(1..) {
        world.record_one(sent.dead(at(second))).await;
    }
    let view = world.view(&sent[0]).await;
    assert_eq!(view.discarded_reason, Some(DiscardReason::DlqOverflow));
    assert_eq!(replay(&world, &sent[0], 5).await, Replayed::Due(sent[0].id));
    let view = world.view(&sent[0]).await;
    assert_eq!((view.state, view.discarded_reason), (DeliveryState::Scheduled, None));
    assert_eq!(world.dead_letters(acme).await, [sent[1].id]);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_delivered_one_becomes_a_new_delivery() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let endpoint = world.endpoint(acme).await;
    let sent = world.deliveries(acme, 1).await;
    world.record(sent.iter().map(|s| s.delivered(at(1))).collect()).await;
    let new = DeliveryId { ordinal: 2, ..sent[1].id };
    assert_eq!(replay(&world, &sent[1], 5).await, Replayed::Due(new));
    let again = DeliveryId { ordinal: 3, ..sent[1].id };
    assert_eq!(replay(&world, &sent[1], 6).await, Replayed::Due(again), "as often as you like");
    let view = world.store.find_delivery(acme, new).await.expect("read").expect("there is one");
    assert_eq!((view.endpoint, view.replay_of), (endpoint, Some(sent[1].id)));
    assert_eq!((view.state, view.attempt_count), (DeliveryState::Scheduled, 0));
    assert_eq!(world.state(&sent[1]).await, DeliveryState::Delivered, "the first one stays as it is");
    let counts = world.counts(acme).await;
    assert_eq!((counts.accepted, counts.delivered, counts.backlog), (4, 2, 2));
    world.assert_balanced().await;
    let claimed = claim_replays(&world, acme, 6).await;
    assert_eq!(claimed.iter().map(|c| c.id).collect::<Vec<_>>(), [new, again]);
    world.record(claimed.iter().map(|c| c.delivered(at(7))).collect()).await;
    world.assert_balanced().await;
}

#[tokio::test]
async fn what_is_unfinished_cancelled_or_expired_is_not_replayed() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let sent = world.deliveries(acme, 4).await;
    let mut refused = vec![(sent[0], DeliveryState::Queued)];
    world.store.cancel(acme, sent[1].id, at(1)).await.expect("cancelled");
    world.record_one(sent[2].verdict(Verdict::Discard(DiscardReason::Expired), at(1))).await;
    refused.extend([(sent[1], DeliveryState::Discarded), (sent[2], DeliveryState::Discarded)]);
    for (sent, state) in refused {
        assert_eq!(replay(&world, &sent, 2).await, Replayed::NotReplayable(state));
    }
    world.record_one(sent[3].dead(at(1))).await;
    let too_late = world.store.replay(acme, sent[3].id, START.after(LIFE)).await.expect("asked");
    assert_eq!(too_late, Some(Replayed::NotReplayable(DeliveryState::Dead)), "its event has expired");
    assert_eq!(world.dead_letters(acme).await, [sent[3].id], "it stays what it is");
    let unknown = DeliveryId { ordinal: 9, ..sent[0].id };
    assert_eq!(world.store.replay(acme, unknown, at(2)).await.expect("asked"), None);
    world.assert_balanced().await;
}

#[tokio::test]
async fn nothing_is_replayed_to_a_deleted_endpoint() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let endpoint = world.endpoint(acme).await;
    let sent = world.deliveries(acme, 2).await;
    world.record(vec![sent[0].dead(at(1)), sent[1].delivered(at(1))]).await;
    world.store.delete_endpoint(acme, endpoint, at(2)).await.expect("deleted");
    for sent in &sent {
        assert_eq!(replay(&world, sent, 3).await, Replayed::EndpointGone);
    }
    world.assert_balanced().await;
}

#[tokio::test]
async fn an_unfinished_delivery_is_cancelled_wherever_it_waits() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let endpoint = world.endpoint(acme).await;
    let later = NewEvent { deliver_at: Some(at(50)), ..event(acme, "order.paid") };
    let scheduled = accepted(&world.admit(vec![later], START).await)[0];
    let sent = world.deliveries(acme, 5).await;
    world.record_one(sent[1].retry(at(60), at(1))).await;
    world.record_one(sent[2].verdict(Verdict::Park, at(1))).await;
    world.record_one(sent[3].retry(at(2), at(1))).await;
    let claimed = world.claim_due(acme, at(2)).await;
    assert_eq!(claimed.iter().map(|c| c.id).collect::<Vec<_>>(), [sent[3].id]);
    world.pause(acme, endpoint).await;
    world.record_one(sent[4].verdict(Verdict::Hold, at(2))).await;
    let ids = sent.iter().map(|s| s.id).chain([DeliveryId { event: scheduled, ordinal: 0 }]);
    for id in ids {
        for _ in 0..2 {
            let state = world.store.cancel(acme, id, at(3)).await.expect("asked");
            assert_eq!(state, Some(DeliveryState::Discarded), "{id}");
        }
        let view = world.store.find_delivery(acme, id).await.expect("read").expect("there is one");
        assert_eq!((view.discarded_reason, view.finished_at), (Some(DiscardReason::Cancelled), Some(at(3))));
    }
    // A late 2xx of the one whose attempt was under way changes nothing.
    assert_eq!(world.record_one(claimed[0].delivered(at(4))).await, Recorded::Stale);
    assert_eq!(world.state(&sent[3]).await, DeliveryState::Discarded);
    world.resume(acme, endpoint).await;
    assert_eq!(world.store.release_held(10, at(5)).await.expect("asked"), 0);
    assert_eq!(world.claim_due(acme, at(1_000)).await, []);
    let counts = world.counts(acme).await;
    assert_eq!((counts.discarded, counts.backlog, counts.retrying), (6, 0, 0));

    let done = world.deliveries_at(acme, 1, at(6)).await[0];
    assert_eq!(applied(world.record_one(done.delivered(at(7))).await).0, DeliveryState::Delivered);
    let state = world.store.cancel(acme, done.id, at(8)).await.expect("asked");
    assert_eq!(state, Some(DeliveryState::Delivered), "what has ended stays as it is");
    world.assert_balanced().await;
}
