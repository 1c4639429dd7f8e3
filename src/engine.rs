//! The embedded engine: every role in this process, on a store in a directory and queues in memory. `serve`, `demo` and
//! `bench` run the same one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::config::{Config, OperatorKey};
use fairhook_common::egress::EgressPolicy;
use fairhook_common::health::Health;
use fairhook_common::membership::{self, Members, Node};
use fairhook_common::metrics::Families;
use fairhook_common::queue::Queue;
use fairhook_common::queue::memory::MemoryQueue;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::sqlite::SqliteStore;
use fairhook_common::store::{Recovery, Roles, SharedStore, StoreError};
use fairhook_common::time::Timestamp;
use fairhook_dispatcher as dispatcher;
use fairhook_dispatcher::attempt::{Attempter, AttempterError, ResolverSettings};
use fairhook_ingest as ingest;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::data_dir::{self, InUse};
use crate::operator_key::{self, Origin};
use crate::recovery::Found;
use crate::{metrics_listener, open_files, receiver};

/// This dispatcher's name; in one process there is no other.
const NODE: &str = "embedded";
/// How long metrics and receiver may take to end, once nothing needs them any more.
const SURROUNDINGS_DEADLINE: Duration = Duration::from_secs(1);

/// A running engine.
pub struct Engine {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the built-in receiver listens.
    pub receiver: Option<SocketAddr>,
    /// Where health and metrics are.
    pub metrics: SocketAddr,
    /// The operator's key.
    pub operator_key: OperatorKey,
    /// Where it came from.
    pub key_origin: Origin,
    /// What the start found.
    pub found: Found,
    /// The store, for whoever wants to look.
    pub store: SharedStore,
    /// What the dispatcher shows of itself.
    pub dispatcher: dispatcher::Handle,
    in_use: InUse,
    /// The roles; they end first.
    roles: (Shutdown, JoinSet<()>),
    /// Metrics and receiver; attempts under way need them to the end.
    surroundings: (Shutdown, JoinSet<()>),
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error("cannot use the data directory {directory}: {error}", directory = .0.display(), error = .1)]
    DataDir(PathBuf, std::io::Error),
    /// The store.
    #[error("cannot open the store in {directory}: {error}", directory = .0.display(), error = .1)]
    Store(PathBuf, StoreError),
    /// The operator's key.
    #[error("cannot use the operator's key: {0}")]
    OperatorKey(std::io::Error),
    /// A port.
    #[error("cannot listen on {1} (setting {0}): {2}")]
    Listen(&'static str, SocketAddr, std::io::Error),
    /// What the process before left behind cannot be read.
    #[error("cannot take up what was left behind: {0}")]
    Recovery(StoreError),
    /// The HTTP client.
    #[error("cannot make the HTTP client: {0}")]
    Client(#[from] AttempterError),
}

impl Engine {
    /// Starts every role. All ports are bound, and what an earlier process left behind is due again, before anything runs.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let open_files = open_files::raise();
        let store_directory = config.store_directory().to_owned();
        let elsewhere = (store_directory != config.data_dir).then_some(&store_directory);
        for directory in [&config.data_dir].into_iter().chain(elsewhere) {
            data_dir::make(directory).map_err(|e| StartError::DataDir(directory.clone(), e))?;
        }
        let opened = SqliteStore::open(&store_directory).await;
        let store: SharedStore = Arc::new(opened.map_err(|e| StartError::Store(store_directory.clone(), e))?);
        let listeners = Listeners::bind(&config).await?;
        let (operator_key, key_origin) = match &config.operator_key {
            Some(key) => (key.clone(), Origin::Configured),
            None => operator_key::kept_in(&config.data_dir).map_err(StartError::OperatorKey)?,
        };
        let in_use =
            InUse::mark(&store_directory).map_err(|e| StartError::DataDir(store_directory.clone(), e))?;
        let found = take_up(&store, in_use.unclean).await.map_err(StartError::Recovery)?;
        let slots = open_files::slots_that_fit(config.slots, open_files);
        if slots < config.slots {
            tracing::warn!(
                slots,
                wanted = config.slots,
                open_files,
                "the limit of open files leaves room for fewer slots"
            );
        }
        let running = Starting { config: &config, store: &store, key: &operator_key, slots };
        let (api, receiver, metrics) = listeners.addresses();
        let (roles, surroundings, dispatcher) = running.run(listeners)?;
        Ok(Self {
            api,
            receiver,
            metrics,
            operator_key,
            key_origin,
            found,
            store,
            dispatcher,
            in_use,
            roles,
            surroundings,
        })
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
            self.in_use.ended_in_order();
        }
        in_time
    }
}

