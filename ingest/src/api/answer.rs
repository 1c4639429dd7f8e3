//! Answers that are successes.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::{Code, Problem};

/// What a handler returns.
pub type Answer = Result<Response, Problem>;

/// 200 with a body.
pub fn ok(body: &impl Serialize) -> Response {
    with(StatusCode::OK, body)
}

/// 201 with what was made.
pub fn created(body: &impl Serialize) -> Response {
    with(StatusCode::CREATED, body)
}

/// 201 with what was made, or 200 with what was there and is changed.
pub fn made_or_changed(made: bool, body: &impl Serialize) -> Response {
    if made { created(body) } else { ok(body) }
}

/// 202 with what was taken on.
pub fn accepted(body: &impl Serialize) -> Response {
    with(StatusCode::ACCEPTED, body)
}

/// 204.
pub fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

fn with(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            *response.status_mut() = status;
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
        Err(error) => {
            tracing::error!(error.detail = %error, "an answer could not be written");
            Problem::new(Code::Internal, "the answer could not be written").into_response()
        }
    }
}
