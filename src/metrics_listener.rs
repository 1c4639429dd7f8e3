//! `/healthz`, `/readyz` and `/metrics`, away from the API.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fairhook_common::health::{Health, Standing};
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

/// Each part by name and state, and how the limiter stands; why one is not ready is said here only, the API's `/readyz` is open to anybody.
async fn readyz(State(health): State<Health>) -> Response {
    let standings = health.standings().await;
    let word = |part: &Standing| (part.name().to_owned(), Value::from(part.word()));
    let parts: Map<String, Value> = standings.iter().map(word).collect();
    let reason = |part: Standing| Some((part.name().to_owned(), Value::from(part.wrong?)));
    let (code, status) = match standings.iter().all(Standing::is_usable) {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
    };
    let reasons: Map<String, Value> = standings.into_iter().filter_map(reason).collect();
    let mut shown = health.details();
    shown.extend([
        ("status".to_owned(), status.into()),
        ("parts".to_owned(), parts.into()),
        ("reasons".to_owned(), reasons.into()),
    ]);
    (code, Json(shown)).into_response()
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
