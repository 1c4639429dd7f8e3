//! A connection that is dialled again for ever: dial, declare, work until it is lost, wait, and so on.

use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use futures_util::StreamExt;
use lapin::{Connection, Event};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::dial::{self, Address};
use super::metrics::Metrics;
use crate::limits;
use crate::queue::QueueDown;

/// What is done over a connection, made anew with each.
#[async_trait]
pub trait Session: Send + Sync + Sized + 'static {
    /// What the connection is for.
    const PURPOSE: &'static str;
    /// What a session is made with.
    type Parts: Clone + Send + Sync + 'static;

    /// Begins to work over a connection that was just dialled.
    async fn begin(connection: Arc<Connection>, parts: Self::Parts) -> lapin::Result<Self>;

    /// Called every [`limits::AMQP_LOOK`] while the connection is up.
    fn look(&self) {}
}

/// The session of the moment, if the broker is there.
pub struct Link<S> {
    current: watch::Receiver<Option<Arc<S>>>,
}

impl<S: Session> Link<S> {
    /// Dials in the background until `stop`.
    pub fn start(address: Address, parts: S::Parts, metrics: Arc<Metrics>, stop: CancellationToken) -> Self {
        let (sender, current) = watch::channel(None);
        let supervisor = Supervisor { address, parts, metrics, sender };
        tokio::spawn(async move { supervisor.run(stop).await });
        Self { current }
    }

    /// The session, if there is one now.
    pub fn current(&self) -> Option<Arc<S>> {
        self.current.borrow().clone()
    }

    /// The session, as soon as there is one; not for long.
    pub async fn wait(&self, patience: std::time::Duration) -> Result<Arc<S>, QueueDown> {
        let mut current = self.current.clone();
        let there = timeout(patience, current.wait_for(Option::is_some)).await;
        match there {
            Ok(Ok(session)) => session.clone().ok_or_else(away),
            _ => Err(away()),
        }
    }
}

fn away() -> QueueDown {
    QueueDown("there is no connection to the broker".into())
}

struct Supervisor<S: Session> {
    address: Address,
    parts: S::Parts,
    metrics: Arc<Metrics>,
    sender: watch::Sender<Option<Arc<S>>>,
}

impl<S: Session> Supervisor<S> {
    async fn run(self, stop: CancellationToken) {
        let connected = self.metrics.connected.with_label_values(&[S::PURPOSE]);
        loop {
            let (connection, session) = tokio::select! {
                up = self.persist() => up,
                () = stop.cancelled() => return,
            };
            let session = Arc::new(session);
            self.sender.send_replace(Some(session.clone()));
            connected.set(1);
            let lost = stop.run_until_cancelled(watched(&connection, session.as_ref())).await;
            self.sender.send_replace(None);
            connected.set(0);
            let Some(why) = lost else { return dial::closing(connection).await };
            self.metrics.lost.with_label_values(&[S::PURPOSE]).inc();
            let why = why.map(tracing::field::display);
            tracing::warn!(
                connection = S::PURPOSE,
                error.detail = why,
                "the connection to the broker was lost"
            );
            // One that is lost as soon as it is there must not be dialled without a rest.
            sleep(limits::AMQP_REDIAL_MIN).await;
        }
    }

    /// Dials until it succeeds. An outage is told once, and so is its end.
    async fn persist(&self) -> (Arc<Connection>, S) {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(limits::AMQP_REDIAL_MIN)
            .with_max_delay(limits::AMQP_REDIAL_MAX)
            .with_jitter()
            .without_max_times();
        let mut failures = 0u64;
        loop {
            let up = (|| self.attempt())
                .retry(backoff)
                .notify(|error: &QueueDown, _| {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(connection = S::PURPOSE, error.detail = %error, "the broker is dialled until it answers");
                    }
                })
                .await;
            if let Ok(up) = up {
                tracing::info!(connection = S::PURPOSE, failures, "connected to the broker");
                return up;
            }
        }
    }

    async fn attempt(&self) -> Result<(Arc<Connection>, S), QueueDown> {
        let connection = Arc::new(self.address.dial(S::PURPOSE).await?);
        let session = S::begin(connection.clone(), self.parts.clone()).await.map_err(dial::down)?;
        Ok((connection, session))
    }
}

/// Until the connection is lost; returns why, if that was said.
async fn watched<S: Session>(connection: &Connection, session: &S) -> Option<lapin::Error> {
    let mut events = pin!(connection.events_listener());
    let mut why = None;
    while connection.status().connected() {
        session.look();
        if let Ok(Some(Event::Error(error))) = timeout(limits::AMQP_LOOK, events.next()).await {
            why = Some(error);
        }
    }
    why
}
