//! The process under measurement: started, found, and ended by its id.

use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::BenchError;
use super::args::Settings;

/// How long a process may take to say where it listens.
const START: Duration = Duration::from_secs(30);

/// What is measured. One that was started here ends when this is dropped.
pub struct Subject {
    /// Where its API is.
    pub base: String,
    /// Its operator key.
    pub key: String,
    child: Option<Child>,
    _directory: Option<TempDir>,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Processor time, in user and system.
    pub cpu: Duration,
    /// Resident memory.
    pub rss_bytes: u64,
}

impl Subject {
    /// The engine that `settings` name, or a fresh one in a temporary directory.
    pub async fn engine(settings: &Settings) -> Result<Self, BenchError> {
        if let (Some(url), Some(file)) = (&settings.url, &settings.key_file) {
            let key = std::fs::read_to_string(file)?.trim().to_owned();
            return Ok(Self { base: url.clone(), key, child: None, _directory: None });
        }
        let directory = tempfile::Builder::new().prefix("fairhook-bench-").tempdir()?;
        // One that the engine makes itself, for its owner only.
        let data_dir = directory.path().join("data");
        let mut command = this_program()?;
        command
            .arg("serve")
            .args([
                "--listen",
                "127.0.0.1:0",
                "--metrics-listen",
                "127.0.0.1:0",
                "--receiver-listen",
                "127.0.0.1:0",
            ])
            .args(["--allowed-networks", "127.0.0.0/8", "--log", "warn"])
            .arg("--data-dir")
            .arg(&data_dir);
        let (base, child) = start(command, "API").await?;
        let base = base.trim_end_matches("/v1").to_owned();
        let key = std::fs::read_to_string(data_dir.join("operator.key"))?.trim().to_owned();
        Ok(Self { base, key, child: Some(child), _directory: Some(directory) })
    }

    /// A bare relay to the receivers of which the first is at `target`.
    pub async fn relay(target: &str) -> Result<Self, BenchError> {
        let mut command = this_program()?;
        command.arg("bench-relay").arg(target);
        let (base, child) = start(command, "relay").await?;
        Ok(Self { base, key: String::new(), child: Some(child), _directory: None })
    }

    /// What it has used so far; nothing for one that was not started here.
    pub fn usage(&self) -> Usage {
        self.child.as_ref().and_then(Child::id).and_then(usage_of).unwrap_or_default()
    }
}

fn this_program() -> Result<Command, BenchError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    // Settings of the caller's own installation must not reach what is measured.
    command.env_clear();
    Ok(command)
}

/// Starts a process and waits for the line `LABEL URL` of its output.
async fn start(mut command: Command, label: &str) -> Result<(String, Child), BenchError> {
    let mut child = command.spawn()?;
    let output = child.stdout.take().ok_or_else(|| BenchError::Subject("no output to read".into()))?;
    let mut lines = BufReader::new(output).lines();
    let found = async {
        while let Some(line) = lines.next_line().await? {
            let mut words = line.split_whitespace();
            if words.next() == Some(label)
                && let Some(url) = words.next()
            {
                return Ok(url.to_owned());
            }
        }
        Err(BenchError::Subject(format!("the {label} process ended before it listened")))
    };
    let url = tokio::time::timeout(START, found)
        .await
        .map_err(|_| BenchError::Subject(format!("the {label} process did not say where it listens")))??;
    // What it prints later is read, so that it never waits for us.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((url, child))
}

/// Reads `/proc`; `None` where there is none.
fn usage_of(pid: u32) -> Option<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let rss_kib: u64 = rss.trim().trim_end_matches(" kB").parse().ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The fields behind the command's name, which is in parentheses: utime and stime are the 12th and 13th of them.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Usage { cpu: Duration::from_secs_f64(ticks as f64 / per_second as f64), rss_bytes: rss_kib * 1024 })
}
