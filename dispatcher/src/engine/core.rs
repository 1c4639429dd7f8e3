//! What the engine knows and decides between two waits. Nothing here waits, and every time is an argument.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::activity::Meters;
use fairhook_common::delivery::{DeliveryState, Lane, Verdict};
use fairhook_common::endpoint::Circuit;
use fairhook_common::ids::{EndpointId, NodeId, TenantId};
use fairhook_common::limits;
use fairhook_common::queue::Received;
use fairhook_common::store::{Claim, ClaimFrom, Claimed, DueWork, Load, Loaded, Recorded, Roster, Ticket};
use fairhook_common::time::Timestamp;

use super::due::{DuePlan, Room};
use super::held::{Ended, Held, Started, ToLoad};
use super::metrics::Metrics;
use super::places::Places;
use super::recording::{Outbound, Told};
use super::subscriptions::Subscriptions;
use super::tenants::Tenants;
use super::twins::Twins;
use crate::permits::Permits;
use crate::schedule::{Capacity, EndpointFacts, Moment, Scheduler, Settings, SlotEnd, Step, Waiting};

/// The engine's state.
pub struct Core {
    pub scheduler: Scheduler<Held>,
    pub tenants: Tenants,
    pub permits: Permits,
    pub due: DuePlan,
    pub outbound: Outbound,
    pub twins: Twins,
    pub metrics: Arc<Metrics>,
    /// What is counted of each tenant, for whoever looks at all of them.
    pub meters: Meters,
    capacity: Capacity,
    pub to_load: ToLoad,
    /// More might have started if a load could take more.
    has_more: bool,
    /// The slowest record since the capacity was last decided.
    record_latency: Duration,
    /// Endpoints whose circuit is not closed.
    broken: BTreeSet<EndpointId>,
}

/// An attempt that may start.
pub struct Ready {
    pub started: Started,
    pub loaded: Box<Loaded>,
    pub slug: Arc<str>,
}

impl Core {
    /// Nothing is known yet.
    pub fn new(
        node: NodeId,
        slots: usize,
        subscriptions: Arc<Subscriptions>,
        places: Arc<Places>,
        metrics: Arc<Metrics>,
        now: Moment,
    ) -> Self {
        metrics.slots_total.set(slots as i64);
        Self {
            scheduler: Scheduler::new(Settings::with_slots(slots)),
            tenants: Tenants::new(subscriptions, places, slots),
            permits: Permits::new(node),
            due: DuePlan::new(now),
            outbound: Outbound::default(),
            twins: Twins::default(),
            metrics,
            meters: Meters::default(),
            capacity: Capacity::new(slots),
            to_load: ToLoad::default(),
            has_more: false,
            record_latency: Duration::ZERO,
            broken: BTreeSet::new(),
        }
    }

    /// Tenants are new, changed or gone.
    pub fn roster(&mut self, roster: &Roster, now: Moment, wall: Timestamp) {
        for changed in &roster.tenants {
            if changed.deleted {
                // What waited is dropped: its deliveries are being discarded, its messages go with their queue.
                for held in self.scheduler.remove_tenant(changed.id) {
                    drop(held);
                }
                self.due.forget(changed.id);
                self.tenants.remove(changed);
            } else {
                self.tenants.put(changed, &self.permits);
                self.permit(changed.id, now, wall);
            }
        }
    }

    /// A message came. One of a tenant that is not served here goes back to its queue.
    pub fn received(&mut self, received: Received, now: Moment) {
        let Received { tenant, message, waited, receipt } = received;
        let ticket = Ticket { delivery: message.delivery, generation: message.generation };
        let Some(receipt) = self.twins.take(ticket, receipt) else {
            self.metrics.twins.inc();
            return;
        };
        let here = self.scheduler.waiting(tenant).total() + self.scheduler.in_flight(tenant) + 1;
        if !self.tenants.message(tenant, here, now) {
            return;
        }
        let item = Held { ticket, since: now.before(waited), receipt: Some(receipt) };
        let endpoint = message.endpoint;
        self.offer(Waiting { tenant, lane: Lane::First, endpoint, released: false, item }, now);
    }

