//! The API's document, OpenAPI 3.1, made of what stands at the handlers: a route cannot be without a description, for both are
//! one. `GET /openapi.json` is the document and `GET /docs` shows it to people.
//!
//! A handler's attribute says what is its own: path, tag, the scope that it needs, parameters of its query, its body, its
//! successes, and by `x-problems` the codes that follow from nothing else. `complete.rs` adds the rest.

pub mod answers;
mod complete;
mod html;
pub mod requests;
mod shapes;
pub mod words;

pub use complete::Described;

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The whole document.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| complete::complete(super::described(), frame()));
    &DOCUMENT
}

/// This document
#[utoipa::path(get, path = "/openapi.json", operation_id = "getDocument", tag = "Installation",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value)))]
pub(super) async fn json() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], TEXT.as_str()).into_response()
}

/// This document for people
///
/// One page with nothing in it from elsewhere.
#[utoipa::path(get, path = "/docs", operation_id = "getDocs", tag = "Installation",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")))]
pub(super) async fn docs() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(|| html::page(document()));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    ([(header::CONTENT_TYPE, html)], PAGE.as_str()).into_response()
}

const ABOUT: &str = "Fairhook delivers webhooks for many tenants, so that none of them can hurt another.

Every path that begins with `/v1` may also be called without it; that alias is permanent. What belongs to a tenant is there \
twice, plain and under `/v1/tenants/{tenant}`: a tenant's key means its tenant, and an operator names one in the path, by the \
header `X-Tenant-ID` or by `tenant_id` in the body. Two that differ are a 400, another tenant's object is a 404.

Answers are JSON and may gain members. Unknown members of a request are refused by name. Every answer that is not a success is \
`application/problem+json` (RFC 9457) with a `code` out of a closed list. A path that is not here is a 404 with `not_found`, a \
method that a path does not take a 405 with `method_not_allowed` and `Allow`. Over a limit it is 429 with `Retry-After`.";

/// What is said of the API as a whole.
fn frame() -> Value {
    let tags = [
        ("Events", "What tenants send. 202 means that the event is on disk, with all its deliveries."),
        (
            "Deliveries",
            "What becomes of events: each is delivered to every endpoint that subscribes to its type.",
        ),
        ("Dead letters", "Deliveries whose attempts are used up; they can be replayed."),
        ("Replays and jobs", "Long work, done in bounded steps. It survives restarts."),
        ("Endpoints", "Where a tenant's events go."),
        ("Sources", "Doors for the webhooks of others: each becomes an event of the tenant's."),
        ("Keys", "A key is shown once, and gives no more than its maker has."),
        ("Tenants", "For operators."),
        ("Limits", "Quotas, plans, and rates that hold for a while."),
        ("Health of tenants", "How tenants fare, and what is the matter with them."),
        ("Installation", "Open to anybody."),
    ];
    let tags: Vec<_> =
        tags.iter().map(|(name, description)| json!({ "name": name, "description": description })).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Fairhook",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "Wherever this document was read." }],
        "tags": tags,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "fhk_<id>_<secret>",
                    "description": "A tenant's key or an operator's. What a call lists is the scope that the key needs.",
                },
            },
        },
    })
}
