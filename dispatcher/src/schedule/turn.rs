//! The scheduler's inner steps: choosing, beginning, ending, and keeping everything that follows up to date.

use std::time::Duration;

use fairhook_common::endpoint::Circuit;
use fairhook_common::ids::{EndpointId, TenantId};

use super::gate::Speed;
use super::lanes::Serve;
use super::moment::{Moment, micros};
use super::share::{Occupancy, Virtual};
use super::tenant::{Surroundings, Tenant};
use super::{HeldBack, Scheduler, SlotEnd, SlotId, Step, TenantSnapshot};

/// What holds a slot.
pub(super) struct Flight {
    pub tenant: TenantId,
    pub endpoint: EndpointId,
    pub started: Moment,
    /// When it was loaded: from then on it waits for nothing but its receiver, unless a rate is in its way.
    pub loaded: Option<Moment>,
    /// By how much the tenant's virtual time was advanced.
    charged: Virtual,
    /// It was started out of the reserve.
    from_reserve: bool,
    /// And nothing was known of its endpoint.
    newcomer: bool,
}

/// Whose turn it is.
pub(super) enum Next {
    /// Something of this tenant starts, at such an endpoint.
    Start(TenantId, Serve),
    /// Something of this tenant is parked.
    Park(TenantId),
}

impl<T> Scheduler<T> {
    /// Time goes on: whatever is due happens.
    pub(super) fn look_at(&mut self, now: Moment) {
        self.now = self.now.max(now);
        while let Some((tenant, endpoint)) = self.due() {
            self.with_tenant(tenant, |tenant, around| tenant.settle(endpoint, around));
        }
    }