    /// A claim was answered. What is not served here any more is given back.
    pub fn claimed(&mut self, wants: &[Claim], got: &[Claimed], now: Moment, wall: Timestamp) {
        let released = matches!(wants.first(), Some(Claim { from: ClaimFrom::Parked { .. }, .. }));
        for claimed in got {
            let &Claimed { delivery, tenant, endpoint, lane, generation } = claimed;
            if self.tenants.get(tenant).is_some_and(|tenant| tenant.share == 0) {
                self.give_back_claimed(&[*claimed], now, wall);
                continue;
            }
            let item = Held { ticket: Ticket { delivery, generation }, since: now, receipt: None };
            self.offer(Waiting { tenant, lane, endpoint, released, item }, now);
        }
        for emptied in self.due.claimed(now, wants, got) {
            self.scheduler.none_parked(emptied);
        }
    }

    fn offer(&mut self, waiting: Waiting<Held>, now: Moment) {
        // A tenant that the scheduler does not know is gone; its claim ends by its lease, its message goes back.
        if let Err(unknown) = self.scheduler.offer(now, waiting) {
            tracing::debug!(tenant.id = %unknown.tenant, "a delivery of a tenant that is not served here");
        }
    }

    /// Whether the scheduler is asked for more, to start or to park: not while a load's worth waits to be loaded, nor while
    /// recording is behind.
    pub fn may_start(&self, now: Moment) -> bool {
        self.to_load.len() < limits::LOAD_BATCH && self.outbound.has_room(now)
    }

    /// Starts and parks what the scheduler says, in its order, while [`Self::may_start`].
    pub fn start(&mut self, now: Moment, wall: Timestamp) {
        let mut moved = false;
        while self.may_start(now) {
            self.scheduler.let_park(self.outbound.has_room_for_parked());
            let Some(step) = self.scheduler.next(now) else { break };
            moved = true;
            match step {
                Step::Start { slot, waiting } => {
                    let Waiting { tenant, lane, endpoint, item: held, .. } = waiting;
                    self.to_load.push(Started { slot, tenant, endpoint, lane, held });
                }
                Step::Park(waiting) => {
                    self.metrics.parked.inc();
                    self.park(waiting, now, wall);
                }
            }
        }
        self.has_more = !self.may_start(now);
        if moved {
            self.due.room_made(now);
        }
    }

    fn park(&mut self, waiting: Waiting<Held>, now: Moment, wall: Timestamp) {
        let Waiting { tenant, endpoint, item, .. } = waiting;
        self.outbound.push(item.without_attempt(tenant, endpoint, Verdict::Park, now, wall));
    }

    /// What is to be loaded next.
    pub fn take_load(&mut self, now: Moment) -> Vec<Started> {
        self.to_load.begin(now)
    }

    /// A load was answered. Returns what is to be attempted. `facts_of` says what an endpoint takes.
    pub fn loaded(
        &mut self,
        batch: Vec<(Started, Option<Load>)>,
        now: Moment,
        wall: Timestamp,
        facts_of: impl Fn(&Loaded) -> EndpointFacts,
    ) -> impl Iterator<Item = Ready> {
        let mut ready = Vec::with_capacity(batch.len());
        for (started, load) in batch {
            match load {
                Some(Load::Attempt(loaded)) => {
                    self.scheduler.endpoint_known(now, started.endpoint, facts_of(&loaded));
                    ready.extend(self.attempt_or_park(started, loaded, now, wall));
                }
                Some(Load::Stale) => {
                    self.metrics.stale.inc();
                    self.scheduler.finish(now, started.slot, SlotEnd::NotAttempted);
                    self.outbound.ack(started.held.receipt);
                }
                Some(Load::Hold) => self.pass(started, Verdict::Hold, now, wall),
                Some(Load::Discard(reason)) => self.pass(started, Verdict::Discard(reason), now, wall),
                None => {
                    let due_at = wall.after(limits::UNREADABLE_PAUSE);
                    self.pass(started, Verdict::Retry { due_at }, now, wall);
                }
            }
        }
        ready.into_iter()
    }

