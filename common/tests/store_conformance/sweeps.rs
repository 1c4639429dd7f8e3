//! Housekeeping: what ends by itself, and what goes.

use std::time::Duration;

use fairhook_common::delivery::{DeliveryState, DiscardReason, Verdict};
use fairhook_common::event::NewEvent;
use fairhook_common::ids::DeliveryId;
use fairhook_common::limits;
use fairhook_common::store::{Admission, JobKind, Recorded, Sweep};
use fairhook_common::time::Timestamp;

use super::given::states;
use super::harness::{LEASE, LIFE, START, Sent, World, accepted, at, event, keyed};

/// Sweeps until nothing is left; how many rows, each step.
async fn sweep(world: &World, what: Sweep, limit: u32, now: Timestamp) -> Vec<u64> {
    let mut steps = vec![];
    loop {
        match world.store.sweep(what, limit, now).await.expect("a step") {
            0 => return steps,
            rows => steps.push(rows),
        }
        assert!(steps.len() < 1_000, "it never ends");
    }
}

#[tokio::test]
async fn what_waits_too_long_expires() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let endpoint = world.endpoint(acme).await;
    let soon = NewEvent { expires_at: at(100), deliver_at: Some(at(90)), ..event(acme, "a") };
    let scheduled = DeliveryId { event: accepted(&world.admit(vec![soon], START).await)[0], ordinal: 0 };
    let batch = (0..4).map(|_| NewEvent { expires_at: at(100), ..event(acme, "a") }).collect();
    let ids = accepted(&world.admit(batch, START).await);
    let sent = ids.iter().map(|&event| Sent {
        id: DeliveryId { event, ordinal: 0 },
        tenant: acme,
        endpoint,
        generation: 0,
    });
    let sent: Vec<_> = sent.collect();
    world.record_one(sent[0].retry(at(95), at(1))).await;
    world.record_one(sent[1].verdict(Verdict::Park, at(1))).await;
    world.record_one(sent[2].retry(at(96), at(1))).await;
    world.pause(acme, endpoint).await;
    world.record_one(sent[3].verdict(Verdict::Hold, at(1))).await;
    world.resume(acme, endpoint).await;
    let kept = world.deliveries_at(acme, 1, at(2)).await[0];
    // One is claimed: its attempt may be under way when its time comes.
    let claimed =
        world.claim_due(acme, at(95)).await.into_iter().find(|c| c.id == sent[0].id).expect("claimed");
    assert_eq!(sweep(&world, Sweep::Expired, 1_000, at(99)).await, [] as [u64; 0], "not a moment early");
    let steps = sweep(&world, Sweep::Expired, 2, at(100)).await;
    assert!(steps.iter().all(|rows| *rows <= 2), "{steps:?}");
    for id in [sent[1].id, sent[2].id, sent[3].id] {
        let view = world.store.find_delivery(acme, id).await.expect("read").expect("there is one");
        assert_eq!(
            (view.state, view.discarded_reason),
            (DeliveryState::Discarded, Some(DiscardReason::Expired))
        );
        assert_eq!(view.finished_at, Some(at(100)));
    }
    assert_eq!(world.state(&claimed).await, DeliveryState::Queued);
    let late = world.record_one(claimed.delivered(at(101))).await;
    assert!(matches!(late, Recorded::Applied { state: DeliveryState::Delivered, .. }), "{late:?}");
    // The one with a time of its own was claimed too, and its dispatcher has died.
    sweep(&world, Sweep::Expired, 1_000, at(95).after(LEASE)).await;
    let view = world.store.find_delivery(acme, scheduled).await.expect("read").expect("there is one");
    assert_eq!(view.discarded_reason, Some(DiscardReason::Expired));
    assert_eq!(world.state(&kept).await, DeliveryState::Queued);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_deleted_endpoints_deliveries_are_discarded() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let (kept, gone) = (world.endpoint(acme).await, world.endpoint(acme).await);
    let sent = world.deliveries(acme, 5).await;
    world.record(sent.iter().map(|s| s.retry(at(60), at(1))).collect()).await;
    world.store.delete_endpoint(acme, gone, at(2)).await.expect("deleted");
    let steps = sweep(&world, Sweep::DeletedEndpoints, 2, at(3)).await;
    assert_eq!(steps, [2, 2, 1]);
    for s in &sent {
        let view = world.view(s).await;
        let expected = if s.endpoint == kept {
            (DeliveryState::Scheduled, None)
        } else {
            (DeliveryState::Discarded, Some(DiscardReason::EndpointDeleted))
        };
        assert_eq!((view.state, view.discarded_reason), expected);
    }
    world.assert_balanced().await;
}

