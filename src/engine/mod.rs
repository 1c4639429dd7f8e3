//! An engine: the roles that a process has, on either pair of backends. `serve`, `ingest`, `dispatcher`, `demo` and `bench`
//! run the same one.

mod backends;
mod listeners;
mod operator_webhook;
mod readiness;
mod running;
mod sharing;
mod start_error;
mod waiting;

use std::net::SocketAddr;
use std::time::Duration;

use fairhook_common::config::{Config, OperatorKey};
use fairhook_common::metrics::Families;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{Roles, SharedStore};
use fairhook_dispatcher as dispatcher;
use prometheus::Registry;
use tokio::task::JoinSet;

pub use self::backends::migrate;
use self::backends::{Backends, Hold};
pub use self::listeners::Addresses;
use self::listeners::Listeners;
use self::running::Starting;
pub use self::start_error::StartError;
use crate::operator_key::{self, Origin};
use crate::recovery::Found;
use crate::{node, open_files};

/// How long metrics and receiver may take to end, once nothing needs them any more.
const SURROUNDINGS_DEADLINE: Duration = Duration::from_secs(1);

/// A running engine.
pub struct Engine {
    /// Where it listens.
    pub addresses: Addresses,
    /// The operator's key and where it came from, if the API is here.
    pub operator_key: Option<(OperatorKey, Origin)>,
    /// What the start took up, if it was the only one to do so.
    pub found: Option<Found>,
    /// Its name among the others.
    pub node: String,
    /// The store, for whoever wants to look.
    pub store: SharedStore,
    /// What the dispatcher shows of itself, if it is here.
    pub dispatcher: Option<dispatcher::Handle>,
    hold: Hold,
    /// The roles; they end first.
    roles: Tasks,
    /// Metrics and receiver; attempts under way need them to the end.
    surroundings: Tasks,
}

/// Tasks that end together, and the signal that ends them.
type Tasks = (Shutdown, JoinSet<()>);

impl Engine {
    /// Starts these roles. All ports are bound, and what only this process can take up is due again, before anything runs.
    pub async fn start(config: Config, roles: Roles) -> Result<Self, StartError> {
        let open_files = open_files::raise();
        let node = node::name(&config);
        let registry = Registry::new();
        let backends = Backends::open(&config, &node, &Families::new(registry.clone())).await?;
        let listeners = Listeners::bind(&config, roles).await?;
        let addresses = listeners.addresses();
        let operator_key = operator_key(&config, roles)?;
        let (hold, found) = backends.take_up().await?;
        if let Some(url) = &config.operator_webhook_url {
            operator_webhook::keep(&backends.store, url).await.map_err(StartError::OperatorWebhook)?;
        }
        let slots = slots(&config, open_files);
        let key = operator_key.as_ref().map(|(key, _)| key);
        let store = backends.store.clone();
        let starting = Starting { config: &config, roles, node: &node, key, slots, backends, registry };
        let (roles, surroundings, dispatcher) = starting.run(listeners).await?;
        Ok(Self { addresses, operator_key, found, node, store, dispatcher, hold, roles, surroundings })
    }

    /// The API and the key to all of it, if it is here.
    pub fn api(&self) -> Option<(SocketAddr, &OperatorKey)> {
        let (key, _) = self.operator_key.as_ref()?;
        Some((self.addresses.api?, key))
    }

    /// Waits until a part ends although nobody asked it to, and says so in half a sentence.
    pub async fn died(&mut self) -> String {
        let ended = tokio::select! {
            Some(ended) = self.roles.1.join_next() => ended,
            Some(ended) = self.surroundings.1.join_next() => ended,
            else => return "there is nothing left that runs".to_owned(),
        };
        match ended {
            Ok(()) => "a part of this process ended by itself".to_owned(),
            Err(error) => format!("a part of this process failed: {error}"),
        }
    }

    /// The signal that stops the roles.
    pub fn shutdown(&self) -> Shutdown {
        self.roles.0.clone()
    }

    /// Takes nothing new, lets what is under way come to its end for `deadline`, and stops. Returns whether all ended in
    /// time.
    pub async fn stop(mut self, deadline: Duration) -> bool {
        let (roles, tasks) = &mut self.roles;
        roles.drain();
        let in_time = roles.join(tasks, deadline).await;
        let (surroundings, tasks) = &mut self.surroundings;
        surroundings.drain();
        surroundings.join(tasks, SURROUNDINGS_DEADLINE).await;
        if in_time {
            self.hold.ended_in_order().await;
        }
        in_time
    }
}

/// The configured key, or the one that the data directory keeps; none where there is no API.
fn operator_key(config: &Config, roles: Roles) -> Result<Option<(OperatorKey, Origin)>, StartError> {
    if !roles.ingest {
        return Ok(None);
    }
    match &config.operator_key {
        Some(key) => Ok(Some((key.clone(), Origin::Configured))),
        None => operator_key::kept_in(&config.data_dir).map(Some).map_err(StartError::OperatorKey),
    }
}

fn slots(config: &Config, open_files: u64) -> usize {
    let slots = open_files::slots_that_fit(config.slots, open_files);
    if slots < config.slots {
        tracing::warn!(
            slots,
            wanted = config.slots,
            open_files,
            "the limit of open files leaves room for fewer slots"
        );
    }
    slots
}
