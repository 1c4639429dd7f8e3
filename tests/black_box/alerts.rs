//! The alert rules that are delivered with the engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Engine, client, until};

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus")
}

/// Every family of ours that a text names.
fn named(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut names: Vec<_> = words.filter(|word| word.starts_with("fairhook_")).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// Every selector of ours with labels in a text: the family's name, and each `label="value"`.
fn selectors(text: &str) -> Vec<(String, Vec<&str>)> {
    text.split("fairhook_").skip(1).filter_map(selector).collect()
}

/// The one that begins behind `fairhook_`, if there is one.
fn selector(text: &str) -> Option<(String, Vec<&str>)> {
    let (name, behind) = text.split_once('{')?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let (labels, _) = behind.split_once('}')?;
    is_name.then(|| (format!("fairhook_{name}"), labels.split(',').collect()))
}

/// What its `/metrics` says.
pub async fn shown_by(engine: &Engine) -> String {
    let url = format!("http://{}/metrics", engine.metrics);
    client().get(url).send().await.expect("metrics").text().await.expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_rules_is_one_that_a_process_shows() {
    let text = std::fs::read_to_string(rules().join("alerts.yml")).expect("the rules");
    let names = named(&text);
    assert!(names.len() > 8, "{names:?}");
    let selectors = selectors(&text);
    assert!(selectors.len() > 7, "{selectors:?}");
    let engine = Engine::start().await;
    engine.api.tenant("acme").await;
    let waiting = until("the tenants are looked at", || async {
        let shown = shown_by(&engine).await;
        shown.contains("fairhook_tenants_in_condition{condition=\"tenant.noisy\"} 0").then_some(shown)
    });
    let shown = waiting.await;
    for name in &names {
        assert!(shown.contains(&format!("# TYPE {name} ")), "{name} is not shown");
    }
    for (name, labels) in &selectors {
        let series = format!("{name}{{");
        let is_there =
            |line: &str| line.starts_with(&series) && labels.iter().all(|label| line.contains(label));
        assert!(shown.lines().any(is_there), "{name} with {labels:?} is not shown");
    }
}

/// Its names end with the tool's, by which `make test-embedded` leaves them out; tests/services.sh installs it.
#[test]
fn the_rules_are_well_formed_and_fire_when_they_should_by_promtool() {
    for words in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = Command::new("promtool").args(words).current_dir(rules()).output();
        let output = output.expect("promtool, out of Debian's package prometheus");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}
