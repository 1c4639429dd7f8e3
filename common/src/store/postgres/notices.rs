//! What changes in the control plane is told to all processes by `NOTIFY`, in the transaction that makes the change, and
//! comes to each by a connection that listens and does nothing else. What this process changes it tells its own listeners
//! itself, at once, and passes over when it comes back; what it does not come to tell (nobody waits any more, the commit's
//! answer was lost) they hear when it comes back.
//!
//! Whatever is told while that connection is away is lost: when it is back, everything may have changed. That it is there is
//! proved several times a second: the server answers a question only behind all notices of what was committed before it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgNotification, PgPool, PgPoolOptions};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::error::store_error;
use crate::ids::TenantId;
use crate::limits;
use crate::store::{Change, StoreError, locked};

const CHANNEL: &str = "fairhook_changes";

/// A change as it is told; the id says by which store, and its how manieth it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Notice {
    id: Uuid,
    change: Change,
}

/// Tells all processes, once the transaction is committed.
pub(super) async fn announce(db: &mut PgConnection, notices: &[Notice]) -> Result<(), sqlx::Error> {
    for notice in notices {
        sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(write(*notice)).execute(&mut *db).await?;
    }
    Ok(())
}

/// Tells whoever listens in this process, of every change of its own once.
pub(super) struct Voice {
    /// Whose notices they are: this store's.
    origin: u64,
    made: AtomicU64,
    changes: broadcast::Sender<Change>,
    /// Those that were told here already, and will be once more.
    once: Mutex<HashSet<u64>>,
}

impl Voice {
    pub(super) fn new(changes: broadcast::Sender<Change>) -> Arc<Self> {
        let origin = Uuid::now_v7().as_u64_pair().1;
        Arc::new(Self { origin, made: AtomicU64::new(0), changes, once: Mutex::default() })
    }

    /// Notices of these changes.
    pub(super) fn notices(&self, changes: impl IntoIterator<Item = Change>) -> Vec<Notice> {
        let notice = |change| {
            let n = self.made.fetch_add(1, Ordering::Relaxed);
            Notice { id: Uuid::from_u64_pair(self.origin, n), change }
        };
        changes.into_iter().map(notice).collect()
    }

    /// Tells whoever listens here of what is committed, unless it has been told: what this store changes is told by whoever
    /// changed it and when it comes back, whichever is first.
    pub(super) fn tell(&self, Notice { id, change }: Notice) {
        let (origin, n) = id.as_u64_pair();
        if origin != self.origin {
            return self.say(change);
        }
        let mut once = locked(&self.once);
        if once.remove(&n) {
            return;
        }
        if once.len() >= limits::CHANGES_WAITING {
            // They are not coming any more. If one does, it is told twice.
            once.clear();
        }
        once.insert(n);
        // Before anybody passes over the same one, and says that all was told.
        self.say(change);
    }

    /// What was told meanwhile is lost.
    fn tell_loss(&self) {
        locked(&self.once).clear();
        self.say(Change::Everything);
    }

    fn say(&self, change: Change) {
        // Nobody listening is fine.
        let _ = self.changes.send(change);
    }
}

/// The task that listens; it ends with this value.
pub(super) struct Notices {
    heard_until: Arc<Mutex<Instant>>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Notices {
    /// Begins to listen; from its return on nothing is missed without a [`Change::Everything`].
    pub(super) async fn start(options: &PgConnectOptions, voice: Arc<Voice>) -> Result<Self, StoreError> {
        let options = options.clone().application_name("fairhook listen");
        // Whoever listens here has read nothing yet.
        let heard_until = Arc::new(Mutex::new(Instant::now()));
        let ear = Ear::open(&options).await.map_err(store_error)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(options, ear, voice, Arc::clone(&heard_until), stop.clone()));
        Ok(Self { heard_until, stop, task: Mutex::new(Some(task)) })
    }

    /// What was changed before this has been told here.
    pub(super) fn heard_until(&self) -> Instant {
        *locked(&self.heard_until)
    }

