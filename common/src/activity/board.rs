//! What all processes tell together.

use std::collections::HashMap;
use std::time::Duration;

use super::{Counted, ProcessActivity, Rest, Standing, TenantActivity};
use crate::ids::TenantId;
use crate::limits;

/// Every tenant that any process tells of by name, and the others together.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// Slots of all dispatchers.
    pub slots: u64,
    /// The tenants that are not told of by name.
    pub rest: Rest,
    tenants: HashMap<TenantId, Seen>,
    /// The weights of those that have used slots of late.
    active_weight: u64,
    active: u64,
    used: f64,
}

/// A tenant over all processes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// What is counted, per second.
    pub rates: Counted,
    /// How it stands; the oldest of all, and the reason of whoever holds most of what waits.
    pub standing: Standing,
}

impl Seen {
    /// Whether it has used slots of late, or wants to.
    pub fn is_active(&self) -> bool {
        self.rates.slots > limits::ACTIVE_SLOTS || self.standing.in_flight > 0 || self.standing.waiting > 0
    }

    /// The part of the attempts that failed, from 0 to 1.
    pub fn error_rate(&self) -> f64 {
        ratio(self.rates.failures, self.rates.attempts)
    }

    /// How long first attempts waited since their events were admitted, on average; `None`: there were none.
    pub fn dispatch_delay(&self) -> Option<Duration> {
        let Counted { begun, delay, .. } = self.rates;
        (begun > 0.0).then(|| Duration::from_secs_f64((delay / begun).clamp(0.0, 1e9)))
    }

    /// Deliveries by which what waits shrinks per second (negative: it grows).
    pub fn drained_per_s(&self) -> f64 {
        self.rates.ended - self.rates.accepted
    }

    /// Whether it waits because of others.
    pub fn is_hurt(&self) -> bool {
        match self.standing.held_back {
            Some(why) => why.by_others(),
            None => {
                let is_late = |delay| delay > limits::HURT_DELAY;
                self.standing.waiting > 0 && self.dispatch_delay().is_some_and(is_late)
            }
        }
    }

    fn add(&mut self, told: &TenantActivity) {
        self.rates = self.rates.plus(told.rates);
        let Standing { weight, in_flight, waiting, oldest_ms, held_back } = told.standing.clone();
        if waiting > self.standing.waiting || self.standing.held_back.is_none() {
            self.standing.held_back = held_back.or(self.standing.held_back);
        }
        self.standing.weight = self.standing.weight.max(weight);
        self.standing.in_flight += in_flight;
        self.standing.waiting += waiting;
        self.standing.oldest_ms = self.standing.oldest_ms.max(oldest_ms);
    }
}

impl Board {
    /// What these tell together.
    pub fn of<'a>(told: impl IntoIterator<Item = &'a ProcessActivity>) -> Self {
        let mut board = Self::default();
        for process in told {
            board.slots += process.slots;
            for tenant in &process.tenants {
                board.tenants.entry(tenant.tenant).or_default().add(tenant);
            }
            let Rest { active, weight, rates, in_flight, waiting } = process.rest;
            board.rest.active += active;
            board.rest.weight += weight;
            board.rest.rates = board.rest.rates.plus(rates);
            board.rest.in_flight += in_flight;
            board.rest.waiting += waiting;
        }
        let active = board.tenants.values().filter(|seen| seen.is_active());
        (board.active, board.active_weight) = active
            .fold((board.rest.active, board.rest.weight), |sum, seen| {
                (sum.0 + 1, sum.1 + u64::from(seen.standing.weight.max(1)))
            });
        board.used =
            board.rest.rates.slots + board.tenants.values().map(|seen| seen.rates.slots).sum::<f64>();
        board
    }

    /// What is seen of a tenant, if any process tells of it by name.
    pub fn tenant(&self, tenant: TenantId) -> Option<&Seen> {
        self.tenants.get(&tenant)
    }

    /// Everybody who is told of by name, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = (TenantId, &Seen)> {
        self.tenants.iter().map(|(tenant, seen)| (*tenant, seen))
    }

    /// The busiest, most slot time first, `count` at most.
    pub fn busiest(&self, count: usize) -> Vec<(TenantId, &Seen)> {
        let mut tenants: Vec<_> = self.tenants().collect();
        tenants.sort_unstable_by(|(a, left), (b, right)| {
            let offered = |seen: &Seen| seen.rates.events + seen.rates.throttled;
            (right.rates.slots.total_cmp(&left.rates.slots))
                .then_with(|| offered(right).total_cmp(&offered(left)))
                .then_with(|| a.cmp(b))
        });
        tenants.truncate(count);
        tenants
    }

    /// Slots in use over the last seconds, by everybody.
    pub fn used(&self) -> f64 {
        self.used
    }

    /// Tenants that use slots, or want to.
    pub fn active(&self) -> u64 {
        self.active
    }

    /// A tenant's part of the slot time that is used, from 0 to 1.
    pub fn slot_share(&self, seen: &Seen) -> f64 {
        ratio(seen.rates.slots, self.used)
    }

    /// The part of it that its weight entitles it to, from 0 to 1.
    pub fn fair_share(&self, seen: &Seen) -> f64 {
        let own = u64::from(seen.standing.weight.max(1));
        let others = if seen.is_active() { self.active_weight } else { self.active_weight + own };
        ratio(own as f64, others as f64)
    }

    /// The part that those who are not told of by name are entitled to, together.
    pub fn rest_share(&self) -> f64 {
        ratio(self.rest.weight as f64, self.active_weight as f64)
    }

    /// How near a tenant is to being too loud: 1 is the limit. Alone nobody is, nor with next to no slots.
    pub fn loudness(&self, seen: &Seen) -> f64 {
        if self.active < 2 {
            return 0.0;
        }
        let fair = self.fair_share(seen);
        // Whoever is entitled to nearly everything must be able to exceed it.
        let share = (fair * limits::NOISY_FACTOR).min(f64::midpoint(fair, 1.0));
        let floor = (self.slots as f64 * limits::NOISY_SLOTS_PART).max(limits::NOISY_SLOTS_MIN);
        ratio(seen.rates.slots, (share * self.used).max(floor))
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
