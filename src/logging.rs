//! Log lines on standard error, for people or as JSON.

use std::io::{IsTerminal, stderr};

use fairhook_common::config::{Config, LogFormat};
use tracing_subscriber::EnvFilter;

/// Whether the filter can be read.
pub fn check(config: &Config) -> Result<(), String> {
    filter(config).map(|_| ())
}

/// From now on everything is logged as configured, panics too. Once per process; a second call changes nothing.
pub fn start(config: &Config) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter(config).unwrap_or_default())
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let started = match config.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a part of this process has failed")));
    }
}

fn filter(config: &Config) -> Result<EnvFilter, String> {
    EnvFilter::try_new(&config.log).map_err(|e| format!("`{}` is no filter: {e}", config.log))
}
