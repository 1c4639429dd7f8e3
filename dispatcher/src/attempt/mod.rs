//! One attempt: sign, send, and read the answer, all within one deadline. The only door to customers.
//!
//! An attempt never fails the engine: whatever a receiver does becomes an [`AttemptRecord`]. What follows from it is
//! decided in [`crate::verdict`]. There are deliberately no redirects, proxies, decompression or cookies here.

mod client;
mod consent;
mod consents;
mod failure;
mod handshake;
mod request;
mod resolver;
mod retry_after;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fairhook_common::delivery::{AttemptError, AttemptErrorCode, AttemptRecord};
use fairhook_common::egress::EgressPolicy;
use fairhook_common::limits;
use fairhook_common::store::Loaded;
use fairhook_common::time::Timestamp;
use reqwest::header::RETRY_AFTER;
use uuid::Uuid;

use client::{Clients, Dial};
use consent::{Consent, Refusal, Standing, Turn};
use consents::Consents;
use failure::Failure;
use handshake::{Allowed, No};
use request::{Prepared, PreparedEndpoints};
pub use resolver::ResolverSettings;

/// Makes attempts: HTTP clients, a resolver, and the policy that says where they may go.
pub struct Attempter {
    clients: Clients,
    endpoints: PreparedEndpoints,
    consents: Consents,
    origin: Option<String>,
}

/// Why there is no attempter.
#[derive(Debug, thiserror::Error)]
pub enum AttempterError {
    /// The HTTP client refused its settings.
    #[error("the HTTP client could not be made: {0}")]
    Client(#[source] reqwest::Error),
    /// The resolver refused its settings.
    #[error("the resolver could not be made: {0}")]
    Resolver(String),
}

/// What came of an attempt.
#[derive(Debug, Clone)]
pub struct Attempted {
    /// What is kept of it.
    pub record: AttemptRecord,
    /// What the receiver asked for with 429 or 503, at most `limits::RETRY_AFTER_MAX`.
    pub retry_after: Option<Duration>,
    /// From the start to the last byte, or to the failure.
    pub elapsed: Duration,
    /// A connection had to be opened for it.
    pub new_connection: bool,
}

impl Attempted {
    /// What came of an attempt that ended in a mistake of ours.
    pub fn panicked(started_at: Timestamp, elapsed: Duration) -> Self {
        let error = AttemptError { code: AttemptErrorCode::Connect, detail: "the attempt broke off".into() };
        let record = AttemptRecord {
            id: Uuid::now_v7(),
            started_at,
            duration_ms: u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX),
            status_code: None,
            error: Some(error),
            response_snippet: Bytes::new(),
        };
        Self { record, retry_after: None, elapsed, new_connection: true }
    }
}

impl Attempter {
    /// An attempter that goes where `policy` lets it. Names are resolved as `resolver` says. `origin` is the domain that says in a
    /// handshake who asks; without it endpoints that want one get nothing.
    pub fn new(
        policy: EgressPolicy,
        resolver: ResolverSettings,
        origin: Option<String>,
    ) -> Result<Self, AttempterError> {
        let policy = Arc::new(policy);
        let clients = Clients::new(Arc::clone(&policy), resolver)?;
        let consents = Consents::at_most(limits::HANDSHAKE_CONSENTS);
        Ok(Self { clients, endpoints: PreparedEndpoints::new(policy), consents, origin })
    }

    /// Attempts per minute that the endpoint takes at most: what its tenant has set, and what it has said in a handshake.
    pub fn rate_per_minute(&self, loaded: &Loaded) -> Option<u32> {
        let endpoint = &loaded.endpoint;
        let set = endpoint.rate_limit_per_s.map(|rate| rate.saturating_mul(60));
        let said = if endpoint.handshake { self.consents.per_minute(loaded.tenant, endpoint) } else { None };
        [set, said].into_iter().flatten().min()
    }

