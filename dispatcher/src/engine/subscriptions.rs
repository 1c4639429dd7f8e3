//! Which queues are wanted, and how far they are fetched ahead. The engine writes it, the intake makes it so: a wanted
//! state instead of commands, so that nothing is lost when the queue is, and neither of the two ever waits for the other.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fairhook_common::ids::TenantId;
use fairhook_common::queue::QueueAddress;
use tokio::sync::Notify;

/// The wanted subscriptions.
#[derive(Debug, Default)]
pub struct Subscriptions {
    wanted: Mutex<Wanted>,
    changed: Notify,
    deletable: Notify,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Subscribe, or change the prefetch.
    Subscribe(QueueAddress, u32),
    /// Others serve the tenant, or it is gone.
    Unsubscribe(TenantId),
}

#[derive(Debug, Default)]
struct Wanted {
    queues: HashMap<TenantId, (QueueAddress, u32)>,
    /// Tenants that are gone, while their subscription is ended.
    gone: HashMap<TenantId, QueueAddress>,
    /// Wanted once, and by this dispatcher not any more.
    left: HashSet<TenantId>,
    /// Tenants whose change the intake has not taken yet.
    dirty: BTreeSet<TenantId>,
    /// Tenants whose change it has taken and not done: the next one has to wait.
    changing: HashSet<TenantId>,
    /// Nobody here consumes these any more, nor will.
    to_delete: VecDeque<QueueAddress>,
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

    /// From now on no queue is wanted here.
    pub fn leave_all(&self) {
        let mut wanted = self.lock();
        let wanted = &mut *wanted;
        for (tenant, _) in wanted.queues.drain() {
            wanted.dirty.insert(tenant);
            wanted.left.insert(tenant);
        }
    }

    /// From now on the tenant's queue is not wanted any more, by anybody: it is deleted once it is not consumed here.
    pub fn delete(&self, address: QueueAddress) {
        let mut wanted = self.lock();
        wanted.queues.remove(&address.tenant);
        wanted.dirty.insert(address.tenant);
        wanted.left.insert(address.tenant);
        wanted.gone.insert(address.tenant, address);
        drop(wanted);
        self.changed.notify_one();
    }

    /// Waits until there may be something to take.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The next thing to do, until [`Self::done`] or [`Self::undone`] nothing else of the same tenant's; `None`: all is, or
    /// is about to be, as it is wanted.
    pub fn take(&self) -> Option<Change> {
        let mut wanted = self.lock();
        let next = |wanted: &Wanted| wanted.dirty.iter().find(|one| !wanted.changing.contains(one)).copied();
        while let Some(tenant) = next(&wanted) {
            wanted.dirty.remove(&tenant);
            let left = wanted.left.remove(&tenant);
            let change = match wanted.queues.get(&tenant) {
                Some((address, prefetch)) => Change::Subscribe(address.clone(), *prefetch),
                None if left => Change::Unsubscribe(tenant),
                None => continue,
            };
            wanted.changing.insert(tenant);
            return Some(change);
        }
        None
    }

    /// What was taken is done.
    pub fn done(&self, change: &Change) {
        let mut wanted = self.lock();
        let tenant = change.tenant();
        wanted.changing.remove(&tenant);
        let is_ended = matches!(change, Change::Unsubscribe(_)) && !wanted.left.contains(&tenant);
        if is_ended && let Some(address) = wanted.gone.remove(&tenant) {
            wanted.to_delete.push_back(address);
            self.deletable.notify_one();
        }
    }

    /// What was taken could not be done: it is to be taken again.
    pub fn undone(&self, change: &Change) {
        let mut wanted = self.lock();
        let tenant = change.tenant();
        wanted.changing.remove(&tenant);
        if matches!(change, Change::Unsubscribe(_)) && !wanted.queues.contains_key(&tenant) {
            wanted.left.insert(tenant);
        }
        wanted.dirty.insert(tenant);
    }

