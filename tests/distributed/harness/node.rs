//! One process of a cluster, behind lines of its own to its servers.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use url::Url;

use super::proxy::Proxy;
use super::tls::{self, Begin, TlsLine};
use crate::black_box::process::{Process, without_settings};
use crate::black_box::{Api, client, until};

/// The key of every cluster's operator.
pub const OPERATOR_KEY: &str = "fhk_the_operator_of_the_fault_tests";

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Ingest,
    Dispatcher,
}

/// Where the servers are.
#[derive(Debug, Clone)]
pub struct Servers {
    pub store: Url,
    pub queue: Url,
    /// Where ingests keep limits together, if they do.
    pub redis: Option<Url>,
    /// The file with the certificates that processes are to trust, if not those that the machine trusts.
    pub trusted: Option<&'static str>,
}

impl Servers {
    /// From now on each is reached by TLS only, by these lines.
    pub async fn behind_tls(&mut self) -> Vec<TlsLine> {
        self.trusted = Some(tls::ROOT);
        let mut lines = vec![behind_tls(&mut self.store, "postgres", Begin::WhenAsked).await];
        self.store.set_query(Some("sslmode=verify-full"));
        lines.push(behind_tls(&mut self.queue, "amqps", Begin::AtOnce).await);
        if let Some(redis) = &mut self.redis {
            lines.push(behind_tls(redis, "rediss", Begin::AtOnce).await);
        }
        lines
    }
}

/// A running process, which ends with its test.
pub struct Node {
    process: Process,
    metrics: SocketAddr,
    /// Its API, if it has one.
    pub api: Option<Api>,
    /// Its line to Postgres.
    pub store: Proxy,
    /// Its line to RabbitMQ.
    pub broker: Proxy,
    /// Its line to Redis, if it has one.
    pub redis: Option<Proxy>,
}

impl Node {
    /// Starts it and waits until it says where it is.
    pub async fn start(role: Role, servers: &Servers, name: &str) -> Self {
        let (store, store_url) = line_to(&servers.store).await;
        let (broker, queue_url) = line_to(&servers.queue).await;
        let mut command = Command::new(match role {
            Role::Ingest => env!("CARGO_BIN_EXE_fairhook-ingest"),
            Role::Dispatcher => env!("CARGO_BIN_EXE_fairhook-dispatcher"),
        });
        without_settings(&mut command);
        command.args(["--metrics-listen", "127.0.0.1:0", "--node-name", name]);
        command.envs(servers.trusted.map(|file| ("SSL_CERT_FILE", file)));
        command.env("FAIRHOOK_STORE_URL", store_url.as_str()).env("FAIRHOOK_QUEUE_URL", queue_url.as_str());
        let redis = match (role, &servers.redis) {
            (Role::Ingest, Some(redis)) => {
                let (proxy, redis_url) = line_to(redis).await;
                command.env("FAIRHOOK_REDIS_URL", redis_url.as_str());
                Some(proxy)
            }
            _ => None,
        };
        match role {
            Role::Ingest => {
                command.args(["--listen", "127.0.0.1:0"]).env("FAIRHOOK_OPERATOR_KEY", OPERATOR_KEY)
            }
            Role::Dispatcher => &mut command,
        };
        command.args(["--allowed-networks", "127.0.0.0/8"]);
        let process = Process::start(command);
        let metrics = process.word_after("metrics ").await;
        let metrics = metrics.trim_start_matches("http://").trim_end_matches("/metrics");
        let api = match role {
            Role::Ingest => Some(Api::new(&process.word_after("API ").await, OPERATOR_KEY)),
            Role::Dispatcher => None,
        };
        Self { metrics: metrics.parse().expect("an address"), process, api, store, broker, redis }
    }

    /// Waits until it says that every part of it is ready, those that it could do without as well.
    pub async fn ready(&self) {
        let (client, readyz) = (client(), format!("http://{}/readyz", self.metrics));
        until("a process is ready", || async {
            let answer = client.get(&readyz).send().await.expect("the metrics listener answers");
            let is_ready = answer.status() == 200;
            let ready: Value = answer.json().await.expect("JSON");
            (is_ready && ready["reasons"] == json!({})).then_some(())
        })
        .await;
    }

    /// A metric without labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let request = client().get(format!("http://{}/metrics", self.metrics)).send();
        let text = request.await.expect("the metrics listener answers").text().await.expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.expect("it is there").parse().expect("a number")
    }

    /// `kill -9`, now.
    pub async fn kill(mut self) {
        self.process.signal(Signal::KILL);
        assert_eq!(self.process.exit().await.signal(), Some(9));
    }

    /// Nothing of it runs until it [goes on](Self::go_on).
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.process.signal(Signal::CONT);
    }

    /// SIGTERM; the exit code.
    pub async fn terminate(mut self) -> i32 {
        self.process.signal(Signal::TERM);
        self.process.exit().await.code().expect("it ended by itself")
    }
}

async fn behind_tls(server: &mut Url, scheme: &str, begin: Begin) -> TlsLine {
    let line = TlsLine::to(address(server), begin).await;
    server.set_port(Some(line.address.port())).expect("a URL with a host");
    server.set_scheme(scheme).expect("like the one before");
    line
}

fn address(server: &Url) -> SocketAddr {
    let (host, port) = (server.host_str().expect("a host"), server.port().expect("a port"));
    format!("{host}:{port}").parse().expect("an address")
}

async fn line_to(server: &Url) -> (Proxy, Url) {
    let proxy = Proxy::to(address(server)).await;
    let mut url = server.clone();
    url.set_port(Some(proxy.address.port())).expect("a URL with a host");
    if url.scheme().starts_with("postgres") && url.query().is_none() {
        // A connection's first words are to say what it is for, where nothing hides them.
        url.query_pairs_mut().append_pair("sslmode", "disable");
    }
    (proxy, url)
}
