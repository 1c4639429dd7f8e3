//! What a first start prints works when it is pasted, word for word.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Engine, Options, until};

/// Runs lines in bash as if they had been pasted into it, with curl or with what stands in for it.
fn paste(lines: &[String], directory: &std::path::Path, stand_in: bool) -> String {
    let before = if stand_in { include_str!("curl_stand_in.sh") } else { "" };
    let script = format!("{before}\n{}\n", lines.join("\n"));
    let output =
        Command::new("bash").arg("-c").arg(script).current_dir(directory).output().expect("bash runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn has_curl() -> bool {
    let found = Command::new("curl").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// The block of README.md that follows these words.
fn in_the_readme(words: &str) -> Vec<String> {
    let (_, rest) = include_str!("../../README.md").split_once(words).expect("README.md says so");
    let (_, block) = rest.split_once("```text\n").expect("a block follows");
    let (block, _) = block.split_once("```").expect("it ends");
    block.lines().map(normal).collect()
}

/// A line without what is another each time: ports, ids and times.
fn normal(line: &str) -> String {
    let digits = |c: char| c.is_ascii_digit();
    let line = blanked(line, "127.0.0.1:", digits);
    let line = blanked(&line, "localhost:", digits);
    let line = blanked(&line, "evt_", |c| c.is_alphanumeric() || c == '…');
    blanked(&line, " 200 in ", digits)
}

/// With one mark in place of the characters `of` a kind that follow `behind`.
fn blanked(line: &str, behind: &str, of: impl Fn(char) -> bool) -> String {
    let mut parts = line.split(behind);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |before, part| format!("{before}{behind}#{}", part.trim_start_matches(&of)))
}

/// What is printed at the start, and of the event.
async fn the_printed_lines_work(data_dir: &str, stand_in: bool) -> (Vec<String>, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options {
        data_dir: Some(data_dir.into()),
        current_dir: Some(directory.path().to_owned()),
        built_in_receiver: true,
        ..Options::default()
    };
    let engine = Engine::start_with(options).await;
    engine.prints("/events -d").await;
    let printed = engine.stdout();
    assert!(
        printed[0].starts_with("fairhook 0.1.0 · embedded · SQLite "),
        "nothing comes before it: {}",
        printed[0]
    );
    engine.prints("operator key: made, kept in ").await;
    let try_it = printed.iter().position(|line| line.starts_with("Try it in another terminal"));
    let to_paste = &printed[try_it.expect("it says so") + 1..][..4];

    let said = paste(to_paste, directory.path(), stand_in);
    let answers: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), 3, "{said}");
    assert_eq!(answers[0]["slug"], "acme", "{said}");
    assert!(answers[1]["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{said}");
    assert_eq!(answers[2]["deliveries"], 1, "{said}");

    let event = answers[2]["id"].as_str().expect("an id");
    let line = engine.prints(event).await;
    let (start, end) = line.split_once(" ms, ").expect("it says how long it took");
    let receiver = start.strip_prefix(&format!("{event} acme order.paid → 127.0.0.1:"));
    assert!(receiver.is_some_and(|rest| rest.contains(" 200 in ")), "{line}");
    assert_eq!(end, "attempt 1, signature verified");
    (printed, line)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_lines_work_when_pasted() {
    let stand_in = !has_curl();
    if stand_in {
        eprintln!("curl is not installed; tests/black_box/curl_stand_in.sh stands in for it");
    }
    let (printed, arrival) = the_printed_lines_work("./fairhook-data", stand_in).await;
    let printed: Vec<_> = printed.iter().map(|line| normal(line)).collect();
    assert_eq!(in_the_readme("## Try it")[1..], printed, "README.md shows what is printed");
    assert_eq!(in_the_readme("then prints the arrival:"), [normal(&arrival)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_lines_work_without_curl_and_in_a_directory_with_an_odd_name() {
    the_printed_lines_work("./the owner's data", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_reads_the_key_that_the_first_has_made() {
    let engine = Engine::start().await;
    let (code, stopped) = engine.terminate().await;
    assert_eq!(code, 0);
    let engine = stopped.start_again().await;
    engine.prints("operator key: read from ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_private_address_is_called_by_default() {
    let engine = Engine::start_with(Options { built_in_receiver: true, ..Options::default() }).await;
    engine.api.tenant("acme").await;
    let url = "http://127.0.0.1:9/";
    let answer = engine.api.post("/tenants/acme/endpoints", serde_json::json!({"url": url})).await;
    assert_eq!(answer.problem(400), "invalid_request");
    assert_eq!(answer.body["errors"][0]["pointer"], "/url");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_counted_instead_of_listed() {
    const EVENTS: usize = 300;
    let engine = Engine::start_with(Options { built_in_receiver: true, ..Options::default() }).await;
    let line = engine.prints("  receiver  ").await;
    let url = line.split_whitespace().nth(1).expect("its URL").to_owned();
    engine.api.tenant("acme").await;
    engine.api.endpoint("acme", &url, serde_json::json!({})).await;
    let event = serde_json::json!({"type": "order.paid", "payload": {}});
    let events = serde_json::json!({"events": vec![event; EVENTS]});
    engine.api.post("/tenants/acme/events/batch", events).await.expect(202);
    let (listed, counted) = until("every arrival is listed or counted", || async {
        let printed = engine.printed();
        let listed = printed.iter().filter(|line| line.ends_with(" signature verified")).count();
        let counts =
            printed.iter().filter_map(|line| line.strip_prefix("… and ")?.split_once(" more arrived"));
        let counted: usize = counts.map(|(count, _)| count.parse::<usize>().expect("below a thousand")).sum();
        (listed + counted >= EVENTS).then_some((listed, counted))
    })
    .await;
    assert_eq!(listed + counted, EVENTS);
    assert!(counted > 0, "a person cannot follow {listed} lines");
}
