//! Jobs: bounded steps, real counts, and a cursor that survives.

use std::collections::HashSet;
use std::time::Duration;

use fairhook_common::delivery::{DeliveryState, DiscardReason};
use fairhook_common::ids::{DeliveryId, JobId, TenantId};
use fairhook_common::limits;
use fairhook_common::store::{Change, ControlError, Job, JobFilter, JobKind, JobStatus};
use fairhook_common::tenant::DlqOverflow;

use super::given::states;
use super::harness::{START, Sent, World, at, event_at};

async fn create(world: &World, tenant: TenantId, kind: JobKind, filter: JobFilter, seconds: u64) -> Job {
    world.store.create_job(tenant, kind, filter, at(seconds)).await.expect("a job")
}

/// Steps until the job has ended; how many steps.
async fn run(world: &World, job: JobId, limit: u32, seconds: u64) -> (Job, usize) {
    for steps in 1..1_000 {
        let job = world.store.advance_job(job, limit, at(seconds)).await.expect("a step");
        if job.ended_at.is_some() {
            return (job, steps);
        }
    }
    panic!("the job never ends")
}

/// A tenant with an endpoint and so many dead letters, the n-th admitted n seconds after the start.
async fn with_dead(world: &World, events: u64) -> (TenantId, Vec<Sent>) {
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let mut sent = vec![];
    for second in 0..events {
        sent.extend(world.deliveries_at(acme, 1, at(second)).await);
    }
    world.record(sent.iter().map(|s| s.dead(at(50))).collect()).await;
    (acme, sent)
}

fn tally(job: &Job) -> (u64, u64, u64, u64) {
    (job.total, job.done, job.skipped, job.failed)
}

#[tokio::test]
async fn a_tenants_ended_jobs_are_kept_up_to_a_bound() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let other = world.tenant("other").await;
    let theirs = create(&world, other, JobKind::Purge, JobFilter::default(), 0).await;
    run(&world, theirs.id, 10, 1).await;
    let mut made = vec![];
    for second in 0..u64::from(limits::ENDED_JOBS_PER_TENANT) + 5 {
        let job = create(&world, acme, JobKind::Purge, JobFilter::default(), second).await;
        run(&world, job.id, 10, second).await;
        made.push(job.id);
    }
    let find = async |job| world.store.find_job(None, job).await.expect("reads").is_some();
    assert!(!find(made[0]).await, "the oldest ones go");
    let kept = made.len() - limits::ENDED_JOBS_PER_TENANT as usize;
    for job in &made[kept..] {
        assert!(find(*job).await, "the latest ones stay");
    }
    assert!(find(theirs.id).await, "others' stay");
}

