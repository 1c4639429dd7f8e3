//! One process under measurement: started, found by what it prints, ended by its id.

use std::collections::HashMap;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::usage::{Usage, usage_of};
use crate::bench::BenchError;

/// How long a process may take to say where it listens.
const START: Duration = Duration::from_secs(30);
/// How long one that was told to stop may take before it is killed.
const STOP: Duration = Duration::from_secs(10);

/// A process of ours. It is told to stop when it is dropped, and killed if it does not.
pub struct Process {
    /// What it is called in the report.
    pub name: String,
    child: Child,
    places: HashMap<String, String>,
}

impl Process {
    /// Starts this program with these words and nothing of the caller's environment, and waits until it has printed where
    /// each of `labels` is.
    pub async fn start(
        name: impl Into<String>,
        words: &[&str],
        environment: &[(&str, &str)],
        labels: &[&str],
    ) -> Result<Self, BenchError> {
        let name = name.into();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(words).env_clear().envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let failed = |what: &str| BenchError::Subject(format!("{name} {what}"));
        let output = child.stdout.take().ok_or_else(|| failed("has no output to read"))?;
        let mut lines = BufReader::new(output).lines();
        let mut places = HashMap::new();
        let found = async {
            while labels.iter().any(|label| !places.contains_key(*label)) {
                let line = lines.next_line().await?.ok_or_else(|| failed("ended before it listened"))?;
                let mut words = line.split_whitespace();
                if let (Some(label), Some(place)) = (words.next(), words.next()) {
                    places.insert(label.to_owned(), place.to_owned());
                }
            }
            Ok::<_, BenchError>(())
        };
        let late = |_| failed("did not say where it listens");
        tokio::time::timeout(START, found).await.map_err(late)??;
        // What it prints later is read, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { name, child, places })
    }

    /// What it printed behind a label that it was started for.
    pub fn place(&self, label: &str) -> &str {
        &self.places[label]
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        self.child.id().and_then(usage_of).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if id.is_none_or(|id| kill_process(id, Signal::TERM).is_err()) {
            return;
        }
        let told = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            if told.elapsed() > STOP {
                eprintln!("{} does not stop and is killed", self.name);
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
