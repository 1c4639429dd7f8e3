//! What is counted of tenants here, and how they stand, for whoever looks at all of them.

use std::collections::HashMap;
use std::time::Duration;

use fairhook_common::activity::{ProcessActivity, Standing};
use fairhook_common::delivery::{DeliveryState, Lane};
use fairhook_common::ids::TenantId;
use fairhook_common::store::Loaded;
use fairhook_common::time::Timestamp;

use super::core::Core;
use super::held::{Held, Started};
use crate::schedule::Moment;

impl Core {
    /// So much time has passed since the last time this was asked: what there is to tell.
    pub fn activity(&mut self, elapsed: Duration, now: Moment, wall: Timestamp) -> ProcessActivity {
        let schedule = self.scheduler.snapshot(now);
        let mut standing = HashMap::with_capacity(schedule.tenants.len());
        for shown in &schedule.tenants {
            let Some(known) = self.tenants.get_mut(shown.tenant) else { continue };
            let used = shown.slot_time.saturating_sub(known.metered);
            known.metered = shown.slot_time;
            if !used.is_zero() {
                self.meters.of(shown.tenant).slots += used.as_secs_f64();
            }
            let waiting = shown.waiting.total();
            if shown.in_flight == 0 && waiting == 0 && used.is_zero() {
                continue;
            }
            let oldest = self.scheduler.oldest(shown.tenant, |held| held.waits_since(now, wall));
            let stands = Standing {
                weight: shown.weight,
                in_flight: shown.in_flight,
                waiting,
                oldest_ms: oldest.map_or(0, |at| wall.since(at).as_millis() as u64),
                held_back: shown.held_back,
            };
            standing.insert(shown.tenant, stands);
        }
        let slots = schedule.slots as u64;
        ProcessActivity { slots, ..self.meters.tick(elapsed, standing) }
    }

    /// An attempt begins. What came by its tenant's queue had nothing to wait for but its turn.
    pub fn count_begun(&mut self, started: &Started, loaded: &Loaded, wall: Timestamp) {
        if loaded.attempts == 0 && started.lane == Lane::First && started.held.receipt.is_some() {
            let counted = self.meters.of(started.tenant);
            counted.begun += 1.0;
            counted.delay += wall.since(loaded.created_at).as_secs_f64();
        }
    }

    /// An attempt ended.
    pub fn count_attempt(&mut self, tenant: TenantId, delivered: bool) {
        let counted = self.meters.of(tenant);
        counted.attempts += 1.0;
        counted.failures += if delivered { 0.0 } else { 1.0 };
    }

    /// A delivery is in this state now.
    pub fn count_state(&mut self, tenant: TenantId, state: DeliveryState) {
        if state.is_unfinished() {
            return;
        }
        let counted = self.meters.of(tenant);
        counted.ended += 1.0;
        match state {
            DeliveryState::Delivered => counted.delivered += 1.0,
            DeliveryState::Dead => counted.dead += 1.0,
            _ => {}
        }
    }
}

impl Held {
    /// Since when it waits: a message since its event was admitted, which its id says; what was claimed since then.
    fn waits_since(&self, now: Moment, wall: Timestamp) -> Timestamp {
        match self.receipt {
            Some(_) => self.ticket.delivery.event.admitted_at(),
            None => wall.before(now.since(self.since)),
        }
    }
}