    /// A new consumer knows nothing: everything is to be taken again.
    pub fn all_undone(&self) {
        let mut wanted = self.lock();
        let wanted = &mut *wanted;
        wanted.changing.clear();
        wanted.left = wanted.gone.keys().copied().collect();
        wanted.dirty.extend(wanted.queues.keys().chain(wanted.gone.keys()));
    }

    /// The next queue to delete.
    pub async fn to_delete(&self) -> QueueAddress {
        loop {
            if let Some(address) = self.lock().to_delete.pop_front() {
                return address;
            }
            self.deletable.notified().await;
        }
    }

    /// It could not be deleted: after the others it is to be tried again.
    pub fn delete_later(&self, address: QueueAddress) {
        self.lock().to_delete.push_back(address);
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        // Every change is whole before anything can panic.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change {
    fn tenant(&self) -> TenantId {
        match self {
            Self::Subscribe(address, _) => address.tenant,
            Self::Unsubscribe(tenant) => *tenant,
        }
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
        subscriptions.undone(&change);
        assert_eq!(subscriptions.take(), Some(change.clone()));
        subscriptions.all_undone();
        assert_eq!(subscriptions.take(), Some(change));
    }

    #[test]
    fn a_tenants_changes_are_done_one_after_another() {
        let (subscriptions, tenant, other) =
            (Subscriptions::default(), TenantId::generate(), TenantId::generate());
        subscriptions.want(address(tenant), 8);
        let first = subscriptions.take().expect("it is wanted");
        subscriptions.want(address(tenant), 9);
        assert_eq!(subscriptions.take(), None, "the first is under way");
        subscriptions.want(address(other), 8);
        assert_eq!(subscriptions.take(), Some(Change::Subscribe(address(other), 8)), "nobody waits for it");
        subscriptions.done(&first);
        assert_eq!(subscriptions.take(), Some(Change::Subscribe(address(tenant), 9)));
    }

    #[tokio::test]
    async fn a_queue_is_deleted_once_it_is_not_consumed_here() {
        let (subscriptions, tenant) = (Subscriptions::default(), TenantId::generate());
        subscriptions.want(address(tenant), 8);
        let subscribe = subscriptions.take().expect("it is wanted");
        subscriptions.delete(address(tenant));
        subscriptions.undone(&subscribe);
        let unsubscribe = subscriptions.take().expect("it is gone");
        assert_eq!(unsubscribe, Change::Unsubscribe(tenant), "and not subscribed again");
        subscriptions.all_undone();
        assert_eq!(subscriptions.take(), Some(unsubscribe.clone()), "a new consumer may come meanwhile");
        subscriptions.done(&unsubscribe);
        assert_eq!(subscriptions.to_delete().await, address(tenant));
        subscriptions.delete_later(address(tenant));
        assert_eq!(subscriptions.to_delete().await, address(tenant));
        assert_eq!(subscriptions.take(), None);
    }

    #[test]
    fn what_others_serve_is_left_to_them_and_may_be_wanted_again() {
        let (subscriptions, tenant) = (Subscriptions::default(), TenantId::generate());
        subscriptions.leave(tenant);
        assert_eq!(subscriptions.take(), None, "it was never wanted");
        subscriptions.want(address(tenant), 8);
        let subscribe = subscriptions.take().expect("it is wanted");
        subscriptions.done(&subscribe);
        subscriptions.leave(tenant);
        let leave = subscriptions.take().expect("a change");
        assert_eq!(leave, Change::Unsubscribe(tenant));
        subscriptions.undone(&leave);
        assert_eq!(subscriptions.take(), Some(leave.clone()));
        subscriptions.undone(&leave);
        subscriptions.all_undone();
        assert_eq!(subscriptions.take(), None, "a new consumer has no subscription to end");
        subscriptions.leave(tenant);
        subscriptions.want(address(tenant), 9);
        subscriptions.undone(&leave);
        assert_eq!(subscriptions.take(), Some(Change::Subscribe(address(tenant), 9)));
        assert_eq!(subscriptions.take(), None);
    }
}
