//! A small discrete-event simulator of a dispatcher around the scheduler: tenants with arrivals and receivers, a bounded
//! window per tenant on its queue, a store for what is parked. Virtual clock, seeded randomness, nothing else.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::*;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Exponentially distributed with this mean, in microseconds.
    fn exponential(&mut self, mean: u64) -> u64 {
        (-(1.0 - self.unit()).ln() * mean as f64) as u64
    }
}

/// What a receiver does.
#[derive(Clone, Copy)]
pub enum Receiver {
    /// Answers 2xx after about so many milliseconds (half to one and a half times).
    Answers(u64),
    /// Answers 2xx after exactly so many milliseconds.
    AnswersIn(u64),
    /// Never answers: a timeout after so many milliseconds.
    Hangs(u64),
    /// Answers in the given milliseconds until this second, then hangs until its timeout of 15 s.
    DiesAt { answers: u64, second: u64 },
    /// Refuses connections until this second, then answers in 10 ms.
    ComesBackAt(u64),
}

/// How events arrive.
#[derive(Clone, Copy)]
pub enum Arrivals {
    /// So many at once, at the start.
    AtOnce(usize),
    /// At random, so many per second, from this second on.
    Random { per_second: f64, from: f64 },
    /// So many at once, every so many seconds.
    Bursts { size: usize, every: f64 },
    /// One more whenever one ends, so many unfinished ones always.
    Saturating(usize),
}

pub struct Behaviour {
    pub weight: u32,
    pub cap: u32,
    pub endpoints: Vec<Receiver>,
    pub arrivals: Arrivals,
}

/// What was seen of a tenant.
#[derive(Default, Clone, PartialEq, Debug)]
pub struct Seen {
    pub arrived: usize,
    /// From arrival to start, in microseconds.
    pub waits: Vec<u64>,
    /// When each delivery ended well, in microseconds, by endpoint.
    pub delivered: Vec<(usize, u64)>,
    pub failed: usize,
    pub parks: usize,
    /// Slot time used.
    pub slot_micros: u64,
    pub most_in_flight: u32,
}

impl Seen {
    pub fn wait_percentile(&self, part: f64) -> Duration {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let at = ((waits.len() as f64 * part) as usize).min(waits.len().saturating_sub(1));
        Duration::from_micros(waits.get(at).copied().unwrap_or(u64::MAX))
    }
}

#[derive(Clone, Copy, Debug)]
struct Item {
    tenant: usize,
    endpoint: usize,
    arrived: u64,
    started: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive {
        tenant: usize,
    },
    End {
        slot: u64,
    },
    /// What was parked is recorded.
    Parked {
        tenant: usize,
        endpoint: usize,
    },
    /// The engine looks for parked deliveries that have room.
    Poll,
    Wake,
}

struct Running {
    slot: SlotId,
    item: Item,
    started: u64,
    end: SlotEnd,
}

pub struct Simulator {
    pub scheduler: Scheduler<usize>,
    pub now: u64,
    pub seen: Vec<Seen>,
    /// A digest of every step taken, to compare runs.
    pub trace: u64,
    /// The slots of each tenant, every half second.
    pub occupancy: Vec<Vec<u32>>,
    tenants: Vec<Behaviour>,
    items: Vec<Item>,
    /// What is in a tenant's queue, outside of its window.
    queues: Vec<VecDeque<usize>>,
    parked: BTreeMap<(usize, usize), VecDeque<usize>>,
    /// How many are being parked of each tenant: they take a place in its window until that is recorded.
    being_parked: Vec<u32>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    running: BTreeMap<u64, Running>,
    numbers: u64,
    random: Random,
    woken_for: Option<Moment>,
    /// From when on waits and slot time count.
    warm: u64,
}

const SECOND: u64 = 1_000_000;
/// As `limits::PREFETCH_AHEAD`.
const AHEAD: u32 = limits::PREFETCH_AHEAD;

impl Simulator {
    pub fn new(slots: usize, tenants: Vec<Behaviour>, seed: u64) -> Self {
        Self::with_settings(Settings::with_slots(slots), tenants, seed)
    }

    pub fn with_settings(settings: Settings, tenants: Vec<Behaviour>, seed: u64) -> Self {
        println!("simulated with seed {seed}");
        let mut simulator = Self {
            scheduler: Scheduler::new(settings),
            now: 0,
            seen: vec![Seen::default(); tenants.len()],
            trace: seed,
            occupancy: Vec::new(),
            queues: vec![VecDeque::new(); tenants.len()],
            parked: BTreeMap::new(),
            being_parked: vec![0; tenants.len()],
            items: Vec::new(),
            events: BinaryHeap::new(),
            running: BTreeMap::new(),
            numbers: 0,
            random: Random::seeded(seed),
            woken_for: None,
            warm: 0,
            tenants,
        };
        for n in 0..simulator.tenants.len() {
            simulator.begin(n);
        }
        simulator.schedule(SECOND / 2, Event::Poll);
        simulator
    }

