//! A tenant: its endpoints with what waits there, its lanes, its slots, its virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fairhook_common::delivery::Lane;
use fairhook_common::ids::{EndpointId, TenantId};
use fairhook_common::limits;

use super::alarms::Alarms;
use super::gate::{self, Company, Gate, Room, Speed};
use super::lanes::{Lanes, Listing, Serve};
use super::line::Line;
use super::lowered::Lowered;
use super::moment::{Moment, micros};
use super::share::{Occupancy, Rank, Virtual};
use super::{HeldBack, LaneCounts, Settings, Waiting};

/// What changes outside of a tenant when one of its endpoints changes.
pub(super) struct Surroundings<'a> {
    pub now: Moment,
    pub settings: &'a Settings,
    /// When a closed gate opens.
    pub openings: &'a mut Alarms,
    /// When the oldest attempt of an endpoint has taken too long for the reserve.
    pub ages: &'a mut Alarms,
}

/// An endpoint with work in this process, or not long ago.
pub(super) struct Endpoint<T> {
    pub gate: Gate,
    pub line: Line<T>,
    /// Parked or to be parked, and not yet back. While there are any, what is new gets no place in line, and at a slow endpoint
    /// no room that these would use.
    pub parked: u32,
    /// When it was last used.
    pub used_at: Moment,
    listing: Option<Listing>,
    opening: Option<Moment>,
    aging: Option<Moment>,
}

impl<T> Endpoint<T> {
    fn new(now: Moment) -> Self {
        let (gate, line) = (Gate::new(), Line::new());
        Self { gate, line, parked: 0, used_at: now, listing: None, opening: None, aging: None }
    }

    pub fn is_busy(&self) -> bool {
        !self.line.is_empty() || self.gate.in_flight() > 0
    }
}

pub(super) struct Tenant<T> {
    pub id: TenantId,
    pub weight: u32,
    pub cap: u32,
    /// It holds at least its cap, which was larger.
    lowered: Option<Lowered>,
    /// It is forgotten once its last slot is given back.
    pub removed: bool,
    pub in_flight: u32,
    pub virtual_time: Virtual,
    /// Whether its weight is among the active.
    pub active: bool,
    /// How it was last ranked.
    pub rank: Option<Rank>,
    /// As of which virtual time it was last ranked among those with something to be parked.
    pub parking_rank: Option<Virtual>,
    pub endpoints: BTreeMap<EndpointId, Endpoint<T>>,
    parking: VecDeque<Waiting<T>>,
    lanes: Lanes,
    waiting: LaneCounts,
    /// The endpoints with anything waiting or in flight.
    busy: BTreeSet<EndpointId>,
    /// Slot time used up to `metered_at`, in microseconds.
    slot_time: u64,
    metered_at: Moment,
}

impl<T> Tenant<T> {
    pub fn new(id: TenantId, weight: u32, cap: u32, now: Moment) -> Self {
        Self {
            id,
            weight,
            cap,
            lowered: None,
            removed: false,
            in_flight: 0,
            virtual_time: Virtual::default(),
            active: false,
            rank: None,
            parking_rank: None,
            endpoints: BTreeMap::new(),
            parking: VecDeque::new(),
            lanes: Lanes::default(),
            waiting: LaneCounts::default(),
            busy: BTreeSet::new(),
            slot_time: 0,
            metered_at: now,
        }
    }

    pub fn waiting(&self) -> LaneCounts {
        LaneCounts { parking: self.parking.len() as u32, ..self.waiting }
    }

    pub fn has_work(&self) -> bool {
        self.in_flight > 0 || self.waiting().total() > 0
    }

    /// How it ranks by its own means; `None`: it could start nothing even if all slots were free.
    pub fn standing(&self) -> Option<Rank> {
        let (quick, newcomer) = (self.lanes.has(Speed::Quick), self.lanes.has(Speed::Newcomer));
        let any = quick || newcomer || self.lanes.has(Speed::Slow);
        (any && self.has_slot()).then(|| Rank {
            virtual_time: self.virtual_time,
            occupancy: Occupancy::with_one_more(self.in_flight, self.weight),
            quick,
            newcomer,
        })
    }

