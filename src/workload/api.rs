//! The few calls of the API that a load needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{Sent, Target, client};

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Streams that are set up at the same time: so many that thousands do not take minutes.
const SET_UP_AT_ONCE: usize = 16;

/// A client of an engine's API with an operator's key. Where several processes have the API, events go to each in turn,
/// everything else to the first.
#[derive(Clone)]
pub struct ApiClient {
    client: Client,
    bases: Arc<[String]>,
    turn: Arc<AtomicUsize>,
    key: String,
    tenants: Vec<String>,
}

/// A stream's tenant and endpoint.
#[derive(Debug, Clone)]
pub struct StreamSetup {
    /// The tenant's slug.
    pub slug: String,
    /// The endpoint's URL.
    pub url: String,
    /// Quotas as `PATCH /v1/quotas/{t}` takes them.
    pub quotas: Value,
    /// More settings of the endpoint, such as `timeout_ms`.
    pub endpoint: Value,
}

/// A call was not answered as it should have been.
#[derive(Debug, thiserror::Error)]
pub enum ApiFailure {
    /// No answer.
    #[error("{}", innermost(.0))]
    Unreachable(#[from] reqwest::Error),
    /// Another answer.
    #[error("{method} {path} was answered with {status}: {body}")]
    Refused {
        /// The method.
        method: Method,
        /// The path.
        path: String,
        /// The status.
        status: u16,
        /// The body.
        body: String,
    },
}

/// Why, in the words of whatever failed first: the client's own say only where it noticed.
fn innermost(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}

impl ApiClient {
    /// A client of the API at each of `bases` (such as `http://127.0.0.1:3000`), of which there is at least one.
    pub fn new(bases: &[String], key: &str) -> Result<Self, ApiFailure> {
        Ok(Self {
            client: client(TIMEOUT)?,
            bases: bases.iter().map(|base| base.trim_end_matches('/').to_owned()).collect(),
            turn: Arc::default(),
            key: key.to_owned(),
            tenants: Vec::new(),
        })
    }

    /// One call; its JSON answer.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ApiFailure> {
        let mut request =
            self.client.request(method.clone(), format!("{}{path}", self.bases[0])).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            return Err(ApiFailure::Refused {
                method,
                path: path.to_owned(),
                status: status.as_u16(),
                body: text,
            });
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Makes each stream's tenant, quotas and endpoint; from then on this client posts for them. What is there already
    /// is set to the same.
    pub async fn set_up(&mut self, streams: &[StreamSetup]) -> Result<(), ApiFailure> {
        let making = stream::iter(streams).map(|stream| self.set_up_one(stream));
        making.buffer_unordered(SET_UP_AT_ONCE).try_collect::<()>().await?;
        self.tenants.extend(streams.iter().map(|stream| stream.slug.clone()));
        Ok(())
    }

    async fn set_up_one(&self, stream: &StreamSetup) -> Result<(), ApiFailure> {
        let slug = &stream.slug;
        self.call(Method::PUT, &format!("/v1/tenants/{slug}"), Some(&json!({ "name": slug }))).await?;
        self.call(Method::PATCH, &format!("/v1/quotas/{slug}"), Some(&stream.quotas)).await?;
        let mut endpoint = stream.endpoint.clone();
        endpoint["url"] = json!(stream.url);
        self.call(Method::PUT, &format!("/v1/tenants/{slug}/endpoints/load"), Some(&endpoint)).await?;
        Ok(())
    }

    /// The tenants that were set up, one per stream.
    pub fn tenants(&self) -> &[String] {
        &self.tenants
    }

    /// A tenant's quotas and usage.
    pub async fn quotas(&self, tenant: &str) -> Result<Value, ApiFailure> {
        self.call(Method::GET, &format!("/v1/quotas/{tenant}"), None).await
    }

    /// Posts an event with this payload (JSON).
    pub async fn post_event(&self, tenant: &str, event_type: &str, payload: &str) -> Sent {
        let base = &self.bases[self.turn.fetch_add(1, Ordering::Relaxed) % self.bases.len()];
        let url = format!("{base}/v1/tenants/{tenant}/events");
        let event = format!(r#"{{"type":"{event_type}","payload":{payload}}}"#);
        let request = self.client.post(url).bearer_auth(&self.key).header("content-type", "application/json");
        let Ok(answer) = request.body(event).send().await else { return Sent::Failed };
        let status = answer.status().as_u16();
        // The connection is only used again once the answer has been read.
        match answer.bytes().await {
            Ok(_) if status == 202 => Sent::Accepted,
            Ok(_) => Sent::Refused(status),
            Err(_) => Sent::Failed,
        }
    }
}

impl Target for ApiClient {
    async fn post(&self, stream: usize, body: String) -> Sent {
        self.post_event(&self.tenants[stream], "load.event", &body).await
    }
}
