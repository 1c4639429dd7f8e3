//! What one process counts.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use super::{Counted, ProcessActivity, Rest, Standing, TenantActivity};
use crate::ids::TenantId;
use crate::limits;

/// Below this a figure per second is over.
const NOTHING: f64 = 0.000_1;

/// Counts by tenant, which become rates with each tick. A tenant that does nothing is forgotten.
#[derive(Debug, Default)]
pub struct Meters {
    tenants: HashMap<TenantId, Meter>,
    /// Of the tenants that find no room.
    others: Meter,
}

#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    /// Since the last tick.
    counted: Counted,
    rates: Counted,
}

impl Meter {
    fn tick(&mut self, elapsed: f64, kept: f64) {
        let counted = std::mem::take(&mut self.counted);
        self.rates = self.rates.with(counted, |rate, counted| rate * kept + counted / elapsed * (1.0 - kept));
    }
}

impl Meters {
    /// What is counted of a tenant from now to the next tick.
    pub fn of(&mut self, tenant: TenantId) -> &mut Counted {
        let has_room = self.tenants.len() < limits::ACTIVITY_METERED || self.tenants.contains_key(&tenant);
        match has_room {
            true => &mut self.tenants.entry(tenant).or_default().counted,
            false => &mut self.others.counted,
        }
    }

    /// So much time has passed since the last tick. Returns what is to be told of the tenants that did anything or that
    /// `standing` knows of.
    pub fn tick(&mut self, elapsed: Duration, standing: HashMap<TenantId, Standing>) -> ProcessActivity {
        let seconds = elapsed.as_secs_f64().max(0.001);
        let kept = (-seconds / limits::ACTIVITY_MEMORY.as_secs_f64()).exp();
        self.others.tick(seconds, kept);
        self.tenants.retain(|_, meter| {
            meter.tick(seconds, kept);
            meter.rates.greatest() > NOTHING
        });
        let mut told: HashMap<TenantId, TenantActivity> = self
            .tenants
            .iter()
            .map(|(tenant, meter)| {
                let (tenant, rates) = (*tenant, meter.rates);
                (tenant, TenantActivity { tenant, rates, standing: Standing::default() })
            })
            .collect();
        for (tenant, standing) in standing {
            let idle = || TenantActivity { tenant, rates: Counted::default(), standing: Standing::default() };
            told.entry(tenant).or_insert_with(idle).standing = standing;
        }
        let mut tenants: Vec<_> = told.into_values().collect();
        tenants.sort_unstable_by(busiest_first);
        let mut rest = Rest { rates: self.others.rates, ..Rest::default() };
        let named = tenants.len().min(limits::ACTIVITY_TENANTS);
        for other in tenants.drain(named..) {
            rest.add(&other);
        }
        ProcessActivity { slots: 0, tenants, rest }
    }
}

impl Rest {
    fn add(&mut self, other: &TenantActivity) {
        self.active += u64::from(other.standing.weight > 0);
        self.weight += u64::from(other.standing.weight);
        self.rates = self.rates.plus(other.rates);
        self.in_flight += u64::from(other.standing.in_flight);
        self.waiting += u64::from(other.standing.waiting);
    }
}

fn busiest_first(a: &TenantActivity, b: &TenantActivity) -> Ordering {
    let offered = |t: &TenantActivity| t.rates.events + t.rates.throttled;
    let held = |t: &TenantActivity| t.standing.in_flight + t.standing.waiting;
    (b.rates.slots.total_cmp(&a.rates.slots))
        .then_with(|| held(b).cmp(&held(a)))
        .then_with(|| offered(b).total_cmp(&offered(a)))
        .then_with(|| a.tenant.cmp(&b.tenant))
}
