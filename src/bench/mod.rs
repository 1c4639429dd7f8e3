//! `fairhook bench`: drives an engine, one that it starts itself or a running one, and says what it did.
//!
//! What is measured runs in a process of its own; the load and the receivers run in this one. `--baseline` measures a bare
//! relay in the same way, in turn with the engine, so that the ratio says more than the machine does.

mod args;
mod backlog;
mod isolation;
mod limits;
mod parts;
mod relay;
mod report;
mod scale;
mod shares;
mod subject;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use fairhook_common::config::Environment;
use serde_json::json;

use self::args::Settings;
pub use self::args::{command, relay_command};
pub use self::relay::run as run_relay;
use self::report::{Looked, Report, Run};
use self::subject::{Subject, Wanted, Watched};
use crate::signals::Signals;
use crate::workload::{ApiClient, ApiFailure, Behaviour, Ledger, Receivers, StreamSetup, Target, drive};

/// How long accepted events may take to arrive once the load has ended.
const DRAIN: Duration = Duration::from_secs(60);
/// The load before the measurement: connections are made, caches filled.
const WARM_UP: Duration = Duration::from_secs(2);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The engine's API did not do what the bench needs.
    #[error("the engine's API: {0}")]
    Api(#[from] ApiFailure),
    /// A process or a socket.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// What is said about servers does not do.
    #[error("{0}")]
    Settings(String),
    /// A process under measurement ended, or did not say where it listens.
    #[error("{0}")]
    Subject(String),
    /// Postgres, where the bench itself talks to it.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// RabbitMQ, where the bench itself talks to it.
    #[error("RabbitMQ: {0}")]
    RabbitMq(#[from] lapin::Error),
    /// Somebody ended the bench.
    #[error("ended by {0}")]
    Ended(&'static str),
}

/// Runs the command; the exit code is 0 only if nothing accepted was lost.
pub async fn run(matches: &ArgMatches) -> ExitCode {
    match until_told_to_end(matches).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("fairhook bench: accepted events did not arrive");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("fairhook bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was started and made goes in either case.
async fn until_told_to_end(matches: &ArgMatches) -> Result<bool, BenchError> {
    let mut signals = Signals::catch()?;
    tokio::select! {
        measured = measure_as_told(matches) => measured,
        signal = signals.next() => Err(BenchError::Ended(signal)),
    }
}

/// Whether nothing accepted was lost.
async fn measure_as_told(matches: &ArgMatches) -> Result<bool, BenchError> {
    match matches.subcommand() {
        Some(("isolation", matches)) => return isolation::run(matches).await,
        Some(("limits", matches)) => return limits::run(matches).await.map(|()| true),
        Some(("shares", matches)) => return shares::run(matches).await.map(|()| true),
        _ => {}
    }
    let settings = Settings::read(matches, &Environment::of_process())?;
    if let Some(size) = settings.backlog {
        return backlog::measure(&settings, size).await;
    }
    if let Some(tenants) = settings.scale {
        return scale::measure(&settings, tenants).await;
    }
    let report = measure(&settings).await?;
    report.print(settings.json);
    Ok(report.lost() == 0)
}

async fn measure(settings: &Settings) -> Result<Report, BenchError> {
    let mut report = Report::new(settings);
    for round in 1..=settings.rounds {
        if settings.baseline {
            settings.say(&format!("round {round} of {}: bare relay", settings.rounds));
            report.relays.push(measure_relay(settings).await?);
        }
        if let (true, Wanted::Distributed { servers, .. }) = (settings.parts, &settings.wanted) {
            settings.say(&format!("round {round} of {}: the servers' parts", settings.rounds));
            report.parts.push(parts::measure(settings, servers).await?);
        }
        settings.say(&format!("round {round} of {}: fairhook", settings.rounds));
        report.runs.push(measure_engine(settings).await?);
    }
    report.compare();
    Ok(report)
}

async fn measure_engine(settings: &Settings) -> Result<Run, BenchError> {
    let ledger = Arc::new(Ledger::new(settings.tenants));
    let receivers = Receivers::start(vec![settings.behaviour(); settings.tenants], ledger.clone()).await?;
    let subject = Subject::engine(&settings.wanted, &[]).await?;
    let mut api = ApiClient::new(&subject.bases, &subject.key)?;
    api.set_up(&streams(settings, &receivers)).await?;
    let quotas = api.quotas(&api.tenants()[0]).await?;
    settings.say(&format!("  quotas of each of {} tenants: {}", settings.tenants, quotas["limits"]));
    Ok(measure_target(settings, Arc::new(api), ledger, &subject).await)
}

async fn measure_relay(settings: &Settings) -> Result<Run, BenchError> {
    let ledger = Arc::new(Ledger::new(settings.tenants));
    let receivers = Receivers::start(vec![settings.behaviour(); settings.tenants], ledger.clone()).await?;
    let subject = Subject::relay(&receivers.url(0)).await?;
    let target = relay::RelayTarget::new(&subject.bases[0])?;
    Ok(measure_target(settings, Arc::new(target), ledger, &subject).await)
}

/// Warms up, waits until all of that has arrived, then measures.
async fn measure_target<T: Target>(
    settings: &Settings,
    target: Arc<T>,
    ledger: Arc<Ledger>,
    subject: &Subject,
) -> Run {
    let streams: Vec<usize> = (0..settings.tenants).collect();
    let load =
        |span| drive(target.clone(), ledger.clone(), streams.clone(), settings.pace, span, settings.payload);
    load(WARM_UP).await;
    all_arrived(&ledger, settings.tenants).await;
    let (from, before) = (ledger.elapsed(), used(settings, subject));
    load(settings.span).await;
    let answered = ledger.elapsed() - from;
    all_arrived(&ledger, settings.tenants).await;
    let after = used(settings, subject);
    Run::new(ledger.tally(streams.iter().copied(), from), from, answered, before, after)
}

fn used(settings: &Settings, subject: &Subject) -> Looked {
    Looked { processes: subject.usage(), servers: settings.watched.iter().map(Watched::look).collect() }
}

/// Waits until nothing accepted is missing, as long as that may take.
async fn all_arrived(ledger: &Ledger, streams: usize) {
    let begin = Instant::now();
    while ledger.missing(0..streams) > 0 && begin.elapsed() < DRAIN {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn streams(settings: &Settings, receivers: &Receivers) -> Vec<StreamSetup> {
    let stream = |n: usize| StreamSetup {
        slug: format!("bench-{n}"),
        url: receivers.url(n),
        quotas: json!({
            "max_events_per_sec": 1_000_000, "burst": 1_000_000, "max_concurrent_deliveries": settings.concurrency,
            "max_backlog": 100_000_000, "max_dlq_size": 1_000,
        }),
        endpoint: json!({}),
    };
    (0..settings.tenants).map(stream).collect()
}

impl Settings {
    fn behaviour(&self) -> Behaviour {
        Behaviour::Answer(200, self.answer_after)
    }

    /// Progress goes to standard error, so that the report can be piped.
    fn say(&self, text: &str) {
        eprintln!("{text}");
    }
}
