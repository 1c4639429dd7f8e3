//! `fairhook bench shares`: whether slots are shared as they should be while everybody wants more of them than there are.
//!
//! Two measurements, each in an engine of its own. *Equals*: good tenants beside one whose receiver takes ten times as long;
//! how even is their throughput (Jain's index)? *Weights*: three tenants of the weights 1, 2 and 4 whose receivers take
//! different times; is slot time divided as the weights say? Slot time is what the engine says of it: a slot is held longer than a
//! receiver takes, on a machine that is busy by as much again.

use std::sync::Arc;
use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use fairhook_common::config::Environment;
use reqwest::Method;
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::BenchError;
use super::subject::{Subject, Wanted};
use crate::workload::{ApiClient, ApiFailure, Behaviour, Ledger, Pace, Receivers, StreamSetup, drive};

/// Slots that all of them want. Nine tenths are for everybody, the others a reserve: 126, which nine tenants and the weights
/// 1, 2 and 4 divide without a remainder. (A share is rounded up to a whole slot.)
const SLOTS: u32 = 140;
/// Good tenants whose throughput is compared.
const EQUALS: usize = 8;
/// How long their receivers take.
const EQUAL_TIME: Duration = Duration::from_millis(200);
/// The weights that are compared, each with what its receiver takes.
const WEIGHTED: [(u32, Duration); 3] =
    [(1, Duration::from_millis(400)), (2, Duration::from_millis(300)), (4, Duration::from_millis(200))];
/// How many times as much is posted as there are slots for.
const EXCESS: f64 = 1.3;
/// The load before the measurement: until then queues fill and estimates are learnt.
const WARM_UP: Duration = Duration::from_secs(4);
/// Longer than any load.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    /// The engine in words.
    engine: String,
    /// Jain's index of equals: 1 if all have the same.
    jain: f64,
    /// Their deliveries per second.
    equals_per_s: Vec<f64>,
    /// Weight, part of the slot time, and by which part of what it should be that is off.
    weights: Vec<Share>,
}

/// What a weight gave.
#[derive(Debug, Serialize)]
struct Share {
    weight: u32,
    share: f64,
    off: f64,
}

/// One tenant: its weight, and how long its receiver takes.
type Tenant = (u32, Duration);

