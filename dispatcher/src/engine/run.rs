//! The engine's loop: waits for whatever happens, tells the core, and sends out what the core decides.

use std::sync::Arc;
use std::time::Duration;

use fairhook_common::activity::ProcessActivity;
use fairhook_common::limits;
use fairhook_common::membership::{Members, Said, Stay, View};
use fairhook_common::queue::Received;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{
    Claim, Claimed, DueWork, Load, Loaded, Report, Roster, SharedStore, StoreError,
};
use fairhook_common::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::attempts::{Tools, attempt};
use super::beat::Beat;
use super::core::Core;
use super::held::{Ended, Started};
use super::lag::Lag;
use super::loading::load;
use super::outage::Outage;
use super::recording::{Told, record};
use super::report::Reporting;
use super::roster::Pokes;
use super::table::Handle;
use crate::schedule::{EndpointFacts, Moment};

/// The loop and what it holds.
pub struct Engine {
    pub core: Core,
    pub tools: Arc<Tools>,
    pub store: SharedStore,
    pub outage: Arc<Outage>,
    pub pokes: Arc<Pokes>,
    pub lag: Lag,
    pub handle: Handle,
    /// What is told of all tenants; somebody else tells the store.
    pub activity: watch::Sender<ProcessActivity>,
    pub metered_at: Moment,
    pub inbox: mpsc::Receiver<Received>,
    pub rosters: mpsc::Receiver<Roster>,
    pub disable_after: Duration,
    pub members: Members,
    pub view: watch::Receiver<Option<View>>,
    /// Until the end of the drain the others have to reckon with what is in flight here.
    pub _stay: Stay,
    pub standing: OurStanding,
    pub under_way: UnderWay,
}

/// How this process stands among the others.
#[derive(Default)]
pub struct OurStanding {
    lease_until: Option<Instant>,
    /// What the others were told last.
    said: Said,
}

/// What was sent out and has not come back.
#[derive(Default)]
pub struct UnderWay {
    attempts: JoinSet<Ended>,
    errands: JoinSet<Errand>,
    loads: usize,
    reporting: Reporting,
    draining: bool,
}

/// What came back from the store.
enum Errand {
    Loaded(Vec<(Started, Option<Load>)>),
    Recorded(Vec<Told>, Option<Duration>),
    Learned(Result<DueWork, StoreError>),
    Claimed(Vec<Claim>, Result<Vec<Claimed>, StoreError>),
    /// A report that was lost, or none.
    Reported(Option<Report>),
}

