//! What a change makes of a tenant.

use crate::ids::{TenantId, base32};
use crate::plan::Plan;
use crate::store::{NewTenant, TenantChanges};
use crate::tenant::{Dispatch, Ingest, QuotaChanges, Tenant, TenantStatus};
use crate::time::Timestamp;

/// The end of an id that goes into the name of a queue: enough to tell the tenants of one slug apart.
const QUEUE_ID_CHARS: usize = 8;

/// A new tenant of `plan`, with the name of its queue.
pub(in crate::store) fn made(id: TenantId, new: NewTenant, plan: Plan, now: Timestamp) -> Tenant {
    let text = base32(id.uuid());
    let queue = format!("fairhook.tenant.{}.{}", new.slug, &text[text.len() - QUEUE_ID_CHARS..]);
    Tenant {
        id,
        slug: new.slug,
        name: new.name,
        plan,
        weight: new.weight,
        metadata: new.metadata,
        status: TenantStatus::Active,
        ingest: Ingest::Open,
        dispatch: Dispatch::Open,
        reason: None,
        quota: QuotaChanges::default(),
        overrides: Vec::new(),
        queue,
        created_at: now,
        updated_at: now,
    }
}

/// The tenant with what can be set of it replaced.
pub(in crate::store) fn replaced(tenant: &Tenant, new: NewTenant, plan: Plan) -> Tenant {
    Tenant { name: new.name, plan, weight: new.weight, metadata: new.metadata, ..tenant.clone() }
}

/// The tenant with what `changes` names replaced; `plan` is the one that it names.
pub(in crate::store) fn changed(tenant: &Tenant, changes: TenantChanges, plan: Option<Plan>) -> Tenant {
    let mut wanted = tenant.clone();
    replace(&mut wanted.name, changes.name);
    replace(&mut wanted.plan, plan);
    replace(&mut wanted.weight, changes.weight);
    replace(&mut wanted.metadata, changes.metadata);
    replace(&mut wanted.ingest, changes.ingest);
    replace(&mut wanted.dispatch, changes.dispatch);
    let switched = changes.ingest.is_some() || changes.dispatch.is_some();
    if switched && (wanted.ingest, wanted.dispatch) == (Ingest::Open, Dispatch::Open) {
        wanted.reason = None;
    }
    replace(&mut wanted.reason, changes.reason);
    wanted.quota = changes.quota.over(wanted.quota);
    wanted
}

/// Whether the two differ in what a dispatcher must know.
pub(in crate::store) fn differ_for_dispatchers(old: &Tenant, new: &Tenant) -> bool {
    let known =
        |tenant: &Tenant| (tenant.effective_weight(), tenant.limits(), tenant.dispatch, tenant.status);
    // Of another plan with the same limits: a dispatcher that has not heard of the last change of the old one would not hear of
    // it through the new one.
    known(old) != known(new) || old.plan.name != new.plan.name
}

fn replace<T>(value: &mut T, wanted: Option<T>) {
    if let Some(wanted) = wanted {
        *value = wanted;
    }
}
