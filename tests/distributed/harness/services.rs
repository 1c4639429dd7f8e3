//! The servers that this binary's tests share and stop, which nobody else uses.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Who is using them: any number of tests that leave them alone, or one that does not.
static USERS: RwLock<()> = RwLock::const_new(());
static SERVICES: OnceCell<Services> = OnceCell::const_new();

/// A server that can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Postgres,
    RabbitMq,
}

/// Where they are.
#[derive(Debug)]
pub struct Services {
    directory: PathBuf,
    settings: HashMap<String, String>,
}

/// The servers are up, and stay so or are the holder's to stop, as long as this is held.
pub struct Use {
    pub services: &'static Services,
    _hold: Hold,
}

// Held for what its end means.
#[allow(dead_code)]
enum Hold {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Use {
    /// Beside others.
    pub async fn shared() -> Self {
        Self { _hold: Hold::Shared(USERS.read().await), services: Services::started().await }
    }

    /// Alone, to stop them.
    pub async fn alone() -> Self {
        Self { _hold: Hold::Alone(USERS.write().await), services: Services::started().await }
    }
}

impl Services {
    async fn started() -> &'static Self {
        let start = || tokio::task::spawn_blocking(Self::start);
        SERVICES.get_or_init(|| async { start().await.expect("the services start") }).await
    }

    fn start() -> Self {
        let directory = std::env::temp_dir().join(format!("fairhook-faults-{}", std::process::id()));
        // They end with this process, however it ends.
        let us = std::process::id().to_string();
        script(&["up", "--for", &us, &text(&directory)]);
        let printed = script(&["env", &text(&directory)]);
        let setting = |line: &str| {
            let (name, value) = line.trim_start_matches("export ").split_once('=')?;
            Some((name.to_owned(), value.replace('\\', "")))
        };
        Self { settings: printed.lines().filter_map(setting).collect(), directory }
    }

    /// One of the settings that `services.sh env` prints.
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).unwrap_or_else(|| panic!("services.sh prints no {name}"))
    }

    /// `stop`, `start`, `kill` or `wipe`. Returns once it has been done.
    pub async fn order(&self, verb: &'static str, service: Service) {
        let directory = text(&self.directory);
        let name = match service {
            Service::Postgres => "postgres",
            Service::RabbitMq => "rabbitmq",
        };
        let done = tokio::task::spawn_blocking(move || script(&[verb, name, &directory])).await;
        done.expect("the script runs");
    }
}

fn text(directory: &Path) -> String {
    directory.to_str().expect("a path of our own").to_owned()
}

/// Runs `services.sh`; what it prints. Servers that were given to the tests are nobody's to stop.
fn script(words: &[&str]) -> String {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services.sh"));
    for given in ["TEST_POSTGRES_URL", "TEST_AMQP_URL", "TEST_AMQP_ADMIN", "TEST_REDIS_URL"] {
        command.env_remove(given);
    }
    command.args(words).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().expect("bash is there");
    assert!(output.status.success(), "services.sh {words:?} failed: {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}
