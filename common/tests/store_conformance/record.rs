//! `record`: verdicts, generations, repetitions, and data that cannot be stored.

use std::time::Duration;

use bytes::Bytes;
use fairhook_common::delivery::{AttemptErrorCode, DeliveryState, DiscardReason, Verdict};
use fairhook_common::endpoint::{EndpointStatus, StatusReason};
use fairhook_common::ids::DeliveryId;
use fairhook_common::store::{Change, Load, Recorded, Replayed};
use fairhook_common::tenant::Dispatch;

use super::harness::{DISABLE_AFTER, LIFE, START, Sent, World, applied, at};

#[tokio::test]
async fn every_verdict_leads_where_the_picture_says() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 7).await;
    let recorded = world
        .record(vec![
            sent[0].delivered(at(1)),
            sent[1].retry(at(60), at(1)),
            sent[2].dead(at(1)),
            sent[3].verdict(Verdict::Park, at(1)),
            sent[4].verdict(Verdict::Hold, at(1)),
            sent[5].verdict(Verdict::Discard(DiscardReason::Expired), at(1)),
            Sent { id: DeliveryId { ordinal: 9, ..sent[6].id }, ..sent[6] }.delivered(at(1)),
        ])
        .await;
    use DeliveryState::{Dead, Delivered, Discarded, Scheduled};
    let expected = [
        (Delivered, None),
        (Scheduled, Some(at(60))),
        (Dead, None),
        (Scheduled, None),
        (Scheduled, Some(at(1))),
    ];
    for (recorded, expected) in recorded.iter().zip(expected) {
        assert_eq!(applied(*recorded), expected);
    }
    assert_eq!(applied(recorded[5]), (Discarded, None));
    assert_eq!(recorded[6], Recorded::Stale, "there is no such delivery");

    let delivered = world.view(&sent[0]).await;
    assert_eq!((delivered.attempt_count, delivered.finished_at), (1, Some(at(1))));
    let record = &delivered.attempts[0].record;
    assert_eq!((delivered.attempts[0].n, record.status_code, record.duration_ms), (1, Some(200), 12));
    assert_eq!((&record.response_snippet[..], &record.error), (&b"\0 any bytes \xff"[..], &None));
    let retried = world.view(&sent[1]).await;
    assert_eq!((retried.attempt_count, retried.next_attempt_at), (1, Some(at(60))));
    let error = retried.attempts[0].record.error.as_ref().unwrap();
    assert_eq!((error.code, &error.detail[..]), (AttemptErrorCode::HttpStatus, "the receiver said 500"));
    assert_eq!(world.dead_letters(tenant).await, [sent[2].id]);
    assert_eq!(world.view(&sent[3]).await.attempt_count, 0);
    assert_eq!(world.view(&sent[5]).await.discarded_reason, Some(DiscardReason::Expired));
    let counts = world.counts(tenant).await;
    assert_eq!((counts.delivered, counts.dead, counts.discarded), (1, 1, 1));
    assert_eq!((counts.backlog, counts.retrying), (3, 1));
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_late_success_ends_whatever_is_unfinished() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let endpoint = world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 6).await;
    // Scheduled, parked, claimed again, held, dead, cancelled.
    world
        .record(vec![
            sent[0].retry(at(60), at(1)),
            sent[1].verdict(Verdict::Park, at(1)),
            sent[2].retry(at(2), at(1)),
            sent[4].dead(at(1)),
        ])
        .await;
    assert_eq!(world.claim_due(tenant, at(2)).await.len(), 1);
    world.pause(tenant, endpoint).await;
    world.record_one(sent[3].verdict(Verdict::Hold, at(2))).await;
    assert_eq!(world.state(&sent[3]).await, DeliveryState::Held);
    world.store.cancel(tenant, sent[5].id, at(2)).await.unwrap();

    let recorded = world.record(sent.iter().map(|sent| sent.delivered(at(3))).collect()).await;
    for recorded in &recorded[..4] {
        assert_eq!(applied(*recorded), (DeliveryState::Delivered, None));
    }
    assert_eq!(recorded[4..], [Recorded::Stale, Recorded::Stale], "what has ended stays so");
    assert_eq!(world.state(&sent[4]).await, DeliveryState::Dead);
    assert_eq!(world.state(&sent[5]).await, DeliveryState::Discarded);
    assert_eq!(world.view(&sent[5]).await.discarded_reason, Some(DiscardReason::Cancelled));
    assert_eq!(world.view(&sent[4]).await.attempts.len(), 2, "a stale outcome's attempt is kept");
    assert_eq!(world.store.due_work(START.after(LIFE)).await.unwrap().due, []);
    world.assert_balanced().await;
}

