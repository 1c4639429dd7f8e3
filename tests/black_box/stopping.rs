//! Signals: the first drains, the second stops at once.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Engine, LONG, Ledger, Options, Receiver, Reply};

async fn in_flight(engine: &Engine, receiver: &Receiver, events: usize) -> Ledger {
    engine.api.tenant("acme").await;
    engine.api.endpoint("acme", &receiver.url(), json!({"timeout_ms": 60_000})).await;
    let ledger = Ledger::new("acme");
    for number in 0..events {
        ledger.post(&engine.api, json!({"n": number})).await.expect("accepted");
    }
    receiver.wait_for(events, LONG).await;
    ledger
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_what_is_in_flight_come_to_its_end() {
    let engine = Engine::start().await;
    let receiver = Receiver::scripted(|_| Reply::late(Duration::from_secs(2))).await;
    let ledger = in_flight(&engine, &receiver, 10).await;
    let started = Instant::now();
    let (code, stopped) = engine.terminate().await;
    assert_eq!(code, 0);
    assert!(started.elapsed() < Duration::from_secs(15), "it ends once nothing is under way");
    let engine = stopped.start_again().await;
    let standing = ledger.account(&engine.api, Some(&receiver)).await;
    assert_eq!(standing["delivered"], 10, "{standing:?}");
    assert_eq!(receiver.arrivals().len(), 10, "an orderly stop repeats nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once_and_loses_nothing() {
    let mut engine = Engine::start_with(Options::args(&["--drain-deadline", "1h"])).await;
    let receiver = Receiver::scripted(|_| Reply::late(Duration::from_secs(50))).await;
    let ledger = in_flight(&engine, &receiver, 3).await;
    engine.signal(Signal::TERM);
    engine.prints("waiting for 3 deliveries in flight").await;
    let started = Instant::now();
    engine.signal(Signal::INT);
    assert_eq!(engine.exit().await.code(), Some(1));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());

    receiver.now(|_| Reply::status(200));
    let engine = engine.gone().start_again().await;
    ledger.settled(&engine.api).await;
    let standing = ledger.account(&engine.api, Some(&receiver)).await;
    assert_eq!(standing["delivered"], 3, "{standing:?}");
    assert_eq!(receiver.arrivals().len(), 6, "each was cut off once and arrived again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_has_a_deadline() {
    let engine = Engine::start_with(Options::args(&["--drain-deadline", "1s"])).await;
    let receiver = Receiver::scripted(|_| Reply::late(Duration::from_secs(50))).await;
    in_flight(&engine, &receiver, 1).await;
    let started = Instant::now();
    let (code, _) = engine.terminate().await;
    assert_eq!(code, 1);
    assert!((1..10).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}
