//! `POST /in/{token}`: what a provider sends becomes an event of the tenant whose source it is.
//!
//! Nobody is known here before the token is, and nothing is believed before the signature is. So a source's own rate comes
//! before its body is read, and what its tenant may send counts only for what is signed: whoever knows the URL and not the
//! secret uses up the source's rate and nothing else.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fairhook_common::event::{EventType, Idempotency, NewEvent};
use fairhook_common::limits;
use fairhook_common::metrics::Families;
use fairhook_common::policy::{Configured, Policy};
use fairhook_common::source::{Place, Source, SourceStatus, SourceToken, TypeRule};
use fairhook_common::store::TenantRef;
use fairhook_common::tenant::{Tenant, TenantStatus};
use fairhook_common::time::Timestamp;
use prometheus::IntCounterVec;
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::answer::Answer;
use super::auth::Given;
use super::body::Posted;
use super::client::{self, Peer};
use super::gate::KnownBy;
use super::limiting::{self, Decided, UnderWay};
use super::posted_event;
use super::problem::{Code, Fault, Problem};
use super::uploads::Uploads;
use super::{Edge, gate};
use crate::limiter::key::Key;
use crate::source::places::{self, Unsaid};
use crate::source::verify;

/// Where sources are, at the root only.
pub const ROUTE: &str = "/in/{token}";
const BEGIN: &str = "/in/";

/// What goes on at all sources. Whoever knows a source's URL may send there, with a wrong signature too: so its requests have
/// room and places apart from those of its tenant's keys.
pub struct AtSources {
    under_way: UnderWay,
    uploads: Uploads,
    /// By scheme and reason.
    refused: IntCounterVec,
}

impl AtSources {
    /// Nothing yet.
    pub fn new(families: &Families) -> Self {
        let refused = families.counters(
            "fairhook_source_refused_total",
            "Requests to sources of which no event was made for what they are",
            &["scheme", "reason"],
        );
        Self { under_way: UnderWay::default(), uploads: Uploads::of_sources(), refused }
    }

    /// Counts a refusal, and tells it: whoever set the source up looks for it. A source's rate bounds how often.
    fn refuse(&self, sent: &Sent, reason: &'static str) {
        let Sent { source, tenant, address, .. } = sent;
        let scheme = source.settings.verification.scheme().name();
        self.refused.with_label_values(&[scheme, reason]).inc();
        tracing::info!(
            tenant.slug = tenant.slug, tenant.id = %tenant.id, source.id = %source.id, client.address = %address, scheme, reason,
            "a source refused a request"
        );
    }
}

/// A request to a source that there is.
struct Sent {
    edge: Arc<Edge>,
    source: Arc<Source>,
    tenant: Arc<Tenant>,
    /// From where.
    address: IpAddr,
    at: Timestamp,
}

/// Send to a source
///
/// For the provider that the source is for: its webhook, verified as the source says, becomes an event with the body as its
/// payload, byte for byte. The same delivery within 24 hours answers the same again.
#[utoipa::path(
    post, path = "/in/{token}", operation_id = "sendToSource", tag = "Sources",
    request_body(content = serde_json::Value, description = "Any JSON.", example = json!({"action": "opened", "number": 7})),
    responses((status = 202, description = "On disk, with all its deliveries.", body = gate::Accepted,
        headers(("Idempotency-Replayed" = bool, description = "`true`: it was admitted before.")))),
    extensions(("x-problems" = json!([
        "invalid_request", "signature_invalid", "source_paused", "tenant_suspended", "idempotency_conflict",
        "quota_exceeded", "unavailable"
    ])))
)]
pub(super) async fn take(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let (mut whose, mut decided, at) = (None, Decided::default(), Timestamp::now());
    let peer = request.extensions().get().copied().unwrap_or(Peer::NONE);
    let address = client::address(peer, request.headers(), &edge.settings.trusted_proxies);
    let mut response = match known(&edge, request.uri().path(), address).await {
        Ok(Some((source, tenant))) => {
            whose = Some(tenant.id);
            let most = edge.settings.concurrent_requests;
            match edge.at_sources.under_way.begin(tenant.id, most) {
                Some(_place) => Sent { edge, source, tenant, address, at }.taken(request).await,
                None => limiting::too_many_at_once(most).into_response(),
            }
        }
        Ok(None) => {
            let unknown = Problem::not_found("source");
            limiting::stranger(&edge, address, unknown, Given::Token, &mut decided).await.into_response()
        }
        Err(problem) => problem.into_response(),
    };
    limiting::tell(&mut response, decided, whose);
    response
}

/// The source that the path names, with its tenant. What cannot be a token is not looked up.
async fn known(edge: &Edge, path: &str, from: IpAddr) -> Result<Option<(Arc<Source>, Arc<Tenant>)>, Problem> {
    let token = path.strip_prefix(BEGIN).and_then(|token| token.parse::<SourceToken>().ok());
    let Some(token) = token else { return Ok(None) };
    let Some(source) = edge.memory.source(token.hash(), from).await? else { return Ok(None) };
    let tenant = edge.memory.tenant(&TenantRef::Id(source.tenant)).await?;
    let tenant = tenant.filter(|tenant| tenant.status == TenantStatus::Active);
    Ok(tenant.map(|tenant| (source, tenant)))
}