    fn begin(&mut self, n: usize) {
        let (weight, cap) = (self.tenants[n].weight, self.tenants[n].cap);
        self.scheduler.set_tenant(tenant(n), weight, cap);
        match self.tenants[n].arrivals {
            Arrivals::AtOnce(size) | Arrivals::Saturating(size) => (0..size).for_each(|_| self.arrive(n)),
            Arrivals::Random { per_second, from } => {
                let first = self.random.exponential((SECOND as f64 / per_second) as u64);
                self.schedule((from * SECOND as f64) as u64 + first, Event::Arrive { tenant: n });
            }
            Arrivals::Bursts { every, .. } => {
                let first = (self.random.unit() * every * SECOND as f64) as u64;
                self.schedule(first, Event::Arrive { tenant: n });
            }
        }
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.numbers += 1;
        self.events.push(Reverse((at, self.numbers, event)));
    }

    /// Runs until then; waits and slot time count from `warm` on. Seconds.
    pub fn run(&mut self, warm: u64, until: u64) -> &mut Self {
        self.warm = warm * SECOND;
        self.pump();
        while let Some(Reverse((at, _, _))) = self.events.peek()
            && *at < until * SECOND
        {
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.now = at;
            match event {
                Event::Arrive { tenant } => self.arrive_again(tenant),
                Event::End { slot } => self.end(slot),
                Event::Parked { tenant, endpoint } => self.is_parked(tenant, endpoint),
                Event::Poll => {
                    self.sample();
                    self.release_all();
                    self.scheduler.forget_idle(self.moment());
                    self.schedule(at + SECOND / 2, Event::Poll);
                }
                Event::Wake => self.woken_for = None,
            }
            self.pump();
        }
        self.now = until * SECOND;
        for running in self.running.values() {
            self.seen[running.item.tenant].slot_micros += self.now - running.started.max(self.warm);
        }
        self
    }

    fn sample(&mut self) {
        let slots = (0..self.tenants.len()).map(|n| self.scheduler.in_flight(tenant(n)));
        self.occupancy.push(slots.collect());
    }

    /// How long what has arrived since it was warm waited for its first start, of these tenants, or has waited until now.
    pub fn waits_or_ages(&self, tenants: std::ops::Range<usize>) -> Seen {
        let ages = self
            .items
            .iter()
            .filter(|item| tenants.contains(&item.tenant) && !item.started && item.arrived >= self.warm);
        let ages = ages.map(|item| self.now - item.arrived);
        let waits = self.seen[tenants.clone()].iter().flat_map(|seen| seen.waits.iter().copied());
        Seen { waits: waits.chain(ages).collect(), ..Seen::default() }
    }

    fn moment(&self) -> Moment {
        Moment::from_micros(self.now)
    }

    fn arrive_again(&mut self, n: usize) {
        match self.tenants[n].arrivals {
            Arrivals::Random { per_second, .. } => {
                self.arrive(n);
                let next = self.random.exponential((SECOND as f64 / per_second) as u64);
                self.schedule(self.now + next, Event::Arrive { tenant: n });
            }
            Arrivals::Bursts { size, every } => {
                (0..size).for_each(|_| self.arrive(n));
                self.schedule(self.now + (every * SECOND as f64) as u64, Event::Arrive { tenant: n });
            }
            Arrivals::AtOnce(_) | Arrivals::Saturating(_) => {}
        }
    }

    fn arrive(&mut self, n: usize) {
        let endpoint = self.seen[n].arrived % self.tenants[n].endpoints.len();
        self.seen[n].arrived += 1;
        self.items.push(Item { tenant: n, endpoint, arrived: self.now, started: false });
        self.queues[n].push_back(self.items.len() - 1);
        self.fetch(n);
    }

    /// Takes from the tenant's queue what fits into its window.
    fn fetch(&mut self, n: usize) {
        let window = self.tenants[n].cap + AHEAD;
        let taken = |s: &Self| {
            s.scheduler.waiting(tenant(n)).total() + s.scheduler.in_flight(tenant(n)) + s.being_parked[n]
        };
        while taken(self) < window {
            let Some(item) = self.queues[n].pop_front() else { return };
            self.offer(item, false);
        }
    }

    fn offer(&mut self, item: usize, released: bool) {
        let Item { tenant, endpoint, .. } = self.items[item];
        let offered = Waiting { released, ..waiting(tenant, endpoint, item) };
        assert!(self.scheduler.offer(self.moment(), offered).is_ok());
    }