/// Every port, bound.
struct Listeners {
    api: TcpListener,
    receiver: Option<TcpListener>,
    metrics: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, StartError> {
        let receiver = match config.receiver_listen {
            Some(address) => Some(bind("receiver_listen", address).await?),
            None => None,
        };
        Ok(Self {
            api: bind("listen", config.listen).await?,
            receiver,
            metrics: bind("metrics_listen", config.metrics_listen).await?,
        })
    }

    fn addresses(&self) -> (SocketAddr, Option<SocketAddr>, SocketAddr) {
        let address =
            |listener: &TcpListener| listener.local_addr().expect("a bound listener has an address");
        (address(&self.api), self.receiver.as_ref().map(address), address(&self.metrics))
    }
}

async fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|e| StartError::Listen(setting, address, e))
}

/// Nothing that was queued or claimed lives on in another process: all of it is due.
async fn take_up(store: &SharedStore, unclean: bool) -> Result<Found, StoreError> {
    let made_due = store.recover(Recovery::Everything, Timestamp::now()).await?;
    let counts = store.totals().await?;
    tracing::debug!(made_due, waiting = counts.waiting(), unclean, "took up what was left behind");
    Ok(Found { counts, unclean })
}

type Tasks = (Shutdown, JoinSet<()>);

/// What a start has made so far.
struct Starting<'a> {
    config: &'a Config,
    store: &'a SharedStore,
    key: &'a OperatorKey,
    slots: usize,
}

impl Starting<'_> {
    fn run(self, listeners: Listeners) -> Result<(Tasks, Tasks, dispatcher::Handle), StartError> {
        let (_, receiver_address, _) = listeners.addresses();
        let egress = EgressPolicy::new(self.config.allowed_networks.clone(), receiver_address);
        let attempter = Attempter::new(egress.clone(), ResolverSettings::default())?;
        let registry = Registry::new();
        let families = Families::new(registry.clone());
        families
            .gauges("fairhook_build_info", "The version that runs.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new());
        let health = self.health(&queue);
        let (mut roles, mut surroundings): (Tasks, Tasks) = Default::default();
        let node = Node::new(NODE, Roles { ingest: true, dispatcher: true });
        let members = membership::start(self.store.clone(), node, &families, &mut roles.1, &roles.0);
        let clock = members.clone();
        health.add("clock", move || {
            let answer = clock.clock();
            Box::pin(async move { answer })
        });
        let handle = dispatcher::start(
            self.dispatcher_parts(queue.clone(), attempter, families.clone(), members),
            &mut roles.1,
            &roles.0,
        );
        let parts = self.ingest_parts(queue, egress, families, health.clone());
        let api = ingest::start(parts, &mut roles.1, &roles.0);
        roles.1.spawn(ingest::serve(listeners.api, api, roles.0.clone()));
        let metrics = metrics_listener::router(registry, health);
        surroundings.1.spawn(ingest::serve(listeners.metrics, metrics, surroundings.0.clone()));
        if let (Some(listener), Some(address)) = (listeners.receiver, receiver_address) {
            let (router, reporter) = receiver::new(self.store.clone(), address);
            surroundings.1.spawn(ingest::serve(listener, router, surroundings.0.clone()));
            surroundings.1.spawn(reporter.run());
        }
        Ok((roles, surroundings, handle))
    }

    fn health(&self, queue: &Arc<dyn Queue>) -> Health {
        let health = Health::default();
        let (store, queue) = (self.store.clone(), queue.clone());
        health.add("store", move || {
            let store = store.clone();
            Box::pin(async move { store.ping().await.map_err(|e| e.to_string()) })
        });
        health.add("queue", move || {
            let queue = queue.clone();
            Box::pin(async move { queue.ping().await.map_err(|e| e.to_string()) })
        });
        health
    }

    fn dispatcher_parts(
        &self,
        queue: Arc<dyn Queue>,
        attempter: Attempter,
        families: Families,
        members: Members,
    ) -> dispatcher::Parts {
        let settings = dispatcher::DispatchSettings {
            slots: self.slots,
            retention: self.config.retention,
            disable_after: self.config.disable_after,
        };
        let store = self.store.clone();
        dispatcher::Parts { store, queue, attempter, settings, families, members }
    }

    fn ingest_parts(
        &self,
        queue: Arc<dyn Queue>,
        egress: EgressPolicy,
        families: Families,
        health: Health,
    ) -> ingest::Parts {
        let settings = ingest::IngestSettings {
            operator_key: ingest::OperatorKey::new(self.key.reveal()),
            base_domain: self.config.base_domain.clone(),
            retention: self.config.retention,
        };
        let sharing = ingest::Sharing::alone();
        ingest::Parts { store: self.store.clone(), queue, egress, settings, families, health, sharing }
    }
}
