//! One pair of arms: the good tenants alone, then beside the bad ones, in one engine that is new.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;

use super::Settings;
use super::background::Background;
use super::figures;
use super::kind::{Allowance, Crowd, FeltBy, GENEROUS, Kind};
use super::neighbours::{BAD_EVENT, Deeds, Neighbours, quotas};
use super::premises::Premises;
use super::{names, pace};
use crate::bench::BenchError;
use crate::bench::subject::Subject;
use crate::workload::{ApiClient, Behaviour, Ledger, Pace, Receivers, StreamSetup, Tally, Target, drive};

/// How long a good tenant's receiver takes.
const ANSWER: Duration = Duration::from_millis(5);
/// A good tenant's payload.
const PAYLOAD: usize = 256;
/// The type of a good tenant's events.
const GOOD_EVENT: &str = "load.event";
/// Nothing of what a good tenant does is near its quota.
const GOOD: Allowance = Allowance { events_per_s: 10_000, ..GENEROUS };

/// What a pair has shown.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Those who are measured, alone.
    pub alone: Tally,
    /// The same beside the bad ones.
    pub beside: Tally,
    /// What these did.
    pub deeds: Deeds,
    /// How long they did it.
    pub span: Duration,
    /// How many they were.
    pub bad: usize,
    /// Their part of the slot time of the last seconds, where they are others than those who are measured.
    pub slot_share: Option<f64>,
}

impl Pair {
    /// How many times as long an event takes beside the bad ones, at p99.
    pub fn ratio(&self) -> f64 {
        figures::ratio(self.alone.arrival_or_age.p99_ms, self.beside.arrival_or_age.p99_ms)
    }
}

/// How many good tenants there are, and how many bad ones.
pub fn heads(kind: &Kind, settings: &Settings) -> (usize, usize) {
    let bad = match kind.crowd {
        Crowd::Told => settings.bad,
        Crowd::Coalition => {
            (4 * settings.slots).div_ceil(settings.scale().allowance(kind.allowance).concurrent as usize)
        }
    };
    match kind.felt_by {
        FeltBy::Others => (settings.good, bad),
        FeltBy::Itself => (bad, bad),
    }
}

/// Measures one.
pub async fn measure(kind: &'static Kind, settings: &Settings) -> Result<Pair, BenchError> {
    let (good, bad) = heads(kind, settings);
    let ledger = Arc::new(Ledger::new(good));
    let receivers = receivers(good, ledger.clone()).await?;
    let background = Background::start()?;
    let asked = background.run(names::start()).await?.to_string();
    let slots = settings.slots.to_string();
    // Attempts at receivers that hang are under way at the end, and nobody wants to wait for them.
    let flags = ["--slots", &slots, "--nameservers", &asked, "--drain-deadline", "0s"];
    let subject = Subject::engine(&settings.wanted, &flags).await?;
    let mut api = ApiClient::new(&subject.bases, &subject.key)?;
    api.set_up(&streams(kind, good, &receivers)).await?;
    let slugs: Vec<String> =
        (0..bad).map(|n| if kind.felt_by == FeltBy::Itself { slug(n) } else { format!("bad-{n}") }).collect();
    // A client of its own: connections, too, belong to the threads that opened them.
    let theirs = ApiClient::new(&subject.bases, &subject.key)?;
    let premises = Premises::build(kind.host, receivers.url(good), &background).await?;
    let neighbours = Neighbours::move_in(kind, theirs, slugs.clone(), premises, settings.scale()).await?;

    let arm = Arm { target: Arc::new(api), ledger, good, rate: settings.rate };
    arm.run(settings.warm_up(), pace::DRAIN).await;
    let alone = arm.run(settings.span, pace::DRAIN).await;
    neighbours.prepare().await?;
    let (before, begin) = (neighbours.deeds(), Instant::now());
    let _noise = neighbours.begin(&background)?;
    let slots = async {
        // Before the good ones have nothing more to do.
        tokio::time::sleep(settings.span).await;
        match kind.felt_by {
            FeltBy::Others => slot_share(&arm.target, &slugs).await,
            FeltBy::Itself => Ok(None),
        }
    };
    let (beside, slot_share) = tokio::join!(arm.run(settings.span, pace::DRAIN), slots);
    let slot_share = slot_share?;
    let (deeds, span) = (neighbours.deeds() - before, begin.elapsed());
    Ok(Pair { alone, beside, deeds, span, bad, slot_share })
}

/// The part of the slot time of the last seconds that these tenants used; `None` if nobody used any.
async fn slot_share(api: &ApiClient, slugs: &[String]) -> Result<Option<f64>, BenchError> {
    let top = api.call(Method::GET, "/v1/top", None).await?;
    let (mut theirs, mut all) = (0.0, 0.0);
    for tenant in top["tenants"].as_array().into_iter().flatten() {
        let used = tenant["slot_seconds_per_s"].as_f64().unwrap_or(0.0);
        all += used;
        if slugs.iter().any(|slug| tenant["tenant"] == **slug) {
            theirs += used;
        }
    }
    Ok((all > 0.0).then(|| theirs / all))
}

/// The good tenants' load.
pub struct Arm<T> {
    /// Where it goes.
    pub target: Arc<T>,
    /// Where it is written down.
    pub ledger: Arc<Ledger>,
    /// How many tenants there are.
    pub good: usize,
    /// Events per second of all of them together.
    pub rate: f64,
}

impl<T: Target> Arm<T> {
    /// Loads for `span`, and waits until everything has arrived, or for `patience`.
    pub async fn run(&self, span: Duration, patience: Duration) -> Tally {
        let (from, streams) = (self.ledger.elapsed(), (0..self.good).collect());
        let pace = Pace::Open(self.rate);
        drive(self.target.clone(), self.ledger.clone(), streams, pace, span, PAYLOAD).await;
        let ended = Instant::now();
        while self.ledger.missing(0..self.good) > 0 && ended.elapsed() < patience {
            tokio::time::sleep(pace::LOOK).await;
        }
        self.ledger.tally(0..self.good, from)
    }
}

/// The good ones', and, behind them, one that never answers.
pub async fn receivers(good: usize, ledger: Arc<Ledger>) -> std::io::Result<Receivers> {
    let mut behaviours = vec![Behaviour::Answer(200, ANSWER); good];
    behaviours.push(Behaviour::Hang);
    Receivers::start(behaviours, ledger).await
}

fn slug(n: usize) -> String {
    format!("good-{n}")
}

/// Where a kind has no endpoint for its events, those of the good tenants get them.
fn streams(kind: &Kind, good: usize, receivers: &Receivers) -> Vec<StreamSetup> {
    let types: &[&str] = if kind.endpoints == 0 { &[GOOD_EVENT, BAD_EVENT] } else { &[GOOD_EVENT] };
    let stream = |n| StreamSetup {
        slug: slug(n),
        url: receivers.url(n),
        quotas: quotas(GOOD),
        endpoint: serde_json::json!({ "event_types": types }),
    };
    (0..good).map(stream).collect()
}
