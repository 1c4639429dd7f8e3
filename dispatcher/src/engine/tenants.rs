//! The tenants, and which part of each this dispatcher serves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::ids::TenantId;
use fairhook_common::queue::QueueAddress;
use fairhook_common::store::RosterTenant;

use super::places::Places;
use super::prefetch::Prefetch;
use super::subscriptions::Subscriptions;
use crate::permits::Permits;
use crate::schedule::Moment;

/// What is known of a tenant beside what the scheduler knows.
#[derive(Debug)]
pub struct Tenant {
    /// For people.
    pub slug: Arc<str>,
    /// Its share of dispatch time relative to others.
    pub weight: u32,
    /// Its concurrent deliveries over all dispatchers.
    pub cap: u32,
    /// This dispatcher's share of them. Without any it is not served here.
    pub share: u32,
    /// Deliveries that ended well here since the start.
    pub delivered: u64,
    /// Deliveries that died here since the start.
    pub dead: u64,
    /// Its slot time that has been counted as activity.
    pub metered: Duration,
    address: QueueAddress,
    prefetch: Prefetch,
}

/// All of them, with the subscriptions that follow from them.
#[derive(Debug)]
pub struct Tenants {
    by_id: HashMap<TenantId, Tenant>,
    subscriptions: Arc<Subscriptions>,
    places: Arc<Places>,
    /// No share is larger: what is fetched and claimed ahead follows from it, and a quota may be any number.
    largest_share: u32,
}

impl Tenants {
    /// None; `subscriptions` is told what they need, and `places` where their queues are. No tenant can have more than `slots` in flight.
    pub fn new(subscriptions: Arc<Subscriptions>, places: Arc<Places>, slots: usize) -> Self {
        let largest_share = u32::try_from(slots).unwrap_or(u32::MAX).max(1);
        Self { by_id: HashMap::new(), subscriptions, places, largest_share }
    }

    /// A tenant is new or has changed.
    pub fn put(&mut self, changed: &RosterTenant, permits: &Permits) {
        let address = QueueAddress { tenant: changed.id, name: Arc::clone(&changed.queue) };
        let tenant = self.by_id.entry(changed.id).or_insert_with(|| Tenant {
            slug: Arc::clone(&changed.slug),
            weight: changed.weight,
            cap: changed.max_concurrent,
            share: 0,
            delivered: 0,
            dead: 0,
            metered: Duration::ZERO,
            address: address.clone(),
            prefetch: Prefetch::idle(),
        });
        tenant.slug = Arc::clone(&changed.slug);
        self.places.put(address.clone(), permits.is_first(changed.id));
        (tenant.weight, tenant.cap) = (changed.weight, changed.max_concurrent);
        let share = permits.share(changed.id, tenant.cap).min(self.largest_share);
        if tenant.share != share || tenant.address != address {
            tenant.share = share;
            tenant.address = address;
            tenant.subscribe(&self.subscriptions);
        }
    }

    /// Other dispatchers have come or gone; returns the tenants whose share has changed.
    pub fn share_anew(&mut self, permits: &Permits) -> Vec<TenantId> {
        let mut changed = Vec::new();
        for (id, tenant) in &mut self.by_id {
            self.places.put(tenant.address.clone(), permits.is_first(*id));
            let share = permits.share(*id, tenant.cap).min(self.largest_share);
            if tenant.share != share {
                tenant.share = share;
                tenant.subscribe(&self.subscriptions);
                changed.push(*id);
            }
        }
        changed
    }

    /// A tenant is gone, and its queue with it.
    pub fn remove(&mut self, gone: &RosterTenant) {
        self.by_id.remove(&gone.id);
        self.places.remove(gone.id);
        self.subscriptions.delete(QueueAddress { tenant: gone.id, name: Arc::clone(&gone.queue) });
    }

    /// A message of the tenant's came, and with it so many of its deliveries are here. Returns whether it is served here.
    pub fn message(&mut self, tenant: TenantId, here: u32, now: Moment) -> bool {
        let Some(tenant) = self.by_id.get_mut(&tenant).filter(|tenant| tenant.share > 0) else {
            return false;
        };
        if tenant.prefetch.message(here, now) {
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

    /// Whether a tenant is served here.
    pub fn serves(&self, tenant: TenantId) -> bool {
        self.get(tenant).is_some_and(|tenant| tenant.share > 0)
    }

    /// A tenant, if it is known.
    pub fn get(&self, tenant: TenantId) -> Option<&Tenant> {
        self.by_id.get(&tenant)
    }

    /// A tenant, if it is known.
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
        if self.share > 0 {
            subscriptions.want(self.address.clone(), self.prefetch.size(self.share));
        } else {
            subscriptions.leave(self.address.tenant);
        }
    }
}