    /// Makes one attempt. Its deadline, the endpoint's timeout, covers everything from the look-up of the name to the last
    /// byte of the answer's body. Never panics, never hangs.
    pub async fn attempt(&self, loaded: &Loaded, started_at: Timestamp) -> Attempted {
        let (id, clock) = (Uuid::now_v7(), Instant::now());
        let timeout = deadline(loaded);
        let mut progress = Progress::default();
        let exchange = self.exchange(loaded, started_at, &mut progress);
        let failure = match tokio::time::timeout(timeout, exchange).await {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure),
            Err(_) => Some(Failure::deadline(timeout)),
        };
        let (elapsed, new_connection) = (clock.elapsed(), progress.dialled());
        let record = AttemptRecord {
            id,
            started_at,
            duration_ms: u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX),
            status_code: progress.status,
            error: failure.map(Failure::into_error),
            response_snippet: progress.snippet.freeze(),
        };
        Attempted { record, retry_after: progress.retry_after, elapsed, new_connection }
    }

    async fn exchange(
        &self,
        loaded: &Loaded,
        started_at: Timestamp,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let prepared = self.endpoints.prepare(&loaded.endpoint)?;
        let origin = match loaded.endpoint.handshake {
            true => Some(self.shake_hands(&prepared, loaded, started_at, progress).await?),
            false => None,
        };
        let body = request::body(loaded);
        let make = || prepared.request(loaded, &body, started_at, origin);
        let response = self.send(&prepared, make, progress).await?;
        let status = response.status();
        progress.heard(&response, started_at);
        progress.read_body(response).await?;
        if status.is_success() { Ok(()) } else { Err(Failure::status(status)) }
    }

    /// Sees to it that the endpoint has said that it wants what comes; returns who asked it. What it answers instead is
    /// what this attempt got.
    async fn shake_hands(
        &self,
        prepared: &Prepared,
        loaded: &Loaded,
        started_at: Timestamp,
        progress: &mut Progress,
    ) -> Result<&str, Failure> {
        let origin = self.origin.as_deref().ok_or_else(|| {
            Failure::handshake(
                "the endpoint wants a handshake, and the setting `base_domain`, who asks, is not set",
            )
        })?;
        let consent = self.consents.of(loaded.tenant, &loaded.endpoint, Instant::now());
        match consent.standing(Instant::now()) {
            Standing::Granted => return Ok(origin),
            Standing::Renew => self.renew(&consent, prepared, loaded, origin, started_at, progress).await?,
            Standing::Unknown(asked) => match consent.turn(asked).await {
                Turn::Heard(answer) => answer.map_err(|refusal| progress.refused(refusal))?,
                Turn::Ask(asking) => {
                    let answer = self.ask(prepared, origin, started_at, progress).await.map_err(No::failure);
                    let heard = answer.as_ref().map_err(|failure| progress.refusal(failure));
                    asking.heard(heard.copied(), Instant::now());
                    answer?;
                }
            },
        }
        progress.begin_again();
        Ok(origin)
    }

    /// Asks an endpoint that has consented whether it still does. Without an answer, for which half of the attempt's time is
    /// waited, what it said before holds.
    async fn renew(
        &self,
        consent: &Consent,
        prepared: &Prepared,
        loaded: &Loaded,
        origin: &str,
        started_at: Timestamp,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let question = self.ask(prepared, origin, started_at, progress);
        match tokio::time::timeout(deadline(loaded) / 2, question).await {
            Ok(Ok(rate)) => consent.grant(rate, Instant::now()),
            Ok(Err(No::Refused(failure))) => {
                consent.take_back();
                return Err(failure);
            }
            Ok(Err(No::Unanswered(_))) | Err(_) => {}
        }
        Ok(())
    }

    /// Asks the endpoint whether it wants what comes.
    async fn ask(
        &self,
        prepared: &Prepared,
        origin: &str,
        started_at: Timestamp,
        progress: &mut Progress,
    ) -> Result<Allowed, No> {
        let response = self.send(prepared, || prepared.question(origin), progress).await;
        let response = response.map_err(No::Unanswered)?;
        let answer = handshake::read(response.status(), response.headers(), origin);
        progress.heard(&response, started_at);
        progress.read_body(response).await.map_err(No::Unanswered)?;
        answer
    }

    /// Sends a request. A receiver may close an idle connection at the very moment it is used again. That says nothing
    /// about the receiver, so the request is then sent once more, on a connection of its own.
    async fn send(
        &self,
        prepared: &Prepared,
        make: impl Fn() -> reqwest::Request,
        progress: &mut Progress,
    ) -> Result<reqwest::Response, Failure> {
        let dial = progress.dial.insert(Arc::new(Dial::new(prepared.port())));
        let first = self.clients.send(prepared, make(), dial).await.map_err(|e| failure::of(&e));
        match first {
            Err(failure) if failure.code == AttemptErrorCode::Connect && !dial.happened() => {
                self.clients.send_afresh(make(), dial).await.map_err(|e| failure::of(&e))
            }
            answered => answered,
        }
    }
}

