//! Plans, for operators.

use std::str::FromStr;

use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::plan::{Plan, PlanChanges, PlanName};
use fairhook_common::policy::WindowLength;
use fairhook_common::tenant::QuotaChanges;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::body::Posted;
use super::json::{Fields, Read};
use super::limit_fields::Null;
use super::problem::{Fault, Problem};
use super::tenant::Asked;
use super::{audit, limit_fields, read};

/// `PUT /plans/{plan}`: changes what is named of it and nothing else, or makes it; what is not named is then the starter's.
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
    Ok(answer::made_or_changed(made, &shown(&plan)))
}

/// `GET /plans/{plan}`.
pub(super) async fn get(asked: Asked) -> Answer {
    may_read(&asked)?;
    asked.params().finish()?;
    // What cannot be a name is no plan's.
    let name: PlanName = asked.id("plan")?;
    let plan = asked.edge.store.find_plan(&name).await?;
    Ok(answer::ok(&shown(&plan.ok_or_else(|| Problem::not_found("plan"))?)))
}

/// `GET /plans`: all of them, for they are few.
pub(super) async fn list(asked: Asked) -> Answer {
    may_read(&asked)?;
    asked.params().finish()?;
    let plans = asked.edge.store.list_plans().await?;
    let data: Vec<Value> = plans.iter().map(shown).collect();
    Ok(answer::ok(&json!({ "data": data, "next_cursor": null })))
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

fn shown(plan: &Plan) -> Value {
    json!({
        "name": plan.name,
        "weight": plan.weight,
        "limits": limit_fields::shown(&plan.limits),
        "dlq_overflow": plan.limits.dlq_overflow,
        "tier": plan.tier,
        "changed_at": plan.changed_at,
    })
}
