//! The distributed engine's processes: started one after another, so that each finds those before it.

use std::fmt;
use std::time::{Duration, Instant};

use fairhook_common::config::ServerUrl;
use fairhook_common::queue::rabbit::QueueType;
use url::Url;

use super::Shape;
use super::process::Process;
use crate::bench::BenchError;
use crate::workload::client;

/// How long processes may take until they are ready.
const READY: Duration = Duration::from_secs(60);
/// The role, and how its processes' names begin.
const DISPATCHER: &str = "dispatcher";

/// Where the servers are. The URLs hold passwords: there is no `Debug` that shows them.
#[derive(Clone)]
pub struct Servers {
    /// Postgres, with a database.
    pub store: Url,
    /// RabbitMQ, with a virtual host.
    pub queue: String,
    redis: Option<String>,
    queue_type: QueueType,
    places: String,
}

impl Servers {
    /// Those of an engine's configuration.
    pub fn new(
        store: ServerUrl,
        queue: ServerUrl,
        redis: Option<ServerUrl>,
        queue_type: QueueType,
    ) -> Result<Self, BenchError> {
        let mut places = format!("Postgres {store}, RabbitMQ {queue}");
        if let Some(redis) = &redis {
            places.push_str(&format!(", Redis {redis}"));
        }
        let no_url = |_| BenchError::Settings("FAIRHOOK_STORE_URL is no URL".to_owned());
        let redis = redis.map(|redis| redis.reveal().to_owned());
        let (store, queue) = (Url::parse(store.reveal()).map_err(no_url)?, queue.reveal().to_owned());
        Ok(Self { store, queue, redis, queue_type, places })
    }

    /// The same, but for the database.
    pub fn with_database(&self, name: &str) -> Self {
        let mut servers = self.clone();
        servers.store.set_path(&format!("/{name}"));
        servers
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Servers({self})")
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.places)
    }
}

/// Processes over the same servers.
pub struct Cluster {
    servers: Servers,
    shape: Shape,
    key: String,
    settings: Vec<String>,
}

impl Cluster {
    /// None is started. Each will be given `settings` as flags.
    pub fn new(servers: &Servers, shape: Shape, key: &str, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|&word| word.to_owned()).collect();
        Self { servers: servers.clone(), shape, key: key.to_owned(), settings }
    }

    /// Starts the processes with the API, and waits until each is ready.
    pub async fn start_ingests(&self) -> Result<Vec<Process>, BenchError> {
        self.start("ingest", self.shape.ingests, &["API", "metrics"]).await
    }

    /// Starts those that deliver.
    pub async fn start_dispatchers(&self) -> Result<Vec<Process>, BenchError> {
        self.start(DISPATCHER, self.shape.dispatchers, &["metrics"]).await
    }

    async fn start(&self, role: &str, count: usize, labels: &[&str]) -> Result<Vec<Process>, BenchError> {
        let mut processes = Vec::new();
        for n in 1..=count {
            let node = format!("bench-{role}-{n}");
            let ports = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--node-name", &node];
            let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
            let words = [&[role], &ports[..], &settings].concat();
            let process = Process::start(format!("{role} {n}"), &words, &self.environment(), labels).await?;
            ready(&process).await?;
            processes.push(process);
        }
        Ok(processes)
    }

    /// URLs and keys are secrets, which no command line shows.
    fn environment(&self) -> Vec<(&str, &str)> {
        let servers = &self.servers;
        let queue_type = match servers.queue_type {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
        };
        let mut environment = vec![
            ("FAIRHOOK_STORE_URL", servers.store.as_str()),
            ("FAIRHOOK_QUEUE_URL", &servers.queue),
            ("FAIRHOOK_QUEUE_TYPE", queue_type),
            ("FAIRHOOK_OPERATOR_KEY", &self.key),
        ];
        environment.extend(servers.redis.as_deref().map(|redis| ("FAIRHOOK_REDIS_URL", redis)));
        environment
    }
}

/// Whether a process was started to deliver.
pub fn is_dispatcher(process: &Process) -> bool {
    process.name.starts_with(DISPATCHER)
}

async fn ready(process: &Process) -> Result<(), BenchError> {
    let health = process.place("metrics").replace("/metrics", "/readyz");
    let client = client(READY).map_err(|error| BenchError::Subject(error.to_string()))?;
    let began = Instant::now();
    loop {
        let last = match client.get(&health).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        if began.elapsed() > READY {
            return Err(BenchError::Subject(format!("{} is not ready: {last}", process.name)));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