    /// Ends the connection.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        let task = locked(&self.task).take();
        if let Some(task) = task {
            // It ends now, well or not.
            let _ = task.await;
        }
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A connection that listens, in a pool of its own.
struct Ear {
    listener: PgListener,
    pool: PgPool,
}

impl Ear {
    async fn open(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        // It must not connect again by itself: given up in the middle of that, it would have another connection when it is asked
        // whether its own is there, and nobody would know that one was lost.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Self { listener, pool })
    }

    async fn close(self) {
        drop(self.listener);
        // A server that does not answer is not waited for.
        let _ = timeout(limits::STORE_RETRY_MAX, self.pool.close()).await;
    }
}

async fn follow(
    options: PgConnectOptions,
    mut ear: Ear,
    voice: Arc<Voice>,
    heard_until: Arc<Mutex<Instant>>,
    stop: CancellationToken,
) {
    loop {
        let passing = pass_on(&mut ear.listener, limits::NOTICES_ASKED, &voice, &heard_until);
        let stopped = stop.run_until_cancelled(passing).await;
        ear.close().await;
        if stopped.is_none() {
            return;
        }
        let Some(again) = stop.run_until_cancelled(open_again(&options)).await else {
            return;
        };
        ear = again;
        voice.tell_loss();
    }
}

/// Passes on what comes until the connection is lost. So often the server is asked, which proves until when all was heard: one
/// that is there no more may be lost and not know it.
async fn pass_on(listener: &mut PgListener, every: Duration, voice: &Voice, heard_until: &Mutex<Instant>) {
    loop {
        let asked = Instant::now();
        if !answers(listener).await {
            return;
        }
        while let Some(notice) = listener.next_buffered() {
            pass_on_one(&notice, voice);
        }
        *locked(heard_until) = asked;
        let next = asked + every;
        while Instant::now() < next {
            match timeout_at(next, listener.try_recv()).await {
                Ok(Ok(Some(notice))) => pass_on_one(&notice, voice),
                Ok(Ok(None) | Err(_)) => return,
                Err(_) => {}
            }
        }
    }
}

fn pass_on_one(notice: &PgNotification, voice: &Voice) {
    match read(notice.payload()) {
        Some(notice) => voice.tell(notice),
        // What a newer version tells in words we do not know may be anything.
        None => voice.say(Change::Everything),
    }
}

/// Whether the server is there at the other end. What was told before it was asked is in the buffer when it has answered: a
/// commit wakes whoever listens before it is answered, and who was woken sends what there is before it is ready for a query
/// again (PostgreSQL 15, `AtCommit_Notify` and `ProcessNotifyInterrupt`).
async fn answers(listener: &mut PgListener) -> bool {
    let asked = timeout(limits::READ_DEADLINE, sqlx::query("SELECT 1").execute(listener)).await;
    matches!(asked, Ok(Ok(_)))
}

async fn open_again(options: &PgConnectOptions) -> Ear {
    let waits = ExponentialBuilder::default()
        .with_min_delay(limits::STORE_RETRY_MIN)
        .with_max_delay(limits::STORE_RETRY_MAX)
        .without_max_times();
    let mut waits = waits.build();
    loop {
        // An attempt that hangs is none.
        match timeout(limits::READ_DEADLINE, Ear::open(options)).await {
            Ok(Ok(ear)) => return ear,
            Ok(Err(error)) => tracing::debug!(%error, "changes of others are not heard: no connection"),
            Err(_) => tracing::debug!("changes of others are not heard: the store does not answer"),
        }
        tokio::time::sleep(waits.next().unwrap_or(Duration::from_secs(1))).await;
    }
}

fn write(Notice { id, change }: Notice) -> String {
    match change {
        Change::Tenant(tenant) => format!("{id} tenant {}", tenant.uuid()),
        Change::Due(tenant) => format!("{id} due {}", tenant.uuid()),
        Change::OperatorKeys => format!("{id} operator_keys"),
        Change::Everything => format!("{id} everything"),
    }
}

fn read(text: &str) -> Option<Notice> {
    let mut words = text.split(' ');
    let id = words.next()?.parse().ok()?;
    let kind = words.next()?;
    let tenant = words.next().map(str::parse).transpose().ok()?.map(TenantId::from_uuid);
    let change = match (kind, tenant) {
        ("tenant", Some(tenant)) => Change::Tenant(tenant),
        ("due", Some(tenant)) => Change::Due(tenant),
        ("operator_keys", None) => Change::OperatorKeys,
        ("everything", None) => Change::Everything,
        _ => return None,
    };
    Some(Notice { id, change })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> PgConnectOptions {
        #[allow(clippy::disallowed_methods)] // Where the server is can only be said from outside.
        let url = std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL names a server");
        url.parse().expect("a URL")
    }

    #[tokio::test]
    async fn what_was_told_before_the_connection_was_asked_is_heard_when_it_has_answered() {
        let mut ear = Ear::open(&options()).await.expect("opens");
        let ours: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut ear.listener).await.expect("asks");
        let (changes, mut heard) = broadcast::channel(8);
        let (voice, heard_until) = (Voice::new(changes), Arc::new(Mutex::new(Instant::now())));
        let proven = Arc::clone(&heard_until);
        let passing = tokio::spawn(async move {
            pass_on(&mut ear.listener, Duration::from_millis(1), &voice, &proven).await
        });
        let mut other = PgPoolOptions::new().connect_lazy_with(options()).acquire().await.expect("connects");
        let another = Voice::new(broadcast::channel(1).0);
        for _ in 0..100 {
            let tenant = TenantId::generate();
            announce(&mut other, &another.notices([Change::Tenant(tenant)])).await.expect("told");
            let told = Instant::now();
            while *locked(&heard_until) <= told {
                tokio::task::yield_now().await;
            }
            assert_eq!(heard.try_recv(), Ok(Change::Tenant(tenant)), "it is not waited for any more");
        }
        let end = sqlx::query("SELECT pg_terminate_backend($1)").bind(ours);
        end.execute(&mut *other).await.expect("ended");
        timeout(limits::READ_DEADLINE * 5, passing).await.expect("it is noticed").expect("ends");
    }

