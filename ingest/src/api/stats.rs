//! How tenants fare: `GET /stats` of one, `GET /top` of the busiest.

use std::collections::HashMap;

use fairhook_common::activity::{Board, Figures};
use fairhook_common::condition::{Condition, ShownCondition};
use fairhook_common::ids::TenantId;
use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::store::{PageRequest, Surveyed, Which};
use fairhook_common::tenant::Dispatch;
use fairhook_common::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::problem::{Code, Problem};
use super::tenant::Asked;

/// Read how a tenant fares
///
/// Rates are over the last ten seconds.
#[utoipa::path(
    get, path = "/stats", operation_id = "getStats", tag = "Health of tenants",
    security(("key" = ["events:read"])),
    responses((status = 200, description = "Its figures, and the conditions that it is in.", body = Shown))
)]
pub(super) async fn one(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EventsRead).await?;
    asked.params().finish()?;
    let store = &asked.edge.store;
    let board = Board::of(&store.activities(asked.at).await?);
    let stored = store.survey(Which::These(vec![acting.id()])).await?.pop();
    let gone = || Problem::new(Code::UnknownTenant, "the tenant is being deleted");
    let stored = stored.ok_or_else(gone)?;
    let held = store.conditions(Some(acting.id()), &most()).await?.items;
    Ok(answer::ok(&Shown::of(&stored, &board, asked.at, held.iter().collect())))
}

/// List the busiest tenants
///
/// And all that wait because of others or are in a condition, the most slot time first.
#[utoipa::path(
    get, path = "/top", operation_id = "getTop", tag = "Health of tenants",
    security(("key" = ["events:read"])),
    responses((status = 200, description = "The tenants in figures.", body = Top)),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn top(asked: Asked) -> Answer {
    asked.caller.must_be_operator(Scope::EventsRead)?;
    asked.params().finish()?;
    let store = &asked.edge.store;
    let board = Board::of(&store.activities(asked.at).await?);
    let held = store.conditions(None, &most()).await?.items;
    let mut by_tenant: HashMap<TenantId, Vec<&Condition>> = HashMap::new();
    for condition in &held {
        by_tenant.entry(condition.key.tenant).or_default().push(condition);
    }
    let mut named: Vec<_> = board.busiest(limits::TOP_TENANTS).into_iter().map(|(id, _)| id).collect();
    let hurt = board.tenants().filter(|(_, seen)| seen.is_hurt()).map(|(id, _)| id);
    for more in hurt.chain(by_tenant.keys().copied()) {
        if named.len() < 2 * limits::TOP_TENANTS && !named.contains(&more) {
            named.push(more);
        }
    }
    let stored = store.survey(Which::These(named)).await?;
    let mut rows: Vec<_> = stored
        .iter()
        .map(|stored| {
            Shown::of(stored, &board, asked.at, by_tenant.remove(&stored.tenant).unwrap_or_default())
        })
        .collect();
    rows.sort_by(|a, b| b.figures.slot_seconds_per_s.total_cmp(&a.figures.slot_seconds_per_s));
    Ok(answer::ok(&Top {
        at: asked.at,
        slots: board.slots,
        slots_used: board.used(),
        active_tenants: board.active(),
        tenants: rows,
    }))
}

/// As much as a page holds: a tenant with more conditions than that has one that matters.
fn most() -> PageRequest {
    PageRequest { limit: limits::PAGE_ITEMS, ..PageRequest::default() }
}

/// The busiest tenants.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"at": "2026-01-31T12:00:00.000Z", "slots": 2000, "slots_used": 14.5, "active_tenants": 2, "tenants": []}))]
struct Top {
    at: Timestamp,
    /// Deliveries that all dispatchers can have in flight.
    slots: u64,
    /// Of these in use, on average.
    slots_used: f64,
    active_tenants: u64,
    tenants: Vec<Shown>,
}

/// A tenant in figures.
#[derive(Serialize, ToSchema)]
#[schema(as = TenantStats, example = json!({
    "tenant_id": "ten_01kz0z5m4he58vf3j2c4q9w7xd", "tenant": "acme", "at": "2026-01-31T12:00:00.000Z", "dispatch": "open",
    "events_per_s": 12.5, "throttled_per_s": 0.0, "deliveries_per_s": 24.0, "attempts_per_s": 25.0, "error_rate": 0.04,
    "in_flight": 3, "waiting": 20, "oldest_age_s": 1.5, "slot_seconds_per_s": 2.9, "slot_share": 0.2, "fair_share": 0.5,
    "loudness": 0.4, "dispatch_delay_ms": 8.2, "dead_per_s": 0.0, "dead_letters": 0, "circuits_open": 0,
    "endpoints_disabled": 0, "held_back": null, "hurt": false, "drain": {"per_s": 2.0, "predicted_s": 11.5},
    "conditions": []
}))]
struct Shown {
    tenant_id: TenantId,
    /// Its slug.
    tenant: String,
    at: Timestamp,
    dispatch: Dispatch,
    #[serde(flatten)]
    figures: Figures,
    /// What is the matter with it.
    conditions: Vec<ShownCondition>,
}

impl Shown {
    fn of(stored: &Surveyed, board: &Board, at: Timestamp, held: Vec<&Condition>) -> Self {
        Self {
            tenant_id: stored.tenant,
            tenant: stored.slug.clone(),
            at,
            dispatch: stored.dispatch,
            figures: Figures::of(stored, board, at),
            conditions: held.into_iter().map(Condition::shown).collect(),
        }
    }
}
