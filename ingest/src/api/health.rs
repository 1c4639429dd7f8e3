//! Whether the process lives and is ready. Open to anybody, and so no more than names and states.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fairhook_common::limits;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::{Edge, answer};

pub(super) async fn live() -> Response {
    answer::ok(&json!({ "status": "live" }))
}

pub(super) async fn ready(State(edge): State<Arc<Edge>>) -> Response {
    let states = edge.health.ready().await;
    let all_ready = states.iter().all(|(_, state)| state.is_ok());
    let state = |ready: bool| if ready { "ready" } else { "not_ready" };
    let mut parts: Map<String, Value> =
        states.iter().map(|(name, part)| ((*name).to_owned(), state(part.is_ok()).into())).collect();
    // What this process can do without makes nobody turn away from it.
    parts.extend(edge.health.helpers().into_iter().map(|(name, less_well)| {
        let state = if less_well.is_some() { "degraded" } else { "ready" };
        (name.to_owned(), state.into())
    }));
    if all_ready {
        return answer::ok(&json!({ "status": "ready", "parts": parts }));
    }
    Problem::unavailable("a part is not ready", limits::ADMIT_RETRY_AFTER)
        .member("parts", Value::Object(parts))
        .into_response()
}