#[tokio::test]
async fn an_old_generation_decides_nothing_but_success() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 1).await[0];
    world.record_one(sent.retry(at(2), at(1))).await;
    let claimed = world.claim_due(tenant, at(2)).await[0];
    assert_eq!(claimed.generation, 1);
    let hold = Verdict::Hold;
    for stale in [
        sent.dead(at(3)),
        sent.retry(at(9), at(3)),
        sent.verdict(Verdict::Park, at(3)),
        sent.verdict(hold, at(3)),
        sent.verdict(Verdict::Discard(DiscardReason::Expired), at(3)),
    ] {
        assert_eq!(world.record_one(stale).await, Recorded::Stale);
        assert_eq!(world.state(&sent).await, DeliveryState::Queued);
    }
    let view = world.view(&sent).await;
    assert_eq!((view.attempt_count, view.generation), (3, 1), "their attempts were made, and count");
    let Load::Attempt(loaded) = world.load(&claimed, at(3)).await else { panic!("not loaded") };
    assert_eq!((loaded.attempts, loaded.schedule_position), (3, 1), "but took no step in the schedule");
    assert_eq!(applied(world.record_one(claimed.dead(at(4))).await).0, DeliveryState::Dead);
    assert_eq!(world.view(&sent).await.attempts.iter().map(|a| a.n).collect::<Vec<_>>(), [1, 2, 3, 4]);
    world.assert_balanced().await;
}

#[tokio::test]
async fn an_attempt_is_recorded_once_however_often_it_comes() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 3).await;
    let outcomes = [sent[0].delivered(at(1)), sent[1].retry(at(9), at(1)), sent[2].dead(at(1))];
    let twice: Vec<_> = outcomes.iter().chain(&outcomes).cloned().collect();
    let recorded = world.record(twice).await;
    assert_eq!(recorded[..3], recorded[3..]);
    assert_eq!(world.record(outcomes.to_vec()).await, recorded[..3]);
    for sent in &sent {
        let view = world.view(sent).await;
        assert_eq!((view.attempt_count, view.attempts.len()), (1, 1));
    }
    // Still so when the delivery has moved on.
    let claimed = world.claim_due(tenant, at(9)).await[0];
    world.record(outcomes.to_vec()).await;
    assert_eq!(world.state(&claimed).await, DeliveryState::Queued);
    let Load::Attempt(loaded) = world.load(&claimed, at(9)).await else { panic!("not loaded") };
    assert_eq!((loaded.attempts, loaded.schedule_position), (1, 1));
    world.assert_balanced().await;
}

#[tokio::test]
async fn two_outcomes_of_one_delivery_in_one_batch_are_taken_in_order() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 2).await;
    let recorded = world
        .record(vec![
            sent[0].retry(at(9), at(1)),
            sent[0].delivered(at(2)),
            sent[1].delivered(at(1)),
            sent[1].dead(at(2)),
        ])
        .await;
    assert_eq!(applied(recorded[0]), (DeliveryState::Scheduled, Some(at(9))));
    assert_eq!(applied(recorded[1]), (DeliveryState::Delivered, None));
    assert_eq!(applied(recorded[2]), (DeliveryState::Delivered, None));
    assert_eq!(recorded[3], Recorded::Stale);
    assert_eq!(world.view(&sent[0]).await.attempts.iter().map(|a| a.n).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(world.view(&sent[0]).await.next_attempt_at, None);
    world.assert_balanced().await;
}

