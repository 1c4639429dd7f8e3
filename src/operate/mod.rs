//! What an operator does from a terminal with a running installation, over its API: `fairhook top`, `fairhook tenant`.

mod live;
mod tenant;
mod top;

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use fairhook_common::config::{Config, OperatorKey, args};

use crate::operator_key;
use crate::workload::{ApiClient, ApiFailure};

/// The argument that names the installation.
const URL: &str = "url";

/// Which installation, and with which key.
pub struct Installation {
    url: String,
    key: OperatorKey,
}

/// What is asked of it.
pub enum Order {
    /// Show its tenants.
    Top {
        /// Once, instead of until the end.
        once: bool,
    },
    /// Set a tenant's kill switch.
    Switch(tenant::Switch),
}

/// The settings that say where the installation is, and what its key is.
const SETTINGS: [&str; 4] = ["config", "listen", "data_dir", "operator_key_file"];

/// The commands as they are parsed.
pub fn commands() -> [Command; 2] {
    let settings: Vec<_> =
        args().into_iter().filter(|arg| SETTINGS.contains(&arg.get_id().as_str())).collect();
    let url = Arg::new(URL)
        .long(URL)
        .value_name("URL")
        .help("The installation's API, such as https://hooks.example.com [default: http:// and `listen`]");
    let with = |command: Command| command.arg(url.clone()).args(settings.iter().cloned());
    [with(top::command()), tenant::command(with)]
}

/// Reads what is asked for, with the part of the command line that has its flags.
pub fn order<'m>(name: &str, matches: &'m ArgMatches) -> (Order, &'m ArgMatches) {
    match (name, matches.subcommand()) {
        ("tenant", Some((verb, behind))) => (Order::Switch(tenant::switch(verb, behind)), behind),
        _ => (Order::Top { once: matches.get_flag(top::ONCE) }, matches),
    }
}

impl Installation {
    /// The one that is named, or the one that these settings would start, with its operator's key.
    pub fn find(matches: &ArgMatches, config: &Config) -> Result<Self, String> {
        let key = match &config.operator_key {
            Some(key) => key.clone(),
            None => operator_key::read_in(&config.data_dir).map_err(|error| {
                format!("no operator's key: set FAIRHOOK_OPERATOR_KEY or --operator-key-file, or --data-dir of an embedded engine ({error})")
            })?,
        };
        let url = match matches.get_one::<String>(URL) {
            Some(url) => url.clone(),
            None => {
                let mut address = config.listen;
                if address.ip().is_unspecified() {
                    address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
                }
                format!("http://{address}")
            }
        };
        Ok(Self { url: url.trim_end_matches('/').trim_end_matches("/v1").to_owned(), key })
    }

    /// Does what is asked for; the exit code is 0 only if it was done.
    pub async fn obey(self, order: Order) -> ExitCode {
        let done = match ApiClient::new(std::slice::from_ref(&self.url), self.key.reveal()) {
            Ok(client) => match order {
                Order::Top { once } => live::show(&client, &self.url, once).await,
                Order::Switch(switch) => tenant::set(&client, &switch).await,
            },
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("fairhook: {}", told(&self.url, &error));
                ExitCode::FAILURE
            }
        }
    }
}

/// A failure in one sentence: a refusal in the API's own words.
fn told(url: &str, error: &ApiFailure) -> String {
    let ApiFailure::Refused { body, status, .. } = error else {
        return format!("{url} cannot be asked: {error}");
    };
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match problem["detail"].as_str() {
        Some(detail) => detail.to_owned(),
        None => format!("{url} answered {status}"),
    }
}
