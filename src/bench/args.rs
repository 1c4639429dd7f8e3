//! The command line of `fairhook bench`.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use fairhook_common::config::Environment;

use super::subject::{Wanted, Watched};
use super::{BenchError, isolation, limits, shares};
use crate::workload::Pace;

/// What to measure, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which engine.
    pub wanted: Wanted,
    /// Servers whose use is reported too.
    pub watched: Vec<Watched>,
    /// Tenants, each with one endpoint.
    pub tenants: usize,
    /// Open loop at a rate, or closed loop over connections.
    pub pace: Pace,
    /// How long to measure.
    pub span: Duration,
    /// A payload's size.
    pub payload: usize,
    /// Each tenant's `max_concurrent_deliveries`.
    pub concurrency: u32,
    /// How long the receivers take to answer.
    pub answer_after: Duration,
    /// Measure a bare relay too.
    pub baseline: bool,
    /// Measure the servers' parts too.
    pub parts: bool,
    /// How often.
    pub rounds: usize,
    /// Print JSON.
    pub json: bool,
    /// Measure memory and speed with so many deliveries waiting.
    pub backlog: Option<u64>,
    /// Measure what so many tenants cost beside a few.
    pub scale: Option<usize>,
}

/// The command as it is parsed.
pub fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").default_value(default).help(help)
    };
    Command::new("bench")
        .about("Measures an engine: one that it starts itself, or a running one")
        .subcommand(isolation::command())
        .subcommand(limits::command())
        .subcommand(shares::command())
        .args_conflicts_with_subcommands(true)
        .args(Wanted::args())
        .arg(
            Arg::new("watch")
                .long("watch")
                .value_name("NAME=PID")
                .action(ArgAction::Append)
                .value_parser(Watched::parse)
                .help("Also report what a server and its children use, such as RabbitMQ's process; may be repeated"),
        )
        .arg(number("tenants", "10", "Tenants, each with one endpoint").value_parser(value_parser!(u32).range(1..=100_000)))
        .arg(number("connections", "64", "Closed loop: so many clients, each as fast as it is answered")
            .value_parser(value_parser!(u32).range(1..=10_000)))
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_name("EVENTS/S")
                .value_parser(value_parser!(u32).range(1..=1_000_000))
                .help("Open loop: so many events per second over all tenants, whatever the answers do"),
        )
        .arg(number("seconds", "10", "How long to measure, after a warm-up of 2 s").value_parser(value_parser!(u32).range(1..=3_600)))
        .arg(number("payload", "512", "A payload's bytes").value_parser(value_parser!(u32).range(64..=1_000_000)))
        .arg(number("concurrency", "50", "Each tenant's max_concurrent_deliveries").value_parser(value_parser!(u32).range(1..=10_000)))
        .arg(number("answer-after-ms", "0", "How long the receivers take to answer").value_parser(value_parser!(u32)))
        .arg(Arg::new("baseline").long("baseline").action(ArgAction::SetTrue).help(
            "Also measure a bare relay (same HTTP server and client, nothing else), in turn with the engine",
        ))
        .arg(Arg::new("parts").long("parts").requires("distributed").action(ArgAction::SetTrue).help(
            "Also measure what Postgres and RabbitMQ do alone with the same rows and messages, in turn with the engine",
        ))
        .arg(number("rounds", "1", "How often to measure; the ratio is the median").value_parser(value_parser!(u32).range(1..=100)))
        .arg(
            Arg::new("backlog")
                .long("backlog")
                .value_name("N")
                .conflicts_with_all(["baseline", "url", "rate"])
                .value_parser(value_parser!(u64).range(1..=100_000_000))
                .help("Measure the engine's memory and the speed of ingest with 0 and with N deliveries waiting"),
        )
        .arg(
            Arg::new("scale")
                .long("scale")
                .value_name("N")
                .conflicts_with_all(["baseline", "parts", "url", "backlog"])
                .value_parser(value_parser!(u32).range(11..=100_000))
                .help("Measure the same load over 10 tenants and over N: set-up, CPU, memory, a dispatcher's start"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the report as JSON"))
}

/// The command under which the bench starts its bare relay.
pub fn relay_command() -> Command {
    Command::new("bench-relay").hide(true).arg(Arg::new("target").required(true))
}

impl Settings {
    /// What the flags say; servers are named by the settings of an engine in `environment`.
    pub fn read(matches: &ArgMatches, environment: &Environment) -> Result<Self, BenchError> {
        let number = |name: &str| *matches.get_one::<u32>(name).expect("it has a default");
        let pace = match matches.get_one::<u32>("rate") {
            Some(rate) => Pace::Open(f64::from(*rate)),
            None => Pace::Closed(number("connections") as usize),
        };
        Ok(Self {
            wanted: Wanted::read(matches, environment)?,
            watched: matches.get_many("watch").into_iter().flatten().cloned().collect(),
            tenants: number("tenants") as usize,
            pace,
            span: Duration::from_secs(number("seconds").into()),
            payload: number("payload") as usize,
            concurrency: number("concurrency"),
            answer_after: Duration::from_millis(number("answer-after-ms").into()),
            baseline: matches.get_flag("baseline"),
            parts: matches.get_flag("parts"),
            rounds: number("rounds") as usize,
            json: matches.get_flag("json"),
            backlog: matches.get_one("backlog").copied(),
            scale: matches.get_one::<u32>("scale").map(|tenants| *tenants as usize),
        })
    }

    /// The load in words.
    pub fn load(&self) -> String {
        let pace = match self.pace {
            Pace::Open(rate) => format!("open loop at {rate} events/s"),
            Pace::Closed(connections) => format!("closed loop over {connections} connections"),
        };
        let tenants = match self.scale {
            Some(_) => String::new(),
            None => format!(", {} tenants with one endpoint each", self.tenants),
        };
        let (engine, payload, seconds) = (self.wanted.describe(), self.payload, self.span.as_secs());
        format!("{engine}; {pace}{tenants}, {payload}-byte payloads, {seconds} s")
    }

    /// How many callers wait for an answer at the same time, in a closed loop.
    pub fn callers(&self) -> usize {
        match self.pace {
            Pace::Closed(connections) => connections,
            Pace::Open(_) => 1,
        }
    }
}
