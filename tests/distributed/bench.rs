//! `fairhook bench --distributed` starts its own processes in a database of its own, reports what they did, and leaves
//! nothing behind, also when it is ended half way.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::black_box::process::{Process, without_settings};
use crate::harness::{Services, Use};

fn bench(services: &Services, words: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairhook"));
    without_settings(&mut command);
    command.env("FAIRHOOK_STORE_URL", services.setting("TEST_POSTGRES_URL"));
    command.env("FAIRHOOK_QUEUE_URL", services.setting("TEST_AMQP_URL"));
    command.args(["bench", "--distributed", "--dispatchers", "2", "--tenants", "3", "--connections", "4"]);
    command.args(words);
    Process::start(command)
}

/// Databases and queues of a bench. Whoever asks has the servers alone: another bench would be seen, too.
async fn left_behind(services: &Services) -> Vec<String> {
    let server = services.setting("TEST_POSTGRES_URL");
    let mut connection = PgConnection::connect(server).await.expect("the database answers");
    let databases = "SELECT datname::text FROM pg_database WHERE datname LIKE 'fairhook_bench_%'";
    let mut left: Vec<String> =
        sqlx::query_scalar(databases).fetch_all(&mut connection).await.expect("a list");
    connection.close().await.expect("closes");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let queues = format!("{}/api/queues/%2f?columns=name", services.setting("TEST_AMQP_ADMIN"));
    let queues =
        client.get(queues).send().await.expect("the broker's management answers").text().await.expect("text");
    let queues: Vec<Value> = serde_json::from_str(&queues).expect("a list");
    let names = queues.iter().filter_map(|queue| queue["name"].as_str());
    // These two belong to every engine of the virtual host.
    let own = names.filter(|name| !["fairhook.unrouted", "fairhook.poison"].contains(name));
    left.extend(own.map(str::to_owned));
    left
}

#[tokio::test]
async fn it_measures_every_process_and_leaves_nothing_behind() {
    let held = Use::alone().await;
    let mut bench = bench(held.services, &["--seconds", "1", "--baseline", "--parts", "--json"]);
    let ended = bench.exit().await;
    assert!(ended.success(), "{ended}");
    let report = bench.stdout().concat();
    let report: Value = serde_json::from_str(&report).expect("a report");
    let run = &report["runs"][0];
    assert!(run["accepted"].as_u64().expect("a number") > 0 && run["lost"] == 0, "{run}");
    let names = run["processes"].as_array().expect("a list").iter().map(|process| process["name"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["ingest 1", "dispatcher 1", "dispatcher 2"]);
    let ratios = report["ratios"].as_array().expect("a list");
    assert_eq!(ratios.len(), 4, "the relay and three parts: {ratios:?}");
    assert!(ratios.iter().all(|ratio| ratio["delivered"].as_f64().is_some_and(|ratio| ratio > 0.0)));
    assert_eq!(left_behind(held.services).await, Vec::<String>::new());
}

#[tokio::test]
async fn one_that_is_ended_leaves_nothing_behind_either() {
    let held = Use::alone().await;
    let mut bench = bench(held.services, &["--seconds", "600"]);
    bench.prints("quotas of each of 3 tenants").await;
    assert!(!left_behind(held.services).await.is_empty(), "it has a database");
    bench.signal(Signal::TERM);
    assert_eq!(bench.exit().await.code(), Some(1));
    bench.prints("ended by SIGTERM").await;
    assert_eq!(left_behind(held.services).await, Vec::<String>::new());
}
