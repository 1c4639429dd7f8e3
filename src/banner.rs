//! What a start says: where everything is, and lines to paste.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use fairhook_common::config::ServerUrl;

use crate::engine::Addresses;
use crate::operator_key::Origin;

/// What the banner is made of.
#[derive(Debug)]
pub struct Banner<'a> {
    /// What stands behind it.
    pub mode: Mode<'a>,
    /// Where it listens.
    pub addresses: Addresses,
    /// Where the operator's key came from, if the API is here.
    pub key: Option<&'a Origin>,
    /// Nothing was ever accepted here: lines to try it are welcome.
    pub is_new: bool,
}

/// What stands behind a process.
#[derive(Debug)]
pub enum Mode<'a> {
    /// SQLite in the data directory, as it was configured.
    Embedded(&'a Path),
    /// Servers that other processes use too.
    Distributed {
        /// Postgres.
        store: &'a ServerUrl,
        /// RabbitMQ.
        queue: &'a ServerUrl,
        /// Redis, if quotas are counted there.
        redis: Option<&'a ServerUrl>,
        /// What this process does.
        roles: &'a str,
        /// Its name among the others.
        node: &'a str,
    },
}

impl Banner<'_> {
    /// The whole text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a String takes everything");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        self.mode.write(out)?;
        if let Some(api) = self.addresses.api {
            writeln!(out, "  API       http://{api}/v1")?;
        }
        if let Some(receiver) = self.addresses.receiver {
            writeln!(out, "  receiver  http://{receiver}/hook   built in, to try things with")?;
        }
        writeln!(out, "  metrics   http://{}/metrics", self.addresses.metrics)?;
        match self.key {
            None => {}
            Some(Origin::Configured) => writeln!(out, "  operator key: as configured")?,
            Some(Origin::Made(path)) => {
                writeln!(out, "  operator key: made, kept in {} (mode 600)", path.display())?;
            }
            Some(Origin::Read(path)) => writeln!(out, "  operator key: read from {}", path.display())?,
        }
        match (self.addresses.api, self.addresses.receiver, self.key) {
            (Some(api), Some(receiver), Some(key)) if self.is_new => {
                write_lines_to_paste(api, receiver, key, out)
            }
            _ => Ok(()),
        }
    }
}

impl Mode<'_> {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        match self {
            Self::Embedded(data_dir) => writeln!(
                out,
                "fairhook {version} · embedded · SQLite {} (202 = fsynced) · in-process queues",
                data_dir.display()
            ),
            Self::Distributed { store, queue, redis, roles, node } => {
                write!(
                    out,
                    "fairhook {version} · distributed · Postgres {store} (202 = committed) · RabbitMQ {queue}"
                )?;
                match redis {
                    Some(redis) => writeln!(out, " · Redis {redis}")?,
                    None => writeln!(out)?,
                }
                writeln!(out, "  runs      {roles}, as {node}")
            }
        }
    }
}

