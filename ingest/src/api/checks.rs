//! `POST /limits/{policy}/check`: an operator's own forms and logins behind the same limiter.

use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::policy::{Configured, Policy};
use fairhook_common::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::body::Posted;
use super::limiting::Decided;
use super::openapi::requests;
use super::problem::Problem;
use super::read;
use super::tenant::Asked;
use crate::limiter::key::Key;

/// Ask the limiter
///
/// For forms and logins of an operator's own: takes `cost` of what `key` may ask under a policy that is the same for all.
#[utoipa::path(
    post, path = "/limits/{policy}/check", operation_id = "checkLimit", tag = "Limits",
    security(("key" = ["quotas:write"])),
    request_body = requests::Check,
    responses((status = 200, description = "Decided: `allowed` says whether it may.", body = View)),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn check(asked: Asked, body: Posted) -> Answer {
    asked.caller.must_be_operator(Scope::QuotasWrite)?;
    let named = asked.param("policy").and_then(Policy::from_name);
    let policy = named.ok_or_else(|| Problem::not_found("policy"))?;
    let Configured::Rate(rate) = asked.edge.limiter.rates.of(policy) else {
        return Err(Problem::not_found("rate of this policy that is the same for all"));
    };
    let mut fields = body.fields()?;
    let key = fields.required("key", read::text(limits::CHECK_KEY_CHARS));
    let cost = fields.optional("cost", read::integer(1..=u64::from(rate.limit)));
    let (key, cost) = fields.finish(|| Some((key?, cost.unwrap_or(1))))?;
    let mut decided = Decided::default();
    let decision = decided.take(&asked.edge.limiter, policy, &Key::named(&key), rate, cost).await;
    let mut response = answer::ok(&View {
        allowed: decision.allowed,
        limit: decision.limit,
        remaining: decision.remaining,
        reset: decision.reset,
    });
    decided.leave(&mut response);
    Ok(response)
}

/// What the limiter decided.
#[derive(Serialize, ToSchema)]
#[schema(as = Decision, example = json!({"allowed": true, "limit": 5, "remaining": 4, "reset": "2026-01-31T13:00:00.000Z"}))]
struct View {
    allowed: bool,
    limit: u32,
    remaining: u32,
    /// When there is more.
    reset: Timestamp,
}