impl Sent {
    async fn taken(&self, request: Request) -> Response {
        let mut decided = Decided::default();
        let answer = self.admit(request, &mut decided).await;
        gate::show(decided, answer)
    }

    async fn admit(&self, mut request: Request, decided: &mut Decided) -> Answer {
        let Self { edge, source, tenant, at, .. } = self;
        if let Configured::Rate(rate) = edge.limiter.rates.of(Policy::SourceIngest) {
            limiting::take_of(edge, Policy::SourceIngest, &Key::source(source.id), rate, 1, decided).await?;
        }
        if source.status == SourceStatus::Paused {
            return Err(self.refused("paused", Problem::new(Code::SourcePaused, "the source is paused")));
        }
        request.extensions_mut().insert(edge.at_sources.uploads.uploader(Some(tenant.id)));
        let headers = request.headers().clone();
        let body: Posted = Posted::from_request(request, &()).await?;
        verify::verify(&source.settings, &headers, &body.bytes, *at)
            .map_err(|distrust| self.refused(distrust.name(), unverified(&distrust.to_string())))?;
        let event = self.event(&headers, &body.bytes)?;
        gate::pass(edge, tenant, body.bytes.len(), *at, decided).await?;
        let event_type = event.event_type.clone();
        let admitted = edge.admission.admit(event, gate::queue_of(tenant)).await;
        Ok(gate::taken(event_type.as_str(), admitted, KnownBy::Delivery)?.answer())
    }

    /// The event that a request is, whose sender is known.
    fn event(&self, headers: &HeaderMap, body: &Bytes) -> Result<NewEvent, Problem> {
        let settings = &self.source.settings;
        let json = json(body).map_err(|problem| self.refused("not_json", problem))?;
        let rule = settings.type_rule().expect("a source without a place for its type is not made");
        let event_type = places::event_type(&rule, headers, json).map_err(|unsaid| {
            self.refused("no_type", unsaid_at(type_place(&rule), &unsaid, "the event's type"))
        })?;
        let id = settings.delivery_place().map(|place| {
            places::delivery_id(&place, headers, json).map_err(|unsaid| {
                self.refused("no_delivery_id", unsaid_at(Some(&place), &unsaid, "the delivery's id"))
            })
        });
        let idempotency = id.transpose()?.map(|id| self.idempotency(&id, &event_type, body));
        Ok(NewEvent {
            tenant: self.tenant.id,
            event_type,
            payload: body.clone(),
            metadata: Some(json!({ "source_id": self.source.id }).to_string()),
            cloudevent: None,
            deliver_at: None,
            expires_at: self.at.after(self.edge.settings.retention),
            idempotency,
            only_endpoint: None,
        })
    }

    /// A key that no other source has, and no event that is posted (`posted_event` keeps those from beginning like it).
    fn idempotency(&self, id: &str, event_type: &EventType, body: &[u8]) -> Idempotency {
        let fingerprint = match self.source.settings.id_says_all() {
            true => Sha256::digest(id.as_bytes()).into(),
            false => posted_event::fingerprint(event_type, body, None),
        };
        let expires_at = self.at.after(limits::IDEMPOTENCY_TTL);
        Idempotency { key: format!("{}:{id}", self.source.id), fingerprint, expires_at }
    }

    fn refused(&self, reason: &'static str, problem: Problem) -> Problem {
        self.edge.at_sources.refuse(self, reason);
        problem
    }
}

fn unverified(detail: &str) -> Problem {
    let challenge = HeaderValue::from_static(r#"Signature realm="fairhook""#);
    Problem::new(Code::SignatureInvalid, detail).header(header::WWW_AUTHENTICATE, challenge)
}

/// The body as JSON, any value, with whatever spaces are around it.
fn json(body: &[u8]) -> Result<&RawValue, Problem> {
    let no_json = |detail: String| {
        Problem::new(Code::MalformedJson, format!("{detail}; let the provider send JSON (application/json)"))
    };
    let text = std::str::from_utf8(body).map_err(|e| no_json(format!("the body is not UTF-8: {e}")))?;
    serde_json::from_str(text).map_err(|e| no_json(e.to_string()))
}

fn type_place(rule: &TypeRule) -> Option<&Place> {
    match rule {
        TypeRule::Fixed { .. } => None,
        TypeRule::Found { place, .. } => Some(place),
    }
}

fn unsaid_at(place: Option<&Place>, unsaid: &Unsaid, what: &str) -> Problem {
    Problem::invalid(vec![match place {
        Some(Place::Header(name)) => {
            Fault::of_parameter(name, format!("the header {name} does not say {what}: {unsaid}"))
        }
        Some(Place::Pointer(pointer)) => {
            Fault::at(pointer, format!("the body does not say {what} at `{pointer}`: {unsaid}"))
        }
        None => Fault::at("", unsaid),
    }])
}
