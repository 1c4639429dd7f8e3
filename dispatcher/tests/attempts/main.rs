//! Attempts against receivers that behave, misbehave and attack; all on loopback, over real sockets.

mod addresses;
mod answers;
mod cloudevents;
mod handshakes;
mod hostile;
mod names;
mod receiver;
mod requests;
mod secrets;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairhook_common::delivery::AttemptErrorCode;
use fairhook_common::egress::EgressPolicy;
use fairhook_common::endpoint::{BodyForm, Secrets};
use fairhook_common::ids::{DeliveryId, EndpointId, EventId, TenantId};
use fairhook_common::retry::RetrySchedule;
use fairhook_common::signature::SigningSecret;
use fairhook_common::store::{EndpointSnapshot, Loaded};
use fairhook_common::time::Timestamp;
use fairhook_dispatcher::attempt::{Attempted, Attempter, ResolverSettings};

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// For attempts that are meant to run into their deadline.
const DEADLINE: Duration = Duration::from_millis(400);
/// Who asks in handshakes.
const ORIGIN: &str = "hooks.test";

/// An attempter that may call this machine.
fn attempter() -> Attempter {
    attempter_with(ResolverSettings::default())
}

fn attempter_with(resolver: ResolverSettings) -> Attempter {
    let loopback = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().expect("a network"));
    Attempter::new(EgressPolicy::new(loopback.into(), None), resolver, Some(ORIGIN.into()))
        .expect("an attempter")
}

fn endpoint(url: &str) -> EndpointSnapshot {
    EndpointSnapshot {
        id: EndpointId::generate(),
        url: url.into(),
        headers: vec![],
        secrets: Secrets { current: SigningSecret::generate(), previous: None },
        timeout: PATIENCE,
        retry: RetrySchedule::default(),
        body: BodyForm::Raw,
        rate_limit_per_s: None,
        handshake: false,
    }
}

fn to(endpoint: EndpointSnapshot) -> Loaded {
    Loaded {
        delivery: DeliveryId { event: EventId::generate(), ordinal: 3 },
        tenant: TenantId::generate(),
        endpoint: Arc::new(endpoint),
        event_type: "order.paid".into(),
        payload: Bytes::from_static(b"{ \"id\":7,\t\"n\": 1.0 }"),
        cloudevent: None,
        created_at: Timestamp(1_700_000_000_000),
        expires_at: Timestamp::MAX,
        attempts: 4,
        schedule_position: 0,
    }
}

fn delivery(url: &str) -> Loaded {
    to(endpoint(url))
}

fn impatient(url: &str) -> Loaded {
    to(EndpointSnapshot { timeout: DEADLINE, ..endpoint(url) })
}

/// One attempt, which ends by itself.
async fn attempt(attempter: &Attempter, loaded: &Loaded) -> Attempted {
    let attempt = attempter.attempt(loaded, Timestamp::now());
    tokio::time::timeout(2 * PATIENCE, attempt).await.expect("an attempt never hangs")
}

fn code(attempted: &Attempted) -> Option<AttemptErrorCode> {
    attempted.record.error.as_ref().map(|e| e.code)
}

fn detail(attempted: &Attempted) -> &str {
    attempted.record.error.as_ref().map_or("", |e| &e.detail)
}