    #[test]
    fn a_change_is_told_here_once_whoever_tells_it_first() {
        let (changes, mut heard) = broadcast::channel(4 * limits::CHANGES_WAITING);
        let voice = Voice::new(changes);
        let change = Change::Tenant(TenantId::generate());
        let [first, second] = voice.notices([change, change])[..] else { panic!("two") };
        for notice in [first, second, first] {
            voice.tell(notice);
        }
        assert_eq!((heard.len(), heard.try_recv(), heard.try_recv()), (2, Ok(change), Ok(change)));
        // The second one comes back after a loss; and another store's are not counted.
        voice.tell_loss();
        voice.tell(second);
        let other = Voice::new(broadcast::channel(1).0).notices([change])[0];
        voice.tell(other);
        voice.tell(other);
        assert_eq!((heard.len(), heard.try_recv()), (4, Ok(Change::Everything)));
        // Those that never come back are forgotten.
        for notice in voice.notices(std::iter::repeat_n(change, 2 * limits::CHANGES_WAITING)) {
            voice.tell(notice);
        }
        assert!(locked(&voice.once).len() <= limits::CHANGES_WAITING);
    }

    #[test]
    fn a_change_survives_its_text() {
        let tenant = TenantId::generate();
        let changes = [Change::Tenant(tenant), Change::Due(tenant), Change::OperatorKeys, Change::Everything];
        for notice in Voice::new(broadcast::channel(1).0).notices(changes) {
            assert_eq!(read(&write(notice)), Some(notice));
        }
        for text in ["", "tenant", &format!("{} tenant", Uuid::nil()), &format!("{} news", Uuid::nil())] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