    fn due(&mut self) -> Option<(TenantId, EndpointId)> {
        self.openings.pop_due(self.now).or_else(|| self.ages.pop_due(self.now))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Whose turn it is: starting and parking alternate while there is both.
    pub(super) fn choose(&self) -> Option<Next> {
        let parking = || self.ranking.least_parking().filter(|_| self.may_park);
        let park = || parking().map(|(_, tenant)| Next::Park(tenant));
        let start = || self.choose_start().map(|(tenant, serve)| Next::Start(tenant, serve));
        if self.parked_last { start().or_else(park) } else { park().or_else(start) }
    }

    /// The tenant that may start something, and what of it. See the table in `share`.
    fn choose_start(&self) -> Option<(TenantId, Serve)> {
        let free = self.shares.slots().saturating_sub(self.flights.len());
        if free == 0 {
            return None;
        }
        if self.is_anyones(free) {
            return self.first_of_all().map(|(_, tenant)| (tenant, Serve::Any));
        }
        let bound = self.shares.reserve_bound(free);
        // Within a bound of zero is only who holds no slot.
        let newcomers = [(false, bound), (true, Occupancy::default())];
        let newcomers = newcomers.into_iter().find(|(is_idle, _)| self.takes_newcomers(*is_idle));
        let newcomer = newcomers.and_then(|(_, bound)| self.ranking.least_newcomer(bound));
        let (_, tenant) = [self.ranking.least_quick(bound), newcomer].into_iter().flatten().min()?;
        let is_idle = self.tenants.get(&tenant).is_some_and(|tenant| tenant.in_flight == 0);
        let serve = if self.takes_newcomers(is_idle) { Serve::QuickOrNewcomer } else { Serve::Quick };
        Some((tenant, serve))
    }

    /// The least virtual time of those who go first where anyone may start something.
    fn first_of_all(&self) -> Option<(Virtual, TenantId)> {
        let within = || self.ranking.least_within(self.shares.before_others());
        self.settings.shares_first.then(within).flatten().or_else(|| self.ranking.least())
    }

    /// The most that a virtual time may be: what is beyond it is forgiven.
    fn furthest(&self) -> Virtual {
        self.virtual_time.plus(self.shares.longest_debt(micros(self.settings.longest_attempt)))
    }

    /// Whether anyone may start something while so many slots are free.
    fn is_anyones(&self, free: usize) -> bool {
        free > self.shares.reserve() || self.from_reserve >= self.shares.most_from_reserve()
    }

    /// Whether the reserve serves one more endpoint without history, of a tenant that holds nothing or of any.
    fn takes_newcomers(&self, is_idle: bool) -> bool {
        self.newcomers < self.shares.most_newcomers(is_idle)
    }

    /// Takes a delivery of the chosen tenant and a slot for it, and charges it.
    pub(super) fn begin(&mut self, id: TenantId, serve: Serve) -> Option<Step<T>> {
        if let Some((least, _)) = self.first_of_all() {
            self.virtual_time = self.virtual_time.max(least);
        }
        self.parked_last = false;
        let slot = self.number();
        let (now, settings) = (self.now, self.settings);
        let tenant = self.tenants.get_mut(&id)?;
        let waiting = tenant.take(serve)?;
        tenant.take_slot(now);

        let from_reserve = serve != Serve::Any;
        let (mut estimate, mut newcomer, mut circuit) = (0, false, None);
        if let Some(gate) = tenant.endpoints.get_mut(&waiting.endpoint).map(|endpoint| &mut endpoint.gate) {
            estimate = gate.estimate(now, settings.first_estimate);
            newcomer = from_reserve && gate.speed(now, settings.quick) == Speed::Newcomer;
            let before = gate.circuit();
            gate.start(now, slot, newcomer);
            circuit = Some(gate.circuit()).filter(|after| *after != before);
        }
        let endpoint = waiting.endpoint;
        let charged = Virtual::of(micros(settings.handling_cost).saturating_add(estimate), tenant.weight);
        tenant.virtual_time = tenant.virtual_time.plus(charged);
        let flight =
            Flight { tenant: id, endpoint, started: now, loaded: None, charged, from_reserve, newcomer };
        self.flights.insert(slot, flight);
        self.from_reserve += usize::from(from_reserve);
        self.newcomers += usize::from(newcomer);
        circuit.map(|circuit| self.circuits.insert(endpoint, circuit));
        self.with_tenant(id, |tenant, around| tenant.settle(endpoint, around));

        Some(Step::Start { slot: SlotId(slot), waiting })
    }

    /// Takes the next delivery of the chosen tenant that has to be parked, and charges our own work for it.
    pub(super) fn park(&mut self, id: TenantId) -> Option<Step<T>> {
        self.parked_last = true;
        let cost = micros(self.settings.handling_cost);
        let waiting = self.with_tenant(id, |tenant, _| {
            tenant.virtual_time = tenant.virtual_time.plus(Virtual::of(cost, tenant.weight));
            tenant.take_parking()
        });
        waiting.flatten().map(Step::Park)
    }

    /// Corrects the charge to what the slot was held for, and lets the gate learn.
    pub(super) fn end(&mut self, slot: SlotId, flight: Flight, end: SlotEnd) {
        let (now, settings) = (self.now, self.settings);
        self.from_reserve -= usize::from(flight.from_reserve);
        self.newcomers -= usize::from(flight.newcomer);
        let furthest = self.furthest();
        let mut circuit = None;
        self.with_tenant(flight.tenant, |tenant, around| {
            tenant.give_slot(now, slot.0);
            let took = match (flight.loaded, end) {
                (None, SlotEnd::NotAttempted) => Duration::ZERO,
                (loaded, _) => now.since(loaded.unwrap_or(flight.started)),
            };
            let mut used = micros(took).saturating_add(micros(settings.handling_cost));
            if let SlotEnd::Attempted { new_connection: true, .. } = end {
                used = used.saturating_add(micros(settings.new_connection_cost));
            }
            let corrected = tenant.virtual_time.plus(Virtual::of(used, tenant.weight)).minus(flight.charged);
            tenant.virtual_time = corrected.min(furthest);

            let id = flight.endpoint;
            let ceiling = tenant.ceiling(id, now, &settings);
            if let Some(endpoint) = tenant.endpoints.get_mut(&id) {
                endpoint.used_at = now;
                let before = endpoint.gate.circuit();
                endpoint.gate.finish(now, slot.0, end, took, ceiling, &settings);
                if flight.newcomer {
                    endpoint.gate.left_reserve();
                }
                circuit = Some((id, endpoint.gate.circuit())).filter(|(_, after)| *after != before);
                tenant.settle(id, around);
            }
        });
        circuit.map(|(endpoint, circuit)| self.circuits.insert(endpoint, circuit));
    }

    /// Does something to a tenant, then brings its rank and its activity up to date.
    pub(super) fn with_tenant<R>(
        &mut self,
        id: TenantId,
        change: impl FnOnce(&mut Tenant<T>, &mut Surroundings<'_>) -> R,
    ) -> Option<R> {
        let tenant = self.tenants.get_mut(&id)?;
        let (openings, ages) = (&mut self.openings, &mut self.ages);
        let mut around = Surroundings { now: self.now, settings: &self.settings, openings, ages };
        let result = change(tenant, &mut around);

        if tenant.has_work() != tenant.active {
            tenant.active = !tenant.active;
            match tenant.active {
                true => self.shares.activate(tenant.weight),
                false => self.shares.deactivate(tenant.weight),
            }
        }
        let (rank, parking) = (tenant.standing(), tenant.standing_to_park());
        let wakes =
            tenant.rank.is_none() && (rank.is_some() || tenant.parking_rank.is_none() && parking.is_some());
        if wakes {
            self.wake(id);
        }
        self.rerank(id);
        Some(result)
    }

    /// A tenant wakes up, beside those who are awake: who of these was charged too much is behind the system's virtual time.
    fn wake(&mut self, id: TenantId) {
        let least = self.first_of_all().map_or(self.virtual_time, |(least, _)| least);
        let (least, furthest) = (least.min(self.virtual_time), self.furthest());
        if let Some(tenant) = self.tenants.get_mut(&id) {
            tenant.virtual_time = tenant.virtual_time.max(least).min(furthest);
        }
    }

    fn rerank(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants.get_mut(&id) else { return };
        let (rank, parking) = (tenant.standing(), tenant.standing_to_park());
        self.ranking.rerank(id, tenant.rank, rank);
        self.ranking.rerank_parking(id, tenant.parking_rank, parking);
        (tenant.rank, tenant.parking_rank) = (rank, parking);
    }

    /// Drops a removed tenant once it holds no slot.
    pub(super) fn forget_removed(&mut self, id: TenantId) {
        if self.tenants.get(&id).is_some_and(|tenant| tenant.removed && tenant.in_flight == 0) {
            let endpoints: Vec<EndpointId> = self.tenants[&id].endpoints.keys().copied().collect();
            endpoints.into_iter().for_each(|endpoint| self.forget_endpoint(id, endpoint));
            self.tenants.remove(&id);
        }
    }

    /// Forgets an endpoint that has nothing waiting and nothing in flight.
    pub(super) fn forget_endpoint(&mut self, id: TenantId, endpoint: EndpointId) {
        let circuit = self.with_tenant(id, |tenant, around| {
            let circuit = tenant.endpoints.get(&endpoint).map(|endpoint| endpoint.gate.circuit());
            tenant.forget(endpoint, around);
            circuit
        });
        if circuit.flatten().is_some_and(|circuit| circuit != Circuit::Closed) {
            self.circuits.insert(endpoint, Circuit::Closed);
        }
        self.owners.remove(&endpoint);
    }

    pub(super) fn show(&self, tenant: &Tenant<T>, now: Moment) -> TenantSnapshot {
        TenantSnapshot {
            tenant: tenant.id,
            waiting: tenant.waiting(),
            in_flight: tenant.in_flight,
            weight: tenant.weight,
            cap: tenant.cap,
            virtual_time: Duration::from_micros(tenant.virtual_time.as_micros()),
            slot_time: tenant.slot_time_at(now),
            held_back: self.held_back(tenant, now),
        }
    }

    fn held_back(&self, tenant: &Tenant<T>, now: Moment) -> Option<HeldBack> {
        if tenant.waiting().total() == 0 {
            return None;
        }
        if let Some(reason) = tenant.held_by_itself(now, &self.settings) {
            return Some(reason);
        }
        let free = self.shares.slots().saturating_sub(self.flights.len());
        let rank = tenant.rank?;
        if free == 0 {
            let has_share = self.shares.slots() > 0 && rank.occupancy > self.shares.per_weight();
            Some(if has_share { HeldBack::AtShare } else { HeldBack::NoSlot })
        } else if self.is_anyones(free) {
            let before = self.shares.before_others();
            let waits = rank.occupancy > before && self.ranking.least_within(before).is_some();
            waits.then_some(HeldBack::AtShare)
        } else if rank.occupancy > self.shares.reserve_bound(free) {
            Some(HeldBack::AtShare)
        } else {
            let quick = rank.quick || (rank.newcomer && self.takes_newcomers(tenant.in_flight == 0));
            (!quick).then_some(HeldBack::TooSlowForReserve)
        }
    }
}
