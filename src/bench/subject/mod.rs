//! What is measured: an engine on either pair of backends, a bare relay, or a running engine of somebody else's.

mod cluster;
mod process;
mod scratch;
mod usage;
mod wanted;

use std::path::Path;

use tempfile::TempDir;

use self::cluster::Cluster;
pub use self::cluster::Servers;
use self::process::Process;
pub use self::scratch::Scratch;
pub use self::usage::{Usage, Watched};
pub use self::wanted::{Shape, Wanted};
use super::BenchError;

/// What is measured. What was started and made for it ends and goes when it is dropped.
pub struct Subject {
    /// Where its APIs are: one for each process that has one.
    pub bases: Vec<String>,
    /// The operator key of all of them.
    pub key: String,
    // In the order in which they go: processes first, then what they stand on.
    processes: Vec<Process>,
    cluster: Option<Cluster>,
    _directory: Option<TempDir>,
    _scratch: Option<Scratch>,
}

impl Subject {
    /// The engine that is wanted, ready; each of its processes is given `settings` too, as flags.
    pub async fn engine(wanted: &Wanted, settings: &[&str]) -> Result<Self, BenchError> {
        match wanted {
            Wanted::Running { url, key_file } => Ok(Self {
                bases: vec![url.clone()],
                key: read_key(key_file)?,
                processes: Vec::new(),
                cluster: None,
                _directory: None,
                _scratch: None,
            }),
            Wanted::Embedded => Self::embedded(settings).await,
            Wanted::Distributed { servers, shape } => Self::distributed(servers, *shape, settings).await,
        }
    }

    async fn embedded(settings: &[&str]) -> Result<Self, BenchError> {
        let directory = tempfile::Builder::new().prefix("fairhook-bench-").tempdir()?;
        // One that the engine makes itself, for its owner only.
        let data_dir = directory.path().join("data");
        let place = data_dir.to_str().ok_or_else(|| BenchError::Subject("a path that is no text".into()))?;
        let ports =
            ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--receiver-listen", "off"];
        let words = [&["serve", "--data-dir", place], &ports[..], COMMON, settings].concat();
        let process = Process::start("serve", &words, &[], &["API"]).await?;
        Ok(Self {
            bases: vec![base(process.place("API"))],
            key: read_key(&data_dir.join("operator.key"))?,
            processes: vec![process],
            cluster: None,
            _directory: Some(directory),
            _scratch: None,
        })
    }

    async fn distributed(servers: &Servers, shape: Shape, settings: &[&str]) -> Result<Self, BenchError> {
        let scratch = Scratch::make(servers).await?;
        let key = format!("fhk_bench_{}", uuid::Uuid::new_v4().simple());
        let settings = [COMMON, settings].concat();
        let cluster = Cluster::new(&scratch.servers, shape, &key, &settings);
        let ingests = cluster.start_ingests().await?;
        let bases = ingests.iter().map(|ingest| base(ingest.place("API"))).collect();
        let mut subject = Self {
            bases,
            key,
            processes: ingests,
            cluster: Some(cluster),
            _directory: None,
            _scratch: Some(scratch),
        };
        subject.start_dispatchers().await?;
        Ok(subject)
    }

    /// Ends the processes that only deliver; `false` if there are none of ours.
    pub fn end_dispatchers(&mut self) -> bool {
        let before = self.processes.len();
        self.processes.retain(|process| !cluster::is_dispatcher(process));
        self.processes.len() < before
    }

    /// Starts as many of them as are wanted.
    pub async fn start_dispatchers(&mut self) -> Result<(), BenchError> {
        if let Some(cluster) = &self.cluster {
            self.processes.extend(cluster.start_dispatchers().await?);
        }
        Ok(())
    }

    /// A bare relay to the receivers of which the first is at `target`.
    pub async fn relay(target: &str) -> Result<Self, BenchError> {
        let process = Process::start("relay", &["bench-relay", target], &[], &["relay"]).await?;
        Ok(Self {
            bases: vec![process.place("relay").to_owned()],
            key: String::new(),
            processes: vec![process],
            cluster: None,
            _directory: None,
            _scratch: None,
        })
    }

    /// What each of its processes has used so far; none for one that was not started here.
    pub fn usage(&self) -> Vec<(String, Usage)> {
        self.processes.iter().map(|process| (process.name.clone(), process.usage())).collect()
    }
}

/// What every process is told: the receivers are on loopback, and nobody reads what goes well.
const COMMON: &[&str] = &["--allowed-networks", "127.0.0.0/8", "--log", "warn"];

/// What a process prints is where its API's paths begin.
fn base(printed: &str) -> String {
    printed.trim_end_matches("/v1").to_owned()
}

fn read_key(file: &Path) -> Result<String, BenchError> {
    Ok(std::fs::read_to_string(file)?.trim().to_owned())
}
