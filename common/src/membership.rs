//! This process among the others: renews its lease in the store, and tells its parts who is there. Every process beats,
//! whatever its roles are.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::ids::{NodeId, TenantId};
use crate::limits;
use crate::metrics::Families;
use crate::shutdown::Shutdown;
use crate::store::{Heartbeat, Membership, Roles, SharedStore, Standing};
use crate::time::Timestamp;

mod gauges;
mod namesake;

use gauges::Gauges;
use namesake::Namesake;

/// Who this process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// New with each start.
    pub id: NodeId,
    /// For people.
    pub name: String,
    /// What it does.
    pub roles: Roles,
    /// What its reports are kept under.
    pub reports_as: String,
}

impl Node {
    /// A process that starts now, among others. Its reports are its own, whoever else has its name.
    pub fn new(name: impl Into<String>, roles: Roles) -> Self {
        let id = NodeId::generate();
        Self { id, name: name.into(), roles, reports_as: id.to_string() }
    }

    /// The only process over its store: its reports replace those of its predecessor.
    pub fn only(name: impl Into<String>, roles: Roles) -> Self {
        let name = name.into();
        Self { reports_as: name.clone(), ..Self::new(name, roles) }
    }
}

/// What the store said last.
#[derive(Debug, Clone)]
pub struct View {
    /// Who is there.
    pub membership: Arc<Membership>,
    /// Until then others reckon with this process: it starts nothing after that, unless it is renewed. By the clock of this
    /// process, from when the question was sent, so that it is never later than by the store's.
    pub lease_until: Instant,
}

/// A process among others, for its parts. Clones are the same.
#[derive(Debug, Clone)]
pub struct Members {
    shared: Arc<Shared>,
    view: watch::Receiver<Option<View>>,
}

/// While this exists the process is listed: it may still hold something.
#[derive(Debug)]
pub struct Stay {
    _until_dropped: Option<mpsc::Sender<()>>,
}

/// What the dispatcher says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// See [`Heartbeat::applied`].
    pub applied: u64,
    /// See [`Heartbeat::behind`].
    pub behind: Vec<TenantId>,
    /// See [`Heartbeat::admitted`].
    pub admitted: bool,
}

#[derive(Debug)]
struct Shared {
    node: Node,
    said: Mutex<Said>,
    /// There is something to tell before the next beat.
    news: Notify,
    /// How far the store's clock was ahead, in milliseconds.
    skew_ms: AtomicI64,
    stays: mpsc::WeakSender<()>,
}

/// Starts to beat, at once; the task goes into `tasks`. On [`Shutdown::drain`] it says that this process leaves, and ends,
/// with the process unlisted, when every [`Stay`] is dropped.
pub fn start(
    store: SharedStore,
    node: Node,
    families: &Families,
    tasks: &mut JoinSet<()>,
    shutdown: &Shutdown,
) -> Members {
    let (stay, stays) = mpsc::channel(1);
    let (views, view) = watch::channel(None);
    let shared = Arc::new(Shared {
        node,
        said: Mutex::default(),
        news: Notify::new(),
        skew_ms: AtomicI64::new(0),
        stays: stay.downgrade(),
    });
    let beating = Beating {
        store,
        shared: Arc::clone(&shared),
        views,
        gauges: Gauges::new(families),
        stay: Some(stay),
        stays,
        whole_since: None,
        lease_until: None,
        failing: false,
        namesake: Namesake::default(),
    };
    tasks.spawn(beating.run(shutdown.clone()));
    Members { shared, view }
}

impl Members {
    /// This process.
    pub fn node(&self) -> &Node {
        &self.shared.node
    }

    /// What the store says, from its first answer on.
    pub fn view(&self) -> watch::Receiver<Option<View>> {
        self.view.clone()
    }

    /// Tells the others; at once if somebody may wait for all of it, else with the next beat.
    pub fn say(&self, said: Said) {
        let mut known = self.shared.said();
        let is_awaited =
            known.applied != said.applied || (said.behind.is_empty() && !known.behind.is_empty());
        *known = said;
        if is_awaited {
            self.shared.news.notify_one();
        }
    }

    /// Keeps the process listed after the drain began. (Once it has left, it does nothing.)
    pub fn stay(&self) -> Stay {
        Stay { _until_dropped: self.shared.stays.upgrade() }
    }

    /// Whether this machine's clock is near the store's, for `/readyz`.
    pub fn clock(&self) -> Result<(), String> {
        let skew = self.shared.skew_ms.load(Ordering::Relaxed);
        if Duration::from_millis(skew.unsigned_abs()) <= limits::CLOCK_SKEW_MAX {
            return Ok(());
        }
        let side = if skew > 0 { "behind" } else { "ahead of" };
        Err(format!("this machine's clock is {} s {side} the store's", skew.unsigned_abs() / 1_000))
    }
}

