//! What good tenants feel of each kind of bad ones, and how slots are shared, by the bench's own measure. A target of its own,
//! so that no other test runs beside it.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// How many times as much as of nobody may be felt of a kind.
const BOUND: f64 = 2.0;
/// The same beside the servers of the distributed engine, with which a build for tests and the load share two processors: what
/// is felt there is mostly the time for one.
const BOUND_DISTRIBUTED: f64 = 5.0;
/// Of these, which go as fast as they can, it is 1.5 to 3.3 where a build for tests is so quick alone that the index is of the floor
/// under it (docs/BENCHMARKS.md).
const CLOSED_LOOPS: [&str; 2] = ["own-replay", "list-scan"];
const BOUND_CLOSED_LOOPS: f64 = 4.0;
/// What an engine does wrong it does each time; what the machine does to it, it does not.
const RUNS: usize = 5;

/// One measurement at a time.
static MACHINE: Mutex<()> = Mutex::new(());

#[test]
fn no_kind_of_bad_neighbour_is_felt_by_good_tenants() {
    none_is_felt(&[], BOUND);
}

#[test]
fn no_kind_of_bad_neighbour_is_felt_in_the_distributed_engine() {
    none_is_felt(&["--distributed"], BOUND_DISTRIBUTED);
}

#[test]
fn slots_are_shared_evenly_and_as_weights_say() {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let measured = (0..RUNS).map(|_| shares()).find(|(jain, off)| *jain >= 0.99 && *off <= 0.05);
    assert!(measured.is_some(), "see above, {RUNS} times");
}

/// Measures every kind in the engine that `engine` asks for, and those that were felt once more.
fn none_is_felt(engine: &[&str], bound: f64) {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let bound_of =
        |kind: &str| if CLOSED_LOOPS.contains(&kind) { bound.max(BOUND_CLOSED_LOOPS) } else { bound };
    let mut felt = neighbours(engine, &[]);
    assert!(felt.len() >= 21, "kinds are missing: {felt:?}");
    for _ in 1..RUNS {
        felt.retain(|kind, times| *times > bound_of(kind));
        if felt.is_empty() {
            return;
        }
        println!("measured once more: {felt:?}");
        felt = neighbours(engine, &felt.keys().map(String::as_str).collect::<Vec<_>>());
    }
    felt.retain(|kind, times| *times > bound_of(kind));
    assert!(felt.is_empty(), "felt more than {bound} times as much as nobody, {RUNS} times: {felt:?}");
}

/// How many times as much is felt of each of these kinds (or of all) as of nobody, in one run.
fn neighbours(engine: &[&str], kinds: &[&str]) -> HashMap<String, f64> {
    let named = kinds.iter().flat_map(|kind| ["--kind", kind]);
    let report = bench(["isolation", "--quick"].into_iter().chain(engine.iter().copied()).chain(named));
    let mut rows = report["kinds"].as_array().expect("kinds").iter().map(|row| {
        assert_eq!((&row["lost"], &row["refused"]), (&0.into(), &0.into()), "{row}");
        assert!(row["events"].as_u64() > Some(0), "{row}");
        let did = |deed: &str| row[deed].as_f64() > Some(0.0);
        let acted = ["bad_accepted_per_s", "bad_calls_per_s", "bad_received_per_s"].into_iter().any(did);
        assert_eq!(acted, row["kind"] != "nobody", "the bad ones did something, and nobody nothing: {row}");
        assert_eq!(did("bad_posted_per_s"), did("bad_accepted_per_s"), "not all was refused: {row}");
        assert!(row["bad_slot_share"].as_f64().unwrap_or(0.0) <= 1.0, "{row}");
        let index = row["index"]["median"].as_f64().expect("an index");
        (row["kind"].as_str().expect("a name").to_owned(), index)
    });
    let (nobody, control) = rows.next().expect("the control");
    assert_eq!(nobody, "nobody");
    rows.map(|(kind, index)| (kind, index / control.max(1.0))).collect()
}

/// Jain's index of equals, and by how much the part of a weight is off at most.
fn shares() -> (f64, f64) {
    let report = bench(["shares", "--seconds", "6"]);
    let weights = report["weights"].as_array().expect("weights").iter();
    let off = weights.map(|share| share["off"].as_f64().expect("a part").abs()).fold(0.0, f64::max);
    println!("{report}");
    (report["jain"].as_f64().expect("an index"), off)
}

/// In an environment of its own, but for the servers that are given to the tests.
#[allow(clippy::disallowed_methods)]
fn bench<'a>(words: impl IntoIterator<Item = &'a str>) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairhook"));
    command.arg("bench").args(words).arg("--json").env_clear();
    let servers = [("FAIRHOOK_STORE_URL", "TEST_POSTGRES_URL"), ("FAIRHOOK_QUEUE_URL", "TEST_AMQP_URL")];
    for (setting, given) in servers {
        if let Ok(url) = std::env::var(given) {
            command.env(setting, url);
        }
    }
    let output = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nothing was lost and everything measured:\n{told}");
    println!("{told}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
