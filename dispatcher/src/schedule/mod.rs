//! Who is served next: a pure data structure. It has no clock, no randomness and waits for nothing; the engine's loop tells
//! it what happens and asks it what to do, so that every property below can be tested without time passing.
//!
//! ```text
//! offer ──► endpoint's line (line) ──► tenant's lanes (lanes) ──► ranking of tenants (share) ──► Step::Start
//!    │            ▲ gate: room? (gate, rate)                               least virtual time
//!    └──► no place ──► to be parked ──────────────────────────────────────────────────────────► Step::Park
//! finish ──► the tenant's charge is corrected, the gate learns, the slot is free
//! ```
//!
//! **What is shared is time.** Every tenant has a virtual time: the slot time it was charged, over its weight (`share`).
//! A start charges the estimate, its end corrects that to what the slot was really held for, plus a fixed handling cost and
//! one for a new connection; parking is charged too. Among the tenants that may start something the least virtual time goes
//! first, of those within twice their share if there are any. A tenant that could start nothing for a while (nothing waited,
//! at its cap, no gate open) comes back at the system's virtual time at least: idleness saves nothing. It is at most one
//! longest attempt × its share ahead of it: a bad minute is not paid for all day.
//!
//! **Occupancy decides whether** a tenant may start at all: see the table in `share`.
//!
//! **The gate of an endpoint** (`gate`) says how many attempts it takes at once; what has no room there never blocks
//! anything else, because every endpoint has a line of its own. How long that line may be in memory is bounded: by what the
//! gate will take within `Settings::patience`, because what waits here takes up the tenant's window on its queue, behind
//! which deliveries to its other endpoints wait that nobody here knows of. So the line at a quick endpoint waits in place and
//! moves on, and costs nothing; at one that takes longer, is rate limited or whose circuit is open, the rest is *parked* in
//! the store, and comes back as [`Scheduler::endpoint_room`] allows. Parking needs no slot: put off until slots are free it
//! would come all at once. It takes turns with starting, the least virtual time first, unless [`Scheduler::let_park`] says no
//! or the cap is zero. While anything is parked, what arrives finds no place in the line
//! unless it was released, and at a slow endpoint no room that what is parked would use, or the older ones would never come
//! back.
//!
//! **Lanes** (first attempts, retries, replays) take turns within a tenant (`lanes`); within a lane the oldest goes first among
//! the endpoints with room.
//!
//! **Costs.** Offering, starting, parking and ending touch one tenant and one or two of its endpoints: O(log n) in tenants,
//! endpoints and slots, and what finding the least virtual time takes (`share`). A changed cap looks at the endpoints of its
//! tenant. What is called from time to time looks at everybody ([`Scheduler::take_overdue`], [`Scheduler::forget_idle`],
//! [`Scheduler::snapshot`]) or at all old attempts ([`Scheduler::set_slots_beside_slow`]). What is in memory is what the engine
//! has offered, a few hundred bytes per tenant it has set, and the gates used lately.

mod alarms;
mod capacity;
mod gate;
mod lanes;
mod line;
mod lowered;
mod moment;
mod rate;
mod settings;
mod share;
mod snapshot;
mod step;
mod tenant;
#[cfg(test)]
mod tests;
mod turn;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use fairhook_common::endpoint::Circuit;
use fairhook_common::ids::{EndpointId, TenantId};
use fairhook_common::limits;

pub use capacity::Capacity;
pub use moment::Moment;
pub use settings::Settings;
pub use snapshot::{HeldBack, Snapshot, TenantSnapshot};
pub use step::{Class, EndpointFacts, LaneCounts, SlotEnd, SlotId, Step, Waiting};

use alarms::Alarms;
use share::{Ranking, Shares, Virtual};
use tenant::Tenant;
use turn::{Flight, Next};

