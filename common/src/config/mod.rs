//! Configuration: flags over environment over a TOML file, each setting with the same name in all three, read once and
//! checked whole before anything starts. This is the only place that reads the environment.
//!
//! [`settings::SETTINGS`] declares every setting; flags, help, file keys and `check-config` all follow from it.

mod purpose;
mod read;
mod secret;
mod settings;
mod sources;
mod urls;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::policy::PolicyRates;
use crate::queue::rabbit::QueueType;

pub use purpose::Purpose;
pub use secret::OperatorKey;
pub use settings::{SETTINGS, Secrecy, Setting};
pub use sources::{Environment, Source, args};
pub use urls::{QueueUrl, ServerUrl, StoreUrl};

/// The exit code of a process that was told something it cannot do (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// What a process was told. Every field is described, and has its default, in [`SETTINGS`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where health and metrics are served.
    pub metrics_listen: SocketAddr,
    /// Where the built-in receiver listens, if it is wanted; always loopback.
    pub receiver_listen: Option<SocketAddr>,
    /// Where the embedded engine keeps everything.
    pub data_dir: PathBuf,
    /// Which store.
    pub store_url: StoreUrl,
    /// Which queue.
    pub queue_url: QueueUrl,
    /// What RabbitMQ keeps the tenants' queues in.
    pub queue_type: QueueType,
    /// Where quotas over all ingests are counted, if anywhere.
    pub redis_url: Option<ServerUrl>,
    /// This process's name among the others, unless it is made of its host and its id.
    pub node_name: Option<String>,
    /// How long a start waits for a store that is not there yet.
    pub start_deadline: Duration,
    /// The operator's key, unless it is made and kept in the data directory.
    pub operator_key: Option<OperatorKey>,
    /// Networks that endpoints may be on although they are not public.
    pub allowed_networks: Vec<IpNet>,
    /// What may be asked of the API, how often, where a tenant's quota or plan does not say.
    pub limits: PolicyRates,
    /// Proxies whose word is taken for the address of a client.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests of one tenant at once, at each ingest.
    pub concurrent_requests: usize,
    /// Whom to ask for the addresses of endpoints' names; nobody here: whom the system asks.
    pub nameservers: Vec<SocketAddr>,
    /// Deliveries in flight at most.
    pub slots: usize,
    /// How long events are kept.
    pub retention: Duration,
    /// The highest limit of an override.
    pub override_ceiling: u32,
    /// The domain whose subdomains name tenants.
    pub base_domain: Option<String>,
    /// An endpoint that has done nothing but fail for so long is disabled.
    pub disable_after: Duration,
    /// How long an orderly stop may take.
    pub drain_deadline: Duration,
    /// Where operational events go, unless the operator makes endpoints of its own.
    pub operator_webhook_url: Option<String>,
    /// What is logged.
    pub log: String,
    /// How it is written.
    pub log_format: LogFormat,
}

/// The two pairs of backends that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backends<'a> {
    /// SQLite in this directory, and queues in this process.
    Embedded(&'a Path),
    /// Postgres and RabbitMQ.
    Distributed {
        /// Postgres.
        store: &'a ServerUrl,
        /// RabbitMQ.
        queue: &'a ServerUrl,
    },
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// One sentence that names a setting, says where its value came from, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} ({source_text}): {problem}")]
pub struct ConfigError {
    setting: String,
    source_text: String,
    problem: String,
}

impl ConfigError {
    fn new(setting: &str, source: impl fmt::Display, problem: impl Into<String>) -> Self {
        Self { setting: setting.to_owned(), source_text: source.to_string(), problem: problem.into() }
    }
}

/// A configuration and where each of its values came from.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The configuration.
    pub config: Config,
    /// Suspicious things that are no errors, one sentence each.
    pub warnings: Vec<String>,
    resolved: Vec<sources::Resolved>,
}

impl Config {
    /// Reads the configuration from parsed [`args`], the environment and the file that they name. Of several parts of a
    /// command line that have a flag the first counts.
    pub fn load(flags: &[&clap::ArgMatches], environment: &Environment) -> Result<Effective, ConfigError> {
        let mut found = sources::find(flags, environment)?;
        let mut config = Self::blank();
        for value in &found.resolved {
            value.read_into(&mut config)?;
        }
        if config.is_distributed() && sources::default_to(&mut found.resolved, "receiver_listen", "off") {
            config.receiver_listen = None;
        }
        config.check(&found.resolved)?;
        Ok(Effective { config, warnings: found.warnings, resolved: found.resolved })
    }