#[tokio::test]
async fn a_replay_goes_on_after_a_restart() {
    let world = World::new().await;
    let (acme, sent) = with_dead(&world, 25).await;
    let job = create(&world, acme, JobKind::Replay, states(&[DeliveryState::Dead]), 60).await;
    assert_eq!((job.status, job.total), (JobStatus::Queued, 25));
    let mut changes = world.store.changes();
    let step = world.store.advance_job(job.id, 10, at(61)).await.expect("a step");
    assert_eq!((step.status, step.done, step.updated_at), (JobStatus::Running, 10, at(61)));
    assert_eq!(changes.try_recv(), Ok(Change::Due(acme)));
    assert_eq!(world.counts(acme).await.retrying, 10);
    assert_eq!(world.dead_letters(acme).await, sent[10..].iter().map(|s| s.id).collect::<Vec<_>>());
    let world = world.reopen().await;
    let open = world.store.open_jobs().await.expect("jobs");
    assert_eq!(open, [step]);
    let (job, _) = run(&world, job.id, 10, 62).await;
    assert_eq!((job.status, job.ended_at), (JobStatus::Succeeded, Some(at(62))));
    assert_eq!(tally(&job), (25, 25, 0, 0));
    assert!(world.store.open_jobs().await.expect("jobs").is_empty());
    let after = world.store.advance_job(job.id, 10, at(99)).await.expect("asked");
    assert_eq!(after, job, "it has ended");
    assert_eq!(world.claim_due(acme, at(62)).await.len(), 25);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_replay_takes_what_its_filter_means() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let all = world.endpoint(acme).await;
    let orders = world.endpoint_for(acme, &["order.*"]).await;
    let mut sent = vec![];
    for second in 0..4u64 {
        for event_type in ["order.paid", "user.made"] {
            world.admit(vec![event_at(acme, event_type, at(second))], at(second)).await;
        }
    }
    for view in world.all(acme).await {
        sent.push(Sent { id: view.id, tenant: acme, endpoint: view.endpoint, generation: 0 });
    }
    world.record(sent.iter().map(|s| s.dead(at(10))).collect()).await;
    assert_eq!(sent.len(), 12);
    let base = states(&[DeliveryState::Dead]);
    let filters = [
        (JobFilter { endpoint: Some(orders), ..base.clone() }, 4),
        (JobFilter { event_type: Some("user.made".into()), ..base.clone() }, 4),
        (JobFilter { from_ms: Some(at(1).0), to_ms: Some(at(3).0), ..base.clone() }, 2),
        (JobFilter { endpoint: Some(all), event_type: Some("order.paid".into()), ..base.clone() }, 2),
    ];
    for (filter, expected) in filters {
        let count = world.store.count_matching(acme, &filter, 1_000).await.expect("a count");
        assert_eq!(count, expected, "{filter:?}");
        let bounded = world.store.count_matching(acme, &filter, 1).await.expect("a count");
        assert_eq!(bounded, 1, "counted up to a bound");
        let job = create(&world, acme, JobKind::Replay, filter, 20).await;
        let (job, _) = run(&world, job.id, 3, 21).await;
        assert_eq!(tally(&job), (expected, expected, 0, 0), "{:?}", job.filter);
    }
    assert_eq!(world.dead_letters(acme).await, []);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_replay_reaches_what_overflowed_and_nothing_else_that_was_discarded() {
    let world = World::new().await;
    let acme = world.tenant_with_dlq(2, DlqOverflow::DropOldest).await;
    let endpoint = world.endpoint(acme).await;
    let gone = world.endpoint(acme).await;
    let sent = world.deliveries(acme, 5).await;
    let (to_gone, sent): (Vec<_>, Vec<_>) = sent.into_iter().partition(|s| s.endpoint == gone);
    world.store.cancel(acme, sent[4].id, at(1)).await.expect("cancelled");
    for (n, s) in [&to_gone[0], &sent[0], &sent[1], &sent[2], &sent[3]].into_iter().enumerate() {
        world.record_one(s.dead(at(2 + n as u64))).await;
    }
    world.store.delete_endpoint(acme, gone, at(10)).await.expect("deleted");
    let filter = states(&[DeliveryState::Discarded, DeliveryState::Dead]);
    let job = create(&world, acme, JobKind::Replay, filter, 20).await;
    let (job, _) = run(&world, job.id, 4, 21).await;
    // Three overflowed (one of them to the endpoint that is gone since) and two are dead.
    assert_eq!(tally(&job), (5, 4, 0, 1));
    for s in &sent[..4] {
        assert_eq!((world.state(s).await, s.endpoint), (DeliveryState::Scheduled, endpoint));
    }
    assert_eq!(world.view(&sent[4]).await.discarded_reason, Some(DiscardReason::Cancelled));
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_replay_of_delivered_ones_makes_each_once() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    for _ in 0..3 {
        world.endpoint(acme).await;
    }
    let sent = world.deliveries(acme, 4).await;
    world.record(sent.iter().map(|s| s.delivered(at(1))).collect()).await;
    for round in 1..3u64 {
        let job =
            create(&world, acme, JobKind::Replay, states(&[DeliveryState::Delivered]), 10 * round).await;
        // What the job makes is delivered while it goes on, and must not be taken for what it was asked for.
        let mut done = 0;
        loop {
            let job = world.store.advance_job(job.id, 2, at(10 * round + 1)).await.expect("a step");
            let claimed = world.claim_due(acme, at(10 * round + 1)).await;
            done += claimed.len();
            world.record(claimed.iter().map(|c| c.delivered(at(10 * round + 2))).collect()).await;
            if job.ended_at.is_some() {
                assert_eq!(tally(&job), (12, 12, 0, 0));
                break;
            }
            assert!(done <= 12, "it replays its own replays");
        }
        assert_eq!(world.counts(acme).await.delivered, 12 * (round + 1));
    }
    let ordinals: HashSet<_> = world.all(acme).await.iter().map(|view| view.id.ordinal).collect();
    assert_eq!(ordinals, (0..9).collect(), "each its own, without a gap");
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_replay_of_named_deliveries_counts_what_it_skips() {
    let world = World::new().await;
    let (acme, sent) = with_dead(&world, 4).await;
    let foreign = world.tenant("other").await;
    world.endpoint(foreign).await;
    let foreign = world.deliveries(foreign, 1).await[0];
    world.record_one(foreign.dead(at(51))).await;
    let named =
        [sent[0].id, sent[2].id, sent[0].id, foreign.id, DeliveryId { ordinal: 9, ..sent[1].id }, sent[3].id];
    let filter = JobFilter {
        deliveries: named.iter().map(DeliveryId::to_string).collect(),
        ..states(&[DeliveryState::Dead])
    };
    let job = create(&world, acme, JobKind::Replay, filter, 60).await;
    assert_eq!(job.total, 3, "named twice is once; another tenant's is nobody's");
    // One changes before the job reaches it.
    world.store.replay(acme, sent[3].id, at(60)).await.expect("replayed");
    let (job, steps) = run(&world, job.id, 2, 61).await;
    assert_eq!((tally(&job), steps), ((3, 2, 3, 0), 3));
    assert_eq!(world.dead_letters(acme).await, [sent[1].id]);
    assert_eq!(world.state(&foreign).await, DeliveryState::Dead);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_replay_keeps_its_rate() {
    let world = World::new().await;
    let (acme, _) = with_dead(&world, 12).await;
    let filter = JobFilter { rate_per_s: Some(4), ..states(&[DeliveryState::Dead]) };
    let job = create(&world, acme, JobKind::Replay, filter, 60).await;
    let step = |millis: u64| {
        let at = at(60).after(Duration::from_millis(millis));
        let (store, id) = (&world.store, job.id);
        async move { store.advance_job(id, 1_000, at).await.expect("a step") }
    };
    assert_eq!(step(0).await.done, 4, "a second's worth at the start");
    assert_eq!(step(100).await.done, 4);
    assert_eq!(step(500).await.done, 6);
    assert_eq!(step(60_500).await.done, 10, "what was missed is not made up for");
    let last = step(61_500).await;
    assert_eq!((last.done, last.status), (12, JobStatus::Succeeded));
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_purge_ends_dead_letters_only() {
    let world = World::new().await;
    let (acme, sent) = with_dead(&world, 6).await;
    let queued = world.deliveries_at(acme, 1, at(55)).await[0];
    let filter =
        JobFilter { from_ms: Some(at(2).0), ..states(&[DeliveryState::Delivered, DeliveryState::Queued]) };
    let job = create(&world, acme, JobKind::Purge, filter, 60).await;
    let (job, _) = run(&world, job.id, 3, 61).await;
    assert_eq!(tally(&job), (4, 4, 0, 0));
    assert_eq!(world.dead_letters(acme).await, [sent[0].id, sent[1].id]);
    let view = world.view(&sent[3]).await;
    assert_eq!(
        (view.state, view.discarded_reason),
        (DeliveryState::Discarded, Some(DiscardReason::Purged))
    );
    assert_eq!(world.state(&queued).await, DeliveryState::Queued);
    assert_eq!(world.claim_due(acme, at(61)).await, []);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_cancelled_job_stops() {
    let world = World::new().await;
    let (acme, _) = with_dead(&world, 6).await;
    let job = create(&world, acme, JobKind::Replay, states(&[DeliveryState::Dead]), 60).await;
    world.store.advance_job(job.id, 2, at(61)).await.expect("a step");
    let cancelled = world.store.cancel_job(acme, job.id, at(62)).await.expect("asked").expect("there is one");
    assert_eq!(
        (cancelled.status, cancelled.done, cancelled.ended_at),
        (JobStatus::Cancelled, 2, Some(at(62)))
    );
    let after = world.store.advance_job(job.id, 2, at(63)).await.expect("asked");
    assert_eq!(after, cancelled);
    let again = world.store.cancel_job(acme, job.id, at(64)).await.expect("asked");
    assert_eq!(again, Some(cancelled), "what it did stays done");
    assert_eq!(world.counts(acme).await.dead, 4);
    assert!(world.store.open_jobs().await.expect("jobs").is_empty());
    assert!(world.store.advance_job(JobId::generate(), 2, START).await.is_err());
    world.assert_balanced().await;
}

#[tokio::test]
async fn open_jobs_are_one_per_tenant() {
    let world = World::new().await;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let first = create(&world, acme, JobKind::Replay, states(&[]), 1).await;
    let second = create(&world, acme, JobKind::Purge, states(&[]), 2).await;
    let theirs = create(&world, other, JobKind::Replay, states(&[]), 3).await;
    let open = || async { world.store.open_jobs().await.expect("jobs") };
    assert_eq!(open().await, [first.clone(), theirs.clone()], "the oldest of each");
    let (ended, steps) = run(&world, first.id, 10, 4).await;
    assert_eq!((tally(&ended), steps), ((0, 0, 0, 0), 1), "nothing to do is done at once");
    assert_eq!(open().await, [second, theirs]);
}

#[tokio::test]
async fn a_tenant_has_so_many_open_jobs_and_none_once_it_is_gone() {
    let world = World::new().await;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let mut jobs = vec![];
    for _ in 0..limits::OPEN_JOBS_PER_TENANT {
        jobs.push(create(&world, acme, JobKind::Replay, states(&[]), 1).await.id);
    }
    let again = || world.store.create_job(acme, JobKind::Purge, states(&[]), at(2));
    let full = again().await;
    assert!(matches!(full, Err(ControlError::LimitReached(limits::OPEN_JOBS_PER_TENANT))), "{full:?}");
    create(&world, other, JobKind::Replay, states(&[]), 2).await;
    run(&world, jobs[0], 10, 3).await;
    again().await.expect("an end makes room");
    world.store.delete_tenant(acme, at(4)).await.expect("begun, however many there are");
    let gone = again().await;
    assert!(matches!(gone, Err(ControlError::NotFound)), "{gone:?}");
}