impl Engine {
    /// Runs until everything is drained after the drain began, or until nothing may be waited for.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut messages = Vec::with_capacity(limits::ENGINE_INBOX);
        let mut beat = Beat::start(self.tools.clock.now());
        let pokes = Arc::clone(&self.pokes);
        let draining = shutdown.draining();
        let stopping = shutdown.stopping_now();
        tokio::pin!(draining, stopping);
        loop {
            let wakeup = self.wakeup(&beat);
            tokio::select! {
                Some(ended) = self.under_way.attempts.join_next() => self.ended(ended),
                Some(errand) = self.under_way.errands.join_next() => self.back(errand),
                1.. = self.inbox.recv_many(&mut messages, limits::ENGINE_INBOX) => {}
                Some(roster) = self.rosters.recv() => {
                    self.core.roster(&roster, self.tools.clock.now(), Timestamp::now());
                }
                Ok(()) = self.view.changed() => self.look_around(),
                () = pokes.due.notified() => self.core.due.poke(self.tools.clock.now()),
                () = sleep_until(wakeup) => {}
                () = &mut draining, if !self.under_way.draining => self.begin_drain(),
                () = &mut stopping => return,
            }
            self.take_the_rest(&mut messages);
            self.beat(&mut beat);
            self.send_out();
            if self.under_way.draining && self.is_drained() {
                return;
            }
        }
    }

    fn wakeup(&self, beat: &Beat) -> Instant {
        let now = self.tools.clock.now();
        let loads = self.core.to_load.begins_at().filter(|_| self.under_way.loads < limits::LOADS_AT_ONCE);
        let decided = [self.core.wakeup(now), loads].into_iter().flatten().filter(|_| self.may_begin());
        let next = decided.chain(self.core.outbound.begins_at()).fold(beat.next(), Moment::min);
        // A moment that has passed is waited for a little all the same: the loop must never spin.
        self.tools.clock.instant(next.max(now.after(Duration::from_micros(200))))
    }

    /// Whatever else is there already: one turn for all of it.
    fn take_the_rest(&mut self, messages: &mut Vec<Received>) {
        let now = self.tools.clock.now();
        while let Some(ended) = self.under_way.attempts.try_join_next() {
            self.ended(ended);
        }
        while let Some(errand) = self.under_way.errands.try_join_next() {
            self.back(errand);
        }
        for received in messages.drain(..) {
            // Dropped, it goes back to its queue.
            if !self.under_way.draining {
                self.core.received(received, now);
            }
        }
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        if let Some(ended) = came_back(ended) {
            self.core.ended(ended, self.tools.clock.now());
        }
    }

    fn back(&mut self, errand: Result<Errand, JoinError>) {
        let now = self.tools.clock.now();
        match came_back(errand) {
            Some(Errand::Loaded(batch)) => self.loaded(batch),
            Some(Errand::Recorded(told, took)) => {
                let clock = self.tools.clock;
                self.core.recorded(told, took, now, |at| clock.moment_of(at));
            }
            Some(Errand::Learned(Ok(found))) => {
                let next = found.next_due_at.map(|at| self.tools.clock.moment_of(at));
                self.core.learned(found, next, now);
            }
            Some(Errand::Learned(Err(error))) => {
                self.outage.failed("looking for due work", &error);
                self.core.due.not_learned(now);
            }
            Some(Errand::Claimed(wants, Ok(got))) => {
                self.outage.worked();
                if self.under_way.draining {
                    self.core.give_back_claimed(&got, now, Timestamp::now());
                    self.core.due.not_claimed(now);
                } else {
                    self.core.claimed(&wants, &got, now, Timestamp::now());
                }
            }
            Some(Errand::Claimed(_, Err(error))) => {
                self.outage.failed("claiming", &error);
                self.core.due.not_claimed(now);
            }
            Some(Errand::Reported(lost)) => self.under_way.reporting.end(lost),
            None => {}
        }
    }

    fn loaded(&mut self, batch: Vec<(Started, Option<Load>)>) {
        self.under_way.loads -= 1;
        let now = self.tools.clock.now();
        if !self.may_begin() {
            for (started, _) in batch {
                self.core.give_back_started(started, now, Timestamp::now());
            }
            return;
        }
        self.attempt(batch);
    }

    fn attempt(&mut self, batch: Vec<(Started, Option<Load>)>) {
        let facts = |loaded: &Loaded| EndpointFacts {
            rate_per_minute: self.tools.attempter.rate_per_minute(loaded),
            timeout: loaded.endpoint.timeout,
        };
        for ready in self.core.loaded(batch, self.tools.clock.now(), Timestamp::now(), facts) {
            let tools = Arc::clone(&self.tools);
            self.under_way.attempts.spawn(attempt(tools, ready.started, ready.loaded, ready.slug));
        }
    }

    /// Everything that is to be done at intervals.
    fn beat(&mut self, beat: &mut Beat) {
        let now = self.tools.clock.now();
        let Some(due) = beat.due(now) else { return };
        self.core.adapt(self.lag.take(), now);
        self.say_applied();
        if due.snapshot && self.handle.0.receiver_count() > 0 {
            self.handle.0.send_replace(Arc::new(self.core.snapshot(now)));
        }
        if due.report {
            self.core.gauge();
            self.report(now);
        }
        if due.activity {
            let elapsed = Duration::from_micros(now.as_micros() - self.metered_at.as_micros());
            self.metered_at = now;
            self.activity.send_replace(self.core.activity(elapsed, now, Timestamp::now()));
        }
        if due.tidy {
            self.core.tenants.tick(now);
            self.core.twins.tidy();
            self.core.scheduler.forget_idle(now);
            if !self.under_way.draining {
                self.core.park_overdue(now, Timestamp::now());
            }
        }
    }

    fn report(&mut self, now: Moment) {
        let circuits = self.core.circuits();
        self.under_way.reporting.circuits(circuits);
        let in_flight = self.core.scheduler.tenants_in_flight().collect();
        let Some(report) = self.under_way.reporting.begin(now, in_flight) else { return };
        let (store, members) = (Arc::clone(&self.store), self.members.clone());
        self.under_way.errands.spawn(async move {
            let told = store.report(&members.node().reports_as, report.clone(), Timestamp::now()).await;
            Errand::Reported(told.is_err().then_some(report))
        });
    }

    /// Whether anything new may begin: others may have taken over what we serve once our lease has ended.
    fn may_begin(&self) -> bool {
        !self.under_way.draining && self.standing.lease_until.is_some_and(|until| Instant::now() < until)
    }

    fn look_around(&mut self) {
        let Some(View { membership, lease_until }) = self.view.borrow_and_update().clone() else { return };
        self.standing.lease_until = Some(lease_until);
        self.core.heard(&membership, self.tools.clock.now(), Timestamp::now());
        self.say_applied();
    }

    /// Tells the others, once it is so, that what was heard is heeded: who has joined waits for it.
    fn say_applied(&mut self) {
        let (applied, admitted) = (self.core.permits.version(), self.core.permits.admitted());
        let said = &self.standing.said;
        // Looking over all that is in flight costs something, and mostly there is nothing to tell.
        if (said.applied, said.admitted) == (applied, admitted) && said.behind.is_empty() {
            return;
        }
        let Some(behind) = self.core.behind() else { return };
        let news = Said { applied, behind, admitted };
        if news != self.standing.said {
            self.standing.said = news.clone();
            self.members.say(news);
        }
    }

    fn send_out(&mut self) {
        if self.may_begin() {
            let now = self.tools.clock.now();
            self.core.start(now, Timestamp::now());
            self.attempt_at_hand();
            self.send_loads();
            self.send_claims();
        }
        self.send_records();
    }

    /// Attempts at once what the store need not read.
    fn attempt_at_hand(&mut self) {
        let began = Instant::now();
        let started = self.core.to_load.take_new();
        if started.is_empty() {
            return;
        }
        let tickets: Vec<_> = started.iter().map(|started| started.held.ticket).collect();
        let at_hand = self.store.at_hand(&tickets, Timestamp::now());
        assert_eq!(at_hand.len(), started.len(), "every ticket is answered");
        let (mut loaded, mut rest) = (Vec::with_capacity(started.len()), Vec::new());
        for (started, load) in started.into_iter().zip(at_hand) {
            match load {
                Some(load) => loaded.push((started, Some(load))),
                None => rest.push(started),
            }
        }
        self.core.to_load.put_back(rest);
        if !loaded.is_empty() {
            self.tools.metrics.load.done(loaded.len(), began.elapsed());
            self.attempt(loaded);
        }
    }

    fn send_loads(&mut self) {
        while self.under_way.loads < limits::LOADS_AT_ONCE {
            let batch = self.core.take_load(self.tools.clock.now());
            if batch.is_empty() {
                return;
            }
            self.under_way.loads += 1;
            let (store, outage) = (Arc::clone(&self.store), Arc::clone(&self.outage));
            let metrics = Arc::clone(&self.tools.metrics);
            self.under_way
                .errands
                .spawn(async move { Errand::Loaded(load(store, batch, outage, metrics).await) });
        }
    }

    fn send_claims(&mut self) {
        let now = self.tools.clock.now();
        if self.core.due.asking(now) {
            let store = Arc::clone(&self.store);
            self.under_way
                .errands
                .spawn(async move { Errand::Learned(store.due_work(Timestamp::now()).await) });
        }
        let wants = self.core.claims(now);
        if wants.is_empty() {
            return;
        }
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.tools.metrics));
        self.under_way.errands.spawn(async move {
            let began = Instant::now();
            let lease = limits::CLAIM_LEASE + limits::ATTEMPT_TIMEOUT_MAX;
            let got = store.claim(&wants, lease, Timestamp::now()).await;
            metrics.claim.done(got.as_ref().map_or(0, Vec::len), began.elapsed());
            Errand::Claimed(wants, got)
        });
    }

    fn send_records(&mut self) {
        let Some(batch) = self.core.outbound.begin(self.tools.clock.now()) else { return };
        let (store, outage) = (Arc::clone(&self.store), Arc::clone(&self.outage));
        let (metrics, disable_after) = (Arc::clone(&self.tools.metrics), self.disable_after);
        self.under_way.errands.spawn(async move {
            let (told, took) = record(store, batch, disable_after, outage, metrics).await;
            Errand::Recorded(told, took)
        });
    }

    /// Nothing new starts from now on.
    fn begin_drain(&mut self) {
        self.under_way.draining = true;
        self.core.give_back_waiting(self.tools.clock.now(), Timestamp::now());
    }

    /// Whether every attempt has ended and its outcome is recorded and acked, and every claim is used or given back.
    fn is_drained(&self) -> bool {
        let asked = self.under_way.loads > 0 || self.core.due.is_claiming();
        !asked && self.under_way.attempts.is_empty() && self.core.outbound.is_empty()
    }
}

/// What a task of ours came back with. One that panicked takes the engine with it: its slot and its message would be lost
/// otherwise, and nobody would know.
fn came_back<T>(joined: Result<T, JoinError>) -> Option<T> {
    match joined {
        Ok(value) => Some(value),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Nobody aborts them but the runtime at its end.
        Err(_) => None,
    }
}
