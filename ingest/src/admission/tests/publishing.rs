use std::time::Duration;

use fairhook_common::delivery::DeliveryState;
use fairhook_common::ids::DeliveryId;
use fairhook_common::limits;
use fairhook_common::queue::Published;
use fairhook_common::store::{Admission, OutboxId, Settled, StoreError};
use tokio::time::Instant;

use super::scripted::{Stage, accepted, tenant};

#[tokio::test]
async fn the_answer_does_not_wait_for_the_queue() {
    let mut stage = Stage::new();
    let ticket = stage.offer(1, "1").expect("room");
    let ids = stage.admit_call().await.accept(1);
    assert!(matches!(ticket.answer().await, Ok(Admission::Accepted(_))));
    // The queue has not answered yet; the outbox row stands until it has.
    let call = stage.publish_call().await;
    assert_eq!(call.asked[0].1.delivery, ids[0]);
    assert_eq!(call.asked[0].0.tenant, tenant(1));
    assert!(stage.settles.try_recv().is_err());
    call.reply(vec![Published::Confirmed]);
    let settle = stage.settle_call().await;
    assert_eq!(settle.asked, [Settled { outbox: OutboxId(1), unpublished: Vec::new() }]);
}

#[tokio::test]
async fn only_queued_deliveries_are_published_and_what_is_refused_becomes_due() {
    let mut stage = Stage::new();
    let ticket = stage.offer(1, "1").expect("room");
    let call = stage.admit_call().await;
    let states =
        [DeliveryState::Queued, DeliveryState::Scheduled, DeliveryState::Held, DeliveryState::Queued];
    let admitted = accepted(&call.asked, 7, &states);
    call.reply(Ok(admitted));
    let Ok(Admission::Accepted(event)) = ticket.answer().await else { panic!("accepted") };
    let call = stage.publish_call().await;
    let ordinals: Vec<_> = call.asked.iter().map(|(_, message)| message.delivery.ordinal).collect();
    assert_eq!(ordinals, [0, 3]);
    call.reply(vec![Published::Confirmed, Published::Refused]);
    let settle = stage.settle_call().await;
    let unpublished = vec![DeliveryId { event: event.id, ordinal: 3 }];
    assert_eq!(settle.asked, [Settled { outbox: OutboxId(7), unpublished }]);
}

#[tokio::test(start_paused = true)]
async fn rows_are_settled_together_but_what_must_become_due_at_once() {
    let mut stage = Stage::new();
    for row in 1..=3 {
        let ticket = stage.offer(1, "x").expect("room");
        stage.admit_call().await.accept(row);
        ticket.answer().await.expect("accepted");
        stage.publish_call().await.reply(vec![Published::Confirmed]);
    }
    let began = Instant::now();
    let settle = stage.settle_call().await;
    let rows: Vec<_> = settle.asked.iter().map(|settled| settled.outbox.0).collect();
    assert_eq!(rows, [1, 2, 3]);
    assert!(began.elapsed() <= limits::SETTLE_INTERVAL);
    settle.reply(Ok(()));
    let ticket = stage.offer(1, "x").expect("room");
    stage.admit_call().await.accept(4);
    ticket.answer().await.expect("accepted");
    stage.publish_call().await.reply(vec![Published::Refused]);
    let began = Instant::now();
    let settle = stage.settle_call().await;
    assert_eq!(settle.asked[0].unpublished.len(), 1);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn settling_is_tried_again_while_new_rows_wait() {
    let mut stage = Stage::new();
    for row in 1..=2 {
        let ticket = stage.offer(1, "x").expect("room");
        stage.admit_call().await.accept(row);
        ticket.answer().await.expect("accepted");
        stage.publish_call().await.reply(vec![Published::Refused]);
        if row == 1 {
            stage.settle_call().await.reply(Err(StoreError::Unavailable("locked".into())));
        }
    }
    let again = stage.settle_call().await;
    assert_eq!(again.asked[0].outbox, OutboxId(1));
    again.reply(Ok(()));
    let next = stage.settle_call().await;
    assert_eq!(next.asked[0].outbox, OutboxId(2));
}

#[tokio::test]
async fn a_flood_that_is_not_confirmed_does_not_hold_up_another_tenant() {
    let mut stage = Stage::new();
    let mut held = Vec::new();
    let flood = stage.offer(1, "flood").expect("room");
    let call = stage.admit_call().await;
    let admitted = accepted(&call.asked, 1, &vec![DeliveryState::Queued; 2_000]);
    call.reply(Ok(admitted));
    flood.answer().await.expect("accepted");
    while held.iter().map(|call: &super::scripted::PublishCall| call.asked.len()).sum::<usize>()
        < limits::PUBLISH_UNCONFIRMED_PER_TENANT
    {
        held.push(stage.publish_call().await);
    }
    let quiet = stage.offer(2, "quiet").expect("room");
    stage.admit_call().await.accept(2);
    quiet.answer().await.expect("accepted");
    let call = stage.publish_call().await;
    assert_eq!(call.asked.len(), 1);
    assert_eq!(call.asked[0].0.tenant, tenant(2));
    assert!(stage.publishes.try_recv().is_err(), "the flood waits for its confirms");
}

#[tokio::test]
async fn the_end_waits_for_what_is_to_be_published_and_settled() {
    let mut stage = Stage::new();
    let ticket = stage.offer(1, "1").expect("room");
    stage.admit_call().await.accept(1);
    ticket.answer().await.expect("accepted");
    let Stage { handle, mut publishes, mut settles, mut tasks, .. } = stage;
    drop(handle);
    publishes.recv().await.expect("published").reply(vec![Published::Confirmed]);
    settles.recv().await.expect("settled").reply(Ok(()));
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no task panics");
    }
}