#[tokio::test]
async fn retention_removes_old_events_and_keeps_the_counts() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let other = world.tenant("other").await;
    let endpoint = world.endpoint(acme).await;
    world.endpoint(other).await;
    let sent = world.deliveries(acme, 6).await;
    let theirs = world.deliveries_at(other, 3, at(1)).await;
    world
        .record(vec![
            sent[0].delivered(at(2)),
            sent[1].dead(at(2)),
            sent[2].retry(at(60), at(2)),
            sent[3].verdict(Verdict::Park, at(2)),
        ])
        .await;
    world.store.cancel(acme, sent[4].id, at(2)).await.expect("cancelled");
    let young = world.deliveries_at(acme, 2, at(10)).await;
    world.record_one(young[0].dead(at(11))).await;
    let before = Sweep::Retention { before: at(10) };
    let steps = sweep(&world, before, 3, at(20)).await;
    assert_eq!(steps.iter().sum::<u64>(), 9);
    assert!(steps.len() >= 4, "about so many rows a step: {steps:?}");
    for s in sent.iter().chain(&theirs) {
        assert!(world.store.find_delivery(s.tenant, s.id).await.expect("read").is_none());
        assert!(world.store.find_event(s.tenant, s.id.event).await.expect("read").is_none());
    }
    let counts = world.counts(acme).await;
    assert!(counts.balanced(), "{counts:?}");
    let parts = (counts.accepted, counts.delivered, counts.dead, counts.discarded, counts.waiting());
    assert_eq!(parts, (8, 1, 1, 5, 1), "the dead and the unfinished ended as expired");
    assert_eq!(world.counts(other).await.discarded, 3);
    assert_eq!(world.dead_letters(acme).await, [young[0].id]);
    assert_eq!(world.claim_due(acme, at(10_000)).await, []);
    assert_eq!(world.record_one(sent[5].delivered(at(21))).await, Recorded::Stale, "too late for anything");
    assert_eq!(world.state(&young[1]).await, DeliveryState::Queued);
    assert_eq!(world.counts(acme).await, counts);

    // The row of a deleted endpoint goes when nothing can refer to it any more.
    world.store.delete_endpoint(acme, endpoint, at(30)).await.expect("deleted");
    assert_eq!(sweep(&world, Sweep::Retention { before: at(10) }, 10, at(31)).await, [] as [u64; 0]);
    assert_eq!(sweep(&world, Sweep::Retention { before: at(31) }, 10, at(40)).await, [2, 1]);
    assert!(world.counts(acme).await.balanced());
}

#[tokio::test]
async fn idempotency_keys_are_forgotten() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let keys = ["a", "b", "c"];
    world.admit(keys.map(|key| keyed(acme, key, 1)).to_vec(), START).await;
    let end = START.after(LIFE);
    assert_eq!(sweep(&world, Sweep::IdempotencyKeys, 2, Timestamp(end.0 - 1)).await, [] as [u64; 0]);
    assert_eq!(sweep(&world, Sweep::IdempotencyKeys, 2, end).await, [2, 1]);
    let again = world.admit(vec![keyed(acme, "a", 2)], Timestamp(end.0 - 1)).await;
    assert!(matches!(again[0], Admission::Accepted(_)), "{again:?}");
    world.assert_balanced().await;
}

#[tokio::test]
async fn ended_jobs_are_forgotten() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let mut jobs = vec![];
    for second in 1..4 {
        let job =
            world.store.create_job(acme, JobKind::Replay, states(&[]), at(second)).await.expect("a job");
        jobs.push(job.id);
    }
    for (job, second) in [(jobs[0], 10), (jobs[1], 20)] {
        world.store.advance_job(job, 10, at(second)).await.expect("a step");
    }
    assert_eq!(sweep(&world, Sweep::EndedJobs { before: at(20) }, 10, at(100)).await, [1]);
    let found = |job| world.store.find_job(Some(acme), job);
    assert!(found(jobs[0]).await.expect("read").is_none());
    assert!(found(jobs[1]).await.expect("read").is_some());
    let far = START.after(limits::RETENTION).after(Duration::from_secs(1));
    assert_eq!(sweep(&world, Sweep::EndedJobs { before: far }, 10, far).await, [1]);
    assert!(found(jobs[2]).await.expect("read").is_some(), "one that is open stays");
}
