//! The one connection that writes. Jobs that wait are committed together, so that one fsync serves many; each has a
//! savepoint of its own, so that one that fails takes nothing else with it.
//!
//! Jobs wait by class, few of the control plane's per commit: a tenant that hammers the API does not hold up events and
//! outcomes. Somebody waits for each admission: while few come they have transactions of their own, and everything else (in
//! short jobs, `limits::WRITER_ROWS`) a quarter of the time in between; while many come everything joins their transactions.

mod call;
mod pace;

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use self::call::{Call, Job};
use self::pace::{Flow, Pace};
use super::BoxFuture;
use super::checkpoint::Log;
use super::error::{Failure, failure, store_error};
use super::recent::Recent;
use crate::limits;
use crate::store::StoreError;
use crate::store::outage::Watch;
use crate::unwound::unwound;

/// Which queue a job waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Outcomes, claims and settled outbox rows: what a power failure may undo, for it is then done again.
    Outcome,
    /// Admission: what begins work.
    Admit,
    /// Everything else.
    Control,
}

const CLASSES: usize = 3;

/// How the process ends when the writer itself (not a job of its) breaks: `EX_SOFTWARE` of sysexits.
const EXIT_WRITER: i32 = 70;

impl Class {
    /// How many jobs of the class one transaction takes.
    fn per_commit(self) -> usize {
        match self {
            Self::Outcome | Self::Admit => limits::COMMIT_JOBS,
            Self::Control => limits::COMMIT_CONTROL_JOBS,
        }
    }

    const ALL: [Self; CLASSES] = [Self::Outcome, Self::Admit, Self::Control];
}

/// Where jobs are handed in. The task behind it ends, after what waits, when this is dropped.
pub(super) struct Writer {
    queues: [mpsc::Sender<Box<dyn Job>>; CLASSES],
}

impl Writer {
    /// Starts the thread. It keeps `lock` until it ends, so that nobody opens the file while it still commits.
    pub(super) fn start(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        log: Log,
        recent: Arc<Recent>,
        lock: Arc<File>,
    ) -> std::io::Result<Self> {
        let queues = [(); CLASSES].map(|()| mpsc::channel(limits::WRITER_WAITING));
        let (senders, receivers) = split(queues);
        let watch = Watch::new("written");
        let task = Task {
            connection: Some(connection),
            options,
            log,
            recent,
            watch,
            queues: receivers,
            first: 0,
            syncs: None,
            synced_at: Instant::now(),
            pace: Pace::new(Instant::now()),
            joins: None,
            _lock: lock,
        };
        // A thread of its own: every statement is a hand-over to SQLite's thread and back, and a commit that waits at each
        // of them behind requests that are being served holds up all of those that wait for it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        // It logs to wherever whoever opened the store logs.
        let listener = tracing::dispatcher::get_default(tracing::Dispatch::clone);
        let write = move || {
            let _listening = tracing::dispatcher::set_default(&listener);
            if runtime.block_on(unwound(task.run())).is_none() {
                // Nothing could be written any more, and nobody would see why.
                tracing::error!("the writer of the store panicked: the process ends");
                std::process::exit(EXIT_WRITER);
            }
        };
        std::thread::Builder::new().name("store-writer".into()).spawn(write)?;
        Ok(Self { queues: senders })
    }

    /// Hands in a job that admits so many events and waits for its commit.
    pub(super) async fn admit<T, F>(&self, events: usize, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + 'static,
    {
        self.hand_in(Class::Admit, events, job, |_| {}).await
    }

    /// Hands in any other job and waits for its commit.
    pub(super) async fn write<T, F>(&self, class: Class, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + 'static,
    {
        self.hand_in(class, 0, job, |_| {}).await
    }

    /// Hands in a change, of which `tell` tells others once it is committed, whether or not its caller still waits.
    pub(super) async fn change<T, F>(
        &self,
        job: F,
        tell: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + 'static,
    {
        self.hand_in(Class::Control, 0, job, tell).await
    }

    async fn hand_in<T, F>(
        &self,
        class: Class,
        events: usize,
        job: F,
        tell: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let call = Box::new(Call::new(events, job, tell, answer));
        let gone = |_| StoreError::Internal("the writer has ended".into());
        self.queues[class as usize].send(call).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))?
    }
}

type Queues<E> = [E; CLASSES];

fn split<A, B>(pairs: Queues<(A, B)>) -> (Queues<A>, Queues<B>) {
    let [(a0, b0), (a1, b1), (a2, b2)] = pairs;
    ([a0, a1, a2], [b0, b1, b2])
}

struct Task {
    /// `None` after it broke.
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    log: Log,
    recent: Arc<Recent>,
    watch: Watch,
    queues: Queues<mpsc::Receiver<Box<dyn Job>>>,
    /// The class whose turn it is.
    first: usize,
    /// Whether the connection syncs its commits now, if that is known.
    syncs: Option<bool>,
    /// When it last did.
    synced_at: Instant,
    pace: Pace,
    /// What joins the next transaction.
    joins: Option<Box<dyn Job>>,
    _lock: Arc<File>,
}

/// Jobs whose work stands in the open transaction.
type Done = Vec<Box<dyn Job>>;

impl Task {
    async fn run(mut self) {
        while let Some((class, job)) = self.wait().await {
            let _turn = self.log.turn().await;
            self.commit(class, job).await;
        }
    }

