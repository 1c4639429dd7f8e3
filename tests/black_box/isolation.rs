//! No tenant's behaviour is felt by another.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Engine, Ledger, Options, Receiver, Reply};

const EVENTS: usize = 100;
const SLOW: Duration = Duration::from_secs(30);
const QUICK: Duration = Duration::from_millis(100);

struct Pair {
    engine: Engine,
    slow: (Ledger, Receiver),
    quick: (Ledger, Receiver),
}

impl Pair {
    /// A's receiver answers after 30 s, B's after 100 ms.
    async fn start(options: Options) -> Self {
        let engine = Engine::start_with(options).await;
        let slow = Receiver::scripted(|_| Reply::late(SLOW)).await;
        let quick = Receiver::scripted(|_| Reply::late(QUICK)).await;
        for tenant in ["a", "b"] {
            engine.api.tenant(tenant).await;
        }
        engine.api.endpoint("a", &slow.url(), json!({"timeout_ms": 35_000})).await;
        engine.api.endpoint("b", &quick.url(), json!({})).await;
        Self { engine, slow: (Ledger::new("a"), slow), quick: (Ledger::new("b"), quick) }
    }

    /// 100 events of each, at once.
    async fn post(&self) {
        for number in 0..EVENTS {
            let api = &self.engine.api;
            for (ledger, _) in [&self.slow, &self.quick] {
                ledger.post(api, json!({"n": number})).await.expect("accepted");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_webhook_of_tenant_a_does_not_block_tenant_b() {
    let pair = Pair::start(Options::default()).await;
    let started = Instant::now();
    pair.post().await;
    pair.quick.1.wait_for(EVENTS, Duration::from_secs(5).saturating_sub(started.elapsed())).await;
    pair.slow.1.wait_for(EVENTS, SLOW * 4).await;
    for (ledger, receiver) in [&pair.slow, &pair.quick] {
        ledger.settled(&pair.engine.api).await;
        let standing = ledger.account(&pair.engine.api, Some(receiver)).await;
        assert_eq!(standing["delivered"], EVENTS, "{standing:?}");
        assert_eq!(receiver.arrivals().len(), EVENTS, "nothing arrived twice");
    }
}

/// The same where A alone could fill every slot.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_tenant_that_could_fill_every_slot_does_not() {
    let pair = Pair::start(Options::args(&["--slots", "40"])).await;
    for number in 0..EVENTS {
        pair.slow.0.post(&pair.engine.api, json!({"n": number})).await.expect("accepted");
    }
    pair.slow.1.wait_for(10, Duration::from_secs(10)).await;
    for number in 0..EVENTS {
        pair.quick.0.post(&pair.engine.api, json!({"n": number})).await.expect("accepted");
    }
    pair.quick.1.wait_for(EVENTS, Duration::from_secs(10)).await;
}
