//! The bad tenants: moved in, prepared, and let loose.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::background::Background;
use super::kind::{Act, Allowance, Kind, Step};
use super::premises::Premises;
use super::scale::Scale;
use super::stranger::Stranger;
use super::{acts, pace};
use crate::bench::BenchError;
use crate::workload::{ApiClient, ApiFailure, Ledger, Pace, Sent, Target, drive};

/// The type of what the bad endpoints subscribe to.
pub const BAD_EVENT: &str = "bad.event";
/// The longest batch that the API takes.
const BATCH: usize = 1_000;

/// The bad tenants of a kind.
pub struct Neighbours {
    kind: &'static Kind,
    tenants: Arc<Tenants>,
    premises: Premises,
    posts: Arc<Ledger>,
    scale: Scale,
}

/// Who they are.
pub struct Tenants {
    /// A client of their own.
    pub client: ApiClient,
    /// Their slugs.
    pub slugs: Vec<String>,
    /// What the API did for them while they acted.
    done: AtomicU64,
}

impl Tenants {
    /// Calls the API, and counts what it did.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ApiFailure> {
        let answer = self.client.call(method, path, body).await;
        self.done.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
        answer
    }
}

/// What they did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deeds {
    /// Posts.
    pub sent: u64,
    /// Posts that were answered with 202.
    pub accepted: u64,
    /// Other calls of the API that did what they were to do.
    pub calls: u64,
    /// Requests that came to their receivers, where these can be counted.
    pub received: Option<u64>,
}

impl Neighbours {
    /// Makes the tenants and their endpoints. They do nothing yet.
    pub async fn move_in(
        kind: &'static Kind,
        client: ApiClient,
        slugs: Vec<String>,
        premises: Premises,
        scale: Scale,
    ) -> Result<Self, BenchError> {
        for (tenant, slug) in slugs.iter().enumerate() {
            client.call(Method::PUT, &format!("/v1/tenants/{slug}"), Some(&json!({ "name": slug }))).await?;
            let quotas = quotas(scale.allowance(kind.allowance));
            client.call(Method::PATCH, &format!("/v1/quotas/{slug}"), Some(&quotas)).await?;
            for endpoint in 0..scale.part_of(kind.endpoints) {
                let settings = json!({
                    "url": premises.url(tenant, endpoint), "event_types": [BAD_EVENT], "timeout_ms": kind.timeout_ms,
                });
                let path = format!("/v1/tenants/{slug}/endpoints/bad-{endpoint}");
                client.call(Method::PUT, &path, Some(&settings)).await?;
            }
        }
        let posts = Arc::new(Ledger::new(slugs.len()));
        let tenants = Arc::new(Tenants { client, slugs, done: AtomicU64::new(0) });
        Ok(Self { kind, tenants, premises, posts, scale })
    }

    /// Takes the steps of the kind.
    pub async fn prepare(&self) -> Result<(), BenchError> {
        for step in self.kind.before {
            for slug in &self.tenants.slugs {
                match *step {
                    Step::Pause => acts::dispatch(&self.tenants, slug, "paused").await?,
                    Step::Fill(events) => self.fill(slug, self.scale.pile(events)).await?,
                    Step::Settle => self.settle(slug).await?,
                }
            }
        }
        Ok(())
    }

