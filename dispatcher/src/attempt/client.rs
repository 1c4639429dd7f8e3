//! The HTTP clients, and who opened a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use fairhook_common::egress::EgressPolicy;
use fairhook_common::limits;
use reqwest::{Client, ClientBuilder, Request, Response, redirect, retry};
use tower::{Layer, Service};

use super::AttempterError;
use super::request::Prepared;
use super::resolver::{CheckedResolver, ResolverSettings};

tokio::task_local! {
    /// The attempt on whose behalf the client works. The client itself hands nothing of it to resolver and connector.
    static DIAL: Arc<Dial>;
}

/// What an attempt and the connection opened for it have to tell each other.
pub(super) struct Dial {
    port: u16,
    happened: AtomicBool,
}

impl Dial {
    pub(super) fn new(port: u16) -> Self {
        Self { port, happened: AtomicBool::new(false) }
    }

    /// Whether a connection was opened.
    pub(super) fn happened(&self) -> bool {
        self.happened.load(Ordering::Relaxed)
    }

    /// The port that the current attempt connects to, if there is one.
    pub(super) fn current_port() -> Option<u16> {
        DIAL.try_with(|dial| dial.port).ok()
    }
}

/// One client that keeps connections and one that does not.
pub(super) struct Clients {
    pooled: Client,
    fresh: Client,
    dials: DialCount,
}

impl Clients {
    pub(super) fn new(policy: Arc<EgressPolicy>, settings: ResolverSettings) -> Result<Self, AttempterError> {
        // Several providers may be compiled in by others; this one is ours. A second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let resolver = Arc::new(CheckedResolver::new(policy, settings)?);
        let pooled = build(|| builder(&resolver).pool_max_idle_per_host(limits::IDLE_CONNECTIONS_PER_HOST))?;
        let fresh = build(|| builder(&resolver).pool_max_idle_per_host(0))?;
        Ok(Self { pooled, fresh, dials: DialCount::new(limits::IDLE_CONNECTION_TTL) })
    }

    /// Sends on an idle connection if there is one.
    pub(super) async fn send(
        &self,
        prepared: &Prepared,
        request: Request,
        dial: &Arc<Dial>,
    ) -> reqwest::Result<Response> {
        let now = Instant::now();
        let crowded = self.dials.recent(now) >= limits::IDLE_CONNECTIONS;
        let client = if crowded && !prepared.was_kept(now) { &self.fresh } else { &self.pooled };
        let sent = DIAL.scope(Arc::clone(dial), client.execute(request)).await;
        if std::ptr::eq(client, &self.pooled) {
            prepared.keep(now);
            if dial.happened() {
                self.dials.count(now);
            }
        }
        sent
    }

    /// Sends on a new connection.
    pub(super) async fn send_afresh(&self, request: Request, dial: &Arc<Dial>) -> reqwest::Result<Response> {
        DIAL.scope(Arc::clone(dial), self.fresh.execute(request)).await
    }
}

/// A machine without root certificates can still deliver over http; https endpoints then fail with `tls`.
fn build(builder: impl Fn() -> ClientBuilder) -> Result<Client, AttempterError> {
    builder().build().or_else(|error| {
        let client = builder().tls_certs_only([]).build().map_err(AttempterError::Client)?;
        tracing::warn!(%error, "no root certificates were found: deliveries to https endpoints will fail");
        Ok(client)
    })
}

fn builder(resolver: &Arc<CheckedResolver>) -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never())
        .http1_only()
        .tcp_nodelay(true)
        .pool_idle_timeout(limits::IDLE_CONNECTION_TTL)
        // The attempt's deadline is what counts. This ends a connection that is still being opened when the attempt for
        // which it was begun has found another.
        .connect_timeout(limits::ATTEMPT_TIMEOUT_MAX)
        .dns_resolver(Arc::clone(resolver))
        .connector_layer(NoteDials)
}

/// Notes with the attempt that a connection is opened.
#[derive(Clone)]
struct NoteDials;

impl<S> Layer<S> for NoteDials {
    type Service = DialsNoted<S>;

    fn layer(&self, inner: S) -> DialsNoted<S> {
        DialsNoted(inner)
    }
}

#[derive(Clone)]
struct DialsNoted<S>(S);

impl<S: Service<R>, R> Service<R> for DialsNoted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        let _ = DIAL.try_with(|dial| dial.happened.store(true, Ordering::Relaxed));
        self.0.call(request)
    }
}

/// How many connections were opened of late: at least how many are idle. Counts two spans of `span` each, so that it never
/// forgets one too early.
struct DialCount {
    span: Duration,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    since: Option<Instant>,
    current: usize,
    previous: usize,
}

impl DialCount {
    fn new(span: Duration) -> Self {
        Self { span, counted: Mutex::default() }
    }

    fn count(&self, now: Instant) {
        self.at(now, |counted| counted.current += 1);
    }

    fn recent(&self, now: Instant) -> usize {
        self.at(now, |counted| counted.current + counted.previous)
    }

    fn at<T>(&self, now: Instant, read: impl FnOnce(&mut Counted) -> T) -> T {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_duration_since(*counted.since.get_or_insert(now));
        if age >= self.span {
            let previous = if age < 2 * self.span { counted.current } else { 0 };
            *counted = Counted { since: Some(now), current: 0, previous };
        }
        read(&mut counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_counts_for_at_least_its_span_and_is_then_forgotten() {
        let (span, start) = (Duration::from_secs(10), Instant::now());
        let dials = DialCount::new(span);
        for _ in 0..3 {
            dials.count(start + Duration::from_secs(9));
        }
        assert_eq!(dials.recent(start + Duration::from_secs(9)), 3);
        assert_eq!(dials.recent(start + Duration::from_secs(18)), 3);
        assert_eq!(dials.recent(start + Duration::from_secs(60)), 0);
    }
}
