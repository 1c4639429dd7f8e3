//! The command line, the configuration, and what a process says of itself.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Engine, Options, fairhook};

fn run(args: &[&str], environment: &[(&str, &str)]) -> Output {
    fairhook().args(args).envs(environment.iter().copied()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("UTF-8")
}

/// The exit code and the one sentence on standard error.
fn refusal(args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = run(args, environment);
    let sentence = text(&output.stderr).trim_end();
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    (output.status.code(), sentence.to_owned())
}

const POSTGRES: (&str, &str) = ("FAIRHOOK_STORE_URL", "postgres://u:hunter2@db/x");
const RABBITMQ: (&str, &str) = ("FAIRHOOK_QUEUE_URL", "amqp://u:hunter2@mq");

#[test]
fn a_bad_configuration_ends_with_64_and_one_sentence_that_names_the_setting() {
    for (args, environment, sentence) in [
        (&["--listen", "3000"][..], &[][..], "listen (from the flag --listen): `3000` is no address"),
        (
            &["serve"],
            &[("FAIRHOOK_SLOTS", "many")],
            "slots (from the environment variable FAIRHOOK_SLOTS): `many`",
        ),
        (
            &["serve", "--config", "/nowhere.toml"],
            &[],
            "config (from the flag --config): cannot read /nowhere.toml",
        ),
        (&["check-config"], &[("FAIRHOOK_OPERATOR_KEY", "short")], "operator_key (from the environment"),
        (&["serve"], &[POSTGRES], "queue_url (the default): a Postgres store goes with a RabbitMQ queue"),
        (&["serve"], &[RABBITMQ], "store_url (the default): a RabbitMQ queue goes with a Postgres store"),
        (&["serve"], &[POSTGRES, RABBITMQ], "operator_key (the default): is needed on Postgres"),
        (&["ingest"], &[], "store_url (the default): `ingest` shares its store and queue"),
        (&["dispatcher"], &[], "store_url (the default): `dispatcher` shares its store and queue"),
        (&["dispatch"], &[], "store_url (the default): `dispatcher` shares its store and queue"),
        (&["serve", "--log", "info,=,"], &[], "log (from the flag --log): "),
        (&["serve", "--retention", "1s"], &[], "retention (from the flag --retention): `1s` is not within"),
    ] {
        let (code, said) = refusal(args, environment);
        assert_eq!(code, Some(64), "{said}");
        assert!(said.starts_with("fairhook: ") && said.contains(sentence), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_command_line_that_is_none_ends_with_64_and_help_with_0() {
    for args in
        [&["--lisen", "x"][..], &["sevre"], &["--operator-key", "a key that everybody on the machine sees"]]
    {
        let output = run(args, &[]);
        assert_eq!(output.status.code(), Some(64), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("error: "));
    }
    let help = run(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("FAIRHOOK_LISTEN") && text(&help.stdout).contains("check-config"));
    let version = run(&["--version"], &[]);
    assert_eq!(text(&version.stdout).trim(), concat!("fairhook ", env!("CARGO_PKG_VERSION")));
}

/// A port that nothing listens on is as good as a database that is not there yet.
#[test]
fn a_start_waits_for_its_database_so_long_says_so_and_names_no_password() {
    let nowhere =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port");
    let (store, queue) =
        (format!("postgres://u:hunter2@{nowhere}/hooks"), format!("amqp://u:hunter2@{nowhere}"));
    let environment = [("FAIRHOOK_STORE_URL", store.as_str()), ("FAIRHOOK_QUEUE_URL", &queue)];
    let output =
        run(&["dispatcher", "--start-deadline", "1s", "--metrics-listen", "127.0.0.1:0"], &environment);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the store is not there yet; trying again"), "{said}");
    assert!(said.contains(&format!("fairhook: cannot use Postgres at {nowhere}/hooks: ")), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn check_config_shows_where_each_value_comes_from_and_no_secret() {
    let secret = "a-key-that-nobody-may-see";
    let output = run(&["check-config", "--slots", "7"], &[("FAIRHOOK_OPERATOR_KEY", secret)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("slots = \"7\"  # from the flag --slots"), "{shown}");
    assert!(shown.contains("listen = \"127.0.0.1:3000\"  # the default"), "{shown}");
    assert!(shown.contains("operator_key is set and hidden") && !shown.contains(secret), "{shown}");
}

#[test]
fn check_config_shows_the_limits_that_are_in_force() {
    let output = run(&["check-config"], &[]);
    assert!(text(&output.stdout).contains("limits = \"api_requests=1000/1min, anonymous=10/10s, "));
}

#[test]
fn who_cannot_be_asked_is_said_with_the_reason() {
    let nowhere =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port");
    let key = [("FAIRHOOK_OPERATOR_KEY", "a-key-of-sixteen-characters-or-more")];
    for (url, why) in
        [(format!("http://{nowhere}"), "Connection refused"), ("nonsense".into(), "relative URL")]
    {
        let output = run(&["top", "--once", "--url", &url], &key);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(why), "{}", text(&output.stderr));
    }
}

#[test]
fn migrate_makes_the_schema_and_can_be_run_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    for _ in 0..2 {
        let output = run(&["migrate", "--data-dir", data.to_str().expect("UTF-8")], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    assert!(data.join("fairhook.db").is_file());
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("is there").permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn data_and_key_are_their_owners_only() {
    let engine = Engine::start().await;
    assert_eq!(mode(&engine.data_dir), 0o700);
    assert_eq!(mode(&engine.data_dir.join("operator.key")), 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_data_is_refused_in_one_sentence() {
    let engine = Engine::start().await;
    let data_dir = engine.data_dir.to_str().expect("UTF-8").to_owned();
    let ports = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--receiver-listen", "off"];
    let args: Vec<&str> = ports.into_iter().chain(["--data-dir", &data_dir, "--log", "error"]).collect();
    let (code, said) = tokio::task::block_in_place(|| refusal(&args, &[]));
    assert_eq!(code, Some(1));
    assert!(said.contains(&data_dir) && said.contains("another process"), "{said}");
    engine.api.tenant("still-here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let engine = Engine::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let taken = engine.metrics.to_string();
    let data_dir = directory.path().to_str().expect("UTF-8");
    let args = ["--listen", &taken, "--receiver-listen", "off", "--data-dir", data_dir, "--log", "error"];
    let (code, said) = tokio::task::block_in_place(|| refusal(&args, &[]));
    assert_eq!(code, Some(1));
    assert!(said.contains(&taken) && said.contains("listen"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_there() {
    let engine = Engine::start().await;
    let get = |path: &str| reqwest::get(format!("http://{}{path}", engine.metrics));
    let live: Value = get("/healthz").await.expect("answers").json().await.expect("JSON");
    assert_eq!(live["status"], "live");
    let ready = get("/readyz").await.expect("answers");
    assert_eq!(ready.status(), 200);
    let ready: Value = ready.json().await.expect("JSON");
    assert_eq!((&ready["status"], &ready["parts"]["store"]), (&"ready".into(), &"ready".into()), "{ready}");
    assert_eq!(ready["limiter"]["backend"], "process", "{ready}");
    let metrics = get("/metrics").await.expect("answers").text().await.expect("text");
    assert!(metrics.contains("fairhook_build_info{version="), "{metrics}");
    assert!(metrics.contains("fairhook_limiter_connected{backend=\"process\"} 1"), "{metrics}");
    assert_eq!(engine.api.get("/healthz").await.expect(200)["status"], "live");
    assert_eq!(engine.api.get("/readyz").await.expect(200)["status"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_logs_are_json_from_the_start_to_the_stop() {
    let mut engine =
        Engine::start_with(Options::args(&["--log-format", "json", "--log", "fairhook=debug"])).await;
    let line = engine.prints("took up what was left behind").await;
    let line: Value = serde_json::from_str(line.trim_start_matches("stderr: ")).expect("JSON");
    assert_eq!(line["level"], "DEBUG");
    let logged = |line: String| -> Value {
        serde_json::from_str(line.strip_prefix("stderr: ").expect("logged")).expect("JSON")
    };
    let started = logged(engine.prints(r#""message":"started""#).await);
    assert_eq!(
        (&started["mode"], &started["version"]),
        (&"embedded".into(), &env!("CARGO_PKG_VERSION").into())
    );
    engine.signal(Signal::TERM);
    let stopping = logged(engine.prints(r#""message":"stopping: "#).await);
    assert_eq!(stopping["signal"], "SIGTERM");
    assert_eq!(engine.exit().await.code(), Some(0));
    logged(engine.prints(r#""message":"stopped""#).await);
}
