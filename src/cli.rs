//! The command line: what there is to run, and the configuration it is run with, checked whole before anything starts.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::builder::PossibleValue;
use fairhook_common::config::{Config, ConfigError, EXIT_USAGE, Effective, Environment, Purpose, args};

use crate::operate::{self, Installation, Order};
use crate::{bench, demo, logging};

/// What is to be run.
pub enum Command {
    /// Some roles, or all.
    Run(Purpose, Box<Effective>),
    /// The store's schema only.
    Migrate(Box<Effective>),
    /// Say what would be run.
    CheckConfig(Box<Effective>),
    /// Show the isolation.
    Demo,
    /// Ask a running installation for something, or tell it to do it.
    Operate(Order, Installation),
    /// Measure an engine.
    Bench(ArgMatches),
    /// The bare relay that an engine is measured against.
    BenchRelay(ArgMatches),
}

/// Why nothing is run.
pub enum Refusal {
    /// `--help`, `--version`, or a command line that is none.
    CommandLine(clap::Error),
    /// A bad setting.
    Config(ConfigError),
}

impl Refusal {
    /// Tells it, and with which code the process ends: 64, unless help was asked for.
    pub fn tell(self) -> ExitCode {
        match self {
            Self::CommandLine(error) => {
                let _ = error.print();
                if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
            }
            Self::Config(error) => {
                eprintln!("fairhook: {error}");
                ExitCode::from(EXIT_USAGE)
            }
        }
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Reads the command line and whatever configuration it needs.
pub fn parse(given: impl IntoIterator<Item = OsString>) -> Result<Command, Refusal> {
    let matches = command().try_get_matches_from(given).map_err(Refusal::CommandLine)?;
    let run = |purpose, flags: &[&ArgMatches]| Ok(Command::Run(purpose, configured(purpose, flags)?));
    match matches.subcommand() {
        None => run(Purpose::Serve, &[&matches]),
        Some(("serve", behind)) => run(Purpose::Serve, &[behind, &matches]),
        Some(("ingest", behind)) => run(Purpose::Ingest, &[behind, &matches]),
        Some(("dispatcher", behind)) => run(Purpose::Dispatcher, &[behind, &matches]),
        Some(("migrate", behind)) => Ok(Command::Migrate(configured(Purpose::Migrate, &[behind, &matches])?)),
        Some(("check-config", behind)) => {
            Ok(Command::CheckConfig(configured(checked_purpose(behind), &[behind, &matches])?))
        }
        Some((name @ ("top" | "tenant"), behind)) => operate(name, behind, &matches),
        Some((name, _)) if matches.args_present() => Err(Refusal::CommandLine(without_settings(name))),
        Some(("demo", _)) => Ok(Command::Demo),
        Some(("bench", matches)) => Ok(Command::Bench(matches.clone())),
        Some(("bench-relay", matches)) => Ok(Command::BenchRelay(matches.clone())),
        Some((name, _)) => unreachable!("`{name}` is declared but has no arm here"),
    }
}

/// Reads what is asked of a running installation, and finds that.
fn operate(name: &str, behind: &ArgMatches, before: &ArgMatches) -> Result<Command, Refusal> {
    let (order, flags) = operate::order(name, behind);
    let told = Config::load(&[flags, before], &Environment::of_process())?;
    let found = Installation::find(flags, &told.config);
    let installation = found.map_err(|problem| told.refuse("operator_key", problem))?;
    Ok(Command::Operate(order, installation))
}

/// Reads the command line of a binary that has one role only.
pub fn parse_role(
    purpose: Purpose,
    given: impl IntoIterator<Item = OsString>,
) -> Result<Box<Effective>, Refusal> {
    let command = clap::Command::new(format!("fairhook-{}", purpose.name()))
        .version(env!("CARGO_PKG_VERSION"))
        .about(about(purpose))
        .after_help(AFTER_HELP)
        .args(args());
    let matches = command.try_get_matches_from(given).map_err(Refusal::CommandLine)?;
    Ok(configured(purpose, &[&matches])?)
}

/// Prints the effective configuration with secrets hidden.
pub fn show_config(told: &Effective) -> ExitCode {
    for warning in &told.warnings {
        eprintln!("fairhook: {warning}");
    }
    let written = write!(std::io::stdout(), "{told}");
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

const AFTER_HELP: &str = "Every setting has a flag, an environment variable and a key in a TOML file, but for the operator's \
    key, which has no flag: FAIRHOOK_OPERATOR_KEY, or operator_key in the file.";

fn command() -> clap::Command {
    let configured = |purpose: Purpose| {
        let command = clap::Command::new(purpose.name()).visible_aliases(alias(purpose));
        command.about(about(purpose)).args(args())
    };
    let checked = |purpose: Purpose| PossibleValue::new(purpose.name()).aliases(alias(purpose));
    let check = clap::Command::new("check-config")
        .about("Say what is wrong, or print the effective configuration")
        .arg(
            clap::Arg::new(CHECKED)
                .value_name("COMMAND")
                .help("What it is for [default: serve]")
                .value_parser(Purpose::ALL.map(checked)),
        )
        .args(args());
    clap::Command::new("fairhook")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Delivers webhooks for many tenants; none of them can hurt another")
        .after_help(format!("Without a command: serve. {AFTER_HELP}"))
        .args(args())
        .subcommands(Purpose::ALL.map(configured))
        .subcommand(demo::command())
        .subcommands(operate::commands())
        .subcommand(bench::command())
        .subcommand(bench::relay_command())
        .subcommand(check)
}

fn about(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Serve => "Every role in one process (the default)",
        Purpose::Ingest => "The API and admission only, on Postgres and RabbitMQ",
        Purpose::Dispatcher => "Deliveries only, on Postgres and RabbitMQ",
        Purpose::Migrate => "Bring the store's schema up; whatever runs on it does so by itself",
    }
}

/// Another name of the command: what it does, where its own name is who does it.
fn alias(purpose: Purpose) -> Option<&'static str> {
    (purpose == Purpose::Dispatcher).then_some("dispatch")
}

/// The argument of `check-config`.
const CHECKED: &str = "command";

fn checked_purpose(matches: &ArgMatches) -> Purpose {
    let Some(named) = matches.get_one::<String>(CHECKED).map(String::as_str) else { return Purpose::Serve };
    let is_named = |purpose: &Purpose| purpose.name() == named || alias(*purpose) == Some(named);
    Purpose::ALL.into_iter().find(is_named).unwrap_or(Purpose::Serve)
}

/// A command that reads no settings was given some.
fn without_settings(name: &str) -> clap::Error {
    let text = format!(
        "`{name}` reads no settings: leave out what stands before it, or see `fairhook {name} --help`"
    );
    command().error(clap::error::ErrorKind::ArgumentConflict, text)
}

/// Reads the settings; a flag behind the command counts before the same flag before it.
fn configured(purpose: Purpose, flags: &[&ArgMatches]) -> Result<Box<Effective>, ConfigError> {
    let told = Config::load(flags, &Environment::of_process())?;
    told.check_for(purpose)?;
    logging::check(&told.config).map_err(|problem| told.refuse("log", problem))?;
    Ok(Box::new(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    fn parsed(words: &[&str]) -> Result<Command, Refusal> {
        parse(std::iter::once("fairhook").chain(words.iter().copied()).map(OsString::from))
    }

    #[test]
    fn a_flag_may_stand_on_either_side_of_the_command() {
        for words in [
            &["--data-dir", "x", "migrate"][..],
            &["migrate", "--data-dir", "x"],
            &["--data-dir", "y", "migrate", "--data-dir", "x"],
        ] {
            let Ok(Command::Migrate(told)) = parsed(words) else { panic!("{words:?} is refused") };
            assert_eq!(told.config.data_dir.to_str(), Some("x"), "{words:?}");
        }
        let both = parsed(&["--listen", "127.0.0.1:4", "check-config", "--slots", "9"]);
        let Ok(Command::CheckConfig(told)) = both else { panic!("refused") };
        assert_eq!((told.config.listen.port(), told.config.slots), (4, 9));
    }

    #[test]
    fn a_role_is_a_command_and_a_binary_with_the_same_settings() {
        let Err(Refusal::Config(as_command)) = parsed(&["ingest", "--slots", "9"]) else {
            panic!("embedded")
        };
        let given = ["fairhook-ingest", "--slots", "9"].map(OsString::from);
        let Err(Refusal::Config(as_binary)) = parse_role(Purpose::Ingest, given) else { panic!("embedded") };
        assert_eq!(as_command, as_binary);
        let Err(Refusal::Config(checked)) = parsed(&["check-config", "ingest"]) else { panic!("embedded") };
        assert_eq!(checked, as_binary);
        for words in [["check-config", "dispatch"], ["check-config", "dispatcher"]] {
            let Err(Refusal::Config(checked)) = parsed(&words) else { panic!("embedded") };
            assert!(checked.to_string().contains("`dispatcher` shares its store"), "{checked}");
        }
        let given = ["fairhook-dispatcher", "--help"].map(OsString::from);
        let Err(Refusal::CommandLine(help)) = parse_role(Purpose::Dispatcher, given) else {
            panic!("no help")
        };
        assert!(help.to_string().contains("FAIRHOOK_SLOTS") && !help.use_stderr());
    }

    #[test]
    fn an_installation_is_found_by_its_url_or_its_settings_and_needs_a_key() {
        for words in [&["top"][..], &["tenant", "pause", "acme"]] {
            let without = [words, &["--data-dir", "/nowhere"]].concat();
            let Err(Refusal::Config(error)) = parsed(&without) else { panic!("{words:?} has no key") };
            assert!(error.to_string().contains("no operator's key"), "{error}");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let key = directory.path().join("key");
        std::fs::write(&key, "sixteen-characters").expect("written");
        let key = key.to_str().expect("UTF-8");
        for words in [
            &["top", "--once", "--url", "https://hooks.example.com/", "--operator-key-file", key][..],
            &["tenant", "resume", "acme", "--operator-key-file", key],
            &["--operator-key-file", key, "tenant", "pause", "acme", "--reason", "floods us"],
        ] {
            assert!(matches!(parsed(words), Ok(Command::Operate(..))), "{words:?}");
        }
        assert!(matches!(parsed(&["tenant"]), Err(Refusal::CommandLine(_))), "pause or resume");
    }

    #[test]
    fn a_command_without_settings_says_so() {
        for name in ["demo", "bench"] {
            let Err(Refusal::CommandLine(error)) = parsed(&["--slots", "9", name]) else { panic!("{name}") };
            assert!(error.to_string().contains(&format!("`{name}` reads no settings")), "{error}");
            assert!(error.use_stderr());
        }
    }
}
