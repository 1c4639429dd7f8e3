//! Random operations against a model that looks at everything after every step.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::gate::{Room, Speed};
use super::super::share::Occupancy;
use super::*;

const TENANTS: usize = 5;
const ENDPOINTS: usize = 3;
const SLOTS: usize = 20;

#[derive(Debug, Clone)]
enum Op {
    Offer { tenant: usize, endpoint: usize, lane: usize, released: bool },
    Next,
    Load { which: usize },
    Finish { which: usize, end: usize },
    Pass { millis: u64 },
    Known { tenant: usize, endpoint: usize, rate: Option<u32> },
    Cap { tenant: usize, weight: u32, cap: u32 },
    Remove { tenant: usize },
    Slots { slots: usize },
    Forget,
}

fn op() -> impl Strategy<Value = Op> {
    let (t, e) = (0..TENANTS, 0..ENDPOINTS);
    prop_oneof![
        8 => (t.clone(), e.clone(), 0..3_usize, any::<bool>())
            .prop_map(|(tenant, endpoint, lane, released)| Op::Offer { tenant, endpoint, lane, released }),
        10 => Just(Op::Next),
        4 => (0..SLOTS).prop_map(|which| Op::Load { which }),
        6 => (0..SLOTS, 0..8_usize).prop_map(|(which, end)| Op::Finish { which, end }),
        4 => prop_oneof![0..20_u64, 200..3_000_u64].prop_map(|millis| Op::Pass { millis }),
        2 => (t.clone(), e, prop_oneof![3 => Just(None), 1 => (1..20_u32).prop_map(Some)])
            .prop_map(|(tenant, endpoint, rate)| Op::Known { tenant, endpoint, rate }),
        1 => (t.clone(), 1..5_u32, 0..12_u32).prop_map(|(tenant, weight, cap)| Op::Cap { tenant, weight, cap }),
        1 => t.prop_map(|tenant| Op::Remove { tenant }),
        1 => (0..=SLOTS).prop_map(|slots| Op::Slots { slots }),
        1 => Just(Op::Forget),
    ]
}

/// The scheduler beside what must be true of it.
struct Model {
    scheduler: Scheduler<u32>,
    now: u64,
    caps: [Option<(u32, u32)>; TENANTS],
    /// The cap before and the last slot then, of those that hold at least the cap they have now.
    lowered: [Option<(u32, u64)>; TENANTS],
    slots: usize,
    offered: BTreeSet<u32>,
    /// Whose it is, and whether it was started out of the reserve.
    held: Vec<(SlotId, usize, bool)>,
    items: u32,
    virtual_time: Virtual,
    /// The last step was to park something.
    parked_last: bool,
}

impl Model {
    fn new() -> Self {
        let mut scheduler = Scheduler::new(Settings::with_slots(SLOTS));
        let caps = [(1, 6), (2, 10), (4, 20), (1, 1), (3, 8)];
        for (n, (weight, cap)) in caps.iter().enumerate() {
            scheduler.set_tenant(tenant(n), *weight, *cap);
        }
        Self {
            scheduler,
            now: 0,
            caps: caps.map(Some),
            lowered: [None; TENANTS],
            slots: SLOTS,
            offered: BTreeSet::new(),
            held: Vec::new(),
            items: 0,
            virtual_time: Virtual::default(),
            parked_last: false,
        }
    }