/// The fair scheduler. See the module for what it does.
pub struct Scheduler<T> {
    settings: Settings,
    /// The latest moment it was told.
    now: Moment,
    tenants: BTreeMap<TenantId, Tenant<T>>,
    /// Whose the remembered endpoints are.
    owners: BTreeMap<EndpointId, TenantId>,
    flights: BTreeMap<u64, Flight>,
    shares: Shares,
    ranking: Ranking,
    /// The system's virtual time: never falls.
    virtual_time: Virtual,
    /// Slots held by starts out of the reserve.
    from_reserve: usize,
    /// Those of them held by endpoints without history.
    newcomers: usize,
    /// The last step was to park, so the next one starts something if it can.
    parked_last: bool,
    /// See [`Self::let_park`].
    may_park: bool,
    openings: Alarms,
    ages: Alarms,
    circuits: BTreeMap<EndpointId, Circuit>,
    /// Numbers slots and arrivals.
    last_number: u64,
}

impl<T> Scheduler<T> {
    /// An empty scheduler.
    pub fn new(settings: Settings) -> Self {
        Self {
            now: Moment::default(),
            tenants: BTreeMap::new(),
            owners: BTreeMap::new(),
            flights: BTreeMap::new(),
            shares: Shares::new(settings.slots, settings.reserve),
            ranking: Ranking::default(),
            virtual_time: Virtual::default(),
            from_reserve: 0,
            newcomers: 0,
            parked_last: false,
            may_park: true,
            openings: Alarms::default(),
            ages: Alarms::default(),
            circuits: BTreeMap::new(),
            last_number: 0,
            settings,
        }
    }

    /// Makes a tenant known, or changes its weight and its cap (this dispatcher's share of its concurrent deliveries). With
    /// a cap of zero nothing of it starts, and what it has waits. For one that was lowered see `lowered`.
    pub fn set_tenant(&mut self, tenant: TenantId, weight: u32, cap: u32) {
        let now = self.now;
        let known =
            self.tenants.entry(tenant).or_insert_with(|| Tenant::new(tenant, weight.max(1), cap, now));
        known.removed = false;
        if (known.weight, known.cap) != (weight.max(1), cap) {
            if known.active {
                self.shares.deactivate(known.weight);
                self.shares.activate(weight.max(1));
            }
            known.weight = weight.max(1);
            known.set_cap(cap, self.last_number);
            self.with_tenant(tenant, |tenant, around| tenant.settle_all(around));
        }
    }

    /// Forgets a tenant and its endpoints; returns what waited. Slots that it holds may still be finished, and count until
    /// then.
    pub fn remove_tenant(&mut self, tenant: TenantId) -> Vec<T> {
        let waited = self.with_tenant(tenant, |tenant, around| {
            tenant.removed = true;
            tenant.drain(around)
        });
        self.forget_removed(tenant);
        waited.into_iter().flatten().map(|waiting| waiting.item).collect()
    }

    /// Takes out what waits of a tenant.
    pub fn take_waiting(&mut self, tenant: TenantId) -> Vec<Waiting<T>> {
        self.with_tenant(tenant, |tenant, around| tenant.drain(around)).into_iter().flatten().collect()
    }

    /// Takes over a delivery; hands it back if its tenant is not known.
    pub fn offer(&mut self, now: Moment, waiting: Waiting<T>) -> Result<(), Waiting<T>> {
        self.look_at(now);
        let (tenant, endpoint) = (waiting.tenant, waiting.endpoint);
        if self.tenants.get(&tenant).is_none_or(|tenant| tenant.removed) {
            return Err(waiting);
        }
        let number = self.number();
        self.owners.insert(endpoint, tenant);
        self.with_tenant(tenant, |tenant, around| tenant.offer(number, waiting, around));
        Ok(())
    }

    /// What is to be done next. `None`: nothing may start or be parked before something is offered or finished, there are more
    /// slots, parking is allowed again, or the time of [`Self::next_wakeup`] comes.
    pub fn next(&mut self, now: Moment) -> Option<Step<T>> {
        self.look_at(now);
        match self.choose()? {
            Next::Start(tenant, serve) => self.begin(tenant, serve),
            Next::Park(tenant) => self.park(tenant),
        }
    }

    /// When [`Self::next`] or [`Self::endpoint_room`] may answer differently although nothing happened (a rate limit, the
    /// probe of an open circuit, an endpoint that is found to be slow so that what waits there has to be parked).
    pub fn next_wakeup(&self) -> Option<Moment> {
        [self.openings.first(), self.ages.first()].into_iter().flatten().min()
    }

