//! Servers that are reached by TLS only, with a certificate that a root of the operator's own vouches for.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::black_box::process::{Process, without_settings};
use crate::harness::{Cluster, Servers, Shape};

const UNTRUSTED: &str = "invalid peer certificate: UnknownIssuer";

#[tokio::test(flavor = "multi_thread")]
async fn every_server_may_be_behind_tls() {
    let cluster = Cluster::over_tls(Shape { ingests: 1, dispatchers: 1, stops_servers: false }).await;
    let customer = cluster.customer("acme", 10, 1, Duration::ZERO).await;
    for n in 0..20 {
        customer.ledger.post(&cluster.api(), json!({"n": n})).await.expect("it is accepted");
    }
    cluster.settle(&customer, Duration::from_secs(60), 0).await;
}

/// A dispatcher that trusts what the machine trusts.
fn trusting_nobody_else(servers: &Servers) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairhook-dispatcher"));
    without_settings(&mut command);
    command.args(["--metrics-listen", "127.0.0.1:0", "--start-deadline", "2s"]);
    command
        .env("FAIRHOOK_STORE_URL", servers.store.as_str())
        .env("FAIRHOOK_QUEUE_URL", servers.queue.as_str());
    Process::start(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_vouches_for_is_refused_and_told() {
    let cluster = Cluster::over_tls(Shape { ingests: 0, dispatchers: 0, stops_servers: false }).await;
    let behind_tls = cluster.servers();
    let mut process = trusting_nobody_else(behind_tls);
    process.prints("fairhook: cannot use Postgres at ").await;
    assert!(process.printed().last().is_some_and(|line| line.ends_with(UNTRUSTED)));
    assert_eq!(process.exit().await.code(), Some(1));
    let store = cluster.database();
    let process = trusting_nobody_else(&Servers { store, ..behind_tls.clone() });
    assert!(process.prints("the broker is dialled until it answers").await.ends_with(UNTRUSTED));
}