    /// Its virtual time if it has something to be parked, for which it needs no slot.
    pub fn standing_to_park(&self) -> Option<Virtual> {
        (self.cap > 0 && !self.parking.is_empty()).then_some(self.virtual_time)
    }

    /// Takes over a delivery: into its endpoint's line if that has a place, else it is to be parked.
    pub fn offer(&mut self, number: u64, waiting: Waiting<T>, around: &mut Surroundings<'_>) {
        let id = waiting.endpoint;
        let (cap, company) = (self.cap, self.company(id));
        let endpoint = self.endpoints.entry(id).or_insert_with(|| Endpoint::new(around.now));
        endpoint.used_at = around.now;
        if waiting.released {
            endpoint.parked = endpoint.parked.saturating_sub(1);
        }
        let (free, places) = free_and_places(&endpoint.gate, cap, company, around.now, around.settings);
        let ahead = if waiting.released { 0 } else { endpoint.parked };
        let is_slow = endpoint.gate.speed(around.now, around.settings.quick) == Speed::Slow;
        let room = match ahead {
            0 => free.saturating_add(places),
            // There are no places: what is parked comes back into what is free.
            _ if is_slow => free.saturating_sub(ahead),
            // What is parked comes back into the places.
            _ => free,
        };
        if cap == 0 || endpoint.line.len() < room {
            *self.waiting.of_mut(waiting.lane) += 1;
            endpoint.line.push(number, waiting);
        } else {
            endpoint.parked = endpoint.parked.saturating_add(1);
            self.parking.push_back(waiting);
        }
        self.settle(id, around);
    }

    /// Takes the next delivery whose turn it is.
    pub fn take(&mut self, serve: Serve) -> Option<Waiting<T>> {
        let (lane, endpoint) = self.lanes.take_turn(serve)?;
        let waiting = self.endpoints.get_mut(&endpoint)?.line.pop(lane)?;
        *self.waiting.of_mut(waiting.lane) -= 1;
        Some(waiting)
    }

    /// Takes the next delivery that has to be parked.
    pub fn take_parking(&mut self) -> Option<Waiting<T>> {
        self.parking.pop_front()
    }

    /// Changes the cap; `last_slot` is the last one that was taken, by anybody.
    pub fn set_cap(&mut self, cap: u32, last_slot: u64) {
        let lowered = self.lowered.take().unwrap_or_else(|| Lowered::new(self.cap, last_slot));
        self.cap = cap;
        let is_lowered = cap > 0 && self.in_flight >= cap && cap < lowered.from();
        self.lowered = Some(lowered).filter(|_| is_lowered);
    }

    /// Whether it may still come to hold more than its cap, for that was larger.
    pub fn may_exceed_cap(&self) -> bool {
        self.lowered.is_some()
    }

    /// Whether it may hold one more slot.
    pub fn has_slot(&self) -> bool {
        let kept = self.lowered.as_ref().is_some_and(|lowered| lowered.has_slot(self.in_flight, self.cap));
        self.in_flight < self.cap || kept
    }

    pub fn take_slot(&mut self, now: Moment) {
        self.meter(now);
        self.in_flight += 1;
        self.lowered.as_mut().into_iter().for_each(Lowered::take_slot);
    }

    pub fn give_slot(&mut self, now: Moment, slot: u64) {
        self.meter(now);
        self.in_flight -= 1;
        self.lowered.as_mut().into_iter().for_each(|lowered| lowered.give_slot(slot));
        self.lowered.take_if(|_| self.in_flight < self.cap);
    }

    fn meter(&mut self, now: Moment) {
        self.slot_time = micros(self.slot_time_at(now));
        self.metered_at = self.metered_at.max(now);
    }

    /// Whether it has work, or had some not long ago.
    pub fn worked_lately(&self, now: Moment) -> bool {
        let lately = || now.since(self.metered_at) < limits::SNAPSHOT_RECENT;
        self.has_work() || (self.slot_time > 0 && lately())
    }

    /// Slot time used so far, running attempts included.
    pub fn slot_time_at(&self, now: Moment) -> Duration {
        let running = u64::from(self.in_flight).saturating_mul(micros(now.since(self.metered_at)));
        Duration::from_micros(self.slot_time.saturating_add(running))
    }