    /// Tells what was learnt of an endpoint when one of its deliveries was loaded; before the slot is finished.
    pub fn endpoint_known(&mut self, now: Moment, endpoint: EndpointId, facts: EndpointFacts) {
        self.look_at(now);
        let Some(owner) = self.owners.get(&endpoint).copied() else { return };
        self.with_tenant(owner, |tenant, around| {
            if let Some(known) = tenant.endpoints.get_mut(&endpoint)
                && known.gate.learn(now, facts)
            {
                tenant.settle(endpoint, around);
            }
        });
    }

    /// Whether what has started may be attempted as far as its endpoint's rate goes: what the endpoint takes is known for sure when
    /// a delivery is loaded, which is after it has started. What may not is to be finished without an attempt. What may is from
    /// now on its receiver's time: a store that is away must not make endpoints look slow, nor be charged to their tenants.
    pub fn may_go_on(&mut self, now: Moment, slot: &SlotId) -> bool {
        self.look_at(now);
        let Some(flight) = self.flights.get_mut(&slot.0) else { return true };
        flight.loaded = Some(now);
        let (tenant, endpoint) = (flight.tenant, flight.endpoint);
        let goes = self.with_tenant(tenant, |tenant, around| {
            let goes =
                tenant.endpoints.get_mut(&endpoint).is_none_or(|known| known.gate.goes_on(now, slot.0));
            tenant.settle(endpoint, around);
            goes
        });
        goes.unwrap_or(true)
    }

    /// Whether what has to be parked may be, from now on: the caller says no while too much of it is unrecorded. It waits
    /// meanwhile, and what may start goes on.
    pub fn let_park(&mut self, may_park: bool) {
        self.may_park = may_park;
    }

    /// Gives a slot back.
    pub fn finish(&mut self, now: Moment, slot: SlotId, end: SlotEnd) {
        self.look_at(now);
        let Some(flight) = self.flights.remove(&slot.0) else { return };
        let tenant = flight.tenant;
        self.end(slot, flight, end);
        self.forget_removed(tenant);
    }

    /// How many parked deliveries the endpoint's gate would take now, at most its current limit. One that is claimed counts
    /// when it is offered. As of the latest moment told.
    pub fn endpoint_room(&self, endpoint: EndpointId) -> u32 {
        let owner = self.owners.get(&endpoint).and_then(|owner| self.tenants.get(owner));
        let room = owner.and_then(|tenant| tenant.room(endpoint, self.now, &self.settings));
        room.unwrap_or(limits::UNKNOWN_GATE_ROOM)
    }

    /// The store has nothing parked for this endpoint any more: a claim found less than it asked for.
    pub fn none_parked(&mut self, endpoint: EndpointId) {
        let owner = self.owners.get(&endpoint).and_then(|owner| self.tenants.get_mut(owner));
        if let Some(endpoint) = owner.and_then(|tenant| tenant.endpoints.get_mut(&endpoint)) {
            endpoint.parked = 0;
        }
    }

    /// How many slots may be used now, at most those of the settings.
    fn set_slots(&mut self, effective: usize) {
        self.shares.set_slots(effective.min(self.settings.slots));
    }

    /// How many slots may be used now beside those of attempts that have been under way for long since they were loaded. These
    /// wait for their receivers and take nothing of what is scarce; counted, a moment of lateness beside many hanging receivers
    /// would leave no slot to anybody until they time out. None at all if `effective` is zero.
    pub fn set_slots_beside_slow(&mut self, now: Moment, effective: usize) {
        self.look_at(now);
        let is_old = |since: Moment| self.now.since(since) >= self.settings.quick;
        // Slots are numbered in the order of their starts.
        let old = self.flights.values().take_while(|flight| is_old(flight.started));
        let slow = old.filter(|flight| flight.loaded.is_some_and(is_old)).count();
        self.set_slots(if effective == 0 { 0 } else { effective.saturating_add(slow) });
    }

    /// How much of a tenant waits.
    pub fn waiting(&self, tenant: TenantId) -> LaneCounts {
        self.tenants.get(&tenant).map(Tenant::waiting).unwrap_or_default()
    }

