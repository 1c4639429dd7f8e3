//! What bad tenants do with the API. It goes on whatever the answers are: being refused is no reason for them to stop.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use super::neighbours::{BAD_EVENT, Tenants};
use super::pace;
use crate::workload::ApiFailure;

/// What is looked for and never there, and what there is much of.
const LISTS: [&str; 5] = [
    "deliveries?limit=250&status=discarded",
    "events?limit=250&type=nothing.*",
    "deliveries?limit=250&order=asc&type=nothing",
    "deliveries?limit=250",
    "events?limit=250",
];

/// Pauses a tenant's deliveries, or lets them go.
pub async fn dispatch(tenants: &Tenants, slug: &str, state: &str) -> Result<(), ApiFailure> {
    let body = json!({ "dispatch": state, "reason": "a measurement" });
    tenants.call(Method::PATCH, &format!("/v1/tenants/{slug}"), Some(&body)).await.map(drop)
}

/// Lets all of them deliver what was held.
pub async fn resume(tenants: Arc<Tenants>) {
    for slug in &tenants.slugs {
        while dispatch(&tenants, slug, "open").await.is_err() {
            tokio::time::sleep(pace::LOOK).await;
        }
    }
}

/// One replay after the other of everything delivered by now.
pub async fn replay(tenants: Arc<Tenants>, tenant: usize) {
    let slug = &tenants.slugs[tenant];
    let to = fairhook_common::time::Timestamp::now().to_string();
    let wanted =
        json!({ "from": "2000-01-01T00:00:00Z", "to": to, "status": ["delivered"], "type": BAD_EVENT });
    loop {
        if let Ok(job) =
            tenants.call(Method::POST, &format!("/v1/tenants/{slug}/replays"), Some(&wanted)).await
        {
            let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap_or_default());
            while tenants.call(Method::GET, &path, None).await.is_ok_and(|job| is_open(&job)) {
                tokio::time::sleep(pace::LOOK).await;
            }
        }
        tokio::time::sleep(pace::LOOK).await;
    }
}

fn is_open(job: &Value) -> bool {
    matches!(job["status"].as_str(), Some("queued" | "running"))
}

/// One list after the other.
pub async fn scan(tenants: Arc<Tenants>, tenant: usize, client: usize) {
    let slug = &tenants.slugs[tenant];
    for list in LISTS.iter().cycle().skip(client) {
        ask(&tenants, Method::GET, format!("/v1/tenants/{slug}/{list}"), None).await;
    }
}

/// One change after the other.
pub async fn churn(tenants: Arc<Tenants>, tenant: usize, client: usize) {
    let at = format!("/v1/tenants/{}", tenants.slugs[tenant]);
    let own = format!("{at}/endpoints/churn-{client}");
    for round in 0_u64.. {
        let made = json!({ "url": "http://127.0.0.1:9/", "event_types": [format!("never.{round}")] });
        ask(&tenants, Method::PUT, own.clone(), Some(made)).await;
        ask(&tenants, Method::PATCH, own.clone(), Some(json!({ "description": format!("round {round}") })))
            .await;
        ask(&tenants, Method::POST, format!("{own}/secret/rotate"), Some(json!({}))).await;
        let key = ask(&tenants, Method::POST, format!("{at}/keys"), Some(json!({ "name": "churn" }))).await;
        if let Some(id) = key["id"].as_str() {
            ask(&tenants, Method::DELETE, format!("{at}/keys/{id}"), None).await;
        }
        ask(&tenants, Method::PATCH, at.clone(), Some(json!({ "metadata": { "round": round } }))).await;
        ask(&tenants, Method::DELETE, own.clone(), None).await;
    }
}

/// The answer, or nothing if there was none; then not at once again.
async fn ask(tenants: &Tenants, method: Method, path: String, body: Option<Value>) -> Value {
    match tenants.call(method, &path, body.as_ref()).await {
        Ok(answer) => answer,
        Err(ApiFailure::Refused { .. }) => Value::Null,
        Err(ApiFailure::Unreachable(_)) => {
            tokio::time::sleep(pace::LOOK).await;
            Value::Null
        }
    }
}
