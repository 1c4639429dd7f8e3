use std::time::Duration;

use fairhook_common::limits;
use fairhook_common::store::{Admission, StoreError};
use tokio::time::Instant;

use super::super::{AdmitError, NoRoom};
use super::scripted::{Stage, accepted};

#[tokio::test]
async fn the_next_batch_fills_while_one_commit_is_under_way() {
    let mut stage = Stage::new();
    let first = stage.offer(1, "0").expect("room");
    let call = stage.admit_call().await;
    assert_eq!(call.payloads(), ["0"]);
    let more: Vec<_> = ["1", "2", "3"].iter().map(|payload| stage.offer(1, payload).expect("room")).collect();
    let other = stage.offer(2, "x").expect("room");
    assert!(stage.admits.try_recv().is_err(), "one commit at a time");
    call.accept(1);
    assert!(matches!(first.answer().await, Ok(Admission::Accepted(_))));
    let call = stage.admit_call().await;
    // In turn, and in order within a tenant.
    assert_eq!(call.payloads(), ["1", "x", "2", "3"]);
    call.accept(2);
    for ticket in more.into_iter().chain([other]) {
        assert!(matches!(ticket.answer().await, Ok(Admission::Accepted(_))));
    }
}

#[tokio::test]
async fn a_store_that_is_away_refuses_its_batch_and_not_the_next() {
    let mut stage = Stage::new();
    let one = stage.offer(1, "1").expect("room");
    let call = stage.admit_call().await;
    let tickets = [stage.offer(1, "2").expect("room"), stage.offer(2, "3").expect("room")];
    call.reply(Err(StoreError::Unavailable("disk full".into())));
    assert!(matches!(one.answer().await, Err(AdmitError::Store(StoreError::Unavailable(_)))));
    stage.admit_call().await.accept(1);
    for ticket in tickets {
        assert!(matches!(ticket.answer().await, Ok(Admission::Accepted(_))));
    }
}

#[tokio::test]
async fn one_poisoned_event_among_a_hundred_fails_alone() {
    let mut stage = Stage::new();
    let first = stage.offer(0, "first").expect("room");
    let call = stage.admit_call().await;
    let payload = |n: u8| if n == 37 { "poison".to_owned() } else { n.to_string() };
    let tickets: Vec<_> = (0..100).map(|n| stage.offer(n, &payload(n)).expect("room")).collect();
    call.accept(1);
    first.answer().await.expect("accepted");
    let store = tokio::spawn(async move {
        let mut calls = 0;
        while let Some(call) = stage.admits.recv().await {
            calls += 1;
            if call.payloads().iter().any(|payload| payload == "poison") {
                let last = call.asked.len() == 1;
                call.reply(Err(StoreError::Internal("cannot bind".into())));
                if last {
                    break;
                }
            } else {
                call.accept(i64::from(calls));
            }
        }
        while let Ok(Some(call)) = tokio::time::timeout(Duration::from_secs(5), stage.admits.recv()).await {
            calls += 1;
            call.accept(i64::from(calls));
        }
        calls
    });
    for (n, ticket) in tickets.into_iter().enumerate() {
        match ticket.answer().await {
            Ok(Admission::Accepted(_)) => assert_ne!(n, 37),
            Err(AdmitError::Failed) => assert_eq!(n, 37),
            other => panic!("{n}: {other:?}"),
        }
    }
    store.abort();
}

#[tokio::test]
async fn a_store_that_fails_at_everything_is_not_asked_for_ever() {
    let mut stage = Stage::new();
    let first = stage.offer(0, "first").expect("room");
    let call = stage.admit_call().await;
    let tickets: Vec<_> = (0..200).map(|n| stage.offer(n, "x").expect("room")).collect();
    call.reply(Err(StoreError::Internal("broken".into())));
    assert!(matches!(first.answer().await, Err(AdmitError::Failed)));
    let mut calls = 0;
    let refused = async {
        for ticket in tickets {
            assert!(matches!(ticket.answer().await, Err(AdmitError::Failed)));
        }
    };
    let answering = async {
        loop {
            stage.admit_call().await.reply(Err(StoreError::Internal("broken".into())));
            calls += 1;
        }
    };
    tokio::select! {
        () = refused => {}
        () = answering => {}
    }
    assert!(calls <= 2 * limits::ADMIT_BISECTIONS + 1, "{calls} transactions");
}

