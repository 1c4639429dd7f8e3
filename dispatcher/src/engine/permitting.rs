//! What the other dispatchers leave to this one, as far as the engine's state follows from it.

use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::store::Membership;
use fairhook_common::time::Timestamp;

use super::core::Core;
use crate::schedule::{Moment, Waiting};

impl Core {
    /// The store said who is there.
    pub fn heard(&mut self, membership: &Membership, now: Moment, wall: Timestamp) {
        if !self.permits.heard(membership) {
            return;
        }
        for tenant in self.tenants.share_anew(&self.permits) {
            self.permit(tenant, now, wall);
        }
        // What became due of tenants that were not served here was not kept.
        self.due.poke(now);
    }

    /// A tenant's share may have changed.
    pub fn permit(&mut self, tenant: TenantId, now: Moment, wall: Timestamp) {
        let Some(known) = self.tenants.get(tenant) else { return };
        let share = known.share;
        self.scheduler.set_tenant(tenant, known.weight, share);
        if share == 0 {
            self.due.forget(tenant);
            for Waiting { endpoint, item, .. } in self.scheduler.take_waiting(tenant) {
                self.give_back(item, tenant, endpoint, now, wall);
            }
        }
    }

    /// The tenants of which more is in flight than this dispatcher's share by what it heard last, or may be: one whose share
    /// has become smaller than what hangs may still start a little. `None`: they are too many to be named.
    pub fn behind(&self) -> Option<Vec<TenantId>> {
        let is_behind = |id: &TenantId| {
            // The cap of a tenant that is gone is nobody's concern.
            let keeps_to = |cap| self.scheduler.keeps_to(*id, self.permits.bound(*id, cap));
            self.tenants.get(*id).is_some_and(|tenant| !keeps_to(tenant.cap))
        };
        let in_flight = self.scheduler.tenants_in_flight().map(|(id, _)| id);
        let behind: Vec<_> = in_flight.filter(is_behind).take(limits::BEHIND_TENANTS + 1).collect();
        (behind.len() <= limits::BEHIND_TENANTS).then_some(behind)
    }
}