    /// The most that this endpoint may take of the tenant's cap now.
    pub fn ceiling(&self, id: EndpointId, now: Moment, settings: &Settings) -> u32 {
        let speed = self.endpoints.get(&id).map_or(Speed::Newcomer, |e| e.gate.speed(now, settings.quick));
        gate::ceiling(self.cap, self.company(id), speed)
    }

    /// How many more deliveries of this endpoint would find room or a place, at most its limit.
    pub fn room(&self, id: EndpointId, now: Moment, settings: &Settings) -> Option<u32> {
        let endpoint = self.endpoints.get(&id)?;
        let company = self.company(id);
        let (free, places) = free_and_places(&endpoint.gate, self.cap, company, now, settings);
        let limit = endpoint.gate.limit(self.ceiling(id, now, settings));
        Some(free.saturating_add(places).saturating_sub(endpoint.line.len()).min(limit))
    }

    /// Brings everything that follows from an endpoint's state up to date.
    pub fn settle(&mut self, id: EndpointId, around: &mut Surroundings<'_>) {
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        let before = self.busy.len();
        if endpoint.is_busy() {
            self.busy.insert(id);
        } else {
            self.busy.remove(&id);
        }
        // Whether an endpoint is the only busy one changes its ceiling: the other one's too when there are now two, or
        // only one is left.
        let crossed = matches!((before, self.busy.len()), (1, 2) | (2, 1));
        if crossed && let Some(other) = self.busy.iter().copied().find(|other| *other != id) {
            self.settle_one(other, around);
        }
        self.settle_one(id, around);
    }

    /// Settles every endpoint: its cap has changed.
    pub fn settle_all(&mut self, around: &mut Surroundings<'_>) {
        let ids: Vec<EndpointId> = self.endpoints.keys().copied().collect();
        ids.into_iter().for_each(|id| self.settle_one(id, around));
    }

    fn settle_one(&mut self, id: EndpointId, around: &mut Surroundings<'_>) {
        let (cap, company, now) = (self.cap, self.company(id), around.now);
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let settings = around.settings;
        let (free, places) = free_and_places(&endpoint.gate, cap, company, now, settings);
        let excess = endpoint.line.len().saturating_sub(free.saturating_add(places));
        let excess = if cap == 0 { 0 } else { excess };
        let mut shed: Vec<_> = (0..excess).filter_map(|_| endpoint.line.pop_newest()).collect();
        shed.iter().for_each(|waiting| *self.waiting.of_mut(waiting.lane) -= 1);
        endpoint.parked = endpoint.parked.saturating_add(excess);
        self.parking.extend(shed.drain(..).rev());
        let speed = endpoint.gate.speed(now, settings.quick);
        let heads = std::array::from_fn(|lane| endpoint.line.head(lane));
        let listing = (free > 0 && heads != [None; Lane::ALL.len()]).then_some((speed, heads));
        self.lanes.relist(id, endpoint.listing, listing);
        endpoint.listing = listing;

        let opening = match endpoint.gate.room(now, gate::ceiling(cap, company, speed)) {
            Room::Limited(at) if !endpoint.line.is_empty() => Some(at),
            Room::Open(at) => Some(at),
            _ => None,
        };
        around.openings.change(self.id, id, &mut endpoint.opening, opening);
        // One alarm for all attempts: it is moved on when it goes off, so that quick attempts cost nothing here.
        if endpoint.aging.is_none_or(|at| at <= now) {
            let oldest = endpoint.gate.oldest().filter(|_| !endpoint.line.is_empty());
            let aging = oldest.map(|oldest| oldest.after(settings.quick)).filter(|at| *at > now);
            around.ages.change(self.id, id, &mut endpoint.aging, aging);
        }
    }

    fn company(&self, id: EndpointId) -> Company {
        let others = |known: usize, among: bool| known > usize::from(among);
        if others(self.busy.len(), self.busy.contains(&id)) {
            Company::Busy
        } else if others(self.endpoints.len(), self.endpoints.contains_key(&id)) {
            Company::Idle
        } else {
            Company::None
        }
    }

