//! Retry, dead letter, replay.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Engine, LONG, Ledger, Receiver, Reply, until};

async fn delivery_of(engine: &Engine, event: &str, status: &str) -> Value {
    let path = format!("/tenants/acme/deliveries?event_id={event}&status={status}");
    let found = until(&format!("{event} is {status}"), || async { engine.api.list(&path).await.pop() }).await;
    let id = found["id"].as_str().expect("an id");
    engine.api.get(&format!("/tenants/acme/deliveries/{id}")).await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_retried_on_its_schedule_dies_and_is_replayed() {
    let engine = Engine::start().await;
    let receiver = Receiver::scripted(|_| Reply::status(500)).await;
    engine.api.tenant("acme").await;
    let retry = json!({"retry": {"schedule_s": [1, 1], "jitter": 0.0}});
    engine.api.endpoint("acme", &receiver.url(), retry).await;
    let ledger = Ledger::new("acme");
    let event = ledger.post(&engine.api, json!({"id": 7})).await.expect("accepted");
    receiver.wait_for(3, LONG).await;
    for pair in receiver.arrivals().windows(2) {
        assert!(pair[1].at - pair[0].at >= Duration::from_millis(990), "each wait is a second");
    }

    let dead = delivery_of(&engine, &event, "dead").await;
    let attempts = dead["attempts"].as_array().expect("its attempts");
    assert_eq!(attempts.len(), 3);
    for (index, attempt) in attempts.iter().enumerate() {
        assert_eq!((&attempt["n"], &attempt["status_code"]), (&json!(index + 1), &json!(500)));
        assert_eq!(attempt["error"]["code"], "http_status");
    }
    let letters = engine.api.list("/tenants/acme/dead-letters").await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["id"], dead["id"], "a dead letter's id is its delivery's");

    receiver.now(|_| Reply::status(200));
    let path = format!("/tenants/acme/deliveries/{}/replay", dead["id"].as_str().expect("an id"));
    let replayed = engine.api.post(&path, json!({})).await;
    assert!([200, 202].contains(&replayed.status), "{}", replayed.body);
    let delivered = delivery_of(&engine, &event, "delivered").await;
    assert_eq!(delivered["attempts"].as_array().map(Vec::len), Some(4), "the numbers go on");
    assert!(engine.api.list("/tenants/acme/dead-letters").await.is_empty());
    let ids: Vec<String> = receiver.arrivals().iter().map(|a| a.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, vec![event; 4], "every attempt has the event's id");
    ledger.account(&engine.api, Some(&receiver)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_replays_all_dead_letters_of_an_endpoint() {
    let engine = Engine::start().await;
    // A 500 is an answer; a 503 would open the circuit, and the rest would wait for probes.
    let receiver = Receiver::scripted(|_| Reply::status(500)).await;
    engine.api.tenant("acme").await;
    let once = json!({"retry": {"schedule_s": []}});
    let endpoint = engine.api.endpoint("acme", &receiver.url(), once).await;
    let ledger = Ledger::new("acme");
    for number in 0..30 {
        ledger.post(&engine.api, json!({"n": number})).await.expect("accepted");
    }
    ledger.settled(&engine.api).await;
    assert_eq!(engine.api.list("/tenants/acme/dead-letters").await.len(), 30);

    receiver.now(|_| Reply::status(200));
    let wanted = json!({
        "endpoint_id": endpoint["id"], "from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"
    });
    let job = engine.api.post("/tenants/acme/replays", wanted).await.expect(202);
    let path = format!("/tenants/acme/jobs/{}", job["id"].as_str().expect("a job's id"));
    let job = until("the job ends", || async {
        let job = engine.api.get(&path).await.expect(200);
        (!["queued", "running"].contains(&job["status"].as_str().expect("a status"))).then_some(job)
    })
    .await;
    assert_eq!((&job["status"], &job["done"], &job["failed"]), (&json!("succeeded"), &json!(30), &json!(0)));
    ledger.settled(&engine.api).await;
    let standing = ledger.account(&engine.api, Some(&receiver)).await;
    assert_eq!(standing["delivered"], 30, "{standing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_disables_the_endpoint_and_what_follows_is_held() {
    let engine = Engine::start().await;
    let receiver = Receiver::scripted(|_| Reply::status(410)).await;
    engine.api.tenant("acme").await;
    let endpoint = engine.api.endpoint("acme", &receiver.url(), json!({})).await;
    let ledger = Ledger::new("acme");
    let first = ledger.post(&engine.api, json!({})).await.expect("accepted");
    delivery_of(&engine, &first, "dead").await;
    let path = format!("/tenants/acme/endpoints/{}", endpoint["id"].as_str().expect("an id"));
    let endpoint = engine.api.get(&path).await.expect(200);
    assert_eq!((&endpoint["status"], &endpoint["status_reason"]), (&json!("disabled"), &json!("gone")));
    let second = ledger.post(&engine.api, json!({})).await.expect("accepted");
    delivery_of(&engine, &second, "held").await;
    receiver.now(|_| Reply::status(200));
    engine.api.patch(&path, json!({"status": "active"})).await.expect(200);
    delivery_of(&engine, &second, "delivered").await;
    ledger.account(&engine.api, Some(&receiver)).await;
}