impl Shared {
    fn said(&self) -> MutexGuard<'_, Said> {
        // Every change is whole before anything can panic.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop and what it holds.
struct Beating {
    store: SharedStore,
    shared: Arc<Shared>,
    views: watch::Sender<Option<View>>,
    gauges: Gauges,
    /// Ours, so that the others' can be waited for.
    stay: Option<mpsc::Sender<()>>,
    stays: mpsc::Receiver<()>,
    /// Since when the lease has had no hole.
    whole_since: Option<Instant>,
    lease_until: Option<Instant>,
    failing: bool,
    namesake: Namesake,
}

impl Beating {
    async fn run(mut self, shutdown: Shutdown) {
        tokio::select! {
            () = self.beat_until_left(&shutdown) => {}
            () = shutdown.stopping_now() => {}
        }
    }

    async fn beat_until_left(&mut self, shutdown: &Shutdown) {
        loop {
            let sent = Instant::now();
            let leaving = shutdown.is_draining();
            self.beat(leaving).await;
            if leaving {
                self.stay = None;
            }
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                () = sleep_until(sent + limits::HEARTBEAT) => {}
                () = shared.news.notified() => {}
                () = shutdown.draining(), if !leaving => {}
                _ = self.stays.recv(), if leaving => return self.leave().await,
            }
        }
    }

    async fn beat(&mut self, leaving: bool) {
        let sent = Instant::now();
        let asked_at = Timestamp::local();
        let beat = self.heartbeat(sent, leaving);
        match timeout(limits::HEARTBEAT_DEADLINE, self.store.heartbeat(&beat)).await {
            Ok(Ok(membership)) => {
                self.follow_clock(asked_at, sent.elapsed(), membership.now);
                self.heard(sent, membership);
            }
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => self.failed("the store did not answer in time"),
        }
        self.gauges.lease(self.lease_until);
    }

    fn heartbeat(&self, now: Instant, leaving: bool) -> Heartbeat {
        let Node { id, name, roles, .. } = self.shared.node.clone();
        let Said { applied, behind, admitted } = self.shared.said().clone();
        // After an outage of the store everybody's lease has ended: who was first to come back must not bury the others.
        let long_whole = self.whole_since.is_some_and(|since| now >= since + limits::NODE_LEASE);
        let is_whole = self.lease_until.is_some_and(|until| now < until);
        Heartbeat {
            node: id,
            name,
            roles,
            lease: limits::NODE_LEASE,
            applied,
            behind,
            admitted,
            leaving,
            may_bury: long_whole && is_whole,
        }
    }

    fn heard(&mut self, sent: Instant, membership: Membership) {
        if self.lease_until.is_none_or(|until| until <= Instant::now()) {
            self.whole_since = Some(sent);
        }
        let lease_until = sent + limits::NODE_LEASE;
        self.lease_until = Some(lease_until);
        if std::mem::take(&mut self.failing) {
            tracing::info!("the store hears this process again");
        }
        self.tell_changes(&membership);
        if self.namesake.appeared(&self.shared.node, &membership, sent) {
            let name = &self.shared.node.name;
            tracing::warn!(node.name = %name, "another process has the same node_name: give each its own to tell them apart");
        }
        self.gauges.members(&membership);
        self.views.send_replace(Some(View { membership: Arc::new(membership), lease_until }));
    }

    fn failed(&mut self, error: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                error,
                "the store does not hear this process; nothing new starts when its lease ends"
            );
        }
    }

    fn tell_changes(&self, membership: &Membership) {
        let before = self.views.borrow();
        if before.as_ref().is_some_and(|view| view.membership.version == membership.version) {
            return;
        }
        // That a process which is the only one comes and goes is no news: its own log says so already.
        let was_alone = before.as_ref().is_none_or(|view| view.membership.members.len() <= 1);
        if was_alone && membership.members.len() <= 1 {
            return;
        }
        let dispatchers = || membership.members.iter().filter(|member| member.roles.dispatcher);
        let count = |state| dispatchers().filter(|member| member.state == state).count();
        tracing::info!(
            version = membership.version,
            live = count(Standing::Live),
            leaving = count(Standing::Leaving),
            dead = count(Standing::Dead),
            "the dispatchers have changed"
        );
    }

    /// The answer was written somewhere between the question and now; what is within that is no difference.
    fn follow_clock(&self, asked_at: Timestamp, took: Duration, store: Timestamp) {
        let ahead = store.0 - asked_at.after(took / 2).0;
        let unsure = i64::try_from(took.as_millis() / 2 + 1).unwrap_or(i64::MAX);
        let ahead = if ahead.abs() <= unsure { 0 } else { ahead };
        self.shared.skew_ms.store(ahead, Ordering::Relaxed);
        self.gauges.skew(ahead);
        Timestamp::follow_store(ahead);
    }

    /// Without an answer the lease tells the others in the end.
    async fn leave(&self) {
        let left = timeout(limits::HEARTBEAT_DEADLINE, self.store.leave(self.shared.node.id)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::warn!("the store did not hear that this process leaves; its lease ends by itself");
        }
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