/// The command as it is parsed.
pub fn command() -> Command {
    Command::new("shares")
        .about(
            "Measures how slots are shared under saturation: Jain's index of equals, and the weights 1:2:4",
        )
        .args(Wanted::args())
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_name("N")
                .default_value("24")
                .value_parser(value_parser!(u32).range(1..=3_600))
                .help("How long each of the two is measured, after a warm-up of 4 s; six and its multiples are whole rounds of all"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the report as JSON"))
}

/// Measures and prints.
pub async fn run(matches: &ArgMatches) -> Result<(), BenchError> {
    let wanted = Wanted::read(matches, &Environment::of_process())?.of_its_own()?;
    let span = Duration::from_secs((*matches.get_one::<u32>("seconds").expect("it has a default")).into());
    let mut equals = vec![(1, EQUAL_TIME); EQUALS];
    equals.push((1, 10 * EQUAL_TIME));
    let mut equals_per_s = saturate(&wanted, &equals, span).await?.per_s;
    equals_per_s.truncate(EQUALS);
    let used = saturate(&wanted, &WEIGHTED, span).await?.slots;
    let report = Report {
        engine: wanted.describe(),
        jain: jain(&equals_per_s),
        equals_per_s,
        weights: shares(&WEIGHTED, &used),
    };
    report.print(matches.get_flag("json"));
    Ok(())
}

/// What each tenant got.
struct Got {
    /// Deliveries per second.
    per_s: Vec<f64>,
    /// Slots held on average in the last seconds.
    slots: Vec<f64>,
}

/// Has all tenants post more than there are slots for.
async fn saturate(wanted: &Wanted, tenants: &[Tenant], span: Duration) -> Result<Got, BenchError> {
    let ledger = Arc::new(Ledger::new(tenants.len()));
    let behaviours = tenants.iter().map(|(_, time)| Behaviour::Answer(200, *time)).collect();
    let receivers = Receivers::start(behaviours, ledger.clone()).await?;
    let subject = Subject::engine(wanted, &["--slots", &SLOTS.to_string(), "--drain-deadline", "0s"]).await?;
    let mut api = ApiClient::new(&subject.bases, &subject.key)?;
    api.set_up(&streams(tenants.len(), &receivers)).await?;
    for (slug, (weight, _)) in api.tenants().iter().zip(tenants) {
        api.call(Method::PATCH, &format!("/v1/tenants/{slug}"), Some(&json!({ "weight": weight }))).await?;
    }
    let (api, mut loads) = (Arc::new(api), JoinSet::new());
    for (stream, (_, time)) in tenants.iter().enumerate() {
        // Each of them wants more than its part of the slots.
        let rate = Pace::Open(EXCESS * f64::from(SLOTS) * part(tenants, stream) / time.as_secs_f64());
        loads.spawn(drive(api.clone(), ledger.clone(), vec![stream], rate, FOR_EVER, 256));
    }
    let arrived =
        || (0..tenants.len()).map(|stream| ledger.tally([stream], Duration::ZERO).arrived).collect();
    tokio::time::sleep(WARM_UP).await;
    let (from, before): (_, Vec<u64>) = (ledger.elapsed(), arrived());
    tokio::time::sleep(span).await;
    let (to, after): (_, Vec<u64>) = (ledger.elapsed(), arrived());
    // What is still to be delivered keeps the slots full for longer than this takes.
    loads.shutdown().await;
    let mut slots = Vec::new();
    for slug in api.tenants() {
        slots.push(slots_held(&api, slug).await?);
    }
    let per_s = |(before, after): (u64, u64)| (after - before) as f64 / (to - from).as_secs_f64();
    Ok(Got { per_s: before.into_iter().zip(after).map(per_s).collect(), slots })
}

/// Slots that a tenant held on average in the last seconds. An API that was flooded until now has connections to close first.
async fn slots_held(api: &ApiClient, slug: &str) -> Result<f64, ApiFailure> {
    const TRIES: usize = 300;
    let path = format!("/v1/tenants/{slug}/stats");
    let asking = || api.call(Method::GET, &path, None);
    let pauses = ConstantBuilder::default().with_delay(Duration::from_millis(100)).with_max_times(TRIES);
    let stats = asking.retry(pauses).when(|failure| matches!(failure, ApiFailure::Unreachable(_))).await?;
    Ok(stats["slot_seconds_per_s"].as_f64().unwrap_or(0.0))
}

fn streams(count: usize, receivers: &Receivers) -> Vec<StreamSetup> {
    let stream = |n: usize| StreamSetup {
        slug: format!("share-{n}"),
        url: receivers.url(n),
        quotas: json!({
            "max_events_per_sec": 1_000_000, "burst": 1_000_000, "max_concurrent_deliveries": 2 * SLOTS,
            "max_backlog": 10_000_000,
        }),
        endpoint: json!({}),
    };
    (0..count).map(stream).collect()
}

/// A tenant's part of the slot time by its weight.
fn part(tenants: &[Tenant], tenant: usize) -> f64 {
    let all: u32 = tenants.iter().map(|(weight, _)| weight).sum();
    f64::from(tenants[tenant].0) / f64::from(all)
}

/// The parts of the slot time that slots held on average come to.
fn shares(tenants: &[Tenant], used: &[f64]) -> Vec<Share> {
    let all: f64 = used.iter().sum();
    let share = |(tenant, used): (usize, &f64)| {
        let share = used / all.max(f64::MIN_POSITIVE);
        Share { weight: tenants[tenant].0, share, off: share / part(tenants, tenant) - 1.0 }
    };
    used.iter().enumerate().map(share).collect()
}

/// 1 if all have the same, 1/n if one has everything.
fn jain(rates: &[f64]) -> f64 {
    let (sum, squares): (f64, f64) = (rates.iter().sum(), rates.iter().map(|rate| rate * rate).sum());
    sum * sum / (rates.len() as f64 * squares).max(f64::MIN_POSITIVE)
}

impl Report {
    fn print(&self, json: bool) {
        if json {
            println!("{}", serde_json::to_string_pretty(self).expect("plain figures are JSON"));
            return;
        }
        println!("{}; {SLOTS} slots, wanted {EXCESS} times", self.engine);
        let rates: Vec<String> = self.equals_per_s.iter().map(|rate| format!("{rate:.1}")).collect();
        println!("equals: Jain's index {:.4}; deliveries/s {}", self.jain, rates.join(", "));
        for Share { weight, share, off } in &self.weights {
            println!("weight {weight}: {:.1} % of the slot time ({:+.1} %)", 100.0 * share, 100.0 * off);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jain_s_index_is_one_for_equals_and_a_part_for_one_alone() {
        assert!((jain(&[3.0; 5]) - 1.0).abs() < 1e-12);
        assert!((jain(&[1.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-12);
        assert_eq!(jain(&[0.0, 0.0]), 0.0);
    }

    #[test]
    fn a_share_is_off_by_a_part_of_what_it_should_be() {
        let tenants = [(1, Duration::ZERO), (3, Duration::ZERO)];
        let found = shares(&tenants, &[10.0, 30.0]);
        assert!((found[0].share - 0.25).abs() < 1e-12 && found[0].off.abs() < 1e-12, "{found:?}");
        let found = shares(&tenants, &[10.0, 10.0]);
        assert!((found[0].off - 1.0).abs() < 1e-12 && (found[1].off + 1.0 / 3.0).abs() < 1e-12, "{found:?}");
    }
}
