//! Which queues are wanted, and how far they are fetched ahead. The engine writes it, the intake makes it so: a wanted
//! state instead of commands, so that nothing is lost when the queue is, and neither of the two ever waits for the other.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fairhook_common::ids::TenantId;
use fairhook_common::queue::QueueAddress;
use tokio::sync::Notify;

/// The wanted subscriptions.
#[derive(Debug, Default)]
pub struct Subscriptions {
    wanted: Mutex<Wanted>,
    changed: Notify,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Subscribe, or change the prefetch.
    Subscribe(QueueAddress, u32),
    /// Others serve the tenant.
    Unsubscribe(TenantId),
    /// The tenant is gone: unsubscribe, and delete its queue.
    Delete(QueueAddress),
}

#[derive(Debug, Default)]
struct Wanted {
    queues: HashMap<TenantId, (QueueAddress, u32)>,
    gone: HashMap<TenantId, QueueAddress>,
    /// Wanted once, and by this dispatcher not any more.
    left: HashSet<TenantId>,
    /// Tenants whose change the intake has not taken yet.
    dirty: BTreeSet<TenantId>,
}

impl Subscriptions {
    /// From now on the tenant's queue is wanted, with this prefetch.
    pub fn want(&self, address: QueueAddress, prefetch: u32) {
        let mut wanted = self.lock();
        wanted.gone.remove(&address.tenant);
        wanted.left.remove(&address.tenant);
        wanted.dirty.insert(address.tenant);
        wanted.queues.insert(address.tenant, (address, prefetch));
        drop(wanted);
        self.changed.notify_one();
    }

    /// From now on the tenant's queue is not wanted here; it stays for others.
    pub fn leave(&self, tenant: TenantId) {
        let mut wanted = self.lock();
        if wanted.queues.remove(&tenant).is_some() {
            wanted.dirty.insert(tenant);
            wanted.left.insert(tenant);
            drop(wanted);
            self.changed.notify_one();
        }
    }

    /// From now on the tenant's queue is not wanted any more, by anybody.
    pub fn delete(&self, address: QueueAddress) {
        let mut wanted = self.lock();
        wanted.queues.remove(&address.tenant);
        wanted.dirty.insert(address.tenant);
        wanted.gone.insert(address.tenant, address);
        drop(wanted);
        self.changed.notify_one();
    }

    /// Waits until there may be something to take.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The next thing to do; `None`: all is as it is wanted.
    pub fn take(&self) -> Option<Change> {
        let mut wanted = self.lock();
        while let Some(tenant) = wanted.dirty.pop_first() {
            if let Some((address, prefetch)) = wanted.queues.get(&tenant) {
                return Some(Change::Subscribe(address.clone(), *prefetch));
            }
            let left = wanted.left.remove(&tenant);
            if let Some(address) = wanted.gone.remove(&tenant) {
                return Some(Change::Delete(address));
            }
            if left {
                return Some(Change::Unsubscribe(tenant));
            }
        }
        None
    }

    /// What was taken could not be done, or is undone: it is to be taken again.
    pub fn undone(&self, change: Change) {
        let mut wanted = self.lock();
        match change {
            Change::Subscribe(address, _) => wanted.dirty.insert(address.tenant),
            Change::Unsubscribe(tenant) if !wanted.queues.contains_key(&tenant) => {
                wanted.left.insert(tenant);
                wanted.dirty.insert(tenant)
            }
            Change::Unsubscribe(_) => false,
            Change::Delete(address) if !wanted.queues.contains_key(&address.tenant) => {
                wanted.gone.insert(address.tenant, address.clone());
                wanted.dirty.insert(address.tenant)
            }
            Change::Delete(_) => false,
        };
    }

    /// A new consumer knows nothing: everything is to be taken again.
    pub fn all_undone(&self) {
        let mut wanted = self.lock();
        let wanted = &mut *wanted;
        wanted.dirty.extend(wanted.queues.keys());
        wanted.left.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        // Every change is whole before anything can panic.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(tenant: TenantId) -> QueueAddress {
        QueueAddress { tenant, name: "fairhook.tenant.a".into() }
    }

    #[test]
    fn the_last_wish_counts_and_what_failed_comes_again() {
        let (subscriptions, tenant) = (Subscriptions::default(), TenantId::generate());
        subscriptions.want(address(tenant), 8);
        subscriptions.want(address(tenant), 82);
        let change = subscriptions.take().expect("it is wanted");
        assert_eq!(change, Change::Subscribe(address(tenant), 82));
        assert_eq!(subscriptions.take(), None);
        subscriptions.undone(change.clone());
        assert_eq!(subscriptions.take(), Some(change.clone()));
        subscriptions.all_undone();
        assert_eq!(subscriptions.take(), Some(change.clone()));

        subscriptions.delete(address(tenant));
        let delete = subscriptions.take().expect("it is gone");
        assert_eq!(delete, Change::Delete(address(tenant)));
        subscriptions.undone(change);
        assert_eq!(subscriptions.take(), None, "a deleted queue is not subscribed again");
        subscriptions.undone(delete.clone());
        assert_eq!(subscriptions.take(), Some(delete));
    }

    #[test]
    fn what_others_serve_is_left_to_them_and_may_be_wanted_again() {
        let (subscriptions, tenant) = (Subscriptions::default(), TenantId::generate());
        subscriptions.leave(tenant);
        assert_eq!(subscriptions.take(), None, "it was never wanted");
        subscriptions.want(address(tenant), 8);
        subscriptions.take();
        subscriptions.leave(tenant);
        let leave = subscriptions.take().expect("a change");
        assert_eq!(leave, Change::Unsubscribe(tenant));
        subscriptions.undone(leave.clone());
        assert_eq!(subscriptions.take(), Some(leave.clone()));
        subscriptions.undone(leave.clone());
        subscriptions.all_undone();
        assert_eq!(subscriptions.take(), None, "a new consumer has no subscription to end");
        subscriptions.leave(tenant);
        subscriptions.want(address(tenant), 9);
        subscriptions.undone(leave);
        assert_eq!(subscriptions.take(), Some(Change::Subscribe(address(tenant), 9)));
        assert_eq!(subscriptions.take(), None);
    }
}
