//! `fairhook bench --backlog N`: what the engine's memory and its ingest do while deliveries pile up.
//!
//! All receivers answer 503, so that everything accepted stays waiting.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::args::Settings;
use super::subject::{Subject, Usage};
use super::{BenchError, streams};
use crate::workload::{ApiClient, Ledger, Pace, Receivers, drive};

/// How long ingest is measured at each size.
const PROBE: Duration = Duration::from_secs(5);

/// The engine with so much waiting.
#[derive(Debug, Serialize)]
struct Stage {
    waiting: u64,
    rss_mib: f64,
    accepted_per_s: f64,
    accept_p99_ms: f64,
}

/// Measures at 0, at a hundredth of `size`, and at `size`; prints the stages. Always `true`: nothing is delivered, so
/// nothing is lost.
pub async fn measure(settings: &Settings, size: u64) -> Result<bool, BenchError> {
    let ledger = Arc::new(Ledger::new(settings.tenants));
    let receivers = Receivers::start(vec![settings.behaviour(); settings.tenants], ledger.clone()).await?;
    receivers.refuse(true);
    let subject = Subject::engine(&settings.wanted, &[]).await?;
    let mut api = ApiClient::new(&subject.bases, &subject.key)?;
    api.set_up(&streams(settings, &receivers)).await?;
    let api = Arc::new(api);
    let mut stages = Vec::new();
    for goal in [0, size / 100, size] {
        fill(settings, &api, goal).await?;
        settings.say(&format!("{goal} waiting: measuring ingest for {} s", PROBE.as_secs()));
        let mut used = Usage::default();
        subject.usage().into_iter().for_each(|(_, usage)| used += usage);
        let rss_mib = used.rss_mib();
        let waiting = waiting(&api).await?;
        let probe = post(settings, &api, PROBE).await;
        stages.push(Stage { waiting, rss_mib, accepted_per_s: probe.0, accept_p99_ms: probe.1 });
    }
    if settings.json {
        println!("{}", serde_json::to_string_pretty(&stages).expect("plain figures are JSON"));
        return Ok(true);
    }
    println!("{:>10} {:>9} {:>12} {:>14}", "waiting", "RSS MiB", "accepted/s", "accept p99 ms");
    for stage in stages {
        println!(
            "{:>10} {:>9.1} {:>12.0} {:>14.1}",
            stage.waiting, stage.rss_mib, stage.accepted_per_s, stage.accept_p99_ms
        );
    }
    Ok(true)
}

/// Posts until `goal` deliveries wait.
async fn fill(settings: &Settings, api: &Arc<ApiClient>, goal: u64) -> Result<(), BenchError> {
    loop {
        let now = waiting(api).await?;
        if now >= goal {
            return Ok(());
        }
        settings.say(&format!("{now} of {goal} waiting"));
        post(settings, api, Duration::from_secs(10)).await;
    }
}

/// Posts for `span`; returns accepted per second, and the p99 of the answers in milliseconds. A ledger of its own: what
/// is kept of a million events here must not count as theirs.
async fn post(settings: &Settings, api: &Arc<ApiClient>, span: Duration) -> (f64, f64) {
    let ledger = Arc::new(Ledger::new(settings.tenants));
    let streams: Vec<usize> = (0..settings.tenants).collect();
    let pace = match settings.pace {
        Pace::Open(_) => Pace::Closed(64),
        closed => closed,
    };
    drive(api.clone(), ledger.clone(), streams.clone(), pace, span, settings.payload).await;
    let tally = ledger.tally(streams, Duration::ZERO);
    (tally.accepted as f64 / ledger.elapsed().as_secs_f64(), tally.accept.p99_ms)
}

/// Unfinished deliveries of all tenants. (Those that have had an attempt are not in the backlog: they are what was
/// sent less what is dead; receivers that refuse make none of these final while the default schedule lasts.)
async fn waiting(api: &ApiClient) -> Result<u64, BenchError> {
    let mut waiting = 0;
    for tenant in api.tenants() {
        let quotas = api.quotas(tenant).await?;
        let usage = &quotas["current_usage"];
        waiting += usage["backlog"].as_u64().unwrap_or(0) + usage["retrying"].as_u64().unwrap_or(0);
    }
    Ok(waiting)
}
