//! Configuration: flags over environment over a TOML file, each setting with the same name in all three, read once and
//! checked whole before anything starts. This is the only place that reads the environment.
//!
//! [`settings::SETTINGS`] declares every setting; flags, help, file keys and `check-config` all follow from it.

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

pub use secret::OperatorKey;
pub use settings::{SETTINGS, Secrecy, Setting};
pub use sources::{Environment, Source, args};
pub use urls::{QueueUrl, StoreUrl};

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
    /// The operator's key, unless it is made and kept in the data directory.
    pub operator_key: Option<OperatorKey>,
    /// Networks that endpoints may be on although they are not public.
    pub allowed_networks: Vec<IpNet>,
    /// Deliveries in flight at most.
    pub slots: usize,
    /// How long events are kept.
    pub retention: Duration,
    /// The domain whose subdomains name tenants.
    pub base_domain: Option<String>,
    /// An endpoint that has done nothing but fail for so long is disabled.
    pub disable_after: Duration,
    /// How long an orderly stop may take.
    pub drain_deadline: Duration,
    /// What is logged.
    pub log: String,
    /// How it is written.
    pub log_format: LogFormat,
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
        let found = sources::find(flags, environment)?;
        let mut config = Self::blank();
        for value in &found.resolved {
            value.read_into(&mut config)?;
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

    /// The directory of the embedded store.
    pub fn store_directory(&self) -> &Path {
        let StoreUrl::Sqlite(directory) = &self.store_url;
        directory.as_deref().unwrap_or(&self.data_dir)
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
            operator_key: None,
            allowed_networks: Vec::new(),
            slots: 0,
            retention: Duration::ZERO,
            base_domain: None,
            disable_after: Duration::ZERO,
            drain_deadline: Duration::ZERO,
            log: String::new(),
            log_format: LogFormat::Text,
        }
    }

    /// What no single value can be blamed for.
    fn check(&self, resolved: &[sources::Resolved]) -> Result<(), ConfigError> {
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
