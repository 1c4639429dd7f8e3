//! What is sent: the URL and headers of an endpoint, made ready once, and the body and signature of each attempt.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use fairhook_common::cloudevent::{Context, STRUCTURED};
use fairhook_common::egress::{EgressPolicy, UrlRefused};
use fairhook_common::endpoint::{BodyForm, CustomHeader, is_reserved_header};
use fairhook_common::ids::EndpointId;
use fairhook_common::limits;
use fairhook_common::store::{EndpointSnapshot, Loaded};
use fairhook_common::time::Timestamp;
use moka::sync::Cache;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Method, Request};
use url::Url;

use super::handshake::REQUEST_ORIGIN;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("Fairhook/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLOUDEVENT: HeaderValue = HeaderValue::from_static(STRUCTURED);
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const WEBHOOK_EVENT_TYPE: HeaderName = HeaderName::from_static("webhook-event-type");
const WEBHOOK_ATTEMPT: HeaderName = HeaderName::from_static("webhook-attempt");

/// An endpoint's URL and headers, checked and parsed.
pub(super) struct Prepared {
    text: String,
    custom: Vec<CustomHeader>,
    url: Url,
    port: u16,
    headers: HeaderMap,
    made: Instant,
    /// Milliseconds after `made` at which a connection was last given to the pool, plus one; 0: never.
    kept: AtomicU64,
}

impl Prepared {
    fn new(endpoint: &EndpointSnapshot, policy: &EgressPolicy) -> Result<Self, UrlRefused> {
        let url = policy.check_url(&endpoint.url)?;
        let port = url.port_or_known_default().ok_or(UrlRefused::Port)?;
        let (text, custom) = (endpoint.url.clone(), endpoint.headers.clone());
        let headers = base_headers(&custom);
        let (made, kept) = (Instant::now(), AtomicU64::new(0));
        Ok(Self { text, custom, url, port, headers, made, kept })
    }

    fn is_of(&self, endpoint: &EndpointSnapshot) -> bool {
        self.text == endpoint.url && self.custom == endpoint.headers
    }

    fn bytes(&self) -> u32 {
        let custom: usize = self.custom.iter().map(|h| h.name.len() + h.value.len()).sum();
        // Text and parsed, plus the maps around them.
        (2 * (self.text.len() + custom) + 1_024) as u32
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The question of a handshake: may `origin` send? It has the endpoint's own headers, for what stands before it may want them.
    pub(super) fn question(&self, origin: &str) -> Request {
        let mut request = Request::new(Method::OPTIONS, self.url.clone());
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.remove(CONTENT_TYPE);
        headers.extend(named(origin));
        request
    }

    /// The request of an attempt at `started_at`; behind a handshake it says again who has asked.
    pub(super) fn request(
        &self,
        loaded: &Loaded,
        body: &Bytes,
        started_at: Timestamp,
        origin: Option<&str>,
    ) -> Request {
        let (id, at) = (loaded.delivery.event.to_string(), started_at.unix_seconds());
        let signature = signatures(loaded, &id, started_at, body);
        let mut request = Request::new(Method::POST, self.url.clone());
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.extend(origin.and_then(named));
        match loaded.endpoint.body {
            BodyForm::Raw | BodyForm::Envelope => {}
            BodyForm::CloudEvents => drop(headers.insert(CONTENT_TYPE, CLOUDEVENT)),
            BodyForm::CloudEventsBinary => {
                for (name, value) in context(loaded).headers() {
                    // Names of attributes are names of headers, and their values are encoded as such.
                    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
                    {
                        headers.insert(name, value);
                    }
                }
            }
        }
        let mut set = |name: HeaderName, text: String| {
            // Ids, numbers and base64 always are header values; so are event types, by their check.
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        };
        set(WEBHOOK_ID, id);
        set(WEBHOOK_TIMESTAMP, at.to_string());
        set(WEBHOOK_SIGNATURE, signature);
        set(WEBHOOK_EVENT_TYPE, loaded.event_type.to_string());
        set(WEBHOOK_ATTEMPT, loaded.attempts.saturating_add(1).to_string());
        *request.body_mut() = Some(body.clone().into());
        request
    }

    /// Whether a connection to it may still be idle.
    pub(super) fn was_kept(&self, now: Instant) -> bool {
        let kept = self.kept.load(Ordering::Relaxed);
        let age = self.millis(now).saturating_sub(kept);
        kept != 0 && u128::from(age) < limits::IDLE_CONNECTION_TTL.as_millis()
    }

    pub(super) fn keep(&self, now: Instant) {
        self.kept.store(self.millis(now), Ordering::Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.made).as_millis() as u64 + 1
    }
}

/// The header that says who asks in a handshake; a domain always is a header's value.
fn named(origin: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((REQUEST_ORIGIN, HeaderValue::try_from(origin).ok()?))
}

fn base_headers(custom: &[CustomHeader]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(custom.len() + 8);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(CONTENT_TYPE, JSON);
    for header in custom {
        let pair = (HeaderName::try_from(&header.name), HeaderValue::try_from(&header.value));
        let (Ok(name), Ok(mut value)) = pair else { continue };
        // The API refuses them; whatever is stored, none is ever sent on a tenant's word.
        if is_reserved_header(name.as_str()) {
            continue;
        }
        value.set_sensitive(true);
        headers.append(name, value);
    }
    headers
}

fn signatures(loaded: &Loaded, id: &str, started_at: Timestamp, body: &[u8]) -> String {
    let mut all = String::new();
    for secret in loaded.endpoint.secrets.in_force(started_at) {
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(&secret.sign(id, started_at.unix_seconds(), body));
    }
    all
}

/// The body in the form that the endpoint wants. The payload is in it byte for byte.
pub(super) fn body(loaded: &Loaded) -> Bytes {
    match loaded.endpoint.body {
        BodyForm::Raw | BodyForm::CloudEventsBinary => loaded.payload.clone(),
        BodyForm::CloudEvents => context(loaded).with_data(&loaded.payload),
        BodyForm::Envelope => envelope(&loaded.event_type, loaded.created_at, &loaded.payload),
    }
}

/// As a CloudEvent it came or, if it did not come as one, one of ours: the same for every attempt and replay.
fn context(loaded: &Loaded) -> Context {
    let own = || Context::own(loaded.delivery.event, loaded.tenant, &loaded.event_type, loaded.created_at);
    loaded.cloudevent.clone().unwrap_or_else(own)
}

fn envelope(event_type: &str, created_at: Timestamp, payload: &[u8]) -> Bytes {
    // An event type holds nothing that JSON escapes.
    let mut head = String::with_capacity(event_type.len() + 64);
    let _ = write!(head, r#"{{"type":"{event_type}","timestamp":"{created_at}","data":"#);
    let mut body = BytesMut::with_capacity(head.len() + payload.len() + 1);
    body.put_slice(head.as_bytes());
    body.put_slice(payload);
    body.put_u8(b'}');
    body.freeze()
}

/// Endpoints made ready, by id. Parsing a URL and headers costs more than an attempt on an idle connection should.
pub(super) struct PreparedEndpoints {
    policy: Arc<EgressPolicy>,
    ready: Cache<EndpointId, Arc<Prepared>>,
}

impl PreparedEndpoints {
    pub(super) fn new(policy: Arc<EgressPolicy>) -> Self {
        let weigh = |_: &EndpointId, prepared: &Arc<Prepared>| prepared.bytes();
        let ready = Cache::builder().max_capacity(limits::PREPARED_BYTES).weigher(weigh).build();
        Self { policy, ready }
    }

    /// What is ready for the endpoint as it is now.
    pub(super) fn prepare(&self, endpoint: &EndpointSnapshot) -> Result<Arc<Prepared>, UrlRefused> {
        if let Some(prepared) = self.ready.get(&endpoint.id).filter(|p| p.is_of(endpoint)) {
            return Ok(prepared);
        }
        let prepared = Arc::new(Prepared::new(endpoint, &self.policy)?);
        self.ready.insert(endpoint.id, Arc::clone(&prepared));
        Ok(prepared)
    }
}
