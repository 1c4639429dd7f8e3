//! The dead-letter queue's bound, exact under each policy.

use fairhook_common::delivery::{DeliveryState, DiscardReason};
use fairhook_common::endpoint::{EndpointStatus, StatusReason};
use fairhook_common::store::{Recorded, Replayed, TenantChanges};
use fairhook_common::tenant::{DlqOverflow, QuotaPatch};

use super::harness::{Sent, World, applied, at};

/// The deliveries in the order in which they are to die, in batches of 1, 2, 3, …
async fn die(world: &World, sent: &[Sent]) -> Vec<Recorded> {
    let (mut recorded, mut rest, mut size) = (vec![], sent, 1);
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(size.min(rest.len()));
        let time = at(sent.len() as u64 - later.len() as u64);
        recorded.extend(world.record(batch.iter().map(|sent| sent.dead(time)).collect()).await);
        (rest, size) = (later, size + 1);
    }
    recorded
}

#[tokio::test]
async fn drop_oldest_keeps_the_newest_and_never_more_than_the_bound() {
    let world = World::new().await;
    let tenant = world.tenant_with_dlq(4, DlqOverflow::DropOldest).await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 10).await;
    for (n, sent) in sent.iter().enumerate() {
        assert_eq!(applied(world.record_one(sent.dead(at(n as u64))).await).0, DeliveryState::Dead);
        assert_eq!(world.counts(tenant).await.dead, (n as u64 + 1).min(4));
    }
    let newest: Vec<_> = sent[6..].iter().map(|sent| sent.id).collect();
    assert_eq!(world.dead_letters(tenant).await, newest);
    let oldest = world.view(&sent[0]).await;
    assert_eq!(
        (oldest.state, oldest.discarded_reason),
        (DeliveryState::Discarded, Some(DiscardReason::DlqOverflow))
    );

    // What overflowed can be replayed; it then no longer counts as discarded.
    assert_eq!(
        world.store.replay(tenant, sent[0].id, at(20)).await.unwrap(),
        Some(Replayed::Due(sent[0].id))
    );
    assert_eq!(world.counts(tenant).await.discarded, 5);

    // A whole batch beyond the bound: the newest by time, then by key, stay.
    let more = world.deliveries(tenant, 6).await;
    let recorded = world.record(more.iter().map(|sent| sent.dead(at(30))).collect()).await;
    let states: Vec<_> = recorded.iter().map(|r| applied(*r).0).collect();
    use DeliveryState::{Dead, Discarded};
    assert_eq!(states, [Discarded, Discarded, Dead, Dead, Dead, Dead]);
    assert_eq!(world.dead_letters(tenant).await, more[2..].iter().map(|s| s.id).collect::<Vec<_>>());
    world.assert_balanced().await;
}

#[tokio::test]
async fn drop_oldest_goes_by_the_time_of_death() {
    let world = World::new().await;
    let tenant = world.tenant_with_dlq(2, DlqOverflow::DropOldest).await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 3).await;
    for (n, time) in [(2, 1), (0, 2), (1, 3)] {
        world.record_one(sent[n].dead(at(time))).await;
    }
    assert_eq!(world.state(&sent[2]).await, DeliveryState::Discarded);
    assert_eq!(world.dead_letters(tenant).await, [sent[0].id, sent[1].id]);
    // A late outcome of what makes room in the same batch neither counts twice nor wakes it.
    let last = world.deliveries(tenant, 1).await[0];
    let recorded = world.record(vec![sent[0].dead(at(4)), last.dead(at(5))]).await;
    assert_eq!(recorded[0], Recorded::Stale);
    assert_eq!(world.state(&sent[0]).await, DeliveryState::Discarded);
    world.assert_balanced().await;
}

#[tokio::test]
async fn reject_new_keeps_the_oldest() {
    let world = World::new().await;
    let tenant = world.tenant_with_dlq(4, DlqOverflow::RejectNew).await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 10).await;
    let recorded = die(&world, &sent).await;
    for (n, recorded) in recorded.iter().enumerate() {
        let state = if n < 4 { DeliveryState::Dead } else { DeliveryState::Discarded };
        assert_eq!(applied(*recorded), (state, None), "{n}");
        let view = world.view(&sent[n]).await;
        assert_eq!(view.discarded_reason.is_some(), n >= 4);
    }
    assert_eq!(world.counts(tenant).await.dead, 4);
    world.assert_balanced().await;
}

#[tokio::test]
async fn pause_endpoint_stops_the_endpoint_and_loses_nothing() {
    let world = World::new().await;
    let tenant = world.tenant_with_dlq(4, DlqOverflow::PauseEndpoint).await;
    let endpoint = world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 10).await;
    let recorded = die(&world, &sent).await;
    for (n, recorded) in recorded.iter().enumerate() {
        let state = if n < 4 { DeliveryState::Dead } else { DeliveryState::Held };
        let endpoint_stopped = (n == 4).then_some(StatusReason::DlqFull);
        assert_eq!(*recorded, Recorded::Applied { state, due_at: None, endpoint_stopped }, "{n}");
    }
    let stopped = world.find_endpoint(tenant, endpoint).await;
    assert_eq!(
        (stopped.status, stopped.status_reason),
        (EndpointStatus::Paused, Some(StatusReason::DlqFull))
    );
    assert_eq!(world.counts(tenant).await.retrying, 6);
    assert_eq!(world.store.release_held(100, at(20)).await.unwrap(), 0);
    world.resume(tenant, endpoint).await;
    assert_eq!(world.store.release_held(100, at(20)).await.unwrap(), 6);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_bound_that_was_lowered_is_kept_from_the_next_death_on() {
    let world = World::new().await;
    let tenant = world.tenant_with_dlq(50, DlqOverflow::DropOldest).await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 41).await;
    die(&world, &sent[..40]).await;
    assert_eq!(world.counts(tenant).await.dead, 40);
    let quota = QuotaPatch { max_dlq_size: Some(Some(3)), ..QuotaPatch::default() };
    world.change_tenant(tenant, TenantChanges { quota, ..TenantChanges::default() }).await;
    world.record_one(sent[40].dead(at(100))).await;
    assert_eq!(world.dead_letters(tenant).await, sent[38..].iter().map(|s| s.id).collect::<Vec<_>>());
    // None at all is a bound as well.
    let quota = QuotaPatch { max_dlq_size: Some(Some(0)), ..QuotaPatch::default() };
    world.change_tenant(tenant, TenantChanges { quota, ..TenantChanges::default() }).await;
    let last = world.deliveries(tenant, 1).await[0];
    assert_eq!(applied(world.record_one(last.dead(at(101))).await), (DeliveryState::Discarded, None));
    assert_eq!(world.counts(tenant).await.dead, 0);
    world.assert_balanced().await;
}