    fn attempt_or_park(
        &mut self,
        started: Started,
        loaded: Box<Loaded>,
        now: Moment,
        wall: Timestamp,
    ) -> Option<Ready> {
        // A message or a claim must not outlive what its peer grants while the attempt is made.
        let overdue = now.since(started.held.since) > limits::MESSAGE_HOLD;
        self.metrics.overdue.inc_by(u64::from(overdue));
        if overdue || !self.scheduler.may_go_on(now, &started.slot) {
            self.pass(started, Verdict::Park, now, wall);
            return None;
        }
        self.count_begun(&started, &loaded, wall);
        let slug =
            self.tenants.get(started.tenant).map(|tenant| Arc::clone(&tenant.slug)).unwrap_or_default();
        Some(Ready { started, loaded, slug })
    }

    /// A delivery passes on without an attempt, with this verdict.
    fn pass(&mut self, started: Started, verdict: Verdict, now: Moment, wall: Timestamp) {
        match verdict {
            Verdict::Park => self.metrics.parked.inc(),
            Verdict::Hold => self.metrics.held.inc(),
            _ => {}
        }
        self.scheduler.finish(now, started.slot, SlotEnd::NotAttempted);
        let unrecorded = started.held.without_attempt(started.tenant, started.endpoint, verdict, now, wall);
        self.outbound.push(unrecorded);
    }

    /// An attempt ended.
    pub fn ended(&mut self, ended: Ended, now: Moment) {
        let Ended { slot, class, new_connection, unrecorded } = ended;
        self.scheduler.finish(now, slot, SlotEnd::Attempted { class, new_connection });
        self.count_attempt(unrecorded.outcome.tenant, unrecorded.outcome.verdict == Verdict::Delivered);
        self.outbound.push(unrecorded);
        self.due.room_made(now);
    }

    /// Outcomes were recorded; `due` tells the moment of a time of the store's.
    pub fn recorded(
        &mut self,
        told: Vec<Told>,
        took: Option<Duration>,
        now: Moment,
        moment_of: impl Fn(Timestamp) -> Moment,
    ) {
        self.outbound.end();
        self.record_latency = self.record_latency.max(took.unwrap_or_default());
        let mut earliest: Option<Timestamp> = None;
        for one in told {
            if one.verdict == Verdict::Park {
                // Also when it did not apply: the scheduler counts it as parked until a claim finds nothing.
                self.due.parked(now, one.tenant, one.endpoint);
            }
            let Recorded::Applied { state, due_at, endpoint_stopped } = one.recorded else {
                self.metrics.stale.inc_by(u64::from(one.recorded == Recorded::Stale));
                continue;
            };
            if let Some(due_at) = due_at {
                earliest = Some(earliest.map_or(due_at, |first| first.min(due_at)));
            }
            self.tell_end(&one, state);
            if let Some(reason) = endpoint_stopped {
                self.metrics.endpoints_stopped.inc();
                tracing::warn!(
                    tenant.slug = self.tenants.get(one.tenant).map(|tenant| &*tenant.slug),
                    tenant.id = %one.tenant, endpoint.id = %one.endpoint, delivery.id = %one.delivery,
                    reason = reason.name(),
                    "the endpoint gets nothing more until it is activated: {}", reason.text()
                );
            }
        }
        if let Some(at) = earliest {
            self.due.due_then(moment_of(at));
        }
    }

    fn tell_end(&mut self, one: &Told, state: DeliveryState) {
        self.count_state(one.tenant, state);
        let tenant = self.tenants.get_mut(one.tenant);
        match state {
            DeliveryState::Delivered => {
                self.metrics.delivered.inc();
                tenant.into_iter().for_each(|tenant| tenant.delivered += 1);
            }
            DeliveryState::Dead => {
                self.metrics.dead.inc();
                tenant.into_iter().for_each(|tenant| tenant.dead += 1);
            }
            DeliveryState::Discarded => self.metrics.discarded.inc(),
            _ => {}
        }
    }

    /// The store said what is due; `next`: when there will be more. What is of tenants that are not served here is not kept:
    /// nobody would ever claim it.
    pub fn learned(&mut self, found: DueWork, next: Option<Moment>, now: Moment) {
        let due = found.due.into_iter().filter(|(tenant, _)| self.tenants.serves(*tenant));
        let parked = found.parked.into_iter().filter(|(tenant, _)| self.tenants.serves(*tenant));
        self.due.learned(now, due, parked, next);
    }

