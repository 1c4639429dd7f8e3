//! Quotas: what a tenant may use and what it uses.

use fairhook_common::ids::TenantId;
use fairhook_common::key::Scope;
use fairhook_common::plan::PlanName;
use fairhook_common::store::TenantChanges;
use fairhook_common::tenant::{DlqOverflow, Tenant};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::body::Posted;
use super::limit_fields::Null;
use super::openapi::requests;
use super::problem::Problem;
use super::tenant::Asked;
use super::{audit, gate, limit_fields, overrides, read};

/// Read what a tenant may use and uses
///
/// For operators with `quotas:write` too; a tenant's key reads its own.
#[utoipa::path(
    get, path = "/quotas/{tenant}", operation_id = "getQuota", tag = "Limits",
    security(("key" = ["events:read"])),
    responses((status = 200, description = "Limits, usage, what is left, and overrides.", body = Standing)),
    extensions(("x-problems" = json!(["tenant_required"])))
)]
pub(super) async fn get(asked: Asked) -> Answer {
    let scope = if asked.caller.has(Scope::QuotasWrite) { Scope::QuotasWrite } else { Scope::EventsRead };
    let acting = asked.tenant(scope).await?;
    asked.params().finish()?;
    Ok(answer::ok(&standing(&asked, &acting.tenant).await?))
}

/// Change what a tenant may use
///
/// The plan, limits and rates of policies in one step.
#[utoipa::path(
    patch, path = "/quotas/{tenant}", operation_id = "changeQuota", tag = "Limits",
    security(("key" = ["quotas:write"])),
    request_body = requests::QuotaChanges,
    responses((status = 200, description = "Changed.", body = Standing)),
    extensions(("x-problems" = json!(["operator_required", "not_found"])))
)]
pub(super) async fn change(asked: Asked, body: Posted) -> Answer {
    asked.caller.must_be_operator(Scope::QuotasWrite)?;
    let acting = asked.tenant(Scope::QuotasWrite).await?;
    let mut fields = body.fields()?;
    let plan = fields.set("plan", read::plan);
    let mut quota = limit_fields::read(&mut fields, Null::PlansOwn);
    quota.policies = fields.set("policies", limit_fields::policies).unwrap_or_default();
    let changes = fields.finish(|| Some(TenantChanges { plan, quota, ..TenantChanges::default() }))?;
    let tenant = asked.edge.store.update_tenant(acting.id(), changes, asked.at).await?;
    audit::quota_changed(&asked.caller, &tenant);
    Ok(answer::ok(&standing(&asked, &tenant).await?))
}

/// Limits, usage and what is left. The usage is read from the store, not out of what admission remembers.
async fn standing(asked: &Asked, tenant: &Tenant) -> Result<Standing, Problem> {
    let limits = tenant.limits();
    let usage = asked.edge.store.usage(tenant.id).await?;
    let quotas = &asked.edge.limiter.events;
    let (rate, at_once) = gate::left(&asked.edge, tenant, asked.at);
    let left = |limit: u32, used: u64| u64::from(limit).saturating_sub(used);
    let sent = quotas.events_sent(tenant.id, quotas.now());
    let (in_flight, endpoints) = (u64::from(usage.in_flight), u64::from(usage.endpoints));
    let (dead, backlog) = (usage.counts.dead, usage.counts.backlog);
    Ok(Standing {
        tenant_id: tenant.id,
        plan: tenant.plan.name.clone(),
        limits: limit_fields::Shown::of(&limits),
        dlq_overflow: limits.dlq_overflow,
        policies: limit_fields::Rates::of(|policy| {
            tenant.rate_of(policy, asked.edge.limiter.rates.of(policy))
        }),
        current_usage: Usage {
            events_sent: sent,
            concurrent_deliveries: in_flight,
            dlq_count: dead,
            backlog,
            endpoints,
        },
        remaining: Remaining {
            events: rate.remaining,
            burst: at_once,
            deliveries: left(limits.max_concurrent_deliveries, in_flight),
            dlq: left(limits.max_dlq_size, dead),
            backlog: left(limits.max_backlog, backlog),
            endpoints: left(limits.max_endpoints, endpoints),
        },
        overrides: overrides::shown(tenant, asked.at),
    })
}

/// What a tenant may use and uses.
#[derive(Serialize, ToSchema)]
#[schema(as = Quota, example = json!({
    "tenant_id": "ten_01kz0z5m4he58vf3j2c4q9w7xd", "plan": "starter", "limits": {
        "max_events_per_sec": 100, "burst": 1000, "max_concurrent_deliveries": 50, "max_dlq_size": 100,
        "max_backlog": 100000, "max_endpoints": 50
    },
    "dlq_overflow": "drop_oldest",
    "policies": {
        "events_per_day": null, "bytes_per_minute": null, "tier": {"limit": 50, "window": "10 s"},
        "api_requests": {"limit": 1000, "window": "1 min"}
    },
    "current_usage": {"events_sent": 3, "concurrent_deliveries": 1, "dlq_count": 0, "backlog": 2, "endpoints": 1},
    "remaining": {"events": 97, "burst": 997, "deliveries": 49, "dlq": 100, "backlog": 99998, "endpoints": 49},
    "overrides": []
}))]
struct Standing {
    tenant_id: TenantId,
    plan: PlanName,
    limits: limit_fields::Shown,
    /// What happens to a dead letter over the cap.
    dlq_overflow: DlqOverflow,
    /// Rates for good; overrides come before them.
    policies: limit_fields::Rates,
    current_usage: Usage,
    remaining: Remaining,
    /// Rates that hold for a while in place of the tenant's.
    overrides: Vec<overrides::View>,
}

/// What a tenant uses.
#[derive(Serialize, ToSchema)]
struct Usage {
    /// Events in the last second.
    events_sent: u32,
    concurrent_deliveries: u64,
    dlq_count: u64,
    backlog: u64,
    endpoints: u64,
}

/// What is left of the limits.
#[derive(Serialize, ToSchema)]
struct Remaining {
    /// Of a second's events, as `RateLimit` shows it. What is sent beyond them comes out of the burst, one second's events after
    /// another: at 0 nothing would pass.
    events: u32,
    /// Events that would pass at once, those that were saved for a burst among them.
    burst: u32,
    deliveries: u64,
    dlq: u64,
    backlog: u64,
    endpoints: u64,
}
