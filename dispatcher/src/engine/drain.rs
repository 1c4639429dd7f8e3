//! What an orderly stop does with what was taken up and will not be attempted.

use fairhook_common::delivery::Verdict;
use fairhook_common::ids::{EndpointId, TenantId};
use fairhook_common::store::{Claimed, Ticket};
use fairhook_common::time::Timestamp;

use super::core::Core;
use super::held::{Held, Started};
use crate::schedule::{Moment, SlotEnd, Waiting};

impl Core {
    /// Nothing more is attempted: whatever waits is given back. (Messages go back to their queue by being dropped.)
    pub fn give_back_waiting(&mut self, now: Moment, wall: Timestamp) {
        for Waiting { tenant, endpoint, item, .. } in self.scheduler.take_all() {
            self.give_back(item, tenant, endpoint, now, wall);
        }
        for started in self.to_load.take() {
            self.give_back_started(started, now, wall);
        }
    }

    /// As [`Self::give_back_waiting`], for what holds a slot.
    pub fn give_back_started(&mut self, started: Started, now: Moment, wall: Timestamp) {
        self.scheduler.finish(now, started.slot, SlotEnd::NotAttempted);
        self.give_back(started.held, started.tenant, started.endpoint, now, wall);
    }

    /// As [`Self::give_back_waiting`], for what was just claimed.
    pub fn give_back_claimed(&mut self, got: &[Claimed], now: Moment, wall: Timestamp) {
        for &Claimed { delivery, tenant, endpoint, generation, .. } in got {
            let held = Held { ticket: Ticket { delivery, generation }, since: now, receipt: None };
            self.give_back(held, tenant, endpoint, now, wall);
        }
    }

    /// A hold for which there is no reason makes a delivery due at once, in its lane: a claim that is not used would come back
    /// by its lease only, minutes later.
    pub(super) fn give_back(
        &mut self,
        held: Held,
        tenant: TenantId,
        endpoint: EndpointId,
        now: Moment,
        wall: Timestamp,
    ) {
        if held.receipt.is_none() {
            self.outbound.push(held.without_attempt(tenant, endpoint, Verdict::Hold, now, wall));
        }
    }
}