    /// What begins the next transaction; `None` when no more can come.
    async fn wait(&mut self) -> Option<(Class, Box<dyn Job>)> {
        if let Some(job) = self.joins.take() {
            // The transaction that it was to join did not last.
            return Some((Class::Outcome, job));
        }
        loop {
            let flow = self.flow();
            let rest = self.pace.rests_until(Instant::now(), flow);
            let resting = rest.is_some();
            // Their time has come, whoever posts: else they would never have any.
            if flow == Flow::Few
                && !resting
                && let Some(others) = self.take(&mut [0; CLASSES], |class| class != Class::Admit)
            {
                return Some(others);
            }
            let [outcome, admit, control] = &mut self.queues;
            let job = tokio::select! {
                biased;
                Some(job) = admit.recv() => return Some((Class::Admit, job)),
                Some(job) = control.recv(), if !resting => return Some((Class::Control, job)),
                Some(job) = outcome.recv(), if !resting => job,
                () = rested(rest), if resting => continue,
                else => return None,
            };
            if flow != Flow::Many {
                return Some((Class::Outcome, job));
            }
            let next = tokio::select! {
                biased;
                Some(next) = admit.recv() => (Class::Admit, next),
                Some(next) = control.recv() => (Class::Control, next),
                () = tokio::time::sleep(limits::OUTCOME_JOIN) => return Some((Class::Outcome, job)),
            };
            self.joins = Some(job);
            return Some(next);
        }
    }

    fn flow(&self) -> Flow {
        self.pace.flow(Instant::now(), self.queues[Class::Outcome as usize].len())
    }

    /// One transaction: `job`, and what waits, as long as there is time.
    async fn commit(&mut self, class: Class, job: Box<dyn Job>) {
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                let result = Err(error);
                self.watch.note(&result);
                return self.everything_with(job).into_iter().for_each(|job| job.answer(result.clone()));
            }
        };
        let (mut done, began) = (Done::new(), Instant::now());
        let result = match self.begin(&mut connection, class).await {
            Ok(()) => self.fill(&mut connection, class, job, &mut done).await,
            Err(error) => {
                // The file is locked, and was waited for. Whoever waits behind this job would wait as long again, one
                // after the other.
                done = self.everything_with(job);
                Err(error)
            }
        };
        let result = match result {
            Ok(()) => execute(&mut connection, COMMIT).await,
            Err(error) => Err(error),
        };
        if result.is_ok() {
            self.recent.committed();
            self.log.grew();
        }
        if result.is_ok() || self.is_whole(&mut connection).await {
            self.connection = Some(connection);
        }
        let result = result.map_err(store_error);
        self.watch.note(&result);
        if let Err(error @ StoreError::Internal(_)) = &result {
            tracing::error!(%error, "a transaction failed");
        }
        self.pace.ended(class, Instant::now(), began.elapsed());
        for job in done {
            job.answer(result.clone());
        }
    }

    /// `job` and all that waits now.
    fn everything_with(&mut self, job: Box<dyn Job>) -> Done {
        let waiting = self.queues.iter_mut().flat_map(|queue| std::iter::from_fn(|| queue.try_recv().ok()));
        std::iter::once(job).chain(self.joins.take()).chain(waiting).collect()
    }

    /// Begins a transaction, and chooses whether it ends with an fsync. One of outcomes alone need not: what a power failure
    /// takes of them is attempted once more, which at least once allows, and the next commit that is synced takes them to the
    /// disk as well. So outcomes never hold up admissions for the time of an fsync. A killed process loses nothing either way.
    async fn begin(&mut self, connection: &mut SqliteConnection, class: Class) -> Result<(), sqlx::Error> {
        let due = self.synced_at.elapsed() >= limits::OUTCOME_SYNC;
        let sync = class != Class::Outcome || due;
        if sync {
            self.synced_at = Instant::now();
        }
        if self.syncs == Some(sync) {
            return execute(connection, BEGIN).await;
        }
        self.syncs = None;
        // SQLite obeys this pragma when it compiles it: kept prepared, it would do nothing from the second time on.
        let begin = sqlx::query(if sync { BEGIN_SYNCED } else { BEGIN_UNSYNCED }).persistent(false);
        begin.execute(connection).await?;
        self.syncs = Some(sync);
        Ok(())
    }

    async fn connect(&mut self) -> Result<SqliteConnection, StoreError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => {
                self.syncs = None;
                self.options.connect().await.map_err(store_error)
            }
        }
    }

    /// Runs jobs until there is none, or enough. `Err`: the transaction is lost, with every job in `done`.
    async fn fill(
        &mut self,
        connection: &mut SqliteConnection,
        class: Class,
        job: Box<dyn Job>,
        done: &mut Done,
    ) -> Result<(), sqlx::Error> {
        let started = Instant::now();
        let mut taken = [0; CLASSES];
        if class == Class::Admit {
            self.pace.admits(started, job.events());
        }
        run_alone(connection, job, true, done).await?;
        let budget = Pace::budget(class, self.flow(), started.elapsed());
        while let Some(job) = self.further(class, started.elapsed() < budget, &mut taken) {
            run_alone(connection, job, false, done).await?;
        }
        Ok(())
    }

    /// The next job of a transaction of this class.
    fn further(
        &mut self,
        class: Class,
        has_time: bool,
        taken: &mut [usize; CLASSES],
    ) -> Option<Box<dyn Job>> {
        if let Some(job) = self.joins.take() {
            return Some(job);
        }
        let admission_waits = !self.queues[Class::Admit as usize].is_empty();
        if !has_time || (class == Class::Outcome && admission_waits) {
            return None;
        }
        // One of outcomes alone is not synced, so that nothing else may join it.
        let may = |other| other == class || class != Class::Outcome;
        self.take(taken, may).map(|(_, job)| job)
    }

    /// The next job that waits of the classes that may be taken, in turn, unless the transaction has enough of its class.
    fn take(
        &mut self,
        taken: &mut [usize; CLASSES],
        may: impl Fn(Class) -> bool,
    ) -> Option<(Class, Box<dyn Job>)> {
        for _ in 0..CLASSES {
            let class = Class::ALL[self.first];
            self.first = (self.first + 1) % CLASSES;
            let room = may(class) && taken[class as usize] < class.per_commit();
            if let Some(job) = room.then(|| self.queues[class as usize].try_recv().ok()).flatten() {
                taken[class as usize] += 1;
                return Some((class, job));
            }
        }
        None
    }

    /// Ends a transaction that failed. Whether the connection can be used again.
    async fn is_whole(&self, connection: &mut SqliteConnection) -> bool {
        // Fails when SQLite has rolled back by itself, or when there was none; then a new one can begin all the same.
        let _ = execute(connection, "ROLLBACK").await;
        sqlx::Connection::ping(connection).await.is_ok()
    }
}

