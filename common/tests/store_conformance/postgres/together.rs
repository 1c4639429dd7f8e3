//! Two processes at the same deliveries: outcomes, claims, replays, cancels and switches, all at once and at random. Whatever
//! overtakes what: numbers never fall, nothing is handed out twice, and everything ends in one state and is counted there.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairhook_common::delivery::{DeliveryState, Lane, Outcome, Verdict};
use fairhook_common::endpoint::EndpointStatus;
use fairhook_common::event::NewEvent;
use fairhook_common::ids::{DeliveryId, EndpointId, TenantId};
use fairhook_common::store::{
    Admission, Claim, ClaimFrom, DeliveryView, EndpointChanges, Recovery, SharedStore, Sweep,
};
use fairhook_common::tenant::DlqOverflow;
use fairhook_common::time::Timestamp;
use tokio::task::JoinSet;

use super::harness::{DISABLE_AFTER, LEASE, Sent, World, at, event_at};

const WORKERS: u64 = 6;
const STEPS: usize = 50;
const DLQ: u32 = 3;

/// Numbers that a seed determines.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ mixed >> 27) % sides as u64) as usize
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())).cloned() }
    }
}

/// What all workers know.
struct Known {
    tenant: TenantId,
    endpoints: Vec<EndpointId>,
    /// Every message and claim there ever was.
    sent: Mutex<Vec<Sent>>,
    outcomes: Mutex<Vec<Outcome>>,
    claims: Mutex<HashSet<(DeliveryId, u32)>>,
}

impl Known {
    fn sent(&self, dice: &mut Dice) -> Option<Sent> {
        let sent = self.sent.lock().expect("nobody panics");
        // The latest are the likeliest.
        let from = sent.len().saturating_sub(1 + dice.below(40));
        dice.pick(&sent[from..])
    }
}

struct Worker {
    store: SharedStore,
    known: Arc<Known>,
    dice: Dice,
}

impl Worker {
    async fn work(mut self) {
        for step in 0..STEPS {
            let now = at((step * 10 + self.dice.below(300)) as u64);
            match self.dice.below(16) {
                0 => self.admit(now).await,
                1..=7 => self.record(now).await,
                8..=10 => self.claim(now).await,
                11 => self.replay(now).await,
                12 => self.cancel(now).await,
                13 => self.switch(now).await,
                14 => drop(self.store.release_held(3, now).await.expect("released")),
                _ => self.housekeep(now).await,
            }
        }
    }

    async fn admit(&mut self, now: Timestamp) {
        let life = Duration::from_secs([200, 80_000, 80_000][self.dice.below(3)]);
        let event = NewEvent { expires_at: now.after(life), ..event_at(self.known.tenant, "a", now) };
        let admitted = self.store.admit(vec![event.clone(), event], now).await.expect("admitted");
        let mut sent = self.known.sent.lock().expect("nobody panics");
        for result in admitted.results {
            let Admission::Accepted(event) = result else { panic!("not accepted: {result:?}") };
            let tenant = self.known.tenant;
            sent.extend(event.deliveries.iter().filter(|d| d.state == DeliveryState::Queued).map(|d| Sent {
                id: DeliveryId { event: event.id, ordinal: d.ordinal },
                tenant,
                endpoint: d.endpoint,
                generation: 0,
            }));
        }
    }

    async fn record(&mut self, now: Timestamp) {
        let mut outcomes = vec![];
        for _ in 0..1 + self.dice.below(6) {
            let Some(sent) = self.known.sent(&mut self.dice) else { return };
            let due_at = now.after(Duration::from_secs(1 + self.dice.below(200) as u64));
            outcomes.push(match self.dice.below(8) {
                0 | 1 => sent.delivered(now),
                2 | 3 => sent.dead(now),
                4 => sent.verdict(Verdict::Park, now),
                5 => sent.verdict(Verdict::Hold, now),
                _ => sent.retry(due_at, now),
            });
        }
        let before = self.known.outcomes.lock().expect("nobody panics").clone();
        outcomes.extend(self.dice.pick(&before).filter(|_| self.dice.below(4) == 0));
        self.store.record(outcomes.clone(), DISABLE_AFTER).await.expect("recorded");
        self.known.outcomes.lock().expect("nobody panics").extend(outcomes);
    }

    async fn claim(&mut self, now: Timestamp) {
        let tenant = self.known.tenant;
        let from = Lane::ALL.map(ClaimFrom::Due).into_iter();
        let mut lanes = Lane::ALL;
        lanes.rotate_left(self.dice.below(3));
        let parked = |&endpoint: &EndpointId| ClaimFrom::Parked { endpoint, lanes };
        let from = from.chain(self.known.endpoints.iter().map(parked));
        let wants: Vec<_> = from.map(|from| Claim { tenant, from, limit: 4 }).collect();
        let claimed = self.store.claim(&wants, LEASE, now).await.expect("claimed");
        let (mut sent, mut claims) = (
            self.known.sent.lock().expect("nobody panics"),
            self.known.claims.lock().expect("nobody panics"),
        );
        for claimed in claimed {
            assert!(claims.insert((claimed.delivery, claimed.generation)), "handed out twice: {claimed:?}");
            sent.push(Sent::from(claimed));
        }
    }