    /// What is to be claimed now. Nothing while recording is far behind: it could not start, and a claim whose lease ran out
    /// meanwhile would be claimed, and attempted, once more before its outcome is recorded.
    pub fn claims(&mut self, now: Moment) -> Vec<Claim> {
        if !self.outbound.has_room(now) {
            return Vec::new();
        }
        let room = Rooms { scheduler: &self.scheduler, tenants: &self.tenants };
        self.due.claims(now, &room)
    }

    /// Parks what has waited longer than a message may be held unacked, or a claim is sure to last.
    pub fn park_overdue(&mut self, now: Moment, wall: Timestamp) {
        let overdue = self.scheduler.take_overdue(now, |held| now.since(held.since) > limits::MESSAGE_HOLD);
        for waiting in overdue {
            self.metrics.overdue.inc();
            self.park(waiting, now, wall);
        }
    }

    /// Decides how many slots may be used, from what was observed since the last time.
    pub fn adapt(&mut self, lag: Duration, now: Moment) {
        let latency = std::mem::take(&mut self.record_latency).max(self.outbound.age(now));
        let effective = self.capacity.observe(lag, latency);
        self.scheduler.set_slots_beside_slow(now, effective);
        self.metrics.slots_effective.set(effective as i64);
        self.metrics.unrecorded.set(self.outbound.len() as i64);
        self.metrics.unrecorded_age.set(self.outbound.age(now).as_millis() as i64);
    }

    /// Shows what waits and what is in flight.
    pub fn gauge(&self) {
        let mut in_flight = 0;
        let (mut waiting, mut parking) = ([0i64; Lane::ALL.len()], 0);
        for (id, _) in self.tenants.iter() {
            let counts = self.scheduler.waiting(id);
            for lane in Lane::ALL {
                waiting[lane as usize] += i64::from(counts.of(lane));
            }
            parking += i64::from(counts.parking);
        }
        for (_, slots) in self.scheduler.tenants_in_flight() {
            in_flight += i64::from(slots);
        }
        self.metrics.in_flight.set(in_flight);
        for lane in Lane::ALL {
            self.metrics.waiting(lane).set(waiting[lane as usize]);
        }
        self.metrics.parking.set(parking);
    }

    /// Circuits that changed, for the report.
    pub fn circuits(&mut self) -> Vec<(EndpointId, Circuit)> {
        let changed = self.scheduler.take_circuit_changes();
        for (endpoint, circuit) in &changed {
            match circuit {
                Circuit::Closed => self.broken.remove(endpoint),
                Circuit::Open | Circuit::HalfOpen => self.broken.insert(*endpoint),
            };
        }
        self.metrics.circuits_open.set(self.broken.len() as i64);
        changed
    }

    /// When something is to be done although nothing happens; `None`: not in sight.
    pub fn wakeup(&self, now: Moment) -> Option<Moment> {
        let next = self.scheduler.next_wakeup().filter(|_| self.may_start(now));
        let claim = self.due.claims_at().filter(|_| self.outbound.has_room(now));
        // What filled a load was at hand in the store, or was sent since then.
        let more = (self.has_more && self.may_start(now)).then_some(now);
        [next, self.due.asks_at(), claim, more].into_iter().flatten().min()
    }
}

/// The room that the scheduler has.
struct Rooms<'a> {
    scheduler: &'a Scheduler<Held>,
    tenants: &'a Tenants,
}

impl Room for Rooms<'_> {
    fn in_lane(&self, tenant: TenantId, lane: Lane) -> u32 {
        let Some(known) = self.tenants.get(tenant) else { return 0 };
        // Twice the share keeps its slots busy from one claim to the next; a lane is filled again when half of it is gone.
        let full = known.share.saturating_mul(2);
        // What has to be parked counts in every lane: it came out of one.
        let waiting = self.scheduler.waiting(tenant);
        let room = full.saturating_sub(waiting.of(lane).saturating_add(waiting.parking));
        if room >= known.share { room } else { 0 }
    }

    fn at_endpoint(&self, tenant: TenantId, endpoint: EndpointId) -> u32 {
        if self.tenants.serves(tenant) { self.scheduler.endpoint_room(endpoint) } else { 0 }
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
