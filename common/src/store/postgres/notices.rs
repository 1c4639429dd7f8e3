//! What changes in the control plane is told to all processes by `NOTIFY`, in the transaction that makes the change, and
//! comes to each by a connection that listens and does nothing else. What this process changes it tells its own listeners
//! itself, at once, and passes over when it comes back.
//!
//! Whatever is told while that connection is away is lost: when it is back, everything may have changed.

use std::sync::Mutex;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::error::store_error;
use crate::ids::TenantId;
use crate::limits;
use crate::store::{Change, StoreError, locked};

const CHANNEL: &str = "fairhook_changes";

/// Tells all other processes, once the transaction is committed.
pub(super) async fn announce(
    db: &mut PgConnection,
    origin: Origin,
    changes: &[Change],
) -> Result<(), sqlx::Error> {
    for change in changes {
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(write(origin, *change))
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Whose changes they are: this store's, to be known again when they come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin(Uuid);

/// The task that listens; it ends with this value.
pub(super) struct Notices {
    pub(super) origin: Origin,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Notices {
    /// Begins to listen; from its return on nothing is missed without a [`Change::Everything`].
    pub(super) async fn start(
        options: &PgConnectOptions,
        changes: broadcast::Sender<Change>,
    ) -> Result<Self, StoreError> {
        let origin = Origin(Uuid::now_v7());
        let options = options.clone().application_name("fairhook listen");
        let ear = Ear::open(&options).await.map_err(store_error)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(options, ear, origin, changes, stop.clone()));
        Ok(Self { origin, stop, task: Mutex::new(Some(task)) })
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
    origin: Origin,
    changes: broadcast::Sender<Change>,
    stop: CancellationToken,
) {
    loop {
        let passing = pass_on(&mut ear.listener, limits::NOTICES_SILENCE_MAX, origin, &changes);
        let stopped = stop.run_until_cancelled(passing).await;
        ear.close().await;
        if stopped.is_none() {
            return;
        }
        let Some(again) = stop.run_until_cancelled(open_again(&options)).await else {
            return;
        };
        ear = again;
        let _ = changes.send(Change::Everything);
    }
}

/// Passes on what comes until the connection is lost. One that has been silent for so long may be lost and not know it: it is
/// asked.
async fn pass_on(
    listener: &mut PgListener,
    silence: Duration,
    origin: Origin,
    changes: &broadcast::Sender<Change>,
) {
    loop {
        let notice = match timeout(silence, listener.try_recv()).await {
            Ok(Ok(Some(notice))) => notice,
            Ok(Ok(None) | Err(_)) => return,
            Err(_) if answers(listener).await => continue,
            Err(_) => return,
        };
        match read(notice.payload()) {
            Some((from, _)) if from == origin => {}
            // Nobody listening is fine. What a newer version tells in words we do not know may be anything.
            Some((_, change)) => drop(changes.send(change)),
            None => drop(changes.send(Change::Everything)),
        }
    }
}

/// Whether the server is there at the other end. What comes meanwhile is kept.
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

fn write(Origin(origin): Origin, change: Change) -> String {
    match change {
        Change::Tenant(tenant) => format!("{origin} tenant {}", tenant.uuid()),
        Change::Due(tenant) => format!("{origin} due {}", tenant.uuid()),
        Change::OperatorKeys => format!("{origin} operator_keys"),
        Change::Everything => format!("{origin} everything"),
    }
}

fn read(text: &str) -> Option<(Origin, Change)> {
    let mut words = text.split(' ');
    let origin = Origin(words.next()?.parse().ok()?);
    let kind = words.next()?;
    let tenant = words.next().map(str::parse).transpose().ok()?.map(TenantId::from_uuid);
    let change = match (kind, tenant) {
        ("tenant", Some(tenant)) => Change::Tenant(tenant),
        ("due", Some(tenant)) => Change::Due(tenant),
        ("operator_keys", None) => Change::OperatorKeys,
        ("everything", None) => Change::Everything,
        _ => return None,
    };
    Some((origin, change))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_connection_is_asked_and_kept() {
        #[allow(clippy::disallowed_methods)] // Where the server is can only be said from outside.
        let url = std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL names a server");
        let options: PgConnectOptions = url.parse().expect("a URL");
        let mut ear = Ear::open(&options).await.expect("opens");
        let ours: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut ear.listener).await.expect("asks");
        let (changes, mut heard) = broadcast::channel(8);
        let origin = Origin(Uuid::now_v7());
        let passing = tokio::spawn(async move {
            pass_on(&mut ear.listener, Duration::from_millis(1), origin, &changes).await
        });
        let other = PgPoolOptions::new().connect_lazy_with(options);
        let asked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND query = 'SELECT 1')";
        while !sqlx::query_scalar::<_, bool>(asked).bind(ours).fetch_one(&other).await.expect("reads") {
            tokio::task::yield_now().await;
        }
        let tenant = TenantId::generate();
        let mut db = other.acquire().await.expect("connects");
        announce(&mut db, Origin(Uuid::now_v7()), &[Change::Tenant(tenant)]).await.expect("told");
        assert_eq!(heard.recv().await, Ok(Change::Tenant(tenant)), "as it would without the questions");
        let end = sqlx::query("SELECT pg_terminate_backend($1)").bind(ours);
        end.execute(&mut *db).await.expect("ended");
        timeout(limits::READ_DEADLINE * 5, passing).await.expect("it is noticed").expect("ends");
        drop(db);
        other.close().await;
    }

    #[test]
    fn a_change_survives_its_text() {
        let origin = Origin(Uuid::now_v7());
        let tenant = TenantId::generate();
        for change in [Change::Tenant(tenant), Change::Due(tenant), Change::OperatorKeys, Change::Everything]
        {
            assert_eq!(read(&write(origin, change)), Some((origin, change)));
        }
        for text in ["", "tenant", &format!("{} tenant", Uuid::nil()), &format!("{} news", Uuid::nil())] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