    async fn replay(&mut self, now: Timestamp) {
        let Some(sent) = self.known.sent(&mut self.dice) else { return };
        self.store.replay(sent.tenant, sent.id, now).await.expect("replayed").expect("is there");
    }

    async fn cancel(&mut self, now: Timestamp) {
        let Some(sent) = self.known.sent(&mut self.dice).filter(|_| self.dice.below(3) == 0) else { return };
        self.store.cancel(sent.tenant, sent.id, now).await.expect("cancelled").expect("is there");
    }

    async fn switch(&mut self, now: Timestamp) {
        let endpoint = self.dice.pick(&self.known.endpoints).expect("there are some");
        let status = [EndpointStatus::Paused, EndpointStatus::Active][self.dice.below(2)];
        let changes = EndpointChanges { status: Some((status, None)), ..EndpointChanges::default() };
        self.store.update_endpoint(self.known.tenant, endpoint, changes, now).await.expect("changed");
    }

    async fn housekeep(&mut self, now: Timestamp) {
        if self.dice.below(2) == 0 {
            self.store.sweep(Sweep::Expired, 100, now).await.expect("swept");
        } else {
            self.store.recover(Recovery::Outbox { before: now }, now).await.expect("recovered");
        }
    }
}

/// Looks again and again until told to stop: what was seen once never goes back.
async fn watch(world: Arc<World>, tenant: TenantId, stop: Arc<AtomicBool>) {
    let mut before: HashMap<DeliveryId, DeliveryView> = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        for view in world.all(tenant).await {
            let Some(seen) = before.insert(view.id, view.clone()) else { continue };
            assert!(view.generation >= seen.generation, "a generation fell: {seen:?}, then {view:?}");
            assert!(view.attempt_count >= seen.attempt_count, "attempts fell: {seen:?}, then {view:?}");
            let delivered = DeliveryState::Delivered;
            assert!(
                seen.state != delivered || view.state == delivered,
                "it came back: {seen:?}, then {view:?}"
            );
        }
    }
}

/// Lets everything that waits arrive.
async fn finish(world: &World, known: &Known) {
    for &endpoint in &known.endpoints {
        world.resume(known.tenant, endpoint).await;
    }
    let unfinished = |all: Vec<DeliveryView>| all.into_iter().filter(|d| d.state.is_unfinished()).count();
    for round in 0..20 {
        let now = at(2_000 + round * 1_000);
        world.store.recover(Recovery::Outbox { before: now }, now).await.expect("recovered");
        world.store.release_held(1_000, now).await.expect("released");
        let mut claimed = world.claim_due(known.tenant, now).await;
        for &endpoint in &known.endpoints {
            let from = ClaimFrom::Parked { endpoint, lanes: Lane::ALL };
            let want = Claim { tenant: known.tenant, from, limit: 1_000 };
            claimed.extend(world.claim(&[want], now).await);
        }
        world.record(claimed.iter().map(|claimed| claimed.delivered(now)).collect()).await;
        if unfinished(world.all(known.tenant).await) == 0 {
            return;
        }
    }
    panic!("something never ends: {:#?}", world.all(known.tenant).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_at_the_same_deliveries_agree() {
    #[allow(clippy::disallowed_methods)] // To run the same dice once more.
    let seed: u64 =
        std::env::var("STORE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("STORE_SEED={seed}");
    let world = Arc::new(World::new().await);
    let tenant = world.tenant_with_dlq(DLQ, DlqOverflow::DropOldest).await;
    let endpoints = vec![world.endpoint(tenant).await, world.endpoint(tenant).await];
    let sent = Mutex::new(world.deliveries(tenant, 6).await);
    let (outcomes, claims) = (Mutex::default(), Mutex::default());
    let known = Arc::new(Known { tenant, endpoints, sent, outcomes, claims });
    let stores = [world.store.clone(), world.home.open().await];
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(world.clone(), tenant, stop.clone()));
    let mut working = JoinSet::new();
    for n in 0..WORKERS {
        let dice = Dice(seed ^ n << 56);
        let store = stores[n as usize % 2].clone();
        working.spawn(Worker { store, known: known.clone(), dice }.work());
    }
    while let Some(worked) = working.join_next().await {
        worked.expect("works");
    }
    stop.store(true, Ordering::Relaxed);
    watching.await.expect("nothing went back");
    finish(&world, &known).await;
    for view in world.all(tenant).await {
        let view = world.store.find_delivery(tenant, view.id).await.expect("reads").expect("is there");
        let numbers: Vec<_> = view.attempts.iter().map(|attempt| attempt.n).collect();
        assert_eq!(numbers, (1..=view.attempt_count).collect::<Vec<_>>(), "{}", view.id);
    }
    let dead = world.dead_letters(tenant).await.len() as u64;
    assert_eq!(world.counts(tenant).await.dead, dead);
    assert!(dead <= u64::from(DLQ));
    world.assert_balanced().await;
}
