//! Whether the process lives and is ready. Open to anybody, and so no more than names and states.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fairhook_common::health::Standing;
use fairhook_common::limits;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::{Edge, answer};

pub(super) async fn live() -> Response {
    answer::ok(&json!({ "status": "live" }))
}

pub(super) async fn ready(State(edge): State<Arc<Edge>>) -> Response {
    let standings = edge.health.standings().await;
    let word = |part: &Standing| (part.name().to_owned(), Value::from(part.word()));
    let parts: Map<String, Value> = standings.iter().map(word).collect();
    if standings.iter().all(Standing::is_usable) {
        let limiter = edge.limiter.standing();
        return answer::ok(&json!({ "status": "ready", "parts": parts, "limiter": limiter }));
    }
    Problem::unavailable("a part is not ready", limits::ADMIT_RETRY_AFTER)
        .member("parts", Value::Object(parts))
        .into_response()
}
