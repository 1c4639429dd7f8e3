//! `fairhook serve`: an engine from its banner to its exit code.

use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use fairhook_common::config::{Backends, Config, Effective, Purpose};
use fairhook_common::store::Roles;
use fairhook_common::tenant::DeliveryCounts;
use fairhook_dispatcher as dispatcher;

use crate::banner::{Banner, Mode};
use crate::engine::{self, Engine};
use crate::logging;
use crate::recovery::thousands;
use crate::signals::Signals;

/// How often a stop says what it still waits for.
const STOP_TELLS: Duration = Duration::from_secs(2);

/// Runs a role to its end on a runtime of its own.
pub fn in_runtime(role: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(role),
        Err(error) => failed(&format!("cannot start: {error}")),
    }
}

/// Runs what `purpose` asks for to its end.
pub fn start(purpose: Purpose, told: Effective) -> ExitCode {
    let config = told.config.clone();
    logged(&config, run(roles_of(purpose), told))
}

/// The same with everything logged as configured, to the last line.
fn logged(config: &Config, role: impl Future<Output = ExitCode>) -> ExitCode {
    match logging::start(config) {
        Ok(_written) => in_runtime(role),
        Err(error) => failed(&format!("cannot log: {error}")),
    }
}

/// These roles, until a signal. The code is 0 if everything under way came to its end in time, else 1: nothing accepted is
/// lost either way.
async fn run(roles: Roles, told: Effective) -> ExitCode {
    for warning in &told.warnings {
        tracing::warn!("{warning}");
    }
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return failed(&format!("cannot catch signals: {error}")),
    };
    let deadline = told.config.drain_deadline;
    let started = tokio::select! {
        started = Engine::start(told.config.clone(), roles) => started,
        signal = signals.next() => return failed(&format!("{signal} before everything had started")),
    };
    let mut engine = match started {
        Ok(engine) => engine,
        Err(error) => return failed(&error.to_string()),
    };
    say(&banner(&told.config, roles, &engine));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        mode = if told.config.is_distributed() { "distributed" } else { "embedded" },
        roles = spell(roles),
        node = %engine.node,
        "started"
    );
    if let Some((found, sentence)) = engine.found.as_ref().and_then(|found| Some((found, found.sentence()?)))
    {
        let DeliveryCounts { accepted, delivered, dead, discarded, .. } = found.counts;
        let (waiting, unclean) = (found.counts.waiting(), found.unclean);
        tracing::info!(accepted, delivered, dead, discarded, waiting, unclean, "goes on with what was there");
        say(&format!("{sentence}\n"));
    }
    tokio::select! {
        signal = signals.next() => stop(engine, signals, signal, deadline).await,
        what = engine.died() => {
            tracing::error!(what, "a part of this process has died; stopping");
            engine.stop(Duration::ZERO).await;
            failed(&what)
        }
    }
}

fn roles_of(purpose: Purpose) -> Roles {
    Roles { ingest: purpose.has_api(), dispatcher: purpose.delivers() }
}

fn banner(config: &Config, roles: Roles, engine: &Engine) -> String {
    let mode = match config.backends() {
        Backends::Embedded(_) => Mode::Embedded(&config.data_dir),
        Backends::Distributed { store, queue } => {
            let redis = config.redis_url.as_ref().filter(|_| roles.ingest);
            Mode::Distributed { store, queue, redis, roles: spell(roles), node: &engine.node }
        }
    };
    Banner {
        mode,
        addresses: engine.addresses,
        key: engine.operator_key.as_ref().map(|(_, origin)| origin),
        is_new: engine.found.as_ref().is_some_and(|found| found.counts.accepted == 0),
    }
    .text()
}

fn spell(roles: Roles) -> &'static str {
    match (roles.ingest, roles.dispatcher) {
        (true, true) => "ingest and dispatcher",
        (true, false) => "ingest",
        (false, true) => "dispatcher",
        (false, false) => "nothing",
    }
}

async fn stop(engine: Engine, mut signals: Signals, signal: &str, deadline: Duration) -> ExitCode {
    let shutdown = engine.shutdown();
    let mut telling = std::pin::pin!(tell_what_is_waited_for(engine.dispatcher.clone()));
    say(&format!(
        "{signal}: taking nothing new; what is under way has {} s; again stops at once\n",
        deadline.as_secs()
    ));
    tracing::info!(signal, drain.deadline_s = deadline.as_secs(), "stopping: nothing new is taken");
    let mut stopping = std::pin::pin!(engine.stop(deadline));
    let in_time = loop {
        tokio::select! {
            in_time = &mut stopping => break in_time,
            never = &mut telling => match never {},
            signal = signals.next() => {
                say(&format!("{signal} again: stopping at once\n"));
                shutdown.stop_now();
            }
        }
    };
    if in_time {
        tracing::info!("stopped");
        say("stopped; everything under way came to its end\n");
        return ExitCode::SUCCESS;
    }
    tracing::warn!("stopped before everything under way had come to its end");
    say("stopped before everything under way had come to its end; the next start goes on with it\n");
    ExitCode::FAILURE
}

/// Says every now and then what a stop still waits for.
async fn tell_what_is_waited_for(dispatcher: Option<dispatcher::Handle>) -> Infallible {
    let Some(dispatcher) = dispatcher else { return std::future::pending().await };
    let mut table = dispatcher.watch();
    while table.changed().await.is_ok() {
        let in_flight = table.borrow_and_update().in_flight as u64;
        if in_flight > 0 {
            let deliveries = if in_flight == 1 { "delivery" } else { "deliveries" };
            say(&format!("waiting for {} {deliveries} in flight\n", thousands(in_flight)));
        }
        tokio::time::sleep(STOP_TELLS).await;
    }
    std::future::pending().await
}

/// Brings the store's schema up.
pub fn migrate(told: &Effective) -> ExitCode {
    logged(&told.config, bring_up(&told.config))
}

async fn bring_up(config: &Config) -> ExitCode {
    match engine::migrate(config).await {
        Ok(()) => {
            let place = match config.backends() {
                Backends::Embedded(directory) => directory.display().to_string(),
                Backends::Distributed { store, .. } => store.to_string(),
            };
            say(&format!("the schema in {place} is up to date\n"));
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(sentence: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "fairhook: {sentence}");
    ExitCode::FAILURE
}

/// A reader that has gone away is no reason to stop.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
