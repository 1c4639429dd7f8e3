//! Log lines on standard error, for people or as JSON.

mod lines;

use std::io::{IsTerminal, stderr};

use fairhook_common::config::{Config, LogFormat};
use tracing_subscriber::EnvFilter;

use lines::Lines;
pub use lines::Written;

/// Whether the filter can be read.
pub fn check(config: &Config) -> Result<(), String> {
    filter(config).map(|_| ())
}

/// From now on everything is logged as configured, panics too, without waiting for whoever reads it. What waits is written
/// when what is returned is dropped. Once per process; a second call changes nothing.
pub fn start(config: &Config) -> std::io::Result<Written> {
    let (lines, written) = Lines::start(stderr(), |lines| {
        tracing::warn!(lines, "log lines were left out: standard error is not read fast enough");
    })?;
    let layer = tracing_subscriber::fmt()
        .with_env_filter(filter(config).unwrap_or_default())
        .with_writer(lines)
        .with_ansi(stderr().is_terminal());
    let started = match config.log_format {
        LogFormat::Text => layer.try_init(),
        LogFormat::Json => layer.json().flatten_event(true).try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a part of this process has failed")));
    }
    Ok(written)
}

/// What libraries log and we say ourselves, once and in our words: an outage of RabbitMQ is six errors of `lapin` per
/// process, and every start has a notice of Postgres. A filter that names them has its way.
const QUIET: &str = "lapin=off,sqlx::postgres::notice=warn";

fn filter(config: &Config) -> Result<EnvFilter, String> {
    // First for its own sake: a message about a filter must not quote what nobody wrote.
    EnvFilter::try_new(&config.log)
        .and_then(|_| EnvFilter::try_new(format!("{QUIET},{}", config.log)))
        .map_err(|e| format!("`{}` is no filter: {e}", config.log))
}

#[cfg(test)]
mod tests {
    use fairhook_common::config::Environment;

    use super::*;

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        let filter_of = |log: &str| {
            let given = [("FAIRHOOK_LOG".into(), log.into())];
            let told = Config::load(&[], &Environment::from_pairs(given)).expect("read");
            filter(&told.config).expect("a filter").to_string()
        };
        let directives = |log: &str| filter_of(log).split(',').map(str::to_owned).collect::<Vec<_>>();
        assert!(directives("info").contains(&"lapin=off".to_owned()));
        let named = directives("info,lapin=debug");
        assert!(
            named.contains(&"lapin=debug".to_owned()) && !named.contains(&"lapin=off".to_owned()),
            "{named:?}"
        );
    }
}
