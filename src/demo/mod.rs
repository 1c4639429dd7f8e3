//! `fairhook demo`: the isolation, to watch.
//!
//! Eight good tenants alone; then beside one whose receiver never answers and one that answers 500; then the same load
//! through one FIFO queue over one worker pool, which is what other engines do.

mod cast;
mod stage;
mod table;
mod verdict;

pub(crate) use self::table::erase;
pub(crate) use self::verdict::span;

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::config::Config;
use fairhook_common::store::Roles;
use serde_json::json;
use tempfile::TempDir;

use self::stage::{Screen, Stage};
use self::verdict::Shown;
use crate::engine::{Engine, StartError};
use crate::workload::{
    ApiClient, ApiFailure, Fifo, Ledger, Pace, Receivers, StreamSetup, Tally, Target, drive,
};

/// How long what the good tenants posted may take to arrive once a part has ended.
const ARRIVAL: Duration = Duration::from_secs(2);
/// How long the engine may take to stop.
const STOP: Duration = Duration::from_secs(1);
/// A payload's size.
const PAYLOAD: usize = 256;

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the engine does not start: {0}")]
    Start(#[from] StartError),
    #[error("the engine's API: {0}")]
    Api(#[from] ApiFailure),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// The command as it is parsed.
pub fn command() -> clap::Command {
    clap::Command::new("demo").about("Shows the isolation: bad tenants beside good ones, in under a minute")
}

/// Runs the demo; the exit code is 0 only if the good tenants lost nothing and felt nothing.
pub async fn run() -> ExitCode {
    match show().await {
        Ok(shown) => {
            println!("\n{}", shown.words());
            if shown.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("fairhook demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn show() -> Result<Shown, DemoError> {
    let mut screen = Screen::standard();
    let directory = tempfile::Builder::new().prefix("fairhook-demo-").tempdir()?;
    screen.say(&format!(
        "An engine in {} with {} slots. {} good tenants post {:.0} events a second together.",
        directory.path().display(),
        cast::SLOTS,
        cast::GOOD,
        cast::GOOD_RATE
    ));
    let (alone, beside) = with_fairhook(&directory, &mut screen).await?;
    screen.say(
        "\nThe same load through one FIFO queue over one pool of as many workers, as other engines have it:",
    );
    let fifo = with_fifo(&mut screen).await?;
    Ok(Shown { alone, beside, fifo })
}

async fn with_fairhook(directory: &TempDir, screen: &mut Screen) -> Result<(Tally, Tally), DemoError> {
    let ledger = Arc::new(Ledger::new(cast::STREAMS));
    let receivers = Receivers::start(cast::behaviours(), ledger.clone()).await?;
    let engine = Engine::start(config(directory), Roles { ingest: true, dispatcher: true }).await?;
    let (address, key) = engine.api().expect("an engine with every role has the API");
    let mut api = ApiClient::new(&[format!("http://{address}")], key.reveal())?;
    api.set_up(&streams(&receivers)).await?;
    let api = Arc::new(api);
    let dispatcher = engine.dispatcher.as_ref().expect("an engine with every role has a dispatcher");
    let stage = Stage::new(ledger.clone(), Some((dispatcher.watch(), engine.store.clone())));

    let from = ledger.elapsed();
    let load = drive(
        api.clone(),
        ledger.clone(),
        cast::good().collect(),
        Pace::Open(cast::GOOD_RATE),
        cast::ALONE,
        PAYLOAD,
    );
    stage.watch(screen, "The good tenants alone", from, load).await;
    let alone = settle(&ledger, from).await;

    let from = ledger.elapsed();
    let heading = "Beside a tenant whose receiver never answers and one whose receiver answers 500";
    stage.watch(screen, heading, from, everybody(api, ledger.clone())).await;
    let beside = settle(&ledger, from).await;
    // Attempts at the hanging receiver are under way; nobody wants to wait for them.
    engine.stop(STOP).await;
    Ok((alone, beside))
}

async fn with_fifo(screen: &mut Screen) -> Result<Tally, DemoError> {
    let ledger = Arc::new(Ledger::new(cast::STREAMS));
    let receivers = Receivers::start(cast::behaviours(), ledger.clone()).await?;
    let fifo = Fifo::start(cast::SLOTS)?;
    let target =
        Arc::new(fifo.target((0..cast::STREAMS).map(|stream| vec![receivers.url(stream)]).collect()));
    let stage = Stage::new(ledger.clone(), None);
    let from = ledger.elapsed();
    stage.watch(screen, "One FIFO queue", from, everybody(target, ledger.clone())).await;
    Ok(settle(&ledger, from).await)
}

/// The good tenants' load beside the bad ones'.
async fn everybody<T: Target>(target: Arc<T>, ledger: Arc<Ledger>) {
    let good = drive(
        target.clone(),
        ledger.clone(),
        cast::good().collect(),
        Pace::Open(cast::GOOD_RATE),
        cast::BESIDE,
        PAYLOAD,
    );
    let bad = drive(target, ledger, cast::bad().collect(), Pace::Open(cast::BAD_RATE), cast::BESIDE, PAYLOAD);
    tokio::join!(good, bad);
}

/// Lets what was posted last arrive, then counts what the good tenants posted since `from`.
async fn settle(ledger: &Ledger, from: Duration) -> Tally {
    let deadline = ledger.elapsed() + ARRIVAL;
    while ledger.missing(cast::good()) > 0 && ledger.elapsed() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ledger.tally(cast::good(), from)
}

fn config(directory: &TempDir) -> Config {
    let mut config = Config::embedded_in(directory.path());
    config.slots = cast::SLOTS;
    config.allowed_networks = vec![ipnet::IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    config
}

fn streams(receivers: &Receivers) -> Vec<StreamSetup> {
    let stream = |n: usize| StreamSetup {
        slug: cast::slug(n),
        url: receivers.url(n),
        quotas: json!({}),
        endpoint: json!({}),
    };
    (0..cast::STREAMS).map(stream).collect()
}
