//! Limits over several ingests, as callers feel them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::black_box::{Answer, Api};
use crate::harness::{Cluster, Shape};

const LIMIT: u32 = 20;
/// Enough that one that waits for its answer holds up nobody.
const CLIENTS_PER_INGEST: u32 = 4;

/// Posts ten times the limit over all ingests for `span`: how many were accepted.
async fn flood(cluster: &Cluster, span: Duration) -> u32 {
    let clients = cluster.ingests.len() as u32 * CLIENTS_PER_INGEST;
    let gap = Duration::from_secs(1) * clients / (LIMIT * 10);
    let end = Instant::now() + span;
    let mut senders = JoinSet::new();
    for client in 0..clients {
        let node = &cluster.ingests[(client / CLIENTS_PER_INGEST) as usize];
        let api = node.api.clone().expect("an ingest has an API");
        senders.spawn(async move {
            let (mut ticks, mut accepted) = (interval(gap), 0_u32);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while Instant::now() < end {
                ticks.tick().await;
                let answer = api.post("/tenants/acme/events", json!({"type": "a.b", "payload": 1})).await;
                assert!([202, 429].contains(&answer.status), "{answer:?}");
                accepted += u32::from(answer.status == 202);
            }
            accepted
        });
    }
    senders.join_all().await.into_iter().sum()
}

/// Questions to Redis without an answer in time: where there was one, a share has decided.
async fn unanswered(cluster: &Cluster) -> f64 {
    let mut sum = 0.0;
    for node in &cluster.ingests {
        sum += node.metric("fairhook_quota_redis_errors_total").await;
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn three_ingests_keep_one_limit_and_about_it_when_redis_is_gone() {
    let shape = Shape { ingests: 3, dispatchers: 0, stops_servers: false };
    let cluster = Cluster::with_redis(shape).await;
    let api = cluster.api();
    api.tenant("acme").await;
    api.patch("/quotas/acme", json!({"max_events_per_sec": LIMIT, "burst": LIMIT})).await.expect(200);
    let mut passed = None;
    for _ in 0..4 {
        // The burst is used up first.
        flood(&cluster, Duration::from_secs(2)).await;
        let before = unanswered(&cluster).await;
        let accepted = flood(&cluster, Duration::from_secs(30)).await;
        if unanswered(&cluster).await == before {
            passed = Some(accepted);
            break;
        }
        println!("a busy machine kept Redis from answering in time, once more");
    }
    let passed = passed.expect("Redis answers for half a minute");
    println!("{passed} of 600");
    assert!((570..=612).contains(&passed), "{passed} of 600");

    for node in &cluster.ingests {
        node.redis.as_ref().expect("a line to Redis").silence();
    }
    let passed = flood(&cluster, Duration::from_secs(15)).await;
    println!("{passed} of 300 without Redis");
    assert!((240..=360).contains(&passed), "{passed} of 300");
    assert!(unanswered(&cluster).await > 0.0, "it is noticed");
}

/// How many calls the policy `tier` allows, as an answer says it.
fn tier(answer: &Answer) -> Option<u32> {
    let policies = answer.headers.get("ratelimit-policy")?.to_str().ok()?;
    let (_, of_tier) = policies.split_once("\"tier\";q=")?;
    of_tier.split(';').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_changes_is_in_force_on_every_ingest_within_a_second() {
    let cluster = Cluster::start(Shape { ingests: 2, dispatchers: 0, stops_servers: false }).await;
    let operator = cluster.api();
    operator.tenant("acme").await;
    let key = operator.post("/tenants/acme/keys", json!({})).await.expect(201);
    let key = key["api_key"].as_str().expect("shown once");
    let calls = |node: usize| cluster.ingests[node].api.clone().expect("an ingest has an API").with_key(key);
    let callers: Vec<Api> = (0..2).map(calls).collect();
    for caller in &callers {
        assert_eq!(
            tier(&caller.get("/jobs").await),
            Some(1_000),
            "each knows the tenant before anything changes"
        );
    }
    let rate = |limit: u32| json!({"limit": limit, "window": "10 s"});
    let lasting = |rate: Value| json!({"policies": {"tier": rate}});
    let overridden = "/quotas/acme/overrides/tier";
    for limit in [300, 310] {
        in_force(operator.put(overridden, rate(limit)).await, &callers, limit).await;
    }
    in_force(operator.delete(overridden).await, &callers, 1_000).await;
    in_force(operator.patch("/quotas/acme", lasting(rate(320))).await, &callers, 320).await;
    in_force(operator.patch("/quotas/acme", lasting(Value::Null)).await, &callers, 1_000).await;
    in_force(operator.put("/plans/enterprise", json!({"tier": rate(330)})).await, &callers, 330).await;
    in_force(operator.patch("/tenants/acme", json!({"plan": "professional"})).await, &callers, 200).await;
}

/// Asks each ingest until it says what is wanted; asked a second after the answer to the change, it must.
async fn in_force(change: Answer, callers: &[Api], wanted: u32) {
    assert!((200..300).contains(&change.status), "{change:?}");
    let changed = Instant::now();
    for caller in callers {
        loop {
            let asked = changed.elapsed();
            let answer = caller.get("/jobs").await;
            if tier(&answer) == Some(wanted) {
                break;
            }
            assert!(
                asked < Duration::from_secs(1),
                "asked after {asked:?}, it is not {wanted} yet: {answer:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
