//! `fairhook bench limits`: what it costs to refuse a request, beside the cheapest answer that there is.
//!
//! Each kind of request is refused by another policy. The kinds take turns, a part each, so that a slow minute of the machine is
//! not one kind's alone; what counts is the processor time of the engine, not how fast the client is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use fairhook_common::config::Environment;
use reqwest::{Client, Method, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::BenchError;
use super::subject::{Subject, Usage, Wanted};
use crate::workload::{ApiClient, ApiFailure, client};

/// Parts of each kind.
const PARTS: usize = 10;
/// Requests under way at once.
const CLIENTS: usize = 32;
/// No answer takes as long.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The tenant whose requests are refused.
const TENANT: &str = "limited";

/// A kind of request.
struct Kind {
    name: &'static str,
    method: Method,
    path: &'static str,
    as_tenant: bool,
    body: &'static str,
    /// How each is answered once its limit is reached.
    answer: StatusCode,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "healthz",
        method: Method::GET,
        path: "/healthz",
        as_tenant: false,
        body: "",
        answer: StatusCode::OK,
    },
    Kind {
        name: "anonymous",
        method: Method::GET,
        path: "/v1/jobs",
        as_tenant: false,
        body: "",
        answer: StatusCode::TOO_MANY_REQUESTS,
    },
    Kind {
        name: "tier",
        method: Method::GET,
        path: "/v1/jobs",
        as_tenant: true,
        body: "",
        answer: StatusCode::TOO_MANY_REQUESTS,
    },
    Kind {
        name: "events",
        method: Method::POST,
        path: "/v1/events",
        as_tenant: true,
        body: r#"{"type":"load.event","payload":{"n":1}}"#,
        answer: StatusCode::TOO_MANY_REQUESTS,
    },
];

/// What a kind of request costs.
#[derive(Debug, Serialize)]
struct Cost {
    kind: &'static str,
    requests: usize,
    /// Answered otherwise: a window that slides lets some pass, as does a bucket that fills.
    others: usize,
    /// The engine's processor time for one.
    cpu_us: f64,
    /// The same ÷ that of `healthz`.
    ratio: f64,
}

/// The command as it is parsed.
pub fn command() -> Command {
    Command::new("limits")
        .about("Measures the engine's processor time for a request that a limit refuses, beside GET /healthz")
        .args(Wanted::args())
        .arg(
            Arg::new("requests")
                .long("requests")
                .value_name("N")
                .default_value("200000")
                .value_parser(value_parser!(u32).range(1_000..))
                .help("Requests of each kind"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the report as JSON"))
}

/// Measures and prints.
pub async fn run(matches: &ArgMatches) -> Result<(), BenchError> {
    let wanted = Wanted::read(matches, &Environment::of_process())?.of_its_own()?;
    let requests = *matches.get_one::<u32>("requests").expect("it has a default") as usize;
    let subject =
        Subject::engine(&wanted, &["--limits", "anonymous=10 / 1 h,tier=off,api_requests=off"]).await?;
    let api = ApiClient::new(&subject.bases, &subject.key)?;
    let made = json!({ "name": TENANT, "slug": TENANT });
    let made = api.call(Method::POST, "/v1/tenants", Some(&made)).await?;
    let key = made["api_key"].as_str().ok_or_else(|| BenchError::Subject("no key was made".into()))?;
    let quota = json!({ "max_events_per_sec": 1, "burst": 1 });
    api.call(Method::PATCH, &format!("/v1/quotas/{TENANT}"), Some(&quota)).await?;
    let rate = json!({ "limit": 10, "window": "1 h" });
    api.call(Method::PUT, &format!("/v1/quotas/{TENANT}/overrides/tier"), Some(&rate)).await?;
    let load = Arc::new(Load {
        client: client(TIMEOUT).map_err(ApiFailure::Unreachable)?,
        base: subject.bases[0].clone(),
        key: key.to_owned(),
    });
    let mut costs: Vec<Cost> = KINDS
        .iter()
        .map(|kind| Cost { kind: kind.name, requests: 0, others: 0, cpu_us: 0.0, ratio: 0.0 })
        .collect();
    for kind in &KINDS {
        load.run(kind, 1_000).await?;
    }
    for _ in 0..PARTS {
        for (kind, cost) in KINDS.iter().zip(&mut costs) {
            let before = used(&subject);
            cost.others += load.run(kind, requests / PARTS).await?;
            cost.cpu_us += (used(&subject) - before).cpu.as_secs_f64() * 1e6;
            cost.requests += requests / PARTS;
        }
    }
    for cost in &mut costs {
        cost.cpu_us /= cost.requests as f64;
    }
    let least = costs[0].cpu_us;
    costs.iter_mut().for_each(|cost| cost.ratio = cost.cpu_us / least);
    if matches.get_flag("json") {
        println!("{}", serde_json::to_string_pretty(&costs).expect("plain figures are JSON"));
        return Ok(());
    }
    println!("{:<10} {:>9} {:>8} {:>8} {:>6}", "kind", "requests", "others", "CPU us", "ratio");
    for Cost { kind, requests, others, cpu_us, ratio } in costs {
        println!("{kind:<10} {requests:>9} {others:>8} {cpu_us:>8.1} {ratio:>6.2}");
    }
    Ok(())
}

fn used(subject: &Subject) -> Usage {
    let mut used = Usage::default();
    subject.usage().into_iter().for_each(|(_, usage)| used += usage);
    used
}

/// Whoever asks.
struct Load {
    client: Client,
    base: String,
    key: String,
}

impl Load {
    /// Asks so many times; how many were answered otherwise than they should be.
    async fn run(self: &Arc<Self>, kind: &'static Kind, requests: usize) -> Result<usize, BenchError> {
        let left = Arc::new(AtomicUsize::new(requests));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (load, left) = (Arc::clone(self), Arc::clone(&left));
            clients.spawn(async move {
                let mut others = 0;
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    others += usize::from(load.ask(kind).await? != kind.answer);
                }
                Ok::<usize, reqwest::Error>(others)
            });
        }
        let mut others = 0;
        for of_one in clients.join_all().await {
            others += of_one.map_err(|error| BenchError::Subject(format!("a request failed: {error}")))?;
        }
        Ok(others)
    }

    async fn ask(&self, kind: &Kind) -> reqwest::Result<StatusCode> {
        let mut request = self.client.request(kind.method.clone(), format!("{}{}", self.base, kind.path));
        if kind.as_tenant {
            request = request.bearer_auth(&self.key);
        }
        if !kind.body.is_empty() {
            request = request.header("content-type", "application/json").body(kind.body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        // To its end, so that the connection is used again.
        answer.bytes().await?;
        Ok(status)
    }
}