#[tokio::test(start_paused = true)]
async fn who_waited_too_long_is_told_and_is_not_worked_for() {
    let mut stage = Stage::new();
    let slow = stage.offer(1, "slow").expect("room");
    let call = stage.admit_call().await;
    let gone = stage.offer(1, "gone").expect("room");
    let began = Instant::now();
    assert!(matches!(slow.answer().await, Err(AdmitError::TooSlow)));
    assert_eq!(began.elapsed(), limits::ADMIT_DEADLINE);
    // A caller who goes away before its batch is taken has nothing admitted; others do.
    drop(gone);
    let stays = stage.offer(1, "stays").expect("room");
    // The event whose caller was told to come again is admitted all the same.
    call.accept(1);
    let call = stage.admit_call().await;
    assert_eq!(call.payloads(), ["stays"]);
    call.accept(2);
    assert!(matches!(stays.answer().await, Ok(Admission::Accepted(_))));
}

#[tokio::test]
async fn a_flood_fills_its_own_room_only() {
    let mut stage = Stage::new();
    let large = "x".repeat(1 << 20);
    let _first = stage.offer(1, &large).expect("room");
    let call = stage.admit_call().await;
    let mut flood = Vec::new();
    let refusal = loop {
        match stage.offer(1, &large) {
            Ok(ticket) => flood.push(ticket),
            Err(refusal) => break refusal,
        }
        assert!(flood.len() < 100, "the waiting list has no bound");
    };
    assert!(matches!(refusal, AdmitError::NoRoom(NoRoom::Tenant)));
    let quiet = stage.offer(2, &"q".repeat(limits::LARGE_PAYLOAD_BYTES)).expect("there is room for others");
    call.accept(1);
    // The quiet tenant is in the very next batch.
    let call = stage.admit_call().await;
    assert!(call.payloads().iter().any(|payload| payload.starts_with('q')));
    let bytes: usize = call.asked.iter().map(|event| event.payload.len()).sum();
    assert!(bytes <= limits::ADMIT_BATCH_BYTES);
    call.accept(2);
    assert!(quiet.answer().await.is_ok());
}

#[tokio::test]
async fn a_large_event_is_waited_for_by_large_ones_only() {
    let mut stage = Stage::new();
    let large = "x".repeat(limits::LARGE_PAYLOAD_BYTES);
    let first = stage.offer(1, &large).expect("room");
    let slow = stage.admit_call().await;
    let behind = stage.offer(2, &large).expect("room");
    for row in 1..=3 {
        let small = stage.offer(1, &large[1..]).expect("room");
        stage.admit_call().await.accept(row);
        assert!(matches!(small.answer().await, Ok(Admission::Accepted(_))), "beside the large one");
    }
    assert!(stage.admits.try_recv().is_err(), "one commit of large ones at a time");
    slow.accept(4);
    assert!(matches!(first.answer().await, Ok(Admission::Accepted(_))));
    stage.admit_call().await.accept(5);
    assert!(matches!(behind.answer().await, Ok(Admission::Accepted(_))));
}

#[tokio::test(start_paused = true)]
async fn what_large_ones_leave_to_publish_at_the_end_is_published() {
    let mut stage = Stage::new();
    let large = stage.offer(1, &"x".repeat(limits::LARGE_PAYLOAD_BYTES)).expect("room");
    let call = stage.admit_call().await;
    stage.shutdown.drain();
    // The small ones' way in is shut long before.
    tokio::time::sleep(limits::ADMIT_LINGER * 2).await;
    let ids = call.accept(1);
    assert!(large.answer().await.is_ok());
    let publish = stage.publish_call().await;
    assert_eq!(publish.asked[0].1.delivery, ids[0]);
}

#[tokio::test]
async fn a_batch_is_bounded_by_the_fan_out_that_was_learnt() {
    let mut stage = Stage::new();
    let first = stage.offer(1, "0").expect("room");
    let call = stage.admit_call().await;
    let tickets: Vec<_> = (0..50).map(|_| stage.offer(1, "x").expect("room")).collect();
    let many = vec![fairhook_common::delivery::DeliveryState::Queued; 200];
    let admitted = accepted(&call.asked, 1, &many);
    call.reply(Ok(admitted));
    first.answer().await.expect("accepted");
    let call = stage.admit_call().await;
    assert_eq!(call.asked.len(), limits::ADMIT_BATCH_DELIVERIES / 200);
    drop(tickets);
}

#[tokio::test(start_paused = true)]
async fn what_waits_at_the_end_is_admitted_and_then_nothing_is_taken() {
    let mut stage = Stage::new();
    let first = stage.offer(1, "1").expect("room");
    let call = stage.admit_call().await;
    let second = stage.offer(1, "2").expect("room");
    stage.shutdown.drain();
    call.accept(1);
    stage.admit_call().await.accept(2);
    assert!(first.answer().await.is_ok() && second.answer().await.is_ok());
    // A request that was under way is still taken for a moment.
    let late = stage.offer(1, "late").expect("room");
    stage.admit_call().await.accept(3);
    assert!(late.answer().await.is_ok());
    tokio::time::sleep(limits::ADMIT_LINGER * 2).await;
    assert!(matches!(stage.offer(1, "too late"), Err(AdmitError::Stopping)));
}