#[tokio::test]
async fn what_a_tenant_did_meanwhile_counts() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let (kept, deleted) =
        (world.endpoint_for(tenant, &["a"]).await, world.endpoint_for(tenant, &["b"]).await);
    let mut sent = vec![];
    for kind in ["a", "b", "b", "b", "b"] {
        let event = world.admit(vec![super::harness::event(tenant, kind)], START).await;
        let event = super::harness::accepted(&event)[0];
        let endpoint = if kind == "a" { kept } else { deleted };
        sent.push(Sent { id: DeliveryId { event, ordinal: 0 }, tenant, endpoint, generation: 0 });
    }
    world.store.cancel(tenant, sent[0].id, at(1)).await.unwrap();
    world.store.delete_endpoint(tenant, deleted, at(1)).await.unwrap();
    let recorded = world
        .record(vec![
            sent[0].retry(at(9), at(2)),
            sent[1].retry(at(9), at(2)),
            sent[2].verdict(Verdict::Hold, at(2)),
            sent[3].dead(at(2)),
            sent[4].delivered(at(2)),
        ])
        .await;
    assert_eq!(recorded[0], Recorded::Stale, "it was cancelled");
    for (n, recorded) in recorded.iter().enumerate().take(4).skip(1) {
        assert_eq!(applied(*recorded), (DeliveryState::Discarded, None));
        assert_eq!(world.view(&sent[n]).await.discarded_reason, Some(DiscardReason::EndpointDeleted));
    }
    assert_eq!(applied(recorded[4]), (DeliveryState::Delivered, None), "it had arrived all the same");

    let leaving = world.tenant("leaving").await;
    world.endpoint(leaving).await;
    let sent = world.deliveries(leaving, 1).await[0];
    world.store.delete_tenant(leaving, at(1)).await.unwrap();
    assert_eq!(applied(world.record_one(sent.retry(at(9), at(2))).await), (DeliveryState::Discarded, None));
    let view = world.view(&sent).await;
    assert_eq!(view.discarded_reason, Some(DiscardReason::TenantDeleted));
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_retry_that_would_come_too_late_ends_the_delivery() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 2).await;
    let end = START.after(LIFE);
    let recorded = world
        .record(vec![sent[0].retry(end, at(1)), sent[1].retry(end.before(Duration::from_millis(1)), at(1))])
        .await;
    assert_eq!(applied(recorded[0]), (DeliveryState::Discarded, None));
    assert_eq!(world.view(&sent[0]).await.discarded_reason, Some(DiscardReason::Expired));
    assert_eq!(applied(recorded[1]).0, DeliveryState::Scheduled);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_replayed_delivery_keeps_its_lane_and_its_past_says_nothing_any_more() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 1).await[0];
    world.record_one(sent.retry(at(1), at(1))).await;
    let second = world.claim_due(tenant, at(1)).await[0];
    world.record_one(second.dead(at(2))).await;
    assert_eq!(world.store.replay(tenant, sent.id, at(3)).await.unwrap(), Some(Replayed::Due(sent.id)));
    // Outcomes of before its death, which were on their way, change nothing.
    assert_eq!(world.record_one(second.dead(at(4))).await, Recorded::Stale);
    assert_eq!(world.record_one(sent.retry(at(9), at(4))).await, Recorded::Stale);
    assert_eq!(world.state(&sent).await, DeliveryState::Scheduled);
    use fairhook_common::delivery::Lane;
    assert_eq!(world.store.due_work(at(4)).await.unwrap().due, [(tenant, Lane::Replay)]);
    let replay = world.claim_due(tenant, at(4)).await[0];
    assert!(replay.generation > second.generation);
    let Load::Attempt(loaded) = world.load(&replay, at(4)).await else { panic!("not loaded") };
    assert_eq!(
        (loaded.attempts, loaded.schedule_position),
        (4, 0),
        "its schedule begins anew, its numbers go on"
    );
    world.record_one(replay.retry(at(9), at(5))).await;
    assert_eq!(
        world.store.due_work(at(9)).await.unwrap().due,
        [(tenant, Lane::Replay)],
        "a replay's retry is a replay"
    );
    let again = world.claim_due(tenant, at(9)).await[0];
    // A success of before counts even now.
    assert_eq!(applied(world.record_one(second.delivered(at(10))).await), (DeliveryState::Delivered, None));
    assert_eq!(world.record_one(again.dead(at(10))).await, Recorded::Stale);
    let counts = world.counts(tenant).await;
    assert_eq!((counts.accepted, counts.delivered, counts.dead), (1, 1, 0));
    world.assert_balanced().await;
}

#[tokio::test]
async fn hold_is_decided_by_the_rows_of_now() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let endpoint = world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 3).await;
    let hold = |n: usize, s| sent[n].verdict(Verdict::Hold, at(s));
    world.pause(tenant, endpoint).await;
    assert_eq!(applied(world.record_one(hold(0, 1)).await), (DeliveryState::Held, None));
    world.resume(tenant, endpoint).await;
    assert_eq!(applied(world.record_one(hold(1, 2)).await), (DeliveryState::Scheduled, Some(at(2))));
    world.dispatch(tenant, Dispatch::Paused).await;
    assert_eq!(applied(world.record_one(hold(2, 3)).await), (DeliveryState::Held, None));
    assert_eq!(world.counts(tenant).await.backlog, 3, "no attempt was made");
    world.assert_balanced().await;
}

