//! A receiver of webhooks: the one in docs/GUIDE.md.

// It is nobody's part here: its settings are its own.
#![allow(clippy::disallowed_methods)]

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use standardwebhooks::Webhook;

async fn hook(headers: HeaderMap, body: Bytes) -> StatusCode {
    let secret = std::env::var("SECRET").expect("SECRET is set");
    let webhook = Webhook::new(&secret).expect("SECRET is a signing secret");
    match webhook.verify(&body, &headers) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::UNAUTHORIZED,
    }
}

#[tokio::main]
async fn main() {
    let port = std::env::var("PORT").expect("PORT is set");
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("a free port");
    axum::serve(listener, Router::new().route("/", post(hook))).await.expect("it serves");
}
