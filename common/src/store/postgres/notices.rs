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
    pub(super) async fn start(url: &str, changes: broadcast::Sender<Change>) -> Result<Self, StoreError> {
        let origin = Origin(Uuid::now_v7());
        let ear = Ear::open(url).await.map_err(store_error)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(url.to_owned(), ear, origin, changes, stop.clone()));
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
    async fn open(url: &str) -> Result<Self, sqlx::Error> {
        let options = url.parse::<PgConnectOptions>()?.application_name("fairhook listen");
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
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
    url: String,
    mut ear: Ear,
    origin: Origin,
    changes: broadcast::Sender<Change>,
    stop: CancellationToken,
) {
    loop {
        let stopped = stop.run_until_cancelled(pass_on(&mut ear.listener, origin, &changes)).await;
        ear.close().await;
        if stopped.is_none() {
            return;
        }
        let Some(again) = stop.run_until_cancelled(open_again(&url)).await else {
            return;
        };
        ear = again;
        let _ = changes.send(Change::Everything);
    }
}

/// Passes on what comes until the connection is lost, or has been silent for so long that it may be lost and not know it.
async fn pass_on(listener: &mut PgListener, origin: Origin, changes: &broadcast::Sender<Change>) {
    while let Ok(Ok(Some(notice))) = timeout(limits::NOTICES_SILENCE_MAX, listener.try_recv()).await {
        match read(notice.payload()) {
            Some((from, _)) if from == origin => {}
            // Nobody listening is fine. What a newer version tells in words we do not know may be anything.
            Some((_, change)) => drop(changes.send(change)),
            None => drop(changes.send(Change::Everything)),
        }
    }
}

async fn open_again(url: &str) -> Ear {
    let waits = ExponentialBuilder::default()
        .with_min_delay(limits::STORE_RETRY_MIN)
        .with_max_delay(limits::STORE_RETRY_MAX)
        .without_max_times();
    let mut waits = waits.build();
    loop {
        // An attempt that hangs is none.
        match timeout(limits::READ_DEADLINE, Ear::open(url)).await {
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
