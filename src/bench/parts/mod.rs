//! `--parts`: what the servers do in the same time without an engine: rows inserted in batches, messages published,
//! confirmed, consumed and acked. Nothing is read, routed, signed, sent or recorded. An engine can be no faster than its
//! slowest part, and has to do both.

mod postgres;
mod rabbit;

use std::time::{Duration, Instant};

use fairhook_common::store::postgres::PostgresStore;
use serde::Serialize;

use super::BenchError;
use super::args::Settings;
use super::report::{Use, uses};
use super::subject::{Scratch, Servers, Usage};

/// As many rows in a transaction as a closed loop has connections: more callers cannot wait at the same time.
const AS_THE_LOAD: &str = "insert, as the load";
/// As many as the engine takes at most of events with one delivery each.
const LARGE_BATCH: usize = 2_000;

/// One part, measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// What it is.
    pub name: String,
    /// Rows, or messages.
    pub per_s: f64,
    /// This process's processor time for each, in microseconds.
    pub cpu_us: f64,
    /// What the servers that are watched used for each.
    pub servers: Vec<Use>,
}

/// Measures each part for as long as the engine.
pub async fn measure(settings: &Settings, servers: &Servers) -> Result<Vec<Part>, BenchError> {
    let scratch = Scratch::make(servers).await?;
    let schema = PostgresStore::open(scratch.servers.store.as_str()).await;
    schema.map_err(|error| BenchError::Settings(error.to_string()))?.close().await;
    let store = &scratch.servers.store;
    let mut parts = Vec::new();
    let sizes = [(settings.callers(), AS_THE_LOAD), (LARGE_BATCH, "insert, 2,000 at once")];
    for (rows, name) in sizes {
        let inserts = postgres::Inserts { rows, tenants: settings.tenants, payload: settings.payload };
        parts.push(timed(settings, name, inserts.run(store, settings.span)).await?);
    }
    let passing = rabbit::pass(&servers.queue, settings.tenants, settings.span);
    parts.push(timed(settings, "publish to ack", passing).await?);
    Ok(parts)
}

async fn timed(
    settings: &Settings,
    name: &str,
    part: impl Future<Output = Result<u64, BenchError>>,
) -> Result<Part, BenchError> {
    settings.say(&format!("  {name}"));
    let look = || {
        (Usage::of_this_process(), settings.watched.iter().map(|watched| watched.look()).collect::<Vec<_>>())
    };
    let ((ours, theirs), began) = (look(), Instant::now());
    let done = part.await?;
    let took = began.elapsed();
    let (ours_after, theirs_after) = look();
    Ok(Part {
        name: name.to_owned(),
        per_s: per_second(done, took),
        cpu_us: (ours_after - ours).cpu.as_secs_f64() * 1e6 / done.max(1) as f64,
        servers: uses(theirs, theirs_after, done),
    })
}

fn per_second(done: u64, took: Duration) -> f64 {
    done as f64 / took.as_secs_f64().max(1e-9)
}
