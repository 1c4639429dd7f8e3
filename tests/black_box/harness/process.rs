//! A process that a test has started, and what it says.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::time::timeout;

use super::LONG;

/// Stands before each line of the standard error.
const STDERR: &str = "stderr: ";

/// A process that ends with its test.
pub struct Process {
    child: Child,
    output: Output,
}

/// What a process says, line by line, until nobody who reads a stream of it holds the sender any more.
struct Output(watch::Receiver<Vec<String>>);

impl Process {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        // A test that is interrupted at the terminal must not leave its engine with the signal.
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let output = Output::of(&mut child);
        Self { child, output }
    }

    /// What it printed so far, to both streams, in the order in which it was read.
    pub fn printed(&self) -> Vec<String> {
        self.output.lines()
    }

    /// What it printed so far to its standard output. Between two streams there is no order to rely on.
    pub fn stdout(&self) -> Vec<String> {
        self.printed().into_iter().filter(|line| !line.starts_with(STDERR)).collect()
    }

    /// Waits for a printed line with `text` in it.
    pub async fn prints(&self, text: &str) -> String {
        self.output.line_with(text).await
    }

    /// Waits for a printed line with `text` in it, and takes the word behind that.
    pub async fn word_after(&self, text: &str) -> String {
        let line = self.prints(text).await;
        let (_, rest) = line.split_once(text).expect("the line has it");
        rest.split_whitespace().next().expect("a word").to_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it is our child and not reaped");
    }

    /// Waits for its end, and until all that it printed is read.
    pub async fn exit(&mut self) -> ExitStatus {
        let status = wait(&mut self.child).await;
        self.output.end().await;
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- what process {} said ---\n{}\n---", self.pid(), self.printed().join("\n"));
        }
    }
}

/// Settings of whoever runs the tests are not the engine's.
#[allow(clippy::disallowed_methods)]
pub fn without_settings(command: &mut Command) {
    let ours = std::env::vars_os().map(|(name, _)| name);
    ours.filter(|name| name.to_string_lossy().starts_with("FAIRHOOK_")).for_each(|name| {
        command.env_remove(name);
    });
}

/// Waits for a process's end without holding up the runtime.
pub async fn wait(child: &mut Child) -> ExitStatus {
    let ended = async {
        loop {
            if let Some(status) = child.try_wait().expect("our child") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, ended).await.expect("the process ends")
}

impl Output {
    fn of(child: &mut Child) -> Self {
        let (lines, output) = watch::channel(Vec::new());
        let lines = Arc::new(lines);
        follow("", child.stdout.take().expect("piped"), lines.clone());
        follow(STDERR, child.stderr.take().expect("piped"), lines);
        Self(output)
    }

    fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    async fn line_with(&self, text: &str) -> String {
        let find = |lines: &Vec<String>| lines.iter().find(|line| line.contains(text)).cloned();
        let mut lines = self.0.clone();
        let found = timeout(LONG, lines.wait_for(|lines| find(lines).is_some())).await;
        match found {
            Ok(Ok(lines)) => find(&lines).expect("was just found"),
            _ => panic!("never printed: {text}\n{}", self.lines().join("\n")),
        }
    }

    async fn end(&self) {
        let mut lines = self.0.clone();
        let ended = async { while lines.changed().await.is_ok() {} };
        timeout(LONG, ended).await.expect("its streams are closed");
    }
}

fn follow(
    mark: &'static str,
    stream: impl std::io::Read + Send + 'static,
    to: Arc<watch::Sender<Vec<String>>>,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            to.send_modify(|lines| lines.push(format!("{mark}{line}")));
        }
    });
}
