//! The API over a real store in a directory of its own, called without a socket.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use fairhook_common::egress::EgressPolicy;
use fairhook_common::health::Health;
use fairhook_common::metrics::Families;
use fairhook_common::queue::memory::MemoryQueue;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::SharedStore;
use fairhook_common::store::sqlite::SqliteStore;
use fairhook_ingest::{IngestSettings, OperatorKey, Parts, Sharing};
use hyper::body::Frame;
use prometheus::Registry;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tower::ServiceExt;

/// The configured operator key.
pub const ROOT: &str = "the operator's configured key";

/// Nothing but events is limited.
const UNLIMITED: &str = "tier=off,api_requests=off,anonymous=off,auth_failures=off";

/// More requests at once than a test makes.
const MANY: usize = 256;

/// A running API.
pub struct Rig {
    pub store: SharedStore,
    pub health: Health,
    registry: Registry,
    router: Router,
    _tasks: JoinSet<()>,
    _directory: TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    /// The body as it came.
    pub raw: String,
}

impl Answered {
    /// The problem's code and status, after checking that it is a whole problem.
    #[track_caller]
    pub fn problem(&self) -> (u16, &str) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        for member in ["type", "title", "detail", "code"] {
            assert!(self.body[member].is_string(), "{member} is missing: {self:?}");
        }
        assert_eq!(self.body["status"], self.status.as_u16(), "{self:?}");
        (self.status.as_u16(), self.body["code"].as_str().expect("checked"))
    }

    /// The pointers (or parameters) of what is wrong.
    pub fn places(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().filter_map(|e| e["pointer"].as_str().or(e["parameter"].as_str())).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A member of the body that is a text.
    #[track_caller]
    pub fn text(&self, member: &str) -> String {
        self.body[member].as_str().unwrap_or_else(|| panic!("{member} is no text: {self:?}")).to_owned()
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }
}

impl Rig {
    /// One in which no call but events is limited.
    pub async fn start() -> Self {
        Self::limited(UNLIMITED).await
    }

    /// The same of an installation without a domain.
    pub async fn nameless() -> Self {
        Self::with(UNLIMITED, None, MANY).await
    }

    /// One with these limits over the defaults.
    pub async fn limited(rates: &str) -> Self {
        Self::with(rates, Some("hooks.test"), MANY).await
    }

    /// One in which so many requests of a tenant may be under way.
    pub async fn at_once(requests: usize) -> Self {
        Self::with(UNLIMITED, None, requests).await
    }

    async fn with(rates: &str, base_domain: Option<&str>, concurrent_requests: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store: SharedStore = Arc::new(SqliteStore::open(directory.path()).await.expect("a store"));
        let (health, registry) = (Health::default(), Registry::new());
        let parts = Parts {
            store: store.clone(),
            queue: Arc::new(MemoryQueue::new()),
            egress: EgressPolicy::default(),
            settings: IngestSettings {
                operator_key: OperatorKey::new(ROOT),
                override_ceiling: 500_000,
                base_domain: base_domain.map(str::to_owned),
                retention: Duration::from_secs(30 * 24 * 3600),
                rates: rates.parse().expect("rates"),
                trusted_proxies: vec!["0.0.0.0/32".parse().expect("a network")],
                concurrent_requests,
            },
            families: Families::new(registry.clone()),
            health: health.clone(),
            sharing: Sharing::alone(),
        };
        let mut tasks = JoinSet::new();
        let router = fairhook_ingest::start(parts, &mut tasks, &Shutdown::new());
        Self { store, health, registry, router, _tasks: tasks, _directory: directory }
    }

    /// One request with these headers.
    pub async fn send(&self, call: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answered {
        let (method, path) = call.split_once(' ').expect("a method and a path");
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a body");
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
        let raw = String::from_utf8_lossy(&bytes).into_owned();
        let answered = Answered { status: head.status, headers: head.headers, body, raw };
        assert!(!answered.header("x-request-id").is_empty(), "every answer has an id: {answered:?}");
        answered
    }

    /// One request with a key and, unless it is null, a JSON body.
    pub async fn call(&self, key: &str, call: &str, body: Value) -> Answered {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(call, &[(header::AUTHORIZATION.as_str(), &format!("Bearer {key}"))], body).await
    }

    /// How many requests sources of this scheme have refused for this reason.
    pub fn refused_at_sources(&self, scheme: &str, reason: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == "fairhook_source_refused_total");
        let counts = family.iter().flat_map(|family| family.get_metric());
        let of = |metric: &&prometheus::proto::Metric| {
            metric.get_label().iter().all(|label| [scheme, reason].contains(&label.value()))
        };
        counts.filter(of).map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    /// A tenant with this slug and a key of it that may do everything a tenant may.
    pub async fn tenant(&self, slug: &str) -> (String, String) {
        let body = serde_json::json!({ "name": slug, "slug": slug });
        let made = self.call(ROOT, "POST /v1/tenants", body).await.is(201);
        (made.text("id"), made.text("api_key"))
    }

    /// A key of the tenant with these scopes and no others.
    pub async fn key(&self, tenant: &str, scopes: &[&str]) -> String {
        let body = serde_json::json!({ "scopes": scopes });
        self.call(ROOT, &format!("POST /v1/tenants/{tenant}/keys"), body).await.is(201).text("api_key")
    }

    /// An endpoint of the key's tenant, by its id.
    pub async fn endpoint(&self, key: &str) -> String {
        let body = serde_json::json!({ "url": "https://example.com/hook" });
        self.call(key, "POST /v1/endpoints", body).await.is(201).text("id")
    }

    /// A source of the key's tenant, by its id.
    pub async fn source(&self, key: &str) -> String {
        let body =
            serde_json::json!({ "verification": { "scheme": "none" }, "event_type": { "fixed": "a.b" } });
        self.call(key, "POST /v1/sources", body).await.is(201).text("id")
    }
}

/// A body that says this much and then nothing, which it tells.
#[derive(Default)]
pub struct Stalled(pub Option<Bytes>, pub Option<oneshot::Sender<()>>);

impl HttpBody for Stalled {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(bytes) = self.0.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        // Nobody has to listen.
        let _ = self.1.take().map(|told| told.send(()));
        Poll::Pending
    }
}

/// Fills `{name}`s of a path.
pub fn filled(path: &str, names: &HashMap<&str, String>) -> String {
    names.iter().fold(path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
}
