//! `/healthz`, `/readyz` and `/metrics`, away from the API.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fairhook_common::health::Health;
use prometheus::{Registry, TextEncoder};
use serde_json::{Map, Value, json};

/// The three routes.
pub fn router(registry: Registry, health: Health) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz).with_state(health))
        .route("/metrics", get(metrics).with_state(registry))
}

/// This process lives.
async fn healthz() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// Each part by name and state; why one is not ready is said here only, the API's `/readyz` is open to anybody.
async fn readyz(State(health): State<Health>) -> Response {
    let states = health.ready().await;
    let is_ready = states.iter().all(|(_, state)| state.is_ok());
    let named = |(name, state): &(&str, Result<(), String>)| {
        ((*name).to_owned(), Value::from(if state.is_ok() { "ready" } else { "not_ready" }))
    };
    let reason = |(name, state): &(&str, Result<(), String>)| {
        state.as_ref().err().map(|reason| ((*name).to_owned(), Value::from(reason.as_str())))
    };
    let mut parts: Map<String, Value> = states.iter().map(named).collect();
    let mut reasons: Map<String, Value> = states.iter().filter_map(reason).collect();
    for (name, less_well) in health.helpers() {
        let state = if less_well.is_some() { "degraded" } else { "ready" };
        parts.insert(name.to_owned(), state.into());
        reasons.extend(less_well.map(|reason| (name.to_owned(), reason.into())));
    }
    let (code, status) =
        if is_ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    (code, Json(json!({"status": status, "parts": parts, "reasons": reasons}))).into_response()
}

/// Prometheus text.
async fn metrics(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written as text");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
