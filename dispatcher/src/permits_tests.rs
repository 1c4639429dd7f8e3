//! A few dispatchers over one register, with late and lost answers, crashes, cuts, leaves and returns, all of them with
//! more to do than they may.

use std::collections::BTreeMap;
use std::time::Duration;

use fairhook_common::limits;
use fairhook_common::store::book::Book;
use fairhook_common::store::{Heartbeat, Roles};
use fairhook_common::time::Timestamp;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::*;

const TICK_MS: i64 = 200;
const CAPS: [u32; 6] = [1, 2, 3, 7, 10, 50];

fn tenant(n: usize) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(n as u128))
}

fn ms(span: Duration) -> i64 {
    span.as_millis() as i64
}

/// Mostly less than `usual`, now and then anything up to `at_most`.
fn some(rng: &mut StdRng, usual: i64, at_most: i64) -> i64 {
    let bound = if rng.random_bool(0.05) { at_most } else { usual };
    rng.random_range(0..bound)
}

/// An answer on its way: when it arrives, when its beat was sent, what it says.
type Answer = (i64, i64, Membership);

struct Node {
    permits: Permits,
    lease_until: i64,
    whole_since: i64,
    beats_at: i64,
    answer: Option<Answer>,
    applied: u64,
    behind: Vec<TenantId>,
    leaving: bool,
    cut_until: i64,
    /// When the attempts in flight end, by tenant, and under which joining they began.
    flights: Vec<(usize, i64, Option<u64>)>,
}

struct World {
    rng: StdRng,
    now: i64,
    book: Book,
    nodes: BTreeMap<NodeId, Node>,
    ids: u128,
    /// Nothing is lost, and no answer is late.
    calm: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let (rng, book, nodes) = (StdRng::seed_from_u64(seed), Book::default(), BTreeMap::new());
        Self { rng, now: 0, book, nodes, ids: 0, calm: true }
    }

    fn join(&mut self) {
        self.ids += 1;
        let node = Node {
            permits: Permits::new(NodeId::from_uuid(Uuid::from_u128(self.ids))),
            lease_until: 0,
            whole_since: 0,
            beats_at: self.now,
            answer: None,
            applied: 0,
            behind: Vec::new(),
            leaving: false,
            cut_until: 0,
            flights: Vec::new(),
        };
        self.nodes.insert(node.permits.me, node);
    }

    fn tick(&mut self) {
        self.now += TICK_MS;
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.hear(id);
            self.beat(id);
            self.work(id);
        }
        self.check();
    }

    fn hear(&mut self, id: NodeId) {
        let (now, node) = (self.now, self.nodes.get_mut(&id).expect("it is there"));
        let Some((_, sent, membership)) = node.answer.take_if(|(arrives, ..)| *arrives <= now) else {
            return;
        };
        if node.lease_until <= now {
            node.whole_since = sent;
        }
        node.lease_until = sent + ms(limits::NODE_LEASE);
        node.permits.heard(&membership);
    }

    fn beat(&mut self, id: NodeId) {
        let (now, node) = (self.now, self.nodes.get_mut(&id).expect("it is there"));
        if node.beats_at > now || node.answer.is_some() {
            return;
        }
        node.beats_at = now + ms(limits::HEARTBEAT);
        let beat = Heartbeat {
            node: id,
            name: String::new(),
            roles: Roles { ingest: false, dispatcher: true },
            lease: limits::NODE_LEASE,
            applied: node.applied,
            behind: node.behind.clone(),
            admitted: node.permits.admitted(),
            leaving: node.leaving,
            may_bury: node.lease_until > now && now - node.whole_since >= ms(limits::NODE_LEASE),
        };
        let (is_cut, unlucky) = (node.cut_until > now, if self.calm { 0.0 } else { 0.03 });
        if is_cut || self.rng.random_bool(unlucky) {
            return;
        }
        let told = self.book.beat(&beat, Timestamp(now));
        if !self.rng.random_bool(unlucky) {
            let late = some(&mut self.rng, 300, if self.calm { 300 } else { 12_000 });
            node.answer = Some((now + late, now, told));
        }
    }

    fn work(&mut self, id: NodeId) {
        let (now, node) = (self.now, self.nodes.get_mut(&id).expect("it is there"));
        node.flights.retain(|(_, ends, _)| *ends > now);
        let mut in_flight = [0; CAPS.len()];
        node.flights.iter().for_each(|(of, ..)| in_flight[*of] += 1);
        for (n, cap) in CAPS.into_iter().enumerate() {
            let share = node.permits.share(tenant(n), cap);
            while node.lease_until > now && !node.leaving && in_flight[n] < share {
                let takes = some(&mut self.rng, 2_000, ms(limits::ATTEMPT_TIMEOUT_MAX));
                node.flights.push((n, now + takes, node.permits.joined));
                in_flight[n] += 1;
            }
        }
        let is_over = |(n, cap): &(usize, u32)| in_flight[*n] > node.permits.bound(tenant(*n), *cap);
        let behind: Vec<_> = CAPS.into_iter().enumerate().filter(is_over).map(|(n, _)| tenant(n)).collect();
        // Who is behind with too many says nothing.
        if behind.len() < CAPS.len() / 2 {
            (node.applied, node.behind) = (node.permits.version(), behind);
        }
        if node.leaving && node.flights.is_empty() && node.cut_until <= now {
            self.book.leave(id);
            self.nodes.remove(&id);
        }
    }

    /// What began in a life that ended by the register counts as the dead's.
    fn check(&self) {
        for (n, cap) in CAPS.into_iter().enumerate() {
            let of_the_living = |(id, node): (&NodeId, &Node)| {
                let listed = self.book.entries.get(id).filter(|entry| entry.state != Standing::Dead);
                let life = listed.map(|entry| entry.joined);
                let counts =
                    |flight: &&(usize, i64, Option<u64>)| flight.0 == n && life.is_some() && flight.2 == life;
                node.flights.iter().filter(counts).count()
            };
            let total: usize = self.nodes.iter().map(of_the_living).sum();
            assert!(total as u32 <= cap, "{total} in flight of {cap} at {}", self.now);
        }
    }

    fn trouble(&mut self) {
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        let which = self.rng.random_range(0..ids.len().max(1));
        let Some(id) = ids.get(which) else { return self.join() };
        match self.rng.random_range(0..4) {
            0 if ids.len() < 6 => self.join(),
            1 => {
                self.nodes.remove(id);
            }
            2 => self.nodes.get_mut(id).expect("it is there").leaving = true,
            _ => {
                let until = self.now + self.rng.random_range(0..90_000);
                self.nodes.get_mut(id).expect("it is there").cut_until = until;
            }
        }
    }

    fn run(&mut self, span: Duration) {
        for _ in 0..ms(span) / TICK_MS {
            self.tick();
        }
    }

    fn granted(&self, n: usize) -> u32 {
        let share = |node: &Node| if node.leaving { 0 } else { node.permits.share(tenant(n), CAPS[n]) };
        self.nodes.values().map(share).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_caps_hold_through_all_trouble_and_everything_is_granted_in_the_end(seed: u64) {
        let mut world = World::new(seed);
        for _ in 0..4 {
            world.join();
        }
        world.calm = false;
        for _ in 0..30 {
            world.trouble();
            let quiet = world.rng.random_range(0..20_000);
            world.run(Duration::from_millis(quiet));
        }
        world.calm = true;
        world.join();
        // The longest cut, a burial, and the time that the dead are kept in mind.
        world.run(Duration::from_secs(90 + 20) + limits::NODE_LEASE * 2 + limits::NODE_QUARANTINE);
        for (n, cap) in CAPS.into_iter().enumerate() {
            prop_assert_eq!(world.granted(n), cap, "of a cap of {}", cap);
        }
    }
}

