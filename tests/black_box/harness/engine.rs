//! The real binary in a process of its own.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::Signal;
use tempfile::TempDir;

use super::Api;
use super::process::{Process, without_settings};

/// How an engine is started.
#[derive(Clone, Default)]
pub struct Options {
    /// More arguments for `fairhook serve`.
    pub args: Vec<String>,
    /// Where its data is; a fresh directory if `None`.
    pub data_dir: Option<PathBuf>,
    /// A command that the engine is run under, such as one that limits it.
    pub under: Vec<String>,
    /// Run in this directory.
    pub current_dir: Option<PathBuf>,
    /// The built-in receiver is on, and no other private address is allowed.
    pub built_in_receiver: bool,
}

impl Options {
    /// With more arguments.
    pub fn args(args: &[&str]) -> Self {
        Self { args: args.iter().map(|&arg| arg.to_owned()).collect(), ..Self::default() }
    }
}

/// An engine that runs, and ends with its test.
pub struct Engine {
    process: Process,
    /// Its data.
    pub data_dir: PathBuf,
    /// An operator.
    pub api: Api,
    /// Where metrics are.
    pub metrics: SocketAddr,
    options: Options,
    own_directory: Option<TempDir>,
}

impl Engine {
    /// Starts one that may call receivers on this machine.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Starts one as told.
    pub async fn start_with(options: Options) -> Self {
        let own_directory = options.data_dir.is_none().then(|| tempfile::tempdir().expect("a directory"));
        let data_dir = match (&options.data_dir, &own_directory) {
            (Some(given), _) => given.clone(),
            (None, Some(own)) => own.path().join("data"),
            (None, None) => unreachable!("one of them is there"),
        };
        Self::start_in(data_dir, options, own_directory).await
    }

    async fn start_in(data_dir: PathBuf, options: Options, own_directory: Option<TempDir>) -> Self {
        let process = Process::start(serve(&data_dir, &options));
        let base = process.word_after("API ").await;
        let metrics = process.word_after("metrics ").await;
        let metrics = metrics.trim_start_matches("http://").trim_end_matches("/metrics");
        let metrics = metrics.parse().expect("an address");
        let at = options.current_dir.as_deref().unwrap_or(Path::new("."));
        let key =
            std::fs::read_to_string(at.join(&data_dir).join("operator.key")).expect("the operator's key");
        let api = Api::new(&base, key.trim());
        Self { process, data_dir, api, metrics, options, own_directory }
    }

    /// What it printed so far, to both streams.
    pub fn printed(&self) -> Vec<String> {
        self.process.printed()
    }

    /// What it printed so far to its standard output.
    pub fn stdout(&self) -> Vec<String> {
        self.process.stdout()
    }

    /// Waits for a printed line with `text` in it.
    pub async fn prints(&self, text: &str) -> String {
        self.process.prints(text).await
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// `kill -9`, now.
    pub async fn kill(mut self) -> Killed {
        self.signal(Signal::KILL);
        let status = self.exit().await;
        assert_eq!(status.signal(), Some(9));
        self.gone()
    }

    /// SIGTERM, and the exit code.
    pub async fn terminate(mut self) -> (i32, Killed) {
        self.signal(Signal::TERM);
        let status = self.exit().await;
        (status.code().expect("it ended by itself"), self.gone())
    }

    /// What it left behind, once it has ended by itself.
    pub fn gone(mut self) -> Killed {
        let data_dir = self.data_dir.clone();
        Killed { data_dir, options: self.options.clone(), own: self.own_directory.take() }
    }

    /// Waits for its end.
    pub async fn exit(&mut self) -> ExitStatus {
        self.process.exit().await
    }
}

/// What an engine left behind.
pub struct Killed {
    pub data_dir: PathBuf,
    options: Options,
    own: Option<TempDir>,
}

impl Killed {
    /// Starts another one on it, as the first was.
    pub async fn start_again(self) -> Engine {
        Engine::start_in(self.data_dir, self.options, self.own).await
    }
}

/// The binary, to be run with whatever arguments.
pub fn fairhook() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairhook"));
    without_settings(&mut command);
    command
}

fn serve(data_dir: &Path, options: &Options) -> Command {
    let program = env!("CARGO_BIN_EXE_fairhook").to_owned();
    let mut words = options.under.iter().chain([&program]);
    let mut command = Command::new(words.next().expect("the program at least"));
    command.args(words).arg("serve").args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
    let private: [&str; 4] = if options.built_in_receiver {
        ["--receiver-listen", "127.0.0.1:0", "--log", "info"]
    } else {
        ["--receiver-listen", "off", "--allowed-networks", "127.0.0.0/8"]
    };
    command.args(private).arg("--data-dir").arg(data_dir).args(&options.args);
    if let Some(directory) = &options.current_dir {
        command.current_dir(directory);
    }
    without_settings(&mut command);
    command
}
