//! How objects of the control plane are shown. Nothing here holds a secret that is not meant to be shown once.

use fairhook_common::endpoint::{BodyForm, Circuit, Endpoint, EndpointStatus, StatusReason};
use fairhook_common::ids::{EndpointId, KeyId, TenantId};
use fairhook_common::key::{ApiKey, KeyText, Scope};
use fairhook_common::plan::PlanName;
use fairhook_common::retry::RetrySchedule;
use fairhook_common::tenant::{Dispatch, Ingest, Tenant, TenantStatus};
use fairhook_common::time::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Kept JSON, shown as it was posted.
pub fn kept_json(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).ok()
}

/// A tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenant, example = json!({
    "id": "ten_01kz0z5m4he58vf3j2c4q9w7xd", "slug": "acme", "name": "Acme Inc.", "plan": "professional", "weight": 10,
    "status": "active", "ingest": "open", "dispatch": "open", "reason": null, "metadata": {"crm": "4711"},
    "created_at": "2026-01-31T12:00:00.000Z", "updated_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct TenantView {
    id: TenantId,
    /// Stands for the id everywhere.
    slug: String,
    name: String,
    /// Where limits and weight come from that are not set.
    plan: PlanName,
    /// The share of dispatch time, relative to other tenants.
    weight: u32,
    status: TenantStatus,
    ingest: Ingest,
    dispatch: Dispatch,
    /// Why the kill switch stands as it does.
    reason: Option<String>,
    /// As it was posted.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    api_key: Option<String>,
}

impl TenantView {
    /// A tenant, without a key.
    pub fn of(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id,
            slug: tenant.slug.clone(),
            name: tenant.name.clone(),
            plan: tenant.plan.name.clone(),
            weight: tenant.effective_weight(),
            status: tenant.status,
            ingest: tenant.ingest,
            dispatch: tenant.dispatch,
            reason: tenant.reason.clone(),
            metadata: kept_json(&tenant.metadata),
            created_at: tenant.created_at,
            updated_at: tenant.updated_at,
            api_key: None,
        }
    }

    /// A tenant that was just made, with its first key if it has one.
    pub fn with_key(tenant: &Tenant, key: Option<&KeyText>) -> Self {
        Self { api_key: key.map(KeyText::reveal), ..Self::of(tenant) }
    }
}

/// A key.
#[derive(Serialize, ToSchema)]
#[schema(as = Key, example = json!({
    "id": "key_01kz0z5m4he58vf3j2c4q9w7xd", "tenant_id": "ten_01kz0z5m4he58vf3j2c4q9w7xd", "name": "shop backend",
    "scopes": ["events:write"], "created_at": "2026-01-31T12:00:00.000Z", "expires_at": null
}))]
pub struct KeyView {
    id: KeyId,
    /// `null`: an operator's key.
    tenant_id: Option<TenantId>,
    name: Option<String>,
    /// What it may do.
    scopes: Vec<Scope>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    /// Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    api_key: Option<String>,
}

impl KeyView {
    /// A key, without its secret.
    pub fn of(key: &ApiKey) -> Self {
        Self {
            id: key.id,
            tenant_id: key.tenant,
            name: key.name.clone(),
            scopes: key.scopes.clone(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            api_key: None,
        }
    }

    /// A key that was just made, in full.
    pub fn in_full(key: &ApiKey, text: &KeyText) -> Self {
        Self { api_key: Some(text.reveal()), ..Self::of(key) }
    }
}

/// An endpoint. Of its headers only the names are shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Endpoint, example = json!({
    "id": "ep_01kz0z5m4he58vf3j2c4q9w7xd", "uid": "billing", "url": "https://example.com/hooks", "event_types": ["order.*"],
    "description": null, "metadata": null, "headers": ["authorization"], "rate_limit_per_s": null, "timeout_ms": 15000,
    "retry": {"schedule_s": [5, 300, 1800], "jitter": 0.2}, "body": "raw", "status": "active", "status_reason": null,
    "handshake": false, "circuit": "closed", "failing_since": null,
    "created_at": "2026-01-31T12:00:00.000Z", "updated_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct EndpointView {
    id: EndpointId,
    /// The tenant's own name for it.
    uid: Option<String>,
    /// Where deliveries go.
    url: String,
    /// What it gets.
    event_types: Vec<String>,
    description: Option<String>,
    /// As it was posted.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    /// The names of its custom headers; their values are never shown.
    headers: Vec<String>,
    /// Attempts per second at most.
    rate_limit_per_s: Option<u32>,
    /// Over a whole attempt.
    timeout_ms: u64,
    retry: RetrySchedule,
    body: BodyForm,
    /// Whether it is asked before anything is sent to it.
    handshake: bool,
    status: EndpointStatus,
    status_reason: Option<StatusReason>,
    circuit: Circuit,
    /// Since when it has done nothing but fail.
    failing_since: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Signs what it gets; shown when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    secret: Option<String>,
}

impl EndpointView {
    /// An endpoint, without its secret.
    pub fn of(endpoint: &Endpoint) -> Self {
        let settings = &endpoint.settings;
        Self {
            id: endpoint.id,
            uid: endpoint.uid.clone(),
            url: settings.url.clone(),
            event_types: settings.event_types.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            description: settings.description.clone(),
            metadata: settings.metadata.as_deref().and_then(kept_json),
            headers: settings.headers.iter().map(|header| header.name.clone()).collect(),
            rate_limit_per_s: settings.rate_limit_per_s,
            timeout_ms: u64::try_from(settings.timeout.as_millis()).unwrap_or(u64::MAX),
            retry: settings.retry.clone(),
            body: settings.body,
            handshake: settings.handshake,
            status: endpoint.status,
            status_reason: endpoint.status_reason,
            circuit: endpoint.circuit,
            failing_since: endpoint.failing_since,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
            secret: None,
        }
    }

    /// An endpoint that was just made, with its secret.
    pub fn with_secret(endpoint: &Endpoint) -> Self {
        Self { secret: Some(endpoint.secrets.current.reveal()), ..Self::of(endpoint) }
    }
}
