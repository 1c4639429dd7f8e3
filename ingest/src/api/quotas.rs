//! Quotas: what a tenant may use and what it uses.

use fairhook_common::key::Scope;
use fairhook_common::store::TenantChanges;
use fairhook_common::tenant::Tenant;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::body::Posted;
use super::limit_fields::Null;
use super::problem::Problem;
use super::tenant::Asked;
use super::{audit, limit_fields, overrides, read};

/// `GET /quotas/{tenant}`.
pub(super) async fn get(asked: Asked) -> Answer {
    let scope = if asked.caller.has(Scope::QuotasWrite) { Scope::QuotasWrite } else { Scope::EventsRead };
    let acting = asked.tenant(scope).await?;
    asked.params().finish()?;
    Ok(answer::ok(&standing(&asked, &acting.tenant).await?))
}

/// `PATCH /quotas/{tenant}`: the plan, and limits, beside each other or under `limits` as they are shown, in one step; of a
/// limit, `null` goes back to the plan's.
pub(super) async fn change(asked: Asked, body: Posted) -> Answer {
    asked.caller.must_be_operator(Scope::QuotasWrite)?;
    let acting = asked.tenant(Scope::QuotasWrite).await?;
    let mut fields = body.fields()?;
    let plan = fields.set("plan", read::plan);
    let quota = limit_fields::read(&mut fields, Null::PlansOwn);
    let changes = fields.finish(|| Some(TenantChanges { plan, quota, ..TenantChanges::default() }))?;
    let tenant = asked.edge.store.update_tenant(acting.id(), changes, asked.at).await?;
    audit::quota_changed(&asked.caller, &tenant);
    Ok(answer::ok(&standing(&asked, &tenant).await?))
}

/// Limits, usage and what is left. The usage is read from the store, not out of what admission remembers.
async fn standing(asked: &Asked, tenant: &Tenant) -> Result<Value, Problem> {
    let limits = tenant.limits();
    let usage = asked.edge.store.usage(tenant.id).await?;
    let quotas = &asked.edge.limiter.events;
    let now = quotas.now();
    let rate = quotas.peek(tenant.id, &limits, now);
    let left = |limit: u32, used: u64| u64::from(limit).saturating_sub(used);
    let sent = quotas.events_sent(tenant.id, now);
    let (in_flight, endpoints) = (u64::from(usage.in_flight), u64::from(usage.endpoints));
    let (dead, backlog) = (usage.counts.dead, usage.counts.backlog);
    Ok(json!({
        "tenant_id": tenant.id,
        "plan": tenant.plan.name,
        "limits": limit_fields::shown(&limits),
        "dlq_overflow": limits.dlq_overflow,
        "current_usage": {
            "events_sent": sent,
            "concurrent_deliveries": in_flight,
            "dlq_count": dead,
            "backlog": backlog,
            "endpoints": endpoints,
        },
        "remaining": {
            "events": rate.remaining,
            "deliveries": left(limits.max_concurrent_deliveries, in_flight),
            "dlq": left(limits.max_dlq_size, dead),
            "backlog": left(limits.max_backlog, backlog),
            "endpoints": left(limits.max_endpoints, endpoints),
        },
        "overrides": overrides::shown(tenant, asked.at),
    }))
}
