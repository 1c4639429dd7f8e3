//! Quotas: what a tenant may use and what it uses.

use fairhook_common::key::Scope;
use fairhook_common::limits::{ENDPOINTS_MAX, QUOTA_MAX};
use fairhook_common::store::TenantChanges;
use fairhook_common::tenant::{DlqOverflow, QuotaPatch, Tenant};
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::body::Posted;
use super::json::Fields;
use super::problem::Problem;
use super::tenant::Asked;
use super::{audit, overrides, read};

/// `GET /quotas/{tenant}`.
pub(super) async fn get(asked: Asked) -> Answer {
    let scope = if asked.caller.has(Scope::QuotasWrite) { Scope::QuotasWrite } else { Scope::EventsRead };
    let acting = asked.tenant(scope).await?;
    asked.params().finish()?;
    Ok(answer::ok(&standing(&asked, &acting.tenant).await?))
}

/// `PATCH /quotas/{tenant}`: limits, beside each other or under `limits` as they are shown; `null` goes back to the plan's.
pub(super) async fn change(asked: Asked, body: Posted) -> Answer {
    asked.caller.must_be_operator(Scope::QuotasWrite)?;
    let acting = asked.tenant(Scope::QuotasWrite).await?;
    let mut fields = body.fields()?;
    let mut quota = QuotaPatch::default();
    merge(&mut fields, &mut quota);
    let mut under_limits = quota;
    let nested = fields.set("limits", |value| {
        let mut limits = Fields::nested(value, String::new())?;
        merge(&mut limits, &mut under_limits);
        limits.finish_nested(|| Some(()))
    });
    let quota = fields.finish(|| Some(if nested.is_some() { under_limits } else { quota }))?;
    let changes = TenantChanges { quota, ..TenantChanges::default() };
    let tenant = asked.edge.store.update_tenant(acting.id(), changes, asked.at).await?;
    audit::quota_changed(&asked.caller, &tenant);
    Ok(answer::ok(&standing(&asked, &tenant).await?))
}

/// Makes the changes that `fields` name.
fn merge(fields: &mut Fields<'_>, quota: &mut QuotaPatch) {
    // What a tenant cannot do without at least one of: below, nothing would ever be sent.
    let some = || read::integer(1..=QUOTA_MAX);
    let any = || read::integer(0..=QUOTA_MAX);
    let endpoints = read::integer(0..=ENDPOINTS_MAX);
    let limits = [
        (&mut quota.max_events_per_sec, fields.change("max_events_per_sec", some())),
        (&mut quota.burst, fields.change("burst", some())),
        (&mut quota.max_concurrent_deliveries, fields.change("max_concurrent_deliveries", some())),
        (&mut quota.max_dlq_size, fields.change("max_dlq_size", any())),
        (&mut quota.max_backlog, fields.change("max_backlog", any())),
        (&mut quota.max_endpoints, fields.change("max_endpoints", endpoints)),
    ];
    for (limit, change) in limits {
        *limit = change.or(*limit);
    }
    let policies = &["drop_oldest", "reject_new", "pause_endpoint"];
    let overflow = fields.change("dlq_overflow", read::one_of(policies, overflow_of));
    quota.dlq_overflow = overflow.or(quota.dlq_overflow);
}

fn overflow_of(name: &str) -> Option<DlqOverflow> {
    match name {
        "drop_oldest" => Some(DlqOverflow::DropOldest),
        "reject_new" => Some(DlqOverflow::RejectNew),
        "pause_endpoint" => Some(DlqOverflow::PauseEndpoint),
        _ => None,
    }
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
        "plan": tenant.plan,
        "limits": {
            "max_events_per_sec": limits.max_events_per_sec,
            "burst": limits.burst,
            "max_concurrent_deliveries": limits.max_concurrent_deliveries,
            "max_dlq_size": limits.max_dlq_size,
            "max_backlog": limits.max_backlog,
            "max_endpoints": limits.max_endpoints,
        },
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
