//! The command line of `fairhook bench isolation`.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use fairhook_common::config::Environment;

use super::kind::Kind;
use super::kinds::{self, STRANGER};
use super::scale::Scale;
use crate::bench::BenchError;
use crate::bench::subject::Wanted;

/// What to measure, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which engine.
    pub wanted: Wanted,
    /// Which kinds of bad neighbours, the control not among them.
    pub kinds: Vec<&'static Kind>,
    /// Good tenants.
    pub good: usize,
    /// Bad tenants, unless the kind has a number of its own.
    pub bad: usize,
    /// Pairs of each kind.
    pub pairs: usize,
    /// How long each arm is.
    pub span: Duration,
    /// Events per second of the good tenants together.
    pub rate: f64,
    /// Deliveries in flight at most.
    pub slots: usize,
    /// Measure one FIFO queue over one worker pool under the same load, too.
    pub fifo: bool,
    /// Everything small, for tests.
    pub quick: bool,
    /// Print JSON.
    pub json: bool,
}

/// What may be measured beside the control.
fn measurable() -> impl Iterator<Item = &'static Kind> {
    std::iter::once(&STRANGER).chain(kinds::all())
}

/// The command as it is parsed.
pub fn command() -> Command {
    let number = |name: &'static str, value: &'static str, most: i64, help: &'static str| {
        let number = value_parser!(u32).range(1..=most);
        Arg::new(name).long(name).value_name(value).value_parser(number).help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("isolation")
        .about("Measures what good tenants feel of bad ones: p99 from post to arrival beside them ÷ alone")
        .args(Wanted::args())
        .arg(
            Arg::new("kind")
                .long("kind")
                .value_name("NAME")
                .action(ArgAction::Append)
                .value_parser(measurable().map(|kind| kind.name).collect::<Vec<_>>())
                .help(
                    "A kind of bad tenants; may be repeated [default: all, with --quick without `stranger`]",
                ),
        )
        .arg(number("good", "N", 1_000, "Good tenants [default: 8]"))
        .arg(number("bad", "N", 1_000, "Bad tenants, where the kind leaves it open [default: 1]"))
        .arg(number("pairs", "N", 100, "Pairs of arms of each kind [default: 5]"))
        .arg(number("seconds", "N", 3_600, "How long each arm is [default: 20]"))
        .arg(number("rate", "EVENTS/S", 100_000, "What the good tenants post together [default: 500]"))
        .arg(number("slots", "N", 10_000, "Deliveries in flight at most [default: 200]"))
        .arg(flag("fifo", "Also measure one FIFO queue over one worker pool under the same load"))
        .arg(flag("quick", "Other defaults, and bad tenants that are a fifth as large: for tests"))
        .arg(flag("json", "Print the report as JSON"))
}

impl Settings {
    /// What the flags say; servers are named by the settings of an engine in `environment`.
    pub fn read(matches: &ArgMatches, environment: &Environment) -> Result<Self, BenchError> {
        let quick = matches.get_flag("quick");
        let number = |name: &str, full: u32, small: u32| {
            matches.get_one::<u32>(name).copied().unwrap_or(if quick { small } else { full })
        };
        let named: Vec<&String> = matches.get_many("kind").into_iter().flatten().collect();
        let wanted = Wanted::read(matches, environment)?.of_its_own()?;
        let is_wanted = |kind: &&Kind| match named.is_empty() {
            true => !quick || kind.name != STRANGER.name,
            false => named.iter().any(|name| *name == kind.name),
        };
        Ok(Self {
            wanted,
            kinds: measurable().filter(is_wanted).collect(),
            good: number("good", 8, 4) as usize,
            bad: number("bad", 1, 1) as usize,
            pairs: number("pairs", 5, 1) as usize,
            span: Duration::from_secs(number("seconds", 20, 2).into()),
            rate: number("rate", 500, 100).into(),
            slots: number("slots", 200, 40) as usize,
            fifo: matches.get_flag("fifo"),
            quick,
            json: matches.get_flag("json"),
        })
    }

    /// The load before the first arm: connections are made, caches filled.
    pub fn warm_up(&self) -> Duration {
        if self.quick { Duration::from_millis(500) } else { Duration::from_secs(2) }
    }

    /// How large the bad tenants are.
    pub fn scale(&self) -> Scale {
        if self.quick { Scale::QUICK } else { Scale::FULL }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(args: &[&str]) -> Vec<&'static str> {
        let matches =
            command().try_get_matches_from([&["isolation"], args].concat()).expect("they are known");
        let settings = Settings::read(&matches, &Environment::default()).expect("they are fine");
        settings.kinds.iter().map(|kind| kind.name).collect()
    }

    #[test]
    fn what_no_engine_can_keep_away_is_measured_in_full_runs_and_when_it_is_named() {
        assert_eq!(kinds(&[]).first(), Some(&STRANGER.name));
        assert_eq!(kinds(&["--quick"]), super::kinds::all().map(|kind| kind.name).collect::<Vec<_>>());
        assert_eq!(kinds(&["--quick", "--kind", STRANGER.name]), [STRANGER.name]);
        assert_eq!(kinds(&["--kind", "hang", "--kind", "429"]), ["hang", "429"]);
    }
}