    /// The embedded engine in `directory`, on ports that the system chooses, without the built-in receiver.
    pub fn embedded_in(directory: &Path) -> Self {
        let unset = SocketAddr::from(([127, 0, 0, 1], 0));
        let defaults = Self::default();
        Self {
            listen: unset,
            metrics_listen: unset,
            receiver_listen: None,
            data_dir: directory.to_owned(),
            ..defaults
        }
    }

    /// What stands behind the seams.
    pub fn backends(&self) -> Backends<'_> {
        match (&self.store_url, &self.queue_url) {
            (StoreUrl::Postgres(store), QueueUrl::RabbitMq(queue)) => Backends::Distributed { store, queue },
            (StoreUrl::Sqlite(directory), QueueUrl::Memory) => {
                Backends::Embedded(directory.as_deref().unwrap_or(&self.data_dir))
            }
            _ => unreachable!("any other pair is refused when the configuration is read"),
        }
    }

    /// Whether other processes may share the store and the queue.
    pub fn is_distributed(&self) -> bool {
        matches!(self.store_url, StoreUrl::Postgres(_))
    }

    /// What every setting of the table is read into; none of these values survives [`Config::load`].
    fn blank() -> Self {
        let unset = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: unset,
            metrics_listen: unset,
            receiver_listen: None,
            data_dir: PathBuf::new(),
            store_url: StoreUrl::Sqlite(None),
            queue_url: QueueUrl::Memory,
            queue_type: QueueType::Classic,
            redis_url: None,
            node_name: None,
            start_deadline: Duration::ZERO,
            operator_key: None,
            allowed_networks: Vec::new(),
            limits: PolicyRates::default(),
            trusted_proxies: Vec::new(),
            concurrent_requests: 0,
            nameservers: Vec::new(),
            slots: 0,
            retention: Duration::ZERO,
            override_ceiling: 0,
            base_domain: None,
            disable_after: Duration::ZERO,
            drain_deadline: Duration::ZERO,
            operator_webhook_url: None,
            log: String::new(),
            log_format: LogFormat::Text,
        }
    }

    /// What no single value can be blamed for.
    fn check(&self, resolved: &[sources::Resolved]) -> Result<(), ConfigError> {
        self.check_backends(resolved)?;
        self.check_listeners(resolved)
    }

    /// SQLite and queues in this process, or Postgres and RabbitMQ: a store that others share needs a queue that they
    /// share, and the other way round.
    fn check_backends(&self, resolved: &[sources::Resolved]) -> Result<(), ConfigError> {
        let refuse =
            |setting, problem| Err(ConfigError::new(setting, sources::source_of(resolved, setting), problem));
        match (&self.store_url, &self.queue_url, &self.redis_url) {
            (StoreUrl::Sqlite(_), QueueUrl::Memory, None)
            | (StoreUrl::Postgres(_), QueueUrl::RabbitMq(_), _) => Ok(()),
            (StoreUrl::Postgres(_), QueueUrl::Memory, _) => refuse(
                "queue_url",
                "a Postgres store goes with a RabbitMQ queue; set queue_url to amqp://…, or leave store_url out",
            ),
            (StoreUrl::Sqlite(_), QueueUrl::RabbitMq(_), _) => refuse(
                "store_url",
                "a RabbitMQ queue goes with a Postgres store; set store_url to postgres://…, or leave queue_url out",
            ),
            (StoreUrl::Sqlite(_), QueueUrl::Memory, Some(_)) => refuse(
                "redis_url",
                "quotas are shared by processes on Postgres and RabbitMQ; on SQLite there is one process, leave it out",
            ),
        }
    }

    fn check_listeners(&self, resolved: &[sources::Resolved]) -> Result<(), ConfigError> {
        let listeners = [
            ("listen", Some(self.listen)),
            ("receiver_listen", self.receiver_listen),
            ("metrics_listen", Some(self.metrics_listen)),
        ];
        for (index, (name, address)) in listeners.iter().enumerate() {
            let same = |(_, other): &&(&str, Option<SocketAddr>)| other == address;
            let Some(address) = address.filter(|address| address.port() != 0) else { continue };
            if let Some((other, _)) = listeners[..index].iter().find(same) {
                let source = sources::source_of(resolved, name);
                let problem = format!("{address} is the address of {other} too; give each its own port");
                return Err(ConfigError::new(name, source, problem));
            }
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self::blank();
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                (setting.read)(default, &mut config).expect("a test reads every default of the table");
            }
        }
        config
    }
}

impl Effective {
    /// The error of a value that was read well and turned out to be of no use.
    pub fn refuse(&self, setting: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::new(setting, sources::source_of(&self.resolved, setting), problem)
    }
}

/// The effective configuration as a TOML file that gives it again, with secrets hidden and the origin of each value.
impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.resolved.iter().try_for_each(|value| writeln!(f, "{value}"))
    }
}

#[cfg(test)]
mod tests;