/// The statements around jobs. One text where one would be several hand-overs to SQLite's thread.
const BEGIN: &str = "BEGIN IMMEDIATE; SAVEPOINT job";
const BEGIN_SYNCED: &str = "PRAGMA synchronous = FULL; BEGIN IMMEDIATE; SAVEPOINT job";
const BEGIN_UNSYNCED: &str = "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE; SAVEPOINT job";
/// Before each job but the first. What the one before did stays, or has been undone.
const NEXT: &str = "RELEASE job; SAVEPOINT job";
/// Takes back what the job has done so far.
pub(super) const UNDO: &str = "ROLLBACK TO job";
const COMMIT: &str = "RELEASE job; COMMIT";

/// Runs a job in a savepoint, which is `opened` or will be and is left open, and pushes it to `done` if its work stands; else
/// undoes and answers it.
/// `Err`: the transaction is lost.
async fn run_alone(
    connection: &mut SqliteConnection,
    mut job: Box<dyn Job>,
    opened: bool,
    done: &mut Done,
) -> Result<(), sqlx::Error> {
    if job.is_abandoned() {
        return Ok(());
    }
    let savepoint = if opened { Ok(()) } else { execute(connection, NEXT).await };
    let result = match savepoint {
        Ok(()) => unwound(job.run(connection)).await.unwrap_or_else(|| Err(panicked())),
        Err(error) => {
            done.push(job);
            return Err(error);
        }
    };
    match result {
        Ok(()) => {
            done.push(job);
            Ok(())
        }
        Err(error) if ends_transaction(&error) => {
            done.push(job);
            Err(error)
        }
        Err(error) => {
            job.answer(Err(store_error(error)));
            execute(connection, UNDO).await
        }
    }
}

/// What is said of a job that panicked: a mistake of ours, which its savepoint takes back like any other.
fn panicked() -> sqlx::Error {
    tracing::error!("a job of the store panicked; it alone is refused");
    sqlx::Error::Protocol("the job panicked".into())
}

/// After these SQLite may have rolled everything back by itself.
fn ends_transaction(error: &sqlx::Error) -> bool {
    matches!(failure(error), Failure::Unavailable | Failure::Slow)
}

async fn rested(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

async fn execute(connection: &mut SqliteConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(connection).await.map(drop)
}
