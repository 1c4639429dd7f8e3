//! The connection to Redis: up, or away since some time. It is lost by the first question that fails; one task dials
//! again, at a steady pace, and nothing else waits for that.

use std::sync::{Mutex, MutexGuard};

use fairhook_common::limits;
use fairhook_common::metrics::Families;
use fairhook_common::time::Timestamp;
use prometheus::IntGauge;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::time::sleep;

use super::redis::{self as server, RedisAddress};
use crate::limiter;

/// What the callers use of it, and the one task that keeps it.
pub(super) struct Line {
    /// Whether there is a connection; read for every event, so apart from the rest.
    up: watch::Sender<bool>,
    state: Mutex<State>,
    fallback_since: IntGauge,
    connected: IntGauge,
}

struct State {
    connection: Option<MultiplexedConnection>,
    /// The number of the connection: a late failure of an earlier one must not end its successor.
    number: u64,
    /// Since when there is none, and why.
    away: Option<(Timestamp, String)>,
}

impl Line {
    pub(super) fn new(families: &Families) -> Self {
        let fallback_since = families.gauge(
            "fairhook_quota_fallback_since_seconds",
            "Unix time since when Redis is away and each ingest enforces its share of the limits; 0: it is not",
        );
        let away = Some((Timestamp::now(), "not connected yet".to_owned()));
        fallback_since.set(Timestamp::now().unix_seconds());
        let state = Mutex::new(State { connection: None, number: 0, away });
        let connected = limiter::connected(families, "redis");
        Self { up: watch::Sender::new(false), state, fallback_since, connected }
    }

    pub(super) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Waits until there is a connection, or until there is none.
    pub(super) async fn becomes(&self, up: bool) {
        let waited = self.up.subscribe().wait_for(|now| *now == up).await.map(drop);
        waited.expect("the sender is in self");
    }

    /// The connection with its number.
    pub(super) fn connection(&self) -> Option<(MultiplexedConnection, u64)> {
        let state = self.state();
        state.connection.clone().map(|connection| (connection, state.number))
    }

    /// Why the shares decide, and since when, in one sentence; `None`: they do not.
    pub(super) fn away(&self) -> Option<String> {
        let state = self.state();
        state.away.as_ref().map(|(since, why)| {
            format!("away since {since} ({why}); each ingest enforces its share of the limits")
        })
    }

    /// Since when the shares decide.
    pub(super) fn away_since(&self) -> Option<Timestamp> {
        self.state().away.as_ref().map(|(since, _)| *since)
    }

    /// The connection of this number failed.
    pub(super) fn lost(&self, number: u64, why: String) {
        let mut state = self.state();
        if state.number != number || state.connection.take().is_none() {
            return;
        }
        self.up.send_replace(false);
        let since = Timestamp::now();
        self.fallback_since.set(since.unix_seconds());
        self.connected.set(0);
        tracing::warn!(reason = %why, "redis is away: each ingest enforces its share of the limits");
        state.away = Some((since, why));
    }

    /// Dials until there is a connection, waits until it is lost, and begins anew; for ever.
    pub(super) async fn keep(&self, address: &RedisAddress) {
        let mut told = false;
        loop {
            match server::dial(address).await {
                Ok(connection) => {
                    self.found(connection);
                    told = true;
                    self.becomes(false).await;
                }
                Err(error) => {
                    let why = server::told(&error);
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(reason = %why, "redis is away: each ingest enforces its share of the limits");
                    }
                    self.still_away(why);
                }
            }
            sleep(limits::REDIS_PROBE_INTERVAL).await;
        }
    }

    fn found(&self, connection: MultiplexedConnection) {
        let mut state = self.state();
        let away_ms = state.away.take().map_or(0, |(since, _)| Timestamp::now().since(since).as_millis());
        state.connection = Some(connection);
        state.number += 1;
        self.fallback_since.set(0);
        self.connected.set(1);
        self.up.send_replace(true);
        tracing::info!(away_ms = away_ms as u64, "redis answers: the limits hold over all ingests together");
    }

    fn still_away(&self, why: String) {
        if let Some((_, reason)) = &mut self.state().away {
            *reason = why;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