    /// Forgets an endpoint that is not busy, and its alarms.
    pub fn forget(&mut self, id: EndpointId, around: &mut Surroundings<'_>) {
        if let Some(mut endpoint) = self.endpoints.remove(&id) {
            around.openings.change(self.id, id, &mut endpoint.opening, None);
            around.ages.change(self.id, id, &mut endpoint.aging, None);
            if self.endpoints.len() == 1 {
                self.settle_all(around);
            }
        }
    }

    /// Takes out everything that waits.
    pub fn drain(&mut self, around: &mut Surroundings<'_>) -> Vec<Waiting<T>> {
        let mut gone: Vec<Waiting<T>> = self.parking.drain(..).collect();
        for endpoint in self.endpoints.values_mut() {
            gone.extend(endpoint.line.drain());
        }
        self.waiting = LaneCounts::default();
        let ids: Vec<EndpointId> = self.endpoints.keys().copied().collect();
        ids.into_iter().for_each(|id| self.settle(id, around));
        gone
    }

    /// Takes out what is overdue; it counts as parked.
    pub fn take_overdue(
        &mut self,
        overdue: &impl Fn(&T) -> bool,
        around: &mut Surroundings<'_>,
    ) -> Vec<Waiting<T>> {
        // What has to be parked is counted already. It may have waited: while the cap is zero, or while nothing may be parked.
        let mut taken = Vec::new();
        while self.parking.front().is_some_and(|waiting| overdue(&waiting.item)) {
            taken.extend(self.parking.pop_front());
        }
        for id in self.busy.iter().copied().collect::<Vec<_>>() {
            let Some(endpoint) = self.endpoints.get_mut(&id) else { continue };
            let gone = endpoint.line.take_overdue(overdue);
            if gone.is_empty() {
                continue;
            }
            endpoint.parked = endpoint.parked.saturating_add(gone.len() as u32);
            gone.iter().for_each(|waiting| *self.waiting.of_mut(waiting.lane) -= 1);
            taken.extend(gone);
            self.settle(id, around);
        }
        taken
    }

    /// The least key of what waits first in any line, or is to be parked first.
    pub fn oldest<K: Ord>(&self, key: impl Fn(&T) -> K) -> Option<K> {
        let lines = self.busy.iter().filter_map(|id| self.endpoints.get(id));
        let heads = lines.flat_map(|endpoint| endpoint.line.heads());
        heads.chain(self.parking.front().map(|waiting| &waiting.item)).map(key).min()
    }

    /// Why it could start nothing even if all slots were free, if it could not.
    pub fn held_by_itself(&self, now: Moment, settings: &Settings) -> Option<HeldBack> {
        if !self.has_slot() {
            return Some(HeldBack::AtCap);
        }
        if self.standing().is_some() {
            return None;
        }
        let has_line = |id: &EndpointId| self.endpoints.get(id).is_some_and(|known| !known.line.is_empty());
        let lines = self.busy.iter().copied().filter(has_line);
        let ids = lines.chain(self.parking.front().map(|waiting| waiting.endpoint));
        let rooms = ids.filter_map(|id| {
            let ceiling = self.ceiling(id, now, settings);
            Some(self.endpoints.get(&id)?.gate.room(now, ceiling))
        });
        let (mut limited, mut full) = (false, false);
        for room in rooms {
            limited |= matches!(room, Room::Limited(_));
            full |= matches!(room, Room::Full | Room::Free(_));
        }
        Some(match (limited, full) {
            (true, _) => HeldBack::RateLimited,
            (_, true) => HeldBack::EndpointsFull,
            _ => HeldBack::CircuitOpen,
        })
    }
}

/// How many may start at a gate now, and how many more may wait there.
fn free_and_places(gate: &Gate, cap: u32, company: Company, now: Moment, settings: &Settings) -> (u32, u32) {
    let ceiling = gate::ceiling(cap, company, gate.speed(now, settings.quick));
    let free = match gate.room(now, ceiling) {
        Room::Free(free) => free,
        _ => 0,
    };
    (free, gate.places(now, ceiling, settings))
}
