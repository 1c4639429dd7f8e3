//! Tenants, keys, endpoints and limits.

use fairhook_common::endpoint::BodyForm;
use fairhook_common::key::Scope;
use fairhook_common::plan::PlanName;
use fairhook_common::policy::WindowLength;
use fairhook_common::tenant::{Dispatch, DlqOverflow, Ingest};
use fairhook_common::time::Timestamp;
use utoipa::ToSchema;

use super::super::words::*;

/// A tenant to be made.
#[derive(ToSchema)]
#[schema(example = json!({"name": "Acme Inc.", "slug": "acme", "plan": "professional", "create_key": true}))]
pub struct NewTenant {
    /// For people.
    pub name: Name,
    /// Made of the name if it is left out.
    pub slug: Option<Slug>,
    /// `starter` unless it is said.
    pub plan: Option<PlanName>,
    /// The plan's unless it is said.
    pub weight: Option<Weight>,
    /// The operator's notes.
    pub metadata: Option<Metadata>,
    /// Whether the tenant gets a first key, as it does unless the caller may not make any.
    pub create_key: Option<bool>,
}

/// All that can be set of a tenant.
#[derive(ToSchema)]
#[schema(example = json!({"name": "Acme Inc.", "plan": "professional"}))]
pub struct PutTenant {
    /// For people.
    pub name: Name,
    /// The same as in the path.
    pub slug: Option<Slug>,
    /// `starter` unless it is said.
    pub plan: Option<PlanName>,
    /// The plan's unless it is said.
    pub weight: Option<Weight>,
    /// The operator's notes.
    pub metadata: Option<Metadata>,
}

/// What changes of a tenant.
#[derive(ToSchema)]
#[schema(example = json!({"ingest": "blocked", "reason": "floods us since noon"}))]
pub struct TenantChanges {
    /// For people.
    #[schema(nullable = false)]
    pub name: Option<Name>,
    /// One that there is.
    #[schema(nullable = false)]
    pub plan: Option<PlanName>,
    /// `null`: the plan's.
    pub weight: Option<Weight>,
    /// `null`: none.
    pub metadata: Option<Metadata>,
    /// The kill switch of the way in.
    #[schema(nullable = false)]
    pub ingest: Option<Ingest>,
    /// The kill switch of the way out.
    #[schema(nullable = false)]
    pub dispatch: Option<Dispatch>,
    /// Why the kill switch stands as it does, for people.
    pub reason: Option<Name>,
}

/// A key to be made.
#[derive(ToSchema)]
#[schema(example = json!({"name": "shop backend", "scopes": ["events:write"]}))]
pub struct NewKey {
    /// For whom an operator makes it.
    pub tenant_id: Option<TenantName>,
    /// What any key has.
    #[serde(flatten)]
    pub key: NewOperatorKey,
}

/// An operator's key to be made.
#[derive(ToSchema)]
#[schema(example = json!({"name": "grafana", "scopes": ["events:read"]}))]
pub struct NewOperatorKey {
    /// For people.
    pub name: Option<Name>,
    /// All that the caller's key has, unless it is said.
    #[schema(min_items = 1, max_items = 9)]
    pub scopes: Option<Vec<Scope>>,
    /// In the future.
    pub expires_at: Option<Timestamp>,
}

/// An endpoint to be made.
#[derive(ToSchema)]
#[schema(example = json!({"url": "https://example.com/hooks", "event_types": ["order.*"]}))]
pub struct NewEndpoint {
    /// For whom an operator makes it.
    pub tenant_id: Option<TenantName>,
    /// Where deliveries go.
    pub url: Url,
    /// The tenant's own name for it.
    pub uid: Option<Uid>,
    /// Made here unless it is given.
    pub secret: Option<Secret>,
    /// What has a default.
    #[serde(flatten)]
    pub settings: EndpointSettings,
}

/// What changes of an endpoint; `null` goes back to the default.
#[derive(ToSchema)]
#[schema(example = json!({"status": "paused"}))]
pub struct EndpointChanges {
    /// Whose endpoint it is, for an operator.
    pub tenant_id: Option<TenantName>,
    /// `active` sets a disabled endpoint going again.
    #[schema(nullable = false)]
    pub status: Option<SettableStatus>,
    /// Where deliveries go.
    #[schema(nullable = false)]
    pub url: Option<Url>,
    /// What has a default.
    #[serde(flatten)]
    pub settings: EndpointSettings,
}

/// What of an endpoint has a default, which `null` stands for.
#[derive(ToSchema)]
pub struct EndpointSettings {
    /// What it gets: everything unless it is said.
    #[schema(min_items = 1, max_items = 64)]
    pub event_types: Option<Vec<EventTypes>>,
    /// For people.
    pub description: Option<Name>,
    /// The tenant's notes.
    pub metadata: Option<Metadata>,
    /// Sent with every attempt, merged by name with those that are there; `null` takes one away. Their values are never shown.
    pub headers: Option<Headers>,
    /// Attempts per second at most.
    pub rate_limit_per_s: Option<EndpointRate>,
    /// Over a whole attempt: 15,000 unless it is said.
    pub timeout_ms: Option<TimeoutMs>,
    /// How failed attempts are repeated.
    pub retry: Option<Retry>,
    /// The form of the body.
    pub body: Option<BodyForm>,
    /// Whether it is asked, as HTTP 1.1 Web Hooks for Event Delivery say, before anything is sent to it; only where the
    /// installation has a domain.
    pub handshake: Option<bool>,
}

/// What a status may be set to.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum SettableStatus {
    /// It gets deliveries.
    Active,
    /// Its deliveries are held.
    Paused,
}