/// Each works word for word in bash.
fn write_lines_to_paste(
    api: SocketAddr,
    receiver: SocketAddr,
    key: &Origin,
    out: &mut String,
) -> std::fmt::Result {
    let base = format!("{}/v1/tenants/acme", reachable(api));
    let bearer = match key {
        Origin::Configured => "$FAIRHOOK_OPERATOR_KEY".to_owned(),
        Origin::Made(path) | Origin::Read(path) => format!("$(cat {})", shell_word(path)),
    };
    let here = match key {
        Origin::Made(path) | Origin::Read(path) if path.is_relative() => ", in this directory",
        _ => "",
    };
    writeln!(out, "Try it in another terminal{here}:")?;
    writeln!(
        out,
        "  api() {{ curl -s -H \"Authorization: Bearer {bearer}\" -H 'Content-Type: application/json' \"$@\"; echo; }}"
    )?;
    writeln!(out, r#"  api -X PUT {base} -d '{{"name":"Acme"}}'"#)?;
    writeln!(out, r#"  api {base}/endpoints -d '{{"url":"http://{receiver}/hook"}}'"#)?;
    writeln!(out, r#"  api {base}/events -d '{{"type":"order.paid","payload":{{"id":7}}}}'"#)
}

/// How this machine reaches a listener.
fn reachable(listener: SocketAddr) -> String {
    let local = listener.ip().is_loopback() || listener.ip().is_unspecified();
    if local { format!("localhost:{}", listener.port()) } else { listener.to_string() }
}

/// A path as one word for a shell, as plain as it can be.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let text = text.strip_prefix("./").unwrap_or(&text);
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | '%' | '=');
    let is_plain = !text.is_empty() && !text.starts_with('-') && text.chars().all(plain);
    let is_option = text.starts_with('-');
    match (is_plain, is_option) {
        (true, _) => text.to_owned(),
        (false, true) => format!("'./{}'", text.replace('\'', r"'\''")),
        (false, false) => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use fairhook_common::config::{Backends, Config, Environment};

    use super::*;

    #[test]
    fn the_first_start_says_what_the_readme_shows() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let key = Origin::Made("./fairhook-data/operator.key".into());
        let banner = Banner {
            mode: Mode::Embedded(Path::new("./fairhook-data")),
            addresses: Addresses {
                api: Some(address(3000)),
                receiver: Some(address(3001)),
                metrics: address(3002),
            },
            key: Some(&key),
            is_new: true,
        };
        let expected = r#"fairhook 0.1.0 · embedded · SQLite ./fairhook-data (202 = fsynced) · in-process queues
  API       http://127.0.0.1:3000/v1
  receiver  http://127.0.0.1:3001/hook   built in, to try things with
  metrics   http://127.0.0.1:3002/metrics
  operator key: made, kept in ./fairhook-data/operator.key (mode 600)
Try it in another terminal, in this directory:
  api() { curl -s -H "Authorization: Bearer $(cat fairhook-data/operator.key)" -H 'Content-Type: application/json' "$@"; echo; }
  api -X PUT localhost:3000/v1/tenants/acme -d '{"name":"Acme"}'
  api localhost:3000/v1/tenants/acme/endpoints -d '{"url":"http://127.0.0.1:3001/hook"}'
  api localhost:3000/v1/tenants/acme/events -d '{"type":"order.paid","payload":{"id":7}}'
"#;
        assert_eq!(banner.text(), expected);
    }

    #[test]
    fn a_process_among_others_says_what_it_is_and_no_password() {
        let url = |name: &str, url: &str| (name.into(), url.into());
        let given = [
            url("FAIRHOOK_STORE_URL", "postgres://u:hunter2@db:5433/hooks"),
            url("FAIRHOOK_QUEUE_URL", "amqp://u:hunter2@mq/hooks"),
            url("FAIRHOOK_REDIS_URL", "redis://:hunter2@cache/2"),
        ];
        let told = Config::load(&[], &Environment::from_pairs(given)).expect("read");
        let Backends::Distributed { store, queue } = told.config.backends() else { panic!("embedded") };
        let redis = told.config.redis_url.as_ref();
        let mode = Mode::Distributed { store, queue, redis, roles: "dispatcher", node: "host-1" };
        let metrics = SocketAddr::from(([127, 0, 0, 1], 3002));
        let addresses = Addresses { api: None, receiver: None, metrics };
        let banner = Banner { mode, addresses, key: None, is_new: true };
        let expected = "fairhook 0.1.0 · distributed · Postgres db:5433/hooks (202 = committed) · RabbitMQ mq/hooks · Redis cache/2
  runs      dispatcher, as host-1
  metrics   http://127.0.0.1:3002/metrics
";
        assert_eq!(banner.text(), expected);
    }

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        for (path, word) in [
            ("./a/b.key", "a/b.key"),
            ("/a b/c", "'/a b/c'"),
            ("it's", r"'it'\''s'"),
            ("-x", "'./-x'"),
            ("./-x", "'./-x'"),
        ] {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }
}
