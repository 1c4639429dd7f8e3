//! Where tenants' queues are, for those who look after them beside the engine.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fairhook_common::ids::TenantId;
use fairhook_common::queue::QueueAddress;

/// The queues of all tenants.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<TenantId, (QueueAddress, bool)>>);

impl Places {
    /// A tenant's queue is there; `is_ours`: this dispatcher is the one that looks after it.
    pub fn put(&self, address: QueueAddress, is_ours: bool) {
        self.lock().insert(address.tenant, (address, is_ours));
    }

    /// A tenant is gone.
    pub fn remove(&self, tenant: TenantId) {
        self.lock().remove(&tenant);
    }

    /// A tenant's queue, if the tenant is known.
    pub fn of(&self, tenant: TenantId) -> Option<QueueAddress> {
        self.lock().get(&tenant).map(|(address, _)| address.clone())
    }

    /// The queues that this dispatcher looks after.
    pub fn ours(&self) -> Vec<QueueAddress> {
        self.lock().values().filter(|(_, is_ours)| *is_ours).map(|(address, _)| address.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, (QueueAddress, bool)>> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