    fn now(&self) -> Moment {
        ms(self.now)
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Offer { tenant, endpoint, lane, released } => self.offer(tenant, endpoint, lane, released),
            Op::Next => drop(self.next()),
            Op::Load { which } => self.load(which),
            Op::Finish { which, end } => self.finish(which, end),
            Op::Pass { millis } => self.now += millis,
            Op::Known { tenant, endpoint: e, rate } => {
                let facts = EndpointFacts {
                    rate_per_minute: rate.map(|rate| 60 * rate),
                    timeout: Duration::from_secs(15),
                };
                self.scheduler.endpoint_known(self.now(), endpoint(tenant, e), facts);
            }
            Op::Cap { tenant: t, weight, cap } => {
                // One that was removed may still hold slots, and is then the same one.
                let known = self.scheduler.tenants.get(&tenant(t));
                let before = self.lowered[t].or(known.map(|known| (known.cap, self.scheduler.last_number)));
                self.caps[t] = Some((weight, cap));
                self.lowered[t] =
                    before.filter(|(from, _)| cap > 0 && cap < *from && cap <= self.in_flight(t));
                self.scheduler.set_tenant(tenant(t), weight, cap);
            }
            Op::Remove { tenant: t } => {
                self.caps[t] = None;
                for item in self.scheduler.remove_tenant(tenant(t)) {
                    assert!(self.offered.remove(&item), "what is handed back had waited");
                }
            }
            Op::Slots { slots } => {
                self.slots = slots;
                self.scheduler.set_slots(slots);
            }
            Op::Forget => self.scheduler.forget_idle(self.now()),
        }
    }

    fn offer(&mut self, t: usize, e: usize, lane: usize, released: bool) {
        self.items += 1;
        let offered = Waiting { lane: Lane::ALL[lane], released, ..waiting(t, e, self.items) };
        let taken = self.scheduler.offer(self.now(), offered).is_ok();
        assert_eq!(taken, self.caps[t].is_some());
        if taken {
            self.offered.insert(self.items);
        }
    }

    fn load(&mut self, which: usize) {
        let now = self.now();
        let Some((slot, ..)) = self.held.get(which % self.held.len().max(1)) else { return };
        if !self.scheduler.may_go_on(now, slot) {
            let (slot, ..) = self.held.swap_remove(which % self.held.len());
            self.scheduler.finish(now, slot, SlotEnd::NotAttempted);
        }
    }

    /// Takes the next step, if there is one.
    fn next(&mut self) -> bool {
        let may = self.what_may_start();
        let free = self.slots.saturating_sub(self.held.len());
        let within: Vec<_> = may.iter().filter(|(_, n)| self.is_within(2.0, *n)).collect();
        let first = if self.is_anyones(free) && !within.is_empty() { within } else { may.iter().collect() };
        let parks = self.what_has_to_be_parked();
        let whose = |waiting: &Waiting<u32>| (0..TENANTS).find(|n| tenant(*n) == waiting.tenant).unwrap();
        let (slot, waiting) = match self.scheduler.next(self.now()) {
            None => {
                assert!(
                    may.is_empty() && parks.is_empty(),
                    "these could start {may:?} or be parked {parks:?}"
                );
                return false;
            }
            Some(Step::Park(waiting)) => {
                assert!(!self.parked_last || may.is_empty(), "parking and starting take turns");
                let least = parks.iter().map(|(virtual_time, _)| *virtual_time).min();
                assert!(parks.iter().any(|(v, n)| *n == whose(&waiting) && Some(*v) == least));
                assert!(self.offered.remove(&waiting.item), "each starts or is parked exactly once");
                self.parked_last = true;
                return true;
            }
            Some(Step::Start { slot, waiting }) => (slot, waiting),
        };
        assert!(self.parked_last || parks.is_empty(), "parking and starting take turns");
        self.parked_last = false;
        assert!(self.offered.remove(&waiting.item), "each starts or is parked exactly once");
        let t = whose(&waiting);
        let least = first.iter().map(|(virtual_time, _)| *virtual_time).min();
        let chosen = may.iter().find(|(_, n)| *n == t).map(|(virtual_time, _)| *virtual_time);
        assert!(chosen.is_some(), "{t} may not start with {free} free");
        assert!(first.iter().any(|(_, n)| *n == t), "{t} goes before those within twice their share");
        assert_eq!(chosen, least, "the least virtual time goes first");
        self.held.push((slot, t, !self.is_anyones(free)));
        true
    }

    fn what_has_to_be_parked(&self) -> Vec<(Virtual, usize)> {
        let tenants = (0..TENANTS).filter_map(|t| Some((t, self.scheduler.tenants.get(&tenant(t))?)));
        let parks = tenants.filter(|(_, known)| known.cap > 0 && known.waiting().parking > 0);
        parks.map(|(t, known)| (known.virtual_time, t)).collect()
    }

    fn reserve(&self) -> usize {
        (self.slots as f64 * 0.1) as usize
    }

    fn is_anyones(&self, free: usize) -> bool {
        let from_reserve = self.held.iter().filter(|(_, _, from_reserve)| *from_reserve).count();
        free > self.reserve() || from_reserve >= ((self.slots - self.reserve()) / 2).max(1)
    }

    /// Who may start something by the rules, found by looking at everybody: as the table in `share` says.
    fn what_may_start(&mut self) -> Vec<(Virtual, usize)> {
        // Bring the alarms up to date first: the model does not keep gates of its own.
        self.scheduler.look_at(self.now());
        let free = self.slots.saturating_sub(self.held.len());
        (0..TENANTS)
            .filter(|t| free > 0 && self.may_start(*t, free))
            .map(|t| (self.scheduler.tenants[&tenant(t)].virtual_time, t))
            .collect()
    }

    fn may_start(&self, t: usize, free: usize) -> bool {
        let Some(known) = self.scheduler.tenants.get(&tenant(t)) else { return false };
        let now = self.now();
        if !self.has_slot(t) {
            return false;
        }
        let mut speeds = BTreeSet::new();
        for (id, endpoint) in known.endpoints.iter().filter(|(_, endpoint)| !endpoint.line.is_empty()) {
            let ceiling = known.ceiling(*id, now, &self.scheduler.settings);
            if let Room::Free(_) = endpoint.gate.room(now, ceiling) {
                speeds.insert(endpoint.gate.speed(now, self.scheduler.settings.quick));
            }
        }
        if self.is_anyones(free) {
            return !speeds.is_empty();
        }
        let reserve = self.reserve();
        let below = self.is_within(1.0, t)
            || Occupancy::with_one_more(self.in_flight(t), self.weight(t))
                <= self.scheduler.shares.reserve_bound(free);
        let newcomers =
            self.scheduler.newcomers < (reserve / if self.in_flight(t) == 0 { 2 } else { 4 }).max(1);
        below && (speeds.contains(&Speed::Quick) || (speeds.contains(&Speed::Newcomer) && newcomers))
    }

    /// So many times its share, with one slot more.
    fn is_within(&self, times: f64, t: usize) -> bool {
        let active: u32 = (0..TENANTS).filter(|n| self.is_active(*n)).map(|n| self.weight(n)).sum();
        let share =
            (self.slots - self.reserve()) as f64 * f64::from(self.weight(t)) / f64::from(active.max(1));
        let in_flight = f64::from(self.in_flight(t));
        in_flight == 0.0 || in_flight + 1.0 < times * share + 1e-3
    }

    fn has_slot(&self, t: usize) -> bool {
        let (Some((_, cap)), in_flight) = (self.caps[t], self.in_flight(t)) else { return false };
        let kept = self.lowered[t].is_some_and(|(from, last)| {
            let since =
                self.held.iter().filter(|(slot, holder, _)| *holder == t && slot.0 > last).count() as u32;
            in_flight < from && since < (cap / 8).max(1)
        });
        in_flight < cap || kept
    }

    fn in_flight(&self, t: usize) -> u32 {
        self.held.iter().filter(|(_, holder, _)| *holder == t).count() as u32
    }

    fn is_active(&self, t: usize) -> bool {
        self.in_flight(t) > 0 || self.scheduler.waiting(tenant(t)).total() > 0
    }

    fn weight(&self, t: usize) -> u32 {
        self.scheduler.tenants.get(&tenant(t)).map_or(0, |tenant| tenant.weight)
    }

    fn finish(&mut self, which: usize, end: usize) {
        if self.held.is_empty() {
            return;
        }
        let (slot, t, _) = self.held.swap_remove(which % self.held.len());
        if self.caps[t].is_some_and(|(_, cap)| self.in_flight(t) < cap) {
            self.lowered[t] = None;
        }
        let end = match end {
            0..3 => attempted(Class::Success),
            3 => attempted(Class::Answered),
            4..7 => attempted(Class::Overload),
            _ => SlotEnd::NotAttempted,
        };
        self.scheduler.finish(self.now(), slot, end);
    }

    fn check(&mut self) {
        let scheduler = &self.scheduler;
        assert_eq!(scheduler.flights.len(), self.held.len(), "no slot is lost or invented");
        let waiting: u32 = (0..TENANTS).map(|t| scheduler.waiting(tenant(t)).total()).sum();
        assert_eq!(waiting as usize, self.offered.len(), "nothing is lost or invented");
        for t in 0..TENANTS {
            assert_eq!(scheduler.in_flight(tenant(t)), self.in_flight(t));
        }
        let active: u32 = (0..TENANTS).filter(|n| self.is_active(*n)).map(|n| self.weight(n)).sum();
        assert_eq!(scheduler.shares.active(), u64::from(active));
        let from_reserve = self.held.iter().filter(|(_, _, from_reserve)| *from_reserve).count();
        assert_eq!(scheduler.from_reserve, from_reserve);
        assert!(scheduler.virtual_time >= self.virtual_time, "virtual time never falls");
        self.virtual_time = scheduler.virtual_time;
        assert!(self.scheduler.snapshot(self.now()).in_flight == self.held.len());
    }

    /// Everything ends at last: all answers arrive, everybody has a cap, time passes.
    fn wind_up(mut self) {
        self.scheduler.set_slots(SLOTS);
        self.slots = SLOTS;
        let caps = self.caps;
        for t in (0..TENANTS).filter(|t| caps[*t].is_some()) {
            self.apply(Op::Cap { tenant: t, weight: 1, cap: 4 });
        }
        for _ in 0..2_000 {
            while !self.held.is_empty() {
                self.finish(0, 0);
            }
            if !self.next() {
                if self.offered.is_empty() {
                    self.check();
                    return;
                }
                let wakeup = self.scheduler.next_wakeup().expect("what waits has something to wait for");
                self.now = self.now.max(wakeup.as_micros() / 1_000 + 1);
            }
        }
        panic!("starved: {:?}", self.scheduler.snapshot(self.now()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_whatever_happens(ops in proptest::collection::vec(op(), 1..200)) {
        let mut model = Model::new();
        for op in ops {
            model.apply(op);
            model.check();
        }
        model.wind_up();
    }

    /// Bounded wait: with every slot contended, a tenant's next delivery starts within a share's worth of others' starts.
    #[test]
    fn no_tenant_starves(weights in proptest::collection::vec(1..8_u32, 2..10), seed: u64) {
        let mut scheduler: Scheduler<usize> = Scheduler::new(Settings::with_slots(10));
        let mut random = simulator::Random::seeded(seed);
        for (n, weight) in weights.iter().enumerate() {
            scheduler.set_tenant(tenant(n), *weight, 10);
        }
        let (mut held, mut now, mut last) = (Vec::new(), 0_u64, vec![0_usize; weights.len()]);
        let total: u32 = weights.iter().sum();
        for turn in 1..600 {
            for n in 0..weights.len() {
                while scheduler.waiting(tenant(n)).total() < 3 {
                    offer_known(&mut scheduler, ms(now), waiting(n, 0, n));
                }
            }
            while let Some(step) = scheduler.next(ms(now)) {
                let Step::Start { slot, waiting } = step else { continue };
                last[waiting.item] = turn;
                held.push((slot, turn));
            }
            now += 20;
            // Any of them ends next, but none is held for longer than 30 turns.
            let late = held.iter().position(|(_, since)| turn - since >= 30);
            let which = late.unwrap_or((random.bits() % held.len() as u64) as usize);
            let (slot, _) = held.swap_remove(which);
            scheduler.finish(ms(now), slot, attempted(Class::Success));
            for (n, weight) in weights.iter().enumerate() {
                let turns = 40 + 20 * (total / weight) as usize;
                prop_assert!(turn - last[n] <= turns, "tenant {} of weight {} waits since {} turns", n, weight, turn - last[n]);
            }
        }
    }
}
