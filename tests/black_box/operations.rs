//! docs/OPERATIONS.md against what it describes.

use std::collections::BTreeSet;
use std::fmt::Write;

use fairhook_common::config::{SETTINGS, Secrecy};

use crate::harness::Engine;

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