/// How failed attempts are repeated.
#[derive(ToSchema)]
pub struct Retry {
    /// The wait after the first attempt, the second, and so on; none means one attempt only.
    #[schema(max_items = 30)]
    pub schedule_s: Option<Vec<WaitS>>,
    /// The part of a wait that is added or taken off at random; 0.2 unless it is said.
    #[schema(minimum = 0, maximum = 1)]
    pub jitter: Option<f64>,
}

/// A rotation of a secret.
#[derive(ToSchema)]
#[schema(example = json!({"grace_period_s": 3600}))]
pub struct Rotation {
    /// Whose endpoint it is, for an operator.
    pub tenant_id: Option<TenantName>,
    /// A day unless it is said.
    pub grace_period_s: Option<GraceS>,
}

/// What changes of a tenant's limits, beside each other or under `limits`; `null` goes back to the plan's.
#[derive(ToSchema)]
#[schema(example = json!({"max_events_per_sec": 500, "burst": null}))]
pub struct QuotaChanges {
    /// One that there is.
    #[schema(nullable = false)]
    pub plan: Option<PlanName>,
    /// The same limits, as answers have them.
    #[schema(nullable = false)]
    pub limits: Option<LimitChanges>,
    /// Rates that the tenant has for good.
    #[schema(nullable = false)]
    pub policies: Option<PolicyChanges>,
    /// What changes.
    #[serde(flatten)]
    pub changes: LimitChanges,
}

/// Limits that differ from the plan's.
#[derive(ToSchema)]
pub struct LimitChanges {
    /// Events per second, sustained.
    pub max_events_per_sec: Option<SomeOf>,
    /// Events at once after a quiet time.
    pub burst: Option<SomeOf>,
    /// Deliveries in flight at the same moment.
    pub max_concurrent_deliveries: Option<SomeOf>,
    /// Dead letters.
    pub max_dlq_size: Option<AnyOf>,
    /// Deliveries that wait for their first attempt.
    pub max_backlog: Option<AnyOf>,
    /// Endpoints.
    pub max_endpoints: Option<EndpointCount>,
    /// What happens to a dead letter over the cap.
    pub dlq_overflow: Option<DlqOverflow>,
}

/// Rates of policies; `null` goes back to what the tenant has otherwise.
#[derive(ToSchema)]
#[schema(example = json!({"tier": {"limit": 500, "window": "10 s"}, "events_per_day": null}))]
pub struct PolicyChanges {
    /// Events in a day.
    pub events_per_day: Option<Rate>,
    /// Bytes of requests that send events.
    pub bytes_per_minute: Option<Rate>,
    /// Other calls from one address.
    pub tier: Option<Rate>,
    /// Other calls in all.
    pub api_requests: Option<Rate>,
}

/// So many in a window.
#[derive(ToSchema)]
pub struct Rate {
    /// How many.
    pub limit: SomeOf,
    /// In which time.
    pub window: WindowLength,
}

/// What changes of a plan; its limits stand beside each other or under `limits`.
#[derive(ToSchema)]
#[schema(example = json!({"weight": 20, "max_events_per_sec": 2000, "tier": {"limit": 500, "window": "10 s"}}))]
pub struct PutPlan {
    /// The share of dispatch time, relative to others.
    #[schema(nullable = false)]
    pub weight: Option<Weight>,
    /// Other calls than events, of a tenant from one address.
    #[schema(nullable = false)]
    pub tier: Option<Tier>,
    /// The same limits, as answers have them.
    #[schema(nullable = false)]
    pub limits: Option<PlanLimits>,
    /// What changes.
    #[serde(flatten)]
    pub changes: PlanLimits,
}

/// So many calls in a window.
#[derive(ToSchema)]
pub struct Tier {
    /// How many.
    #[schema(nullable = false)]
    pub limit: Option<SomeOf>,
    /// In which time.
    #[schema(nullable = false)]
    pub window: Option<WindowLength>,
}

/// Limits of a plan.
#[derive(ToSchema)]
pub struct PlanLimits {
    /// Events per second, sustained.
    #[schema(nullable = false)]
    pub max_events_per_sec: Option<SomeOf>,
    /// Events at once after a quiet time.
    #[schema(nullable = false)]
    pub burst: Option<SomeOf>,
    /// Deliveries in flight at the same moment.
    #[schema(nullable = false)]
    pub max_concurrent_deliveries: Option<SomeOf>,
    /// Dead letters.
    #[schema(nullable = false)]
    pub max_dlq_size: Option<AnyOf>,
    /// Deliveries that wait for their first attempt.
    #[schema(nullable = false)]
    pub max_backlog: Option<AnyOf>,
    /// Endpoints.
    #[schema(nullable = false)]
    pub max_endpoints: Option<EndpointCount>,
    /// What happens to a dead letter over the cap.
    #[schema(nullable = false)]
    pub dlq_overflow: Option<DlqOverflow>,
}

/// A rate for a while.
#[derive(ToSchema)]
#[schema(example = json!({"limit": 500, "window": "10 s", "ttl_s": 3600}))]
pub struct PutOverride {
    /// How many; the setting `override_ceiling` is the most.
    #[schema(minimum = 1)]
    pub limit: u32,
    /// In which time.
    pub window: WindowLength,
    /// A day unless it is said.
    pub ttl_s: Option<TtlS>,
}

/// A question to the limiter.
#[derive(ToSchema)]
#[schema(example = json!({"key": "203.0.113.7", "cost": 1}))]
pub struct Check {
    /// Who asks.
    pub key: CheckKey,
    /// 1 unless it is said; at most the policy's limit.
    #[schema(minimum = 1)]
    pub cost: Option<u64>,
}
