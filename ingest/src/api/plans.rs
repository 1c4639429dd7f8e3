//! Plans, for operators.

use std::str::FromStr;

use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::plan::{Plan, PlanChanges, PlanName};
use fairhook_common::policy::{PolicyRate, WindowLength};
use fairhook_common::store::Page;
use fairhook_common::tenant::{DlqOverflow, QuotaChanges};
use fairhook_common::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::body::Posted;
use super::json::{Fields, Read};
use super::limit_fields::Null;
use super::openapi::requests;
use super::page::{self, Listed};
use super::problem::{Fault, Problem};
use super::tenant::Asked;
use super::{audit, limit_fields, read};

/// Make a plan, or change what is named of it
///
/// What is not named stays, or is the starter's in a plan that is made. It is in force for every tenant of the plan within a
/// second, but for what is the tenant's own. None is deleted.
#[utoipa::path(
    put, path = "/plans/{plan}", operation_id = "putPlan", tag = "Limits",
    security(("key" = ["quotas:write"])),
    request_body = requests::PutPlan,
    responses(
        (status = 201, description = "Made.", body = View),
        (status = 200, description = "Changed.", body = View)
    ),
    extensions(("x-problems" = json!(["operator_required", "limit_reached"])))
)]
pub(super) async fn put(asked: Asked, body: Posted) -> Answer {
    asked.caller.must_be_operator(Scope::QuotasWrite)?;
    let name = asked.param("plan").unwrap_or_default().parse::<PlanName>();
    let name = name.map_err(|why| Problem::invalid(vec![Fault::of_parameter("plan", why)]))?;
    let mut fields = body.fields()?;
    let weight = fields.set("weight", read::integer(1..=limits::TENANT_WEIGHT_MAX));
    let limits = limit_fields::read(&mut fields, Null::Refused).over(QuotaChanges::default());
    let tier = fields.set("tier", tier);
    let changes = fields.finish(|| {
        let (tier_limit, tier_window) = tier.unwrap_or_default();
        Some(PlanChanges { weight, limits, tier_limit, tier_window })
    })?;
    let (plan, made) = asked.edge.store.put_plan(name, changes, asked.at).await?;
    audit::plan_put(&asked.caller, &plan, made);
    Ok(answer::made_or_changed(made, &View::of(&plan)))
}

/// Read a plan
///
/// For operators with `quotas:write` too.
#[utoipa::path(
    get, path = "/plans/{plan}", operation_id = "getPlan", tag = "Limits",
    security(("key" = ["events:read"])),
    responses((status = 200, description = "The plan.", body = View)),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn get(asked: Asked) -> Answer {
    may_read(&asked)?;
    asked.params().finish()?;
    // What cannot be a name is no plan's.
    let name: PlanName = asked.id("plan")?;
    let plan = asked.edge.store.find_plan(&name).await?;
    Ok(answer::ok(&View::of(&plan.ok_or_else(|| Problem::not_found("plan"))?)))
}

/// List all plans
///
/// For operators with `quotas:write` too. They are few: at most 100.
#[utoipa::path(
    get, path = "/plans", operation_id = "listPlans", tag = "Limits",
    security(("key" = ["events:read"])),
    responses((status = 200, description = "All of them.", body = Listed<View>)),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn list(asked: Asked) -> Answer {
    may_read(&asked)?;
    asked.params().finish()?;
    let plans = asked.edge.store.list_plans().await?;
    Ok(page::answer(Page { items: plans, next: None }, |plan| View::of(&plan)))
}

fn may_read(asked: &Asked) -> Result<(), Problem> {
    let scope = if asked.caller.has(Scope::QuotasWrite) { Scope::QuotasWrite } else { Scope::EventsRead };
    asked.caller.must_be_operator(scope)
}

/// `{limit, window}`, or either.
fn tier(value: &serde_json::value::RawValue) -> Read<(Option<u32>, Option<WindowLength>)> {
    let mut tier = Fields::nested(value, String::new())?;
    let limit = tier.set("limit", read::integer(1..=limits::QUOTA_MAX));
    let window = tier.set("window", read::parsed(limits::SHOWN_NAME_CHARS, WindowLength::from_str));
    tier.finish_nested(|| Some((limit, window)))
}

/// What tenants may use where nothing of their own is set.
#[derive(Serialize, ToSchema)]
#[schema(as = Plan, example = json!({
    "name": "starter", "weight": 1, "limits": {
        "max_events_per_sec": 100, "burst": 1000, "max_concurrent_deliveries": 50, "max_dlq_size": 100,
        "max_backlog": 100000, "max_endpoints": 50
    },
    "dlq_overflow": "drop_oldest", "tier": {"limit": 50, "window": "10 s"}, "changed_at": "2026-01-31T12:00:00.000Z"
}))]
struct View {
    name: PlanName,
    /// The share of dispatch time, relative to other tenants.
    weight: u32,
    limits: limit_fields::Shown,
    /// What happens to a dead letter over the cap.
    dlq_overflow: DlqOverflow,
    /// Other calls than events, of a tenant from one address.
    tier: PolicyRate,
    changed_at: Timestamp,
}

impl View {
    fn of(plan: &Plan) -> Self {
        Self {
            name: plan.name.clone(),
            weight: plan.weight,
            limits: limit_fields::Shown::of(&plan.limits),
            dlq_overflow: plan.limits.dlq_overflow,
            tier: plan.tier,
            changed_at: plan.changed_at,
        }
    }
}
