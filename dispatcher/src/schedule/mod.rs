//! Who is served next: a pure data structure.

mod capacity;
mod moment;
mod settings;
mod snapshot;
mod step;

use std::collections::{BTreeMap, VecDeque};

use fairhook_common::endpoint::Circuit;
use fairhook_common::ids::{EndpointId, TenantId};

pub use capacity::Capacity;
pub use moment::Moment;
pub use settings::Settings;
pub use snapshot::{HeldBack, Snapshot, TenantSnapshot};
pub use step::{Class, EndpointFacts, LaneCounts, SlotEnd, SlotId, Step, Waiting};

/// The fair scheduler.
#[derive(Debug)]
pub struct Scheduler<T> {
    slots: usize,
    caps: BTreeMap<TenantId, u32>,
    waiting: VecDeque<Waiting<T>>,
    flights: BTreeMap<u64, TenantId>,
    started: u64,
}

impl<T> Scheduler<T> {
    /// An empty scheduler.
    pub fn new(settings: Settings) -> Self {
        Self {
            slots: settings.slots,
            caps: BTreeMap::new(),
            waiting: VecDeque::new(),
            flights: BTreeMap::new(),
            started: 0,
        }
    }

    /// Makes a tenant known, or changes its weight and its cap (this dispatcher's share of its concurrent deliveries).
    pub fn set_tenant(&mut self, tenant: TenantId, _weight: u32, cap: u32) {
        self.caps.insert(tenant, cap);
    }

    /// Forgets a tenant; returns what waited. Its slots may still be finished.
    pub fn remove_tenant(&mut self, tenant: TenantId) -> Vec<T> {
        self.caps.remove(&tenant);
        let (gone, stay) = self.waiting.drain(..).partition(|w| w.tenant == tenant);
        self.waiting = stay;
        let gone: VecDeque<Waiting<T>> = gone;
        gone.into_iter().map(|w| w.item).collect()
    }

    /// Takes over a delivery; hands it back if its tenant is not known.
    pub fn offer(&mut self, _now: Moment, waiting: Waiting<T>) -> Result<(), Waiting<T>> {
        if !self.caps.contains_key(&waiting.tenant) {
            return Err(waiting);
        }
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// What is to be done next. `None`: nothing may start before something is offered or finished, or the time of
    /// [`Self::next_wakeup`] comes.
    pub fn next(&mut self, _now: Moment) -> Option<Step<T>> {
        if self.flights.len() >= self.slots {
            return None;
        }
        let at = self.waiting.iter().position(|w| self.in_flight(w.tenant) < self.caps[&w.tenant])?;
        let waiting = self.waiting.remove(at)?;
        self.started += 1;
        self.flights.insert(self.started, waiting.tenant);
        Some(Step::Start { slot: SlotId(self.started), waiting })
    }

    /// When [`Self::next`] or [`Self::endpoint_room`] may answer differently although nothing happened (a rate limit, the
    /// probe of an open circuit).
    pub fn next_wakeup(&self) -> Option<Moment> {
        None
    }

    /// Tells what was learnt of an endpoint when one of its deliveries was loaded.
    pub fn endpoint_known(&mut self, _now: Moment, _endpoint: EndpointId, _facts: EndpointFacts) {}

    /// Gives a slot back.
    pub fn finish(&mut self, _now: Moment, slot: SlotId, _end: SlotEnd) {
        self.flights.remove(&slot.0);
    }

    /// How many parked deliveries the endpoint's gate would take now. One that is claimed counts when it is offered.
    pub fn endpoint_room(&self, _endpoint: EndpointId) -> u32 {
        1
    }

    /// The store has nothing parked for this endpoint any more (a claim found less than it asked for).
    pub fn none_parked(&mut self, _endpoint: EndpointId) {}

    /// How many slots may be used now, at most those of the settings.
    pub fn set_slots(&mut self, effective: usize) {
        self.slots = effective;
    }

    /// How much of a tenant waits.
    pub fn waiting(&self, tenant: TenantId) -> LaneCounts {
        let of = |lane| self.waiting.iter().filter(|w| w.tenant == tenant && w.lane == lane).count() as u32;
        use fairhook_common::delivery::Lane;
        LaneCounts { first: of(Lane::First), retry: of(Lane::Retry), replay: of(Lane::Replay), parking: 0 }
    }

    /// How many slots a tenant holds.
    pub fn in_flight(&self, tenant: TenantId) -> u32 {
        self.flights.values().filter(|t| **t == tenant).count() as u32
    }

    /// The tenants that hold slots, and how many.
    pub fn tenants_in_flight(&self) -> impl Iterator<Item = (TenantId, u32)> {
        self.caps.keys().map(|t| (*t, self.in_flight(*t))).filter(|(_, n)| *n > 0)
    }

    /// The circuits that changed since the last call, each as it stands now.
    pub fn take_circuit_changes(&mut self) -> Vec<(EndpointId, Circuit)> {
        Vec::new()
    }

    /// Forgets gates that were not used for long: bounds memory. To be called from time to time.
    pub fn forget_idle(&mut self, _now: Moment) {}

    /// How things stand, with the reason why a tenant is held back.
    pub fn snapshot(&self, _now: Moment) -> Snapshot {
        Snapshot { slots: self.slots, in_flight: self.flights.len(), ..Snapshot::default() }
    }
}
