//! The loops around the pure parts: everything that waits.
//!
//! ```text
//!  queue ─► intake ─┐                                   ┌─► attempt (one task each) ─┐
//!                   ├─► core: scheduler, plans ─► load ─┘                            │
//!  store ─► claim ──┘        ▲                                                       │
//!                            └──────────── ended ◄───────────────────────────────────┘
//!                                            └─► record (one batch at a time) ─► ack
//! ```
//!
//! One task, the engine, owns all state (`core`) and never waits for anything in particular; loads, claims, records and
//! attempts are tasks of its own that come back to it, each kind bounded in number. Beside it run the intake, the roster's
//! follower and housekeeping, which reach it through bounded channels and wanted states.

mod activity;
mod attempts;
mod beat;
mod clock;
mod core;
mod drain;
mod due;
mod epoch;
mod held;
mod housekeeping;
mod intake;
mod keeper;
mod lag;
mod loading;
mod lost;
mod metrics;
mod outage;
mod pace;
mod permitting;
mod places;
mod prefetch;
mod recording;
mod report;
mod roster;
mod run;
mod subscriptions;
mod table;
mod telling;
mod tenant_gauges;
mod tenants;
mod twins;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use fairhook_common::activity::{self as activities, ProcessActivity};
use fairhook_common::limits;
use fairhook_common::membership::Members;
use fairhook_common::metrics::Families;
use fairhook_common::queue::Queue;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::SharedStore;
use fairhook_common::tenant::DISABLE_AFTER;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::attempts::Tools;
use self::clock::Clock;
use self::core::Core;
use self::housekeeping::Housekeeping;
use self::intake::Intake;
use self::lag::Lag;
use self::lost::Lost;
use self::metrics::Metrics;
use self::outage::Outage;
use self::places::Places;
use self::roster::Pokes;
use self::run::{Engine, OurStanding, UnderWay};
use self::subscriptions::Subscriptions;
pub use self::table::{Handle, Snapshot, TenantSnapshot};
use self::tenant_gauges::TenantGauges;
use self::watching::Watching;
use crate::attempt::Attempter;

/// What a dispatcher is made of.
pub struct Parts {
    /// The truth.
    pub store: SharedStore,
    /// Where first attempts come from.
    pub queue: Arc<dyn Queue>,
    /// What makes attempts.
    pub attempter: Attempter,
    /// What can be set.
    pub settings: DispatchSettings,
    /// Where its metrics go.
    pub families: Families,
    /// This process among the others.
    pub members: Members,
}

/// What can be set of a dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchSettings {
    /// Deliveries in flight at most.
    pub slots: usize,
    /// An endpoint that has only failed for so long is disabled.
    pub disable_after: Duration,
    /// Events are kept this long.
    pub retention: Duration,
}

impl Default for DispatchSettings {
    fn default() -> Self {
        Self { slots: limits::SLOTS, disable_after: DISABLE_AFTER, retention: limits::RETENTION }
    }
}

/// Starts a dispatcher; its tasks go into `tasks`.
///
/// On [`Shutdown::drain`] nothing new starts; attempts in flight end, their outcomes are recorded and acked, then the tasks end.
/// [`Shutdown::stop_now`] ends them at once: messages go back to their queue, claims end by their lease or by a recovery.
///
/// No task ends before that by itself. One that panics, or whose load or record panics, ends with that panic (an attempt's is that attempt's failure):
/// whoever joins `tasks` gets it as an error and has to take the process down, for nothing may go on half served.
pub fn start(parts: Parts, tasks: &mut JoinSet<()>, shutdown: &Shutdown) -> Handle {
    let Parts { store, queue, attempter, settings, families, members } = parts;
    let metrics = Arc::new(Metrics::new(&families));
    let outage = Arc::new(Outage::new("store"));
    let pokes = Arc::new(Pokes::default());
    let subscriptions = Arc::new(Subscriptions::default());
    let clock = Clock::start();
    let lag = Lag::default();
    let handle = Handle(Arc::new(watch::channel(Arc::default()).0));
    let (inbox, messages) = mpsc::channel(limits::ENGINE_INBOX);
    // A roster is a difference: the next one is read when this one is taken.
    let (rosters, roster) = mpsc::channel(1);

    let (keys, keeper) = keeper::keeper(Arc::clone(&store), members.node().id, Arc::clone(&outage));
    let mut view = members.view();
    // What was heard before is news here.
    view.mark_changed();

    let node = members.node().id;
    let places = Arc::new(Places::default());
    let core = Core::new(
        node,
        settings.slots,
        Arc::clone(&subscriptions),
        Arc::clone(&places),
        Arc::clone(&metrics),
        clock.now(),
    );
    let (told, telling) = watch::channel(ProcessActivity::default());
    let watching = Watching {
        store: Arc::clone(&store),
        keeper: keeper.clone(),
        outage: Arc::clone(&outage),
        pokes: Arc::clone(&pokes),
        gauges: TenantGauges::new(&families),
    };
    let engine = Engine {
        core,
        tools: Arc::new(Tools { attempter, metrics: Arc::clone(&metrics), clock }),
        store: Arc::clone(&store),
        outage: Arc::clone(&outage),
        pokes: Arc::clone(&pokes),
        lag: lag.clone(),
        handle: handle.clone(),
        activity: told,
        metered_at: clock.now(),
        inbox: messages,
        rosters: roster,
        disable_after: settings.disable_after,
        _stay: members.stay(),
        members,
        view,
        standing: OurStanding::default(),
        under_way: UnderWay::default(),
    };
    let lost = Lost {
        store: Arc::clone(&store),
        queue: Arc::clone(&queue),
        places,
        pokes: Arc::clone(&pokes),
        metrics: Arc::clone(&metrics),
        outage: Arc::clone(&outage),
    };
    let intake = Intake { queue, subscriptions, outage: Outage::new("queue"), inbox };
    let following = roster::follow(
        Arc::clone(&store),
        rosters,
        Arc::clone(&pokes),
        Arc::clone(&outage),
        shutdown.clone(),
    );
    let retention = settings.retention;
    let housekeeping = Housekeeping { store, pokes, metrics, outage, keeper, retention };
    tasks.spawn(keys.keep(shutdown.clone()));
    tasks.spawn(activities::tell(Arc::clone(&housekeeping.store), telling, shutdown.clone()));
    tasks.spawn(watching.run(shutdown.clone()));
    tasks.spawn(lost.clone().look_after_queues(shutdown.clone()));
    tasks.spawn(lost.clone().take_unrouted(shutdown.clone()));
    tasks.spawn(lost.watch_epoch(housekeeping.keeper.clone(), shutdown.clone()));
    tasks.spawn(engine.run(shutdown.clone()));
    tasks.spawn(intake.run(shutdown.clone()));
    tasks.spawn(following);
    tasks.spawn(lag.measure(shutdown.clone()));
    tasks.spawn(housekeeping.clone().release_held(shutdown.clone()));
    tasks.spawn(housekeeping.clone().jobs(shutdown.clone()));
    tasks.spawn(housekeeping.sweeps(shutdown.clone()));
    handle
}