#[test]
fn alone_everything_is_granted_with_the_first_answer() {
    let mut world = World::new(1);
    world.join();
    let me = *world.nodes.keys().next().expect("it joined");
    let beat = |world: &mut World| loop {
        world.tick();
        if world.nodes[&me].permits.version() > 0 {
            return;
        }
    };
    beat(&mut world);
    assert!(CAPS.into_iter().enumerate().all(|(n, cap)| world.granted(n) == cap));
}

#[test]
fn who_has_joined_waits_only_for_the_tenants_that_others_hold_too_much_of() {
    let (mut book, a, b) = (Book::default(), NodeId::generate(), NodeId::generate());
    let beat = |node, applied, behind: &[usize]| Heartbeat {
        node,
        name: String::new(),
        roles: Roles { ingest: false, dispatcher: true },
        lease: limits::NODE_LEASE,
        applied,
        behind: behind.iter().map(|n| tenant(*n)).collect(),
        admitted: true,
        leaving: false,
        may_bury: false,
    };
    let shares = |permits: &Permits| [permits.share(tenant(4), 10), permits.share(tenant(5), 50)];
    let mut permits = Permits::new(b);
    book.beat(&beat(a, 1, &[]), Timestamp(0));
    let mut joined = book.beat(&beat(b, 0, &[]), Timestamp(0));
    assert!(permits.heard(&joined));
    assert_eq!(shares(&permits), [0, 0], "the other has not heard");
    book.beat(&beat(a, 2, &[5]), Timestamp(0));
    joined = book.beat(&beat(b, 2, &[]), Timestamp(0));
    assert!(permits.heard(&joined));
    assert_eq!(shares(&permits), [5, 0], "one tenant's receivers hang");
    book.beat(&beat(a, 2, &[4]), Timestamp(0));
    joined = book.beat(&beat(b, 2, &[]), Timestamp(0));
    assert!(permits.heard(&joined));
    assert_eq!(shares(&permits), [5, 25], "what was left to us stays ours");
    assert!(!permits.heard(&joined));
}

#[test]
fn a_tenant_of_a_dead_node_alone_is_served_again_once_it_is_buried() {
    let mut world = World::new(2);
    world.join();
    world.join();
    // Who has joined waits for the longest attempt that began before.
    world.run(limits::ATTEMPT_TIMEOUT_MAX + Duration::from_secs(10));
    let served: u32 = world.granted(0);
    assert_eq!(served, 1);
    let holder = |world: &World| {
        let holds = |(_, node): &(&NodeId, &Node)| node.permits.share(tenant(0), 1) == 1;
        world.nodes.iter().find(holds).map(|(id, _)| *id)
    };
    let dies = holder(&world).expect("somebody serves it");
    world.nodes.remove(&dies);
    let mut waited = 0;
    while holder(&world).is_none() {
        world.tick();
        waited += TICK_MS;
    }
    assert!(waited < 2 * ms(limits::NODE_LEASE), "{waited} ms");
    assert_eq!(world.granted(5), 25, "of what both served the dead one's share waits");
    world.run(limits::NODE_QUARANTINE);
    assert_eq!(world.granted(5), 50);
}
