//! How tenants fare: `GET /stats` of one, `GET /top` of the busiest.

use std::collections::HashMap;

use fairhook_common::activity::{Board, Figures};
use fairhook_common::condition::Condition;
use fairhook_common::ids::TenantId;
use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::store::{PageRequest, Surveyed, Which};
use fairhook_common::tenant::Dispatch;
use fairhook_common::time::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::problem::{Code, Problem};
use super::tenant::Asked;

/// `GET /tenants/{tenant}/stats`: the figures of one tenant, with the conditions that it is in.
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

/// `GET /top`: the busiest tenants and those that are in a condition or wait because of others, for operators.
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
    Ok(answer::ok(&json!({
        "at": asked.at,
        "slots": board.slots,
        "slots_used": board.used(),
        "active_tenants": board.active(),
        "tenants": rows,
    })))
}

/// As much as a page holds: a tenant with more conditions than that has one that matters.
fn most() -> PageRequest {
    PageRequest { limit: limits::PAGE_ITEMS, ..PageRequest::default() }
}

#[derive(Serialize)]
struct Shown {
    tenant_id: TenantId,
    tenant: String,
    at: Timestamp,
    dispatch: Dispatch,
    #[serde(flatten)]
    figures: Figures,
    conditions: Vec<Value>,
}

impl Shown {
    fn of(stored: &Surveyed, board: &Board, at: Timestamp, held: Vec<&Condition>) -> Self {
        Self {
            tenant_id: stored.tenant,
            tenant: stored.slug.clone(),
            at,
            dispatch: stored.dispatch,
            figures: Figures::of(stored, board, at),
            conditions: held.into_iter().map(Condition::to_json).collect(),
        }
    }
}
