//! What is told of a change, out of its result.

use crate::ids::TenantId;
use crate::store::Change;

/// What is told of a tenant's change.
pub(in crate::store) fn of<T>(tenant: TenantId) -> impl Fn(&T) -> Vec<Change> + Send + Sync + 'static {
    move |_| vec![Change::Tenant(tenant)]
}

/// The same; and if deliveries may go on from now on, that too.
pub(in crate::store) fn of_opened<T>(
    tenant: TenantId,
    opened: bool,
) -> impl Fn(&T) -> Vec<Change> + Send + Sync + 'static {
    move |_| {
        let due = opened.then_some(Change::Due(tenant));
        [Change::Tenant(tenant)].into_iter().chain(due).collect()
    }
}

/// What is told of a change that may have found nothing.
pub(in crate::store) fn if_found(change: Change) -> impl Fn(&bool) -> Vec<Change> + Send + Sync + 'static {
    move |found| found.then_some(change).into_iter().collect()
}

/// What is told of a key.
pub(in crate::store) fn of_key(owner: Option<TenantId>) -> Change {
    owner.map_or(Change::OperatorKeys, Change::Tenant)
}
