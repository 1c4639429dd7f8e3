//! Whether the process lives and is ready. Open to anybody: names, states and how the limiter stands, and no reasons, which may
//! name what is none of their business.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fairhook_common::health::Standing;
use fairhook_common::limits;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Edge, answer};
use crate::limiter;

/// Whether the process lives
#[utoipa::path(
    get, path = "/healthz", operation_id = "isLive", tag = "Installation",
    responses((status = 200, description = "It does.", body = Live))
)]
pub(super) async fn live() -> Response {
    answer::ok(&Live { status: "live" })
}

/// Whether the process is ready
///
/// Each part by name and state, and how the limiter stands.
#[utoipa::path(
    get, path = "/readyz", operation_id = "isReady", tag = "Installation",
    responses((status = 200, description = "It is.", body = Ready)),
    extensions(("x-problems" = json!(["unavailable"])))
)]
pub(super) async fn ready(State(edge): State<Arc<Edge>>) -> Response {
    let standings = edge.health.standings().await;
    let word = |part: &Standing| (part.name().to_owned(), part.word());
    let parts: BTreeMap<String, &'static str> = standings.iter().map(word).collect();
    let limiter = edge.limiter.standing();
    if standings.iter().all(Standing::is_usable) {
        return answer::ok(&Ready { status: "ready", parts, limiter });
    }
    Problem::unavailable("a part is not ready", limits::ADMIT_RETRY_AFTER)
        .member("parts", json!(parts))
        .member("limiter", json!(limiter))
        .into_response()
}

/// The process lives.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "live"}))]
struct Live {
    /// `live`
    status: &'static str,
}

/// The process is ready.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "status": "ready", "parts": {"store": "ready"},
    "limiter": {"backend": "process", "connected": true, "active_policies": 7, "errors": 0, "fallback_since": null}
}))]
struct Ready {
    /// `ready`
    status: &'static str,
    /// How each part is.
    parts: BTreeMap<String, &'static str>,
    limiter: limiter::Standing,
}