    fn release_all(&mut self) {
        let waiting: Vec<_> = self.parked.keys().copied().collect();
        waiting.into_iter().for_each(|(tenant, endpoint)| self.release(tenant, endpoint));
    }

    fn release(&mut self, n: usize, e: usize) {
        let Some(parked) = self.parked.get_mut(&(n, e)) else { return };
        let room = self.scheduler.endpoint_room(endpoint(n, e)) as usize;
        let claimed: Vec<usize> = parked.drain(..room.min(parked.len())).collect();
        if parked.is_empty() {
            self.parked.remove(&(n, e));
            self.scheduler.none_parked(endpoint(n, e));
        }
        claimed.into_iter().for_each(|item| self.offer(item, true));
    }

    /// Does what the scheduler says until it says nothing more.
    fn pump(&mut self) {
        while let Some(step) = self.scheduler.next(self.moment()) {
            match step {
                Step::Start { slot, waiting } => self.start(slot, waiting.item),
                Step::Park(waiting) => self.park(waiting.item),
            }
        }
        let wakeup = self.scheduler.next_wakeup();
        if let Some(at) = wakeup.filter(|at| self.woken_for.is_none_or(|earlier| *at < earlier)) {
            self.woken_for = wakeup;
            self.schedule(at.as_micros().max(self.now + 1), Event::Wake);
        }
    }

    fn note(&mut self, what: u64, item: usize) {
        for part in [what, item as u64, self.now] {
            self.trace = (self.trace.rotate_left(7) ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }

    fn start(&mut self, slot: SlotId, id: usize) {
        self.note(1, id);
        self.items[id].started = true;
        let item = self.items[id];
        let Item { tenant: n, endpoint: e, arrived, .. } = item;
        let facts = EndpointFacts { rate_per_minute: None, timeout: Duration::from_secs(15) };
        self.scheduler.endpoint_known(self.moment(), endpoint(n, e), facts);
        assert!(self.scheduler.may_go_on(self.moment(), &slot), "nobody has a rate");
        if arrived >= self.warm {
            self.seen[n].waits.push(self.now - arrived);
        }
        let in_flight = self.scheduler.in_flight(tenant(n));
        self.seen[n].most_in_flight = self.seen[n].most_in_flight.max(in_flight);
        let (takes, class) = self.attempt(self.tenants[n].endpoints[e]);
        let running = Running { slot, item, started: self.now, end: attempted(class) };
        self.run_until(self.now + takes, running);
    }

    fn attempt(&mut self, receiver: Receiver) -> (u64, Class) {
        match receiver {
            Receiver::Answers(millis) => {
                ((millis as f64 * 1_000.0 * (0.5 + self.random.unit())) as u64, Class::Success)
            }
            Receiver::AnswersIn(millis) => (millis * 1_000, Class::Success),
            Receiver::Hangs(millis) => (millis * 1_000, Class::Overload),
            Receiver::DiesAt { second, .. } if self.now >= second * SECOND => (15 * SECOND, Class::Overload),
            Receiver::DiesAt { answers, .. } => (answers * 1_000, Class::Success),
            Receiver::ComesBackAt(second) if self.now < second * SECOND => (1_000, Class::Overload),
            Receiver::ComesBackAt(_) => (10_000, Class::Success),
        }
    }

    fn park(&mut self, id: usize) {
        self.note(2, id);
        let Item { tenant, endpoint, .. } = self.items[id];
        self.seen[tenant].parks += 1;
        self.being_parked[tenant] += 1;
        self.parked.entry((tenant, endpoint)).or_default().push_back(id);
        self.schedule(self.now + 2_000, Event::Parked { tenant, endpoint });
    }

    fn is_parked(&mut self, n: usize, e: usize) {
        self.being_parked[n] -= 1;
        self.release(n, e);
        self.fetch(n);
    }

    fn run_until(&mut self, end: u64, running: Running) {
        let slot = running.slot.0;
        assert!(self.running.insert(slot, running).is_none(), "a slot is given once");
        self.schedule(end, Event::End { slot });
    }

    fn end(&mut self, slot: u64) {
        let Some(Running { slot, item, started, end }) = self.running.remove(&slot) else { return };
        self.scheduler.finish(self.moment(), slot, end);
        let Item { tenant: n, endpoint: e, .. } = item;
        let seen = &mut self.seen[n];
        seen.slot_micros += self.now.saturating_sub(started.max(self.warm));
        match end {
            SlotEnd::Attempted { class: Class::Success, .. } => seen.delivered.push((e, self.now)),
            SlotEnd::Attempted { .. } => seen.failed += 1,
            SlotEnd::NotAttempted => {}
        }
        if let (Arrivals::Saturating(_), SlotEnd::Attempted { .. }) = (self.tenants[n].arrivals, end) {
            self.arrive(n);
        }
        self.release(n, e);
        self.fetch(n);
    }
}
