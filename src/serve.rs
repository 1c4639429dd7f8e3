//! `fairhook serve`: an engine from its banner to its exit code.

use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use fairhook_common::config::Effective;
use fairhook_common::store::sqlite::SqliteStore;
use fairhook_dispatcher as dispatcher;

use crate::banner::Banner;
use crate::data_dir;
use crate::engine::{Engine, StartError};
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

/// Every role, until a signal. The code is 0 if everything under way came to its end in time, else 1: nothing accepted is
/// lost either way.
pub async fn run(told: Effective) -> ExitCode {
    for warning in &told.warnings {
        tracing::warn!("{warning}");
    }
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return failed(&format!("cannot catch signals: {error}")),
    };
    let data_dir = told.config.data_dir.clone();
    let deadline = told.config.drain_deadline;
    let mut engine = match Engine::start(told.config).await {
        Ok(engine) => engine,
        Err(error) => return failed(&error.to_string()),
    };
    let banner = Banner {
        data_dir: &data_dir,
        api: engine.api,
        receiver: engine.receiver,
        metrics: engine.metrics,
        key: &engine.key_origin,
        is_new: engine.found.counts.accepted == 0,
    };
    say(&banner.text());
    if let Some(sentence) = engine.found.sentence() {
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

async fn stop(engine: Engine, mut signals: Signals, signal: &str, deadline: Duration) -> ExitCode {
    let shutdown = engine.shutdown();
    let mut telling = std::pin::pin!(tell_what_is_waited_for(engine.dispatcher.clone()));
    say(&format!(
        "{signal}: taking nothing new; what is under way has {} s; again stops at once\n",
        deadline.as_secs()
    ));
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
        say("stopped; everything under way came to its end\n");
        return ExitCode::SUCCESS;
    }
    say("stopped before everything under way had come to its end; the next start goes on with it\n");
    ExitCode::FAILURE
}

/// Says every now and then what a stop still waits for.
async fn tell_what_is_waited_for(dispatcher: dispatcher::Handle) -> Infallible {
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
pub async fn migrate(told: Effective) -> ExitCode {
    let directory = told.config.store_directory();
    let migrated = match data_dir::make(directory) {
        Ok(()) => SqliteStore::open(directory).await.map_err(|e| StartError::Store(directory.into(), e)),
        Err(error) => Err(StartError::DataDir(directory.into(), error)),
    };
    match migrated {
        Ok(_) => {
            say(&format!("the schema in {} is up to date\n", directory.display()));
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