fn deadline(loaded: &Loaded) -> Duration {
    loaded.endpoint.timeout.clamp(limits::ATTEMPT_TIMEOUT_MIN, limits::ATTEMPT_TIMEOUT_MAX)
}

/// What is known of an attempt so far; what is known when the deadline passes is kept.
#[derive(Default)]
struct Progress {
    dial: Option<Arc<Dial>>,
    /// The handshake, which is over, opened a connection.
    dialled_before: bool,
    status: Option<u16>,
    retry_after: Option<Duration>,
    snippet: BytesMut,
}

impl Progress {
    fn dialled(&self) -> bool {
        self.dialled_before || self.dial.as_ref().is_some_and(|dial| dial.happened())
    }

    /// The handshake is over: what was heard in it is no answer to the delivery.
    fn begin_again(&mut self) {
        *self = Self { dialled_before: self.dialled(), ..Self::default() };
    }

    /// What another attempt has heard is what this one got.
    fn refused(&mut self, refusal: Refusal) -> Failure {
        (self.status, self.retry_after) = (refusal.status, refusal.retry_after);
        refusal.failure
    }

    /// What others are told that would have asked too.
    fn refusal(&self, failure: &Failure) -> Refusal {
        Refusal { failure: failure.clone(), status: self.status, retry_after: self.retry_after }
    }

    fn heard(&mut self, response: &reqwest::Response, started_at: Timestamp) {
        let status = response.status().as_u16();
        self.status = Some(status);
        if matches!(status, 429 | 503) {
            let header = response.headers().get(RETRY_AFTER);
            self.retry_after = header.and_then(|value| retry_after::parse(value.as_bytes(), started_at));
        }
    }

    /// Reads the body to its end, so that the connection can be used again, and keeps its beginning. One that is too large
    /// is not read on, and of one that says so in its head only what is kept; dropping it closes the connection.
    async fn read_body(&mut self, mut response: reqwest::Response) -> Result<(), Failure> {
        let fits = response.content_length().is_none_or(|bytes| bytes <= limits::RESPONSE_BODY_BYTES as u64);
        let most = if fits { limits::RESPONSE_BODY_BYTES } else { limits::RESPONSE_SNIPPET_BYTES };
        let mut read = 0;
        while let Some(chunk) = response.chunk().await.map_err(|e| failure::of(&e))? {
            read += chunk.len();
            self.keep(&chunk);
            if read > most {
                return Err(Failure::body_too_large());
            }
        }
        Ok(())
    }

    fn keep(&mut self, chunk: &Bytes) {
        let room = limits::RESPONSE_SNIPPET_BYTES.saturating_sub(self.snippet.len());
        self.snippet.extend_from_slice(&chunk[..room.min(chunk.len())]);
    }
}

#[cfg(test)]
mod tests;
