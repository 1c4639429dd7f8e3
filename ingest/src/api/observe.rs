//! Around every request: its id, the request metrics, and panics that become problems.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fairhook_common::ids;
use fairhook_common::limits;
use fairhook_common::metrics::Families;
use fairhook_common::time::Timestamp;
use fairhook_common::unwound::unwound;
use prometheus::{Histogram, IntCounterVec};

use super::problem::{Code, Problem};
use crate::analytics::{Recorder, Seen};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is measured of requests.
pub struct Observed {
    requests: IntCounterVec,
    seconds: Histogram,
    recorder: Arc<Recorder>,
}

impl Observed {
    /// Makes the families.
    pub fn new(families: &Families, recorder: Arc<Recorder>) -> Self {
        let labels = ["route", "method", "status"];
        Self {
            requests: families.counters(
                "fairhook_api_requests_total",
                "Requests answered, by route and class of status",
                &labels,
            ),
            seconds: families
                .seconds("fairhook_api_request_seconds", "Time from a request's head to its answer"),
            recorder,
        }
    }
}

/// Answers `request`, whatever happens.
pub async fn observe(State(observed): State<Arc<Observed>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = known_method(request.method());
    let mut response = match unwound(next.run(request)).await {
        Some(response) => response,
        None => {
            tracing::error!(request.id = ?id, route = ?route, "a handler panicked");
            Problem::new(Code::Internal, "the request could not be answered; the log says why")
                .into_response()
        }
    };
    response.headers_mut().insert(REQUEST_ID, id);
    let route = route.as_ref().map_or("none", |path| template(path.as_str()));
    let class =
        ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(response.status().as_u16() / 100).min(5)];
    observed.requests.with_label_values(&[route, method, class]).inc();
    observed.seconds.observe(started.elapsed().as_secs_f64());
    observed.recorder.count(Timestamp::now(), &Seen::of(method, route, &response));
    response
}

/// The alias without `/v1` counts as the same route.
fn template(path: &str) -> &str {
    path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// Methods are the caller's words; a label's values come out of a closed list.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// The caller's id if it is a sane one, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=limits::REQUEST_ID_CHARS).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(b))
    };
    request.headers().get(REQUEST_ID).filter(sane).cloned().unwrap_or_else(|| {
        let made = format!("req_{}", ids::base32(uuid::Uuid::now_v7()));
        HeaderValue::from_str(&made).expect("base32 is ASCII")
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use prometheus::Registry;
    use tower::ServiceExt;

    use super::*;

    fn router(registry: &Registry) -> Router {
        let observed = Arc::new(Observed::new(&Families::new(registry.clone()), Arc::default()));
        let breaks = async || -> &'static str { panic!("a handler's own mistake, with a secret") };
        let routes = || Router::new().route("/fine/{id}", get(async || "fine")).route("/breaks", get(breaks));
        Router::new().nest("/v1", routes()).merge(routes()).layer(from_fn_with_state(observed, observe))
    }

    #[tokio::test]
    async fn a_panic_becomes_a_problem_and_says_nothing() {
        let request = Request::get("/breaks").body(Body::empty()).expect("a request");
        let response = router(&Registry::new()).oneshot(request).await.expect("infallible");
        assert_eq!(response.status().as_u16(), 500);
        assert!(response.headers().contains_key(REQUEST_ID));
        let body = to_bytes(response.into_body(), 4_096).await.expect("a body");
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains("\"internal\"") && !body.contains("secret"), "{body}");
    }

    #[tokio::test]
    async fn requests_count_by_template_whatever_the_prefix() {
        let registry = Registry::new();
        let router = router(&registry);
        for path in ["/fine/1", "/v1/fine/2", "/breaks", "/nowhere/3", "/nowhere/4"] {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            router.clone().oneshot(request).await.expect("infallible");
        }
        let families = registry.gather();
        let counted =
            families.iter().find(|f| f.name() == "fairhook_api_requests_total").expect("the family");
        let mut counts: Vec<(String, String, u64)> = Vec::new();
        for metric in counted.get_metric() {
            let label = |name: &str| metric.get_label().iter().find(|l| l.name() == name).map(|l| l.value());
            let (route, status) = (label("route").unwrap_or_default(), label("status").unwrap_or_default());
            counts.push((route.to_owned(), status.to_owned(), metric.get_counter().get_value() as u64));
        }
        counts.sort();
        let expected = [("/breaks", "5xx", 1), ("/fine/{id}", "2xx", 2), ("none", "4xx", 2)];
        let expected: Vec<_> = expected.map(|(r, s, n)| (r.to_owned(), s.to_owned(), n)).into();
        assert_eq!(counts, expected);
    }
}
