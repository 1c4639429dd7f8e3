//! The built-in receiver: answers every webhook and says on standard output what arrived, to try things with.
//!
//! It answers first and looks afterwards, through a short channel: whatever the rate, it holds nobody up. Beyond some
//! lines a second it only counts.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use fairhook_common::ids::EventId;
use fairhook_common::limits;
use fairhook_common::store::{EndpointRef, SharedStore, StoreError, TenantRef};
use fairhook_common::time::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::recovery::thousands;

/// Lines a second that a person can still follow.
const LINES_PER_SECOND: u32 = 20;
/// What arrived and was not looked at yet; beyond it arrivals are only counted.
const WAITING: usize = 64;

/// The receiver's two ends: what answers, and what tells.
pub fn new(store: SharedStore, own: SocketAddr) -> (Router, Reporter) {
    let (sender, arrivals) = mpsc::channel(WAITING);
    let uncounted = Arc::new(AtomicU64::new(0));
    let desk = Desk { sender, uncounted: uncounted.clone() };
    let router = Router::new()
        .route("/hook", post(receive))
        // An enveloped payload is larger than what was posted.
        .layer(DefaultBodyLimit::max(2 * limits::REQUEST_BODY_BYTES))
        .with_state(desk);
    (router, Reporter { store, own, arrivals, uncounted })
}

#[derive(Clone)]
struct Desk {
    sender: mpsc::Sender<Arrival>,
    uncounted: Arc<AtomicU64>,
}

struct Arrival {
    at: Timestamp,
    headers: HeaderMap,
    body: Bytes,
}

async fn receive(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let arrival = Arrival { at: Timestamp::now(), headers, body };
    if desk.sender.try_send(arrival).is_err() {
        desk.uncounted.fetch_add(1, Ordering::Relaxed);
    }
    StatusCode::OK
}

impl Arrival {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Tells what arrived.
pub struct Reporter {
    store: SharedStore,
    own: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
    uncounted: Arc<AtomicU64>,
}

impl Reporter {
    /// Tells until the receiver is gone.
    pub async fn run(mut self) {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut counted) = (0, 0);
        loop {
            tokio::select! {
                arrival = self.arrivals.recv() => match arrival {
                    None => break,
                    Some(arrival) if told < LINES_PER_SECOND => {
                        told += 1;
                        say(&self.line(&arrival).await);
                    }
                    Some(_) => counted += 1,
                },
                _ = second.tick() => {
                    told = 0;
                    self.say_count(&mut counted);
                }
            }
        }
        self.say_count(&mut counted);
    }

    fn say_count(&self, counted: &mut u64) {
        let count = std::mem::take(counted) + self.uncounted.swap(0, Ordering::Relaxed);
        if count > 0 {
            say(&format!("… and {} more arrived → {}", thousands(count), self.own));
        }
    }

    async fn line(&self, arrival: &Arrival) -> String {
        let Ok(event) = arrival.header("webhook-id").parse::<EventId>() else {
            return format!("a request that is no delivery → {} 200", self.own);
        };
        match self.look_up(event, arrival).await {
            Ok(Some(known)) => known.line(event, self.own, arrival),
            Ok(None) => format!("{event} of nobody here → {} 200", self.own),
            Err(error) => format!("{event} → {} 200, not looked up: {error}", self.own),
        }
    }

    async fn look_up(&self, event: EventId, arrival: &Arrival) -> Result<Option<Known>, StoreError> {
        let Some(tenant) = self.store.tenant_of_event(event).await? else { return Ok(None) };
        let Some(found) = self.store.find_tenant(&TenantRef::Id(tenant)).await? else { return Ok(None) };
        let Some(view) = self.store.find_event(tenant, event).await? else { return Ok(None) };
        let mut verified = false;
        for delivery in &view.deliveries {
            let endpoint = EndpointRef::Id(delivery.endpoint);
            let Some(endpoint) = self.store.find_endpoint(tenant, &endpoint).await? else { continue };
            let ours = is_at(&endpoint.settings.url, self.own);
            verified |= ours
                && endpoint.secrets.in_force(arrival.at).any(|secret| {
                    let signed_at = arrival.header("webhook-timestamp").parse().unwrap_or_default();
                    let signature = arrival.header("webhook-signature");
                    secret.verifies(signature, &event.to_string(), signed_at, &arrival.body)
                });
        }
        let event_type = view.event_type;
        Ok(Some(Known { tenant: found.slug, event_type, created_at: view.created_at, verified }))
    }
}

/// What the store knows of an arrival.
struct Known {
    tenant: String,
    event_type: String,
    created_at: Timestamp,
    verified: bool,
}

impl Known {
    fn line(&self, event: EventId, own: SocketAddr, arrival: &Arrival) -> String {
        let Self { tenant, event_type, created_at, verified } = self;
        let ms = thousands(u64::try_from(arrival.at.since(*created_at).as_millis()).unwrap_or(u64::MAX));
        let attempt: u32 = arrival.header("webhook-attempt").parse().unwrap_or_default();
        let signature = if *verified { "signature verified" } else { "SIGNATURE NOT VERIFIED" };
        format!("{event} {tenant} {event_type} → {own} 200 in {ms} ms, attempt {attempt}, {signature}")
    }
}

/// Whether a URL leads to this listener.
fn is_at(url: &str, own: SocketAddr) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let host = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => own.ip() == address,
        Some(url::Host::Ipv6(address)) => own.ip() == address,
        None => false,
    };
    host && url.port_or_known_default() == Some(own.port())
}

/// A reader that has gone away is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_this_receiver_is_known_in_each_spelling() {
        let own = SocketAddr::from(([127, 0, 0, 1], 3001));
        for (url, ours) in [
            ("http://127.0.0.1:3001/hook", true),
            ("http://localhost:3001/hook", true),
            ("http://127.1:3001/hook?x", true),
            ("http://127.0.0.1:3002/hook", false),
            ("http://127.0.0.2:3001/hook", false),
            ("http://example.com:3001/hook", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_at(url, own), ours, "{url}");
        }
    }

    #[test]
    fn a_line_says_everything_of_an_arrival() {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-attempt", "2".parse().expect("a value"));
        let arrival = Arrival { at: Timestamp(5_004), headers, body: Bytes::new() };
        let known = |verified| Known {
            tenant: "acme".into(),
            event_type: "order.paid".into(),
            created_at: Timestamp(1_000),
            verified,
        };
        let event = EventId::from_uuid(uuid_of_one());
        let own = SocketAddr::from(([127, 0, 0, 1], 3001));
        assert_eq!(
            known(true).line(event, own, &arrival),
            format!(
                "{event} acme order.paid → 127.0.0.1:3001 200 in 4,004 ms, attempt 2, signature verified"
            )
        );
        assert!(known(false).line(event, own, &arrival).ends_with("SIGNATURE NOT VERIFIED"));
    }

    fn uuid_of_one() -> uuid::Uuid {
        uuid::Uuid::from_u128(1)
    }
}
