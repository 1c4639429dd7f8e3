//! Nothing accepted is lost, however the process ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::limits;
use serde_json::json;

use crate::harness::{Engine, LONG, Ledger, Receiver, Reply};

const EVENTS: usize = 2_000;
const CLIENTS: usize = 16;

/// The numbers of `recovered: 2,000 accepted = 1,213 delivered + 787 waiting; delivering them now`, by their words.
fn numbers(line: &str) -> HashMap<String, usize> {
    let counted = line.trim_start_matches("recovered: ").split(';').next().expect("a part").replace(',', "");
    let words: Vec<&str> = counted.split(' ').filter(|word| !["=", "+"].contains(word)).collect();
    words.chunks(2).map(|pair| (pair[1].to_owned(), pair[0].parse().expect("a number"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_2000_events_loses_none() {
    let engine = Engine::start().await;
    let receiver = Receiver::scripted(|_| Reply::late(Duration::from_millis(2))).await;
    engine.api.tenant("acme").await;
    engine.api.endpoint("acme", &receiver.url(), json!({})).await;
    let ledger = Arc::new(Ledger::new("acme"));
    let posting: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (ledger, api) = (ledger.clone(), engine.api.clone());
            tokio::spawn(async move {
                for number in 0..EVENTS / CLIENTS {
                    // Some are large, and so in files of their own.
                    let pad = "x".repeat(if number % 16 == 0 { limits::LARGE_PAYLOAD_BYTES } else { 0 });
                    ledger.post(&api, json!({"client": client, "n": number, "pad": pad})).await;
                }
            })
        })
        .collect();
    receiver.wait_for(EVENTS / 4, LONG).await;
    let killed = engine.kill().await;
    for client in posting {
        client.await.expect("a client ends");
    }
    let accepted = ledger.ids();
    assert!(accepted.len() < EVENTS, "the kill came in the middle");

    let engine = killed.start_again().await;
    let line = engine.prints("recovered: ").await;
    engine.prints("goes on with what was there").await;
    let counts = numbers(&line);
    assert!(line.contains(" waiting; "), "{line}");
    assert_eq!(counts["accepted"], counts.values().sum::<usize>() - counts["accepted"], "{line}");
    assert!(counts["accepted"] >= accepted.len(), "{line}: {} were answered with 202", accepted.len());

    ledger.settled(&engine.api).await;
    let standing = ledger.account(&engine.api, Some(&receiver)).await;
    assert_eq!(standing["delivered"], counts["accepted"], "{standing:?}");
    assert!(receiver.taken().is_superset(&accepted), "an accepted event never arrived");
    let mut arrivals = HashMap::<String, usize>::new();
    for arrival in receiver.arrivals() {
        *arrivals.entry(arrival.header("webhook-id").to_owned()).or_default() += 1;
    }
    assert!(arrivals.values().all(|times| *times <= 2), "one kill repeats nothing more than once");
    let repeated = arrivals.values().filter(|times| **times == 2).count();
    assert!(repeated <= counts["waiting"], "only what was not recorded may arrive again: {repeated}, {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let (engine, receiver) = (Engine::start().await, Receiver::good().await);
    let tenant = engine.api.post("/tenants", json!({"name": "Acme", "create_key": true})).await.expect(201);
    let slug = tenant["slug"].as_str().expect("a slug").to_owned();
    let key = tenant["api_key"].as_str().expect("a key").to_owned();
    let more = json!({"uid": "main", "event_types": ["order.*"], "metadata": {"team": "billing"}});
    let endpoint = engine.api.endpoint(&slug, &receiver.url(), more).await;
    let ledger = Ledger::new(&slug);
    let event = ledger.post(&engine.api, json!({"id": 7})).await.expect("accepted");
    ledger.settled(&engine.api).await;
    let path = format!("/tenants/{slug}/endpoints/main/secret");
    let secret = engine.api.get(&path).await.expect(200)["secret"].clone();
    let before = engine.api.get(&format!("/tenants/{slug}/events/{event}")).await.expect(200);

    let (code, stopped) = engine.terminate().await;
    assert_eq!(code, 0);
    let engine = stopped.start_again().await;
    assert_eq!(engine.api.get(&path).await.expect(200)["secret"], secret);
    let own = engine.api.with_key(&key);
    let after = own.get(&format!("/events/{event}")).await.expect(200);
    assert_eq!(after["id"], before["id"]);
    assert_eq!(after["payload"], before["payload"]);
    let endpoints = own.list("/endpoints").await;
    assert_eq!(endpoints.len(), 1);
    assert_eq!(
        (&endpoints[0]["id"], &endpoints[0]["metadata"]),
        (&endpoint["id"], &json!({"team": "billing"}))
    );
    ledger.account(&engine.api, Some(&receiver)).await;
    assert_eq!(receiver.arrivals().len(), 1, "a restart in order repeats nothing");
    ledger.post(&engine.api, json!({"id": 8})).await.expect("accepted");
    receiver.wait_for(2, LONG).await;
}
