//! Overrides: rates that a tenant has for a while in place of its plan's, and that end by themselves.

use std::time::Duration;

use fairhook_common::key::Scope;
use fairhook_common::limits::{NAME_CHARS, OVERRIDE_TTL, OVERRIDE_TTL_MAX, QUOTA_MAX};
use fairhook_common::policy::{Override, Policy, PolicyRate, WindowLength};
use fairhook_common::store::Page;
use fairhook_common::tenant::Tenant;
use fairhook_common::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::body::Posted;
use super::openapi::{requests, words};
use super::page::Listed;
use super::problem::{Code, Problem};
use super::tenant::{Acting, Asked};
use super::{audit, page, read};

/// List a tenant's overrides that are in force
#[utoipa::path(
    get, path = "/quotas/{tenant}/overrides", operation_id = "listOverrides", tag = "Limits",
    security(("key" = ["quotas:write"])),
    responses((status = 200, description = "All of them.", body = Listed<View>)),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn list(asked: Asked) -> Answer {
    let acting = named(&asked).await?;
    asked.params().finish()?;
    let items = shown(&acting.tenant, asked.at);
    Ok(page::answer(Page { items, next: None }, |view| view))
}

/// Give a tenant another rate for a while
///
/// In place of an override that is there. It ends by itself. A tenant has the policies `events`, `events_per_day`,
/// `bytes_per_minute`, `tier` and `api_requests`.
#[utoipa::path(
    put, path = "/quotas/{tenant}/overrides/{policy}", operation_id = "putOverride", tag = "Limits",
    security(("key" = ["quotas:write"])),
    request_body = requests::PutOverride,
    responses(
        (status = 201, description = "In force.", body = View),
        (status = 200, description = "In force, in place of another.", body = View)
    ),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn put(asked: Asked, body: Posted) -> Answer {
    let acting = named(&asked).await?;
    let policy = policy(&asked)?;
    let mut fields = body.fields()?;
    let limit = fields.required("limit", read::integer(1..=highest(&asked, policy)));
    let window = fields.required("window", read::parsed(NAME_CHARS, str::parse::<WindowLength>));
    let ttl = fields.optional("ttl_s", read::integer(1..=OVERRIDE_TTL_MAX.as_secs()));
    let rate = fields.finish(|| Some(PolicyRate { limit: limit?, window: window? }))?;
    let ends_at = asked.at.after(ttl.map_or(OVERRIDE_TTL, Duration::from_secs));
    let new = Override { policy, rate, created_at: asked.at, ends_at };
    let made = asked.edge.store.put_override(acting.id(), new, asked.at).await?;
    audit::override_set(&asked.caller, &acting.tenant, &new);
    Ok(answer::made_or_changed(made, &View::of(&new)))
}

/// End an override before its time
#[utoipa::path(
    delete, path = "/quotas/{tenant}/overrides/{policy}", operation_id = "deleteOverride", tag = "Limits",
    security(("key" = ["quotas:write"])),
    responses((status = 204, description = "It has ended.")),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn delete(asked: Asked) -> Answer {
    let acting = named(&asked).await?;
    let policy = policy(&asked)?;
    asked.params().finish()?;
    if !asked.edge.store.delete_override(acting.id(), policy, asked.at).await? {
        return Err(Problem::not_found("override"));
    }
    audit::override_ended(&asked.caller, &acting.tenant, policy);
    Ok(answer::nothing())
}

/// The highest limit that an override may have: the ceiling is one of events and calls.
fn highest(asked: &Asked, policy: Policy) -> u64 {
    match policy {
        Policy::BytesPerMinute => QUOTA_MAX,
        _ => asked.edge.settings.override_ceiling.into(),
    }
}

/// A tenant's overrides in force, as they are shown.
pub(super) fn shown(tenant: &Tenant, now: Timestamp) -> Vec<View> {
    tenant.overrides_at(now).map(View::of).collect()
}

async fn named(asked: &Asked) -> Result<Acting, Problem> {
    asked.caller.must_be_operator(Scope::QuotasWrite)?;
    asked.tenant(Scope::QuotasWrite).await
}

/// The policy that the path names: one of a tenant's own, as only such a one can be another for it.
fn policy(asked: &Asked) -> Result<Policy, Problem> {
    let named = asked.param("policy").and_then(Policy::from_name).filter(|policy| policy.is_a_tenants());
    named.ok_or_else(|| {
        let known = Policy::ALL.iter().filter(|policy| policy.is_a_tenants()).map(|policy| policy.name());
        let known = known.collect::<Vec<_>>().join(", ");
        Problem::new(Code::NotFound, format!("a tenant has no such policy; it has {known}"))
    })
}

/// A rate in place of the one that the tenant has otherwise.
#[derive(Serialize, ToSchema)]
#[schema(as = Override, example = json!({
    "policy": "events", "limit": 500, "window": "10 s", "created_at": "2026-01-31T12:00:00.000Z", "ends_at": "2026-01-31T13:00:00.000Z"
}))]
pub(super) struct View {
    #[schema(value_type = words::PolicyName)]
    policy: &'static str,
    limit: u32,
    window: WindowLength,
    created_at: Timestamp,
    /// From then on it counts no more.
    ends_at: Timestamp,
}

impl View {
    fn of(one: &Override) -> Self {
        let Override { policy, rate: PolicyRate { limit, window }, created_at, ends_at } = *one;
        Self { policy: policy.name(), limit, window, created_at, ends_at }
    }
}
