//! The tenants that this dispatcher serves.

use std::collections::HashMap;
use std::sync::Arc;

use fairhook_common::ids::TenantId;
use fairhook_common::queue::QueueAddress;
use fairhook_common::store::RosterTenant;

use super::prefetch::Prefetch;
use super::subscriptions::Subscriptions;
use crate::schedule::Moment;

/// What is known of a tenant beside what the scheduler knows.
#[derive(Debug)]
pub struct Tenant {
    /// For people.
    pub slug: Arc<str>,
    /// This dispatcher's share of its concurrent deliveries.
    pub share: u32,
    /// Deliveries that ended well here since the start.
    pub delivered: u64,
    /// Deliveries that died here since the start.
    pub dead: u64,
    address: QueueAddress,
    prefetch: Prefetch,
}

/// All of them, with the subscriptions that follow from them.
#[derive(Debug)]
pub struct Tenants {
    by_id: HashMap<TenantId, Tenant>,
    subscriptions: Arc<Subscriptions>,
    /// No share is larger: what is fetched and claimed ahead follows from it, and a quota may be any number.
    largest_share: u32,
}

impl Tenants {
    /// None; `subscriptions` is told what they need. No tenant can have more than `slots` in flight.
    pub fn new(subscriptions: Arc<Subscriptions>, slots: usize) -> Self {
        let largest_share = u32::try_from(slots).unwrap_or(u32::MAX).max(1);
        Self { by_id: HashMap::new(), subscriptions, largest_share }
    }

    /// A tenant is new or has changed; its share is all of its concurrency, for there is one dispatcher. (With several, this is
    /// where a share becomes a part.)
    pub fn put(&mut self, changed: &RosterTenant) -> &Tenant {
        let address = QueueAddress { tenant: changed.id, name: Arc::clone(&changed.queue) };
        let tenant = self.by_id.entry(changed.id).or_insert_with(|| Tenant {
            slug: Arc::clone(&changed.slug),
            share: 0,
            delivered: 0,
            dead: 0,
            address: address.clone(),
            prefetch: Prefetch::idle(),
        });
        tenant.slug = Arc::clone(&changed.slug);
        let share = changed.max_concurrent.min(self.largest_share);
        if tenant.share != share || tenant.address != address {
            tenant.share = share;
            tenant.address = address;
            tenant.subscribe(&self.subscriptions);
        }
        tenant
    }

    /// A tenant is gone, and its queue with it.
    pub fn remove(&mut self, gone: &RosterTenant) {
        self.by_id.remove(&gone.id);
        self.subscriptions.delete(QueueAddress { tenant: gone.id, name: Arc::clone(&gone.queue) });
    }

    /// A message of the tenant's came. Returns whether it is served here.
    pub fn message(&mut self, tenant: TenantId, now: Moment) -> bool {
        let Some(tenant) = self.by_id.get_mut(&tenant) else { return false };
        if tenant.prefetch.message(now) {
            tenant.subscribe(&self.subscriptions);
        }
        true
    }

    /// Time has passed: who has had no message for long is fetched less for.
    pub fn tick(&mut self, now: Moment) {
        for tenant in self.by_id.values_mut() {
            if tenant.prefetch.tick(now) {
                tenant.subscribe(&self.subscriptions);
            }
        }
    }

    /// A tenant, if it is served here.
    pub fn get(&self, tenant: TenantId) -> Option<&Tenant> {
        self.by_id.get(&tenant)
    }

    /// A tenant, if it is served here.
    pub fn get_mut(&mut self, tenant: TenantId) -> Option<&mut Tenant> {
        self.by_id.get_mut(&tenant)
    }

    /// Every one.
    pub fn iter(&self) -> impl Iterator<Item = (TenantId, &Tenant)> {
        self.by_id.iter().map(|(id, tenant)| (*id, tenant))
    }
}

impl Tenant {
    fn subscribe(&self, subscriptions: &Subscriptions) {
        subscriptions.want(self.address.clone(), self.prefetch.size(self.share));
    }
}
