//! `fairhook bench --scale N`: what a tenant costs. The same load over ten tenants and over N, each engine fresh; then, where
//! there are dispatchers of their own, a dispatcher's start with an event waiting in every tenant's queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::Settings;
use super::report::{Looked, Run};
use super::subject::{Subject, Usage};
use super::{BenchError, all_arrived, measure_target, streams, used};
use crate::workload::{ApiClient, Ledger, Receivers, each_once};

/// What many tenants are compared with.
const FEW: usize = 10;

/// So many tenants, measured.
#[derive(Debug, Serialize)]
struct Stage {
    tenants: usize,
    /// Making every tenant with its quotas and its endpoint.
    set_up_s: f64,
    run: Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    cold_start: Option<ColdStart>,
    /// Memory that each process and server has taken since it was ready.
    grown: Vec<Grown>,
}

#[derive(Debug, Serialize)]
struct Grown {
    name: String,
    mib: f64,
}

/// From the start of the dispatchers' processes.
#[derive(Debug, Clone, Copy, Serialize)]
struct ColdStart {
    first_arrival_s: f64,
    last_arrival_s: f64,
}

/// Measures with ten tenants and with `many`; prints both. Whether nothing was lost.
pub async fn measure(settings: &Settings, many: usize) -> Result<bool, BenchError> {
    let mut stages = Vec::new();
    for tenants in [FEW, many] {
        settings.say(&format!("{tenants} tenants"));
        stages.push(stage(&Settings { tenants, ..settings.clone() }).await?);
    }
    match settings.json {
        true => println!("{}", serde_json::to_string_pretty(&stages).expect("plain figures are JSON")),
        false => print(settings, &stages),
    }
    Ok(stages.iter().all(|stage| stage.run.lost == 0))
}

async fn stage(settings: &Settings) -> Result<Stage, BenchError> {
    let ledger = Arc::new(Ledger::new(settings.tenants));
    let receivers = Receivers::start(vec![settings.behaviour(); settings.tenants], ledger.clone()).await?;
    let mut subject = Subject::engine(&settings.wanted, &[]).await?;
    let ready = used(settings, &subject);
    let mut api = ApiClient::new(&subject.bases, &subject.key)?;
    let began = Instant::now();
    api.set_up(&streams(settings, &receivers)).await?;
    let set_up_s = began.elapsed().as_secs_f64();
    settings.say(&format!("  set up in {set_up_s:.1} s"));
    let api = Arc::new(api);
    let run = measure_target(settings, api.clone(), ledger.clone(), &subject).await;
    let grown = grown(ready, used(settings, &subject));
    let cold_start = cold_start(settings, &api, &ledger, &mut subject).await?;
    Ok(Stage { tenants: settings.tenants, set_up_s, run, cold_start, grown })
}

fn grown(before: Looked, after: Looked) -> Vec<Grown> {
    let all = |looked: Looked| looked.processes.into_iter().chain(looked.servers);
    let pairs = all(before).zip(all(after));
    let of_one = |((name, before), (_, after)): ((String, Usage), (String, Usage))| Grown {
        name,
        mib: after.rss_mib() - before.rss_mib(),
    };
    pairs.map(of_one).collect()
}

async fn cold_start(
    settings: &Settings,
    api: &Arc<ApiClient>,
    ledger: &Arc<Ledger>,
    subject: &mut Subject,
) -> Result<Option<ColdStart>, BenchError> {
    if !subject.end_dispatchers() {
        return Ok(None);
    }
    let posted = ledger.elapsed();
    each_once(api.clone(), ledger.clone(), settings.tenants, settings.payload).await;
    let began = ledger.elapsed();
    subject.start_dispatchers().await?;
    all_arrived(ledger, settings.tenants).await;
    let tally = ledger.tally(0..settings.tenants, posted);
    if tally.missing > 0 {
        return Err(BenchError::Subject(format!("{} tenants were not served after a start", tally.missing)));
    }
    let since = |at: Duration| at.saturating_sub(began).as_secs_f64();
    Ok(Some(ColdStart {
        first_arrival_s: since(tally.first_arrival),
        last_arrival_s: since(tally.last_arrival),
    }))
}

fn print(settings: &Settings, stages: &[Stage]) {
    println!("{}", settings.load());
    for stage in stages {
        println!("{} tenants: set up in {:.1} s", stage.tenants, stage.set_up_s);
        Run::print_head();
        stage.run.print("fairhook");
        if let Some(cold) = stage.cold_start {
            println!(
                "  dispatchers started with an event waiting for each: first arrival after {:.1} s, last after {:.1} s",
                cold.first_arrival_s, cold.last_arrival_s
            );
        }
    }
    let [few, many] = stages else { return };
    println!(
        "CPU per event, {} ÷ {} tenants: {:.2}; with the servers that are watched {:.2}",
        many.tenants,
        few.tenants,
        many.run.cpu_us_per_event / few.run.cpu_us_per_event,
        many.run.cpu_with_servers() / few.run.cpu_with_servers()
    );
    for (name, kib) in per_tenant(few, many) {
        println!("memory per tenant, {name}: {kib:.1} KiB");
    }
}

/// What one tenant more takes, in KiB: what many have taken more than a few.
fn per_tenant<'a>(few: &'a Stage, many: &'a Stage) -> impl Iterator<Item = (&'a str, f64)> {
    let more = (many.tenants - few.tenants) as f64;
    let pairs = few.grown.iter().zip(&many.grown);
    pairs.map(move |(few, many)| (&*few.name, (many.mib - few.mib) * 1024.0 / more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_takes_what_many_take_more_than_a_few() {
        let looked = |mib: u64| Looked {
            processes: vec![("ours".into(), Usage { rss_bytes: mib << 20, ..Usage::default() })],
            servers: vec![("theirs".into(), Usage { rss_bytes: (mib * 2) << 20, ..Usage::default() })],
        };
        let stage = |tenants, mib: u64| {
            let run = Run::new(
                Default::default(),
                Duration::ZERO,
                Duration::ZERO,
                Looked::default(),
                Looked::default(),
            );
            let grown = grown(looked(100), looked(100 + mib));
            Stage { tenants, set_up_s: 0.0, run, cold_start: None, grown }
        };
        let each: Vec<_> =
            per_tenant(&stage(10, 10), &stage(110, 60)).map(|(name, kib)| (name.to_owned(), kib)).collect();
        assert_eq!(each, [("ours".to_owned(), 512.0), ("theirs".to_owned(), 1024.0)]);
    }
}