#[tokio::test]
async fn an_endpoint_that_only_fails_is_disabled_in_time_and_a_success_forgives() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let endpoint = world.endpoint(tenant).await;
    let day = |d: u64| START.after(Duration::from_secs(d * 24 * 3600));
    let sent = world.deliveries_at(tenant, 6, day(20)).await;
    let mut changes = world.store.changes();
    let stopped = |recorded| {
        matches!(recorded, Recorded::Applied { endpoint_stopped: Some(StatusReason::Failing), .. })
    };
    let due = day(21).before(Duration::from_secs(1));
    assert!(!stopped(world.record_one(sent[0].retry(due, day(0))).await));
    assert_eq!(world.find_endpoint(tenant, endpoint).await.failing_since, Some(day(0)));
    assert!(!stopped(world.record_one(sent[1].retry(due, day(4))).await));
    assert_eq!(world.find_endpoint(tenant, endpoint).await.failing_since, Some(day(0)));
    world.record_one(sent[2].delivered(day(4))).await;
    assert_eq!(world.find_endpoint(tenant, endpoint).await.failing_since, None);
    world.record_one(sent[3].retry(due, day(5))).await;
    assert!(!stopped(world.record_one(sent[4].retry(due, day(10).before(Duration::from_millis(1)))).await));
    assert!(changes.try_recv().is_err(), "nothing to tell yet");
    assert_eq!(DISABLE_AFTER, Duration::from_secs(5 * 24 * 3600));
    assert!(stopped(world.record_one(sent[5].retry(due, day(10))).await));
    let endpoint = world.find_endpoint(tenant, endpoint).await;
    assert_eq!(
        (endpoint.status, endpoint.status_reason),
        (EndpointStatus::Disabled, Some(StatusReason::Failing))
    );
    assert_eq!(changes.try_recv().unwrap(), Change::Tenant(tenant));
    world.assert_balanced().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_at_once() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    let endpoint = world.endpoint(tenant).await;
    let before = world.find_endpoint(tenant, endpoint).await;
    let sent = world.deliveries(tenant, 2).await;
    let gone = |n: usize| fairhook_common::delivery::Outcome {
        disable: Some(StatusReason::Gone),
        ..sent[n].dead(at(1))
    };
    let recorded = world.record(vec![gone(0), gone(1)]).await;
    assert!(matches!(
        recorded[0],
        Recorded::Applied { state: DeliveryState::Dead, endpoint_stopped: Some(StatusReason::Gone), .. }
    ));
    assert!(matches!(
        recorded[1],
        Recorded::Applied { state: DeliveryState::Dead, endpoint_stopped: None, .. }
    ));
    let after = world.find_endpoint(tenant, endpoint).await;
    assert_eq!((after.status, after.status_reason), (EndpointStatus::Disabled, Some(StatusReason::Gone)));
    assert_ne!(after.updated_at, before.updated_at, "whoever has read it before learns of it");
    world.assert_balanced().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_stops_nothing() {
    let world = World::new().await;
    let (good, bad) = (world.tenant("good").await, world.tenant("bad").await);
    world.endpoint(good).await;
    world.endpoint(bad).await;
    let sent = world.deliveries(good, 99).await;
    let poisoned = world.deliveries(bad, 3).await;
    let poison = |verdict| {
        let mut outcome = poisoned[0].attempted(verdict, at(1));
        outcome.attempt.as_mut().unwrap().error.as_mut().unwrap().detail = "\0".into();
        outcome
    };
    let retry = poison(Verdict::Retry { due_at: at(9) });
    let mut outcomes: Vec<_> = sent.iter().map(|sent| sent.delivered(at(1))).collect();
    outcomes.insert(41, retry);
    let mut recorded = world.record(outcomes).await;
    assert_eq!(recorded.remove(41), Recorded::WithoutAttempt);
    assert!(recorded.iter().all(|r| applied(*r).0 == DeliveryState::Delivered));
    assert_eq!(world.view(&sent[98]).await.attempts.len(), 1);
    let view = world.view(&poisoned[0]).await;
    assert_eq!(
        (view.state, view.next_attempt_at),
        (DeliveryState::Scheduled, Some(at(9))),
        "the verdict holds"
    );
    assert_eq!((view.attempt_count, view.attempts.len()), (1, 0), "the attempt was made");
    // Any bytes are good bytes for what a receiver answers.
    let mut outcome = poisoned[1].delivered(at(1));
    outcome.attempt.as_mut().unwrap().response_snippet = Bytes::from(vec![0; 1024]);
    assert_eq!(applied(world.record_one(outcome).await).0, DeliveryState::Delivered);
    world.assert_balanced().await;
}
