//! docs/OPERATIONS.md against what it describes.

use std::collections::BTreeSet;
use std::fmt::Write;

use fairhook_common::config::{SETTINGS, Secrecy};
use serde_json::json;

use crate::harness::{Engine, Receiver};

const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");

fn settings_table() -> String {
    let mut table = "| setting | value | default | what |\n| --- | --- | --- | --- |\n".to_owned();
    for setting in SETTINGS {
        let default = setting.default.map_or("not set".to_owned(), |text| format!("`{text}`"));
        let file = if setting.secrecy == Secrecy::Public { "" } else { ", `…_file`" };
        let value = setting.value.replace('|', "\\|");
        let what = setting.help;
        writeln!(table, "| `{}`{file} | {value} | {default} | {what} |", setting.name)
            .expect("a String takes everything");
    }
    table
}

#[test]
fn every_setting_is_described_as_it_is() {
    let table = settings_table();
    assert!(OPERATIONS.contains(&table), "docs/OPERATIONS.md has to hold this table:\n\n{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_described() {
    let engine = Engine::start().await;
    let text = reqwest::get(format!("http://{}/metrics", engine.metrics)).await.expect("answers");
    let text = text.text().await.expect("text");
    let families: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|rest| rest.split(' ').next())
        .collect();
    assert!(families.len() > 20, "{families:?}");
    let missing: Vec<_> = families.iter().filter(|name| !OPERATIONS.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md says nothing of {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_endpoints_and_begins_jobs_is_told_without_their_secrets() {
    let (engine, receiver) = (Engine::start().await, Receiver::good().await);
    engine.api.tenant("acme").await;
    let url = format!("{}/a-secret-path", receiver.url());
    let made = engine.api.post("/tenants/acme/endpoints", json!({"url": url})).await.expect(201);
    let id = made["id"].as_str().expect("an id");
    let path = format!("/tenants/acme/endpoints/{id}");
    engine.api.patch(&path, json!({"status": "paused"})).await.expect(200);
    engine.api.post(&format!("{path}/secret/rotate"), json!({})).await.expect(200);
    let job = engine.api.post("/tenants/acme/dead-letters/purge", json!({"all": true})).await.expect(202);
    let job = job["id"].as_str().expect("an id");
    engine.api.delete(&path).await.expect(204);
    for (what, names) in [
        ("an endpoint was made", [id, "host=\"127.0.0.1\""]),
        ("an endpoint was changed", [id, "status=\"paused\" set=\"status\""]),
        ("an endpoint's secret was rotated", [id, "tenant.slug=\"acme\""]),
        ("a job was begun", [job, "kind=\"purge\""]),
        ("an endpoint was deleted", [id, "caller=operator_key"]),
    ] {
        let told = engine.prints(what).await;
        assert!(names.iter().all(|name| told.contains(name)), "{told}");
    }
    let printed = engine.printed().join("\n");
    assert!(!printed.contains("a-secret-path") && !printed.contains("whsec_"), "{printed}");
}