    /// The least key of what a tenant's lines begin with: how long it waits at most, if older ones have lesser keys.
    pub fn oldest<K: Ord>(&self, tenant: TenantId, key: impl Fn(&T) -> K) -> Option<K> {
        self.tenants.get(&tenant)?.oldest(key)
    }

    /// How many slots a tenant holds.
    pub fn in_flight(&self, tenant: TenantId) -> u32 {
        self.tenants.get(&tenant).map_or(0, |tenant| tenant.in_flight)
    }

    /// Whether a tenant holds no more than so many slots, nor may still exceed its cap because that was lowered.
    pub fn keeps_to(&self, tenant: TenantId, cap: u32) -> bool {
        self.tenants.get(&tenant).is_none_or(|tenant| tenant.in_flight <= cap && !tenant.may_exceed_cap())
    }

    /// The tenants that hold slots, and how many.
    pub fn tenants_in_flight(&self) -> impl Iterator<Item = (TenantId, u32)> {
        let holding = self.tenants.values().filter(|tenant| tenant.in_flight > 0);
        holding.map(|tenant| (tenant.id, tenant.in_flight))
    }

    /// The circuits that changed since the last call, each as it stands now.
    pub fn take_circuit_changes(&mut self) -> Vec<(EndpointId, Circuit)> {
        std::mem::take(&mut self.circuits).into_iter().collect()
    }

    /// Takes out everything that waits: nothing more is to start.
    pub fn take_all(&mut self) -> Vec<Waiting<T>> {
        let tenants: Vec<TenantId> = self.tenants.values().filter(|t| t.has_work()).map(|t| t.id).collect();
        let taken = tenants
            .into_iter()
            .filter_map(|tenant| self.with_tenant(tenant, |tenant, around| tenant.drain(around)));
        taken.flatten().collect()
    }

    /// Takes out, of what waits in line or to be parked, the oldest as far as it is `overdue`; the caller parks it. Looks at
    /// every endpoint with work: to be called from time to time.
    pub fn take_overdue(&mut self, now: Moment, overdue: impl Fn(&T) -> bool) -> Vec<Waiting<T>> {
        self.look_at(now);
        let tenants: Vec<TenantId> = self.tenants.values().filter(|t| t.has_work()).map(|t| t.id).collect();
        let taken = tenants.into_iter().filter_map(|tenant| {
            self.with_tenant(tenant, |tenant, around| tenant.take_overdue(&overdue, around))
        });
        taken.flatten().collect()
    }

    /// Forgets the gates that were not used for long: bounds memory. To be called from time to time (it looks at all). An
    /// open circuit that is forgotten counts as closed.
    pub fn forget_idle(&mut self, now: Moment) {
        self.look_at(now);
        let after = self.settings.forget_after;
        let idle = self.tenants.values().flat_map(|tenant| {
            let idle = tenant.endpoints.iter();
            let idle = idle.filter(move |(_, e)| !e.is_busy() && now.since(e.used_at) >= after);
            idle.map(move |(endpoint, _)| (tenant.id, *endpoint))
        });
        for (tenant, endpoint) in idle.collect::<Vec<_>>() {
            self.forget_endpoint(tenant, endpoint);
        }
    }

    /// How things stand, with the reason why a tenant is held back.
    pub fn snapshot(&self, now: Moment) -> Snapshot {
        let now = now.max(self.now);
        let mut shown: Vec<_> = self.tenants.values().filter(|tenant| tenant.worked_lately(now)).collect();
        if shown.len() > limits::SNAPSHOT_TENANTS {
            // Those with work first, then those that used most.
            shown.sort_by_cached_key(|tenant| {
                (!tenant.has_work(), Reverse(tenant.slot_time_at(now)), tenant.id)
            });
            shown.truncate(limits::SNAPSHOT_TENANTS);
            shown.sort_by_key(|tenant| tenant.id);
        }
        Snapshot {
            slots: self.shares.slots(),
            in_flight: self.flights.len(),
            gates: self.owners.len(),
            tenants: shown.into_iter().map(|tenant| self.show(tenant, now)).collect(),
        }
    }
}