    /// Lets them do what they do, in those threads, until what this returns is dropped.
    pub fn begin(&self, background: &Background) -> io::Result<JoinSet<()>> {
        let (mut noise, handle) = (JoinSet::new(), background.handle());
        for act in self.kind.beside {
            let tenants = self.tenants.clone();
            match *act {
                Act::Post { per_second, bytes } => {
                    let (all, count) = (self.posts.clone(), self.tenants.slugs.len());
                    let rate = Pace::Open(f64::from(self.scale.part(per_second)) * count as f64);
                    let (streams, bytes) = ((0..count).collect(), self.scale.part_of(bytes));
                    noise.spawn_on(drive(tenants, all, streams, rate, pace::FOR_EVER, bytes), handle);
                }
                Act::Resume => drop(noise.spawn_on(acts::resume(tenants), handle)),
                Act::Replay => self.each(|n| drop(noise.spawn_on(acts::replay(tenants.clone(), n), handle))),
                Act::Scan(clients) => self.each(|n| {
                    (0..self.scale.part_of(clients))
                        .for_each(|c| drop(noise.spawn_on(acts::scan(tenants.clone(), n, c), handle)));
                }),
                Act::Churn(clients) => self.each(|n| {
                    (0..self.scale.part_of(clients))
                        .for_each(|c| drop(noise.spawn_on(acts::churn(tenants.clone(), n, c), handle)));
                }),
                Act::Stranger(percent) => {
                    let stranger = Stranger::start(percent)?;
                    let while_it_lives = async move {
                        let _stranger = stranger;
                        std::future::pending().await
                    };
                    noise.spawn_on(while_it_lives, handle);
                }
            }
        }
        Ok(noise)
    }

    /// What they did so far.
    pub fn deeds(&self) -> Deeds {
        let posts = self.posts.tally(0..self.tenants.slugs.len(), Duration::ZERO);
        let calls = self.tenants.done.load(Ordering::Relaxed);
        Deeds { sent: posts.sent, accepted: posts.accepted, calls, received: self.premises.requests() }
    }

    fn each(&self, act: impl FnMut(usize)) {
        (0..self.tenants.slugs.len()).for_each(act);
    }

    async fn fill(&self, slug: &str, events: usize) -> Result<(), BenchError> {
        let event = json!({ "type": BAD_EVENT, "payload": { "pad": "x".repeat(200) } });
        let path = format!("/v1/tenants/{slug}/events/batch");
        let mut left = events;
        while left > 0 {
            let now = left.min(BATCH);
            let batch = json!({ "events": vec![event.clone(); now] });
            let answer = self.tenants.client.call(Method::POST, &path, Some(&batch)).await?;
            let accepted = answer["accepted"].as_u64().unwrap_or(0) as usize;
            if accepted == 0 {
                return Err(BenchError::Subject(format!("{slug} could not be filled: {answer}")));
            }
            left -= accepted;
        }
        Ok(())
    }

    /// As many as the tenant may have under way at once do not count: at an endpoint that hangs there is always one.
    async fn settle(&self, slug: &str) -> Result<(), BenchError> {
        let (begin, path) = (Instant::now(), format!("/v1/tenants/{slug}/stats"));
        let (mut least, mut since) = (u64::MAX, begin);
        while since.elapsed() < pace::SETTLED {
            let waiting = self.tenants.client.call(Method::GET, &path, None).await?["waiting"].as_u64();
            let waiting =
                waiting.ok_or_else(|| BenchError::Subject(format!("{slug}'s stats lack what waits")))?;
            if waiting < least {
                (least, since) = (waiting, Instant::now());
            }
            if begin.elapsed() > pace::SETTLE {
                return Err(BenchError::Subject(format!("{slug} was not settled: {waiting} are waiting")));
            }
            tokio::time::sleep(pace::LOOK).await;
        }
        Ok(())
    }
}

impl Target for Tenants {
    async fn post(&self, stream: usize, body: String) -> Sent {
        self.client.post_event(&self.slugs[stream], BAD_EVENT, &body).await
    }
}

/// As `PATCH /v1/quotas/{t}` takes them.
pub fn quotas(allowance: Allowance) -> Value {
    let Allowance { events_per_s, concurrent, backlog, endpoints } = allowance;
    json!({
        "max_events_per_sec": events_per_s, "burst": u64::from(events_per_s) * 10,
        "max_concurrent_deliveries": concurrent, "max_backlog": backlog, "max_endpoints": endpoints,
    })
}

impl std::ops::Sub for Deeds {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            accepted: self.accepted - before.accepted,
            calls: self.calls - before.calls,
            received: self.received.zip(before.received).map(|(after, before)| after - before),
        }
    }
}
