//! A full disk: 503, no crash, and nothing accepted is lost once there is room again.

use std::path::{Path, PathBuf};
use std::process::Command;

use fairhook_common::limits;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::harness::{Engine, Ledger, Options, Receiver, until};

/// So little that some thousand small events fill it.
const MIB: u64 = 8;

/// A place with little room: a file system of its own where this user may mount one, else a limit on the size of files.
enum LittleRoom {
    FileSystem { at: PathBuf },
    FileSize,
}

impl LittleRoom {
    fn make(directory: &Path) -> Self {
        let at = directory.join("small");
        std::fs::create_dir(&at).expect("a directory");
        let size = format!("size={MIB}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Self::FileSystem { at };
        }
        eprintln!("no file system may be mounted here; a limit on the size of files takes its place");
        Self::FileSize
    }

    fn options(&self, directory: &Path) -> Options {
        let limit = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$@\"", MIB * 1024);
        match self {
            Self::FileSystem { at } => Options { data_dir: Some(at.join("data")), ..Options::default() },
            Self::FileSize => Options {
                data_dir: Some(directory.join("data")),
                under: ["bash", "-c", &limit, "bash"].map(str::to_owned).to_vec(),
                ..Options::default()
            },
        }
    }

    /// The bytes of a payload that meets the bound: a large one lies in a file of its own, of any number of which none is long.
    fn payload(&self) -> usize {
        match self {
            Self::FileSystem { .. } => 200_000,
            Self::FileSize => limits::LARGE_PAYLOAD_BYTES - 1_000,
        }
    }

    fn make_room(&self, engine: &Engine) {
        match self {
            Self::FileSystem { at } => {
                let size = format!("remount,size={}m", MIB * 32);
                let grown = Command::new("mount").args(["-o", &size]).arg(at).status().expect("mount runs");
                assert!(grown.success());
            }
            Self::FileSize => {
                let pid = Pid::from_raw(i32::try_from(engine.pid()).expect("a pid"));
                let unlimited = Rlimit { current: None, maximum: None };
                prlimit(pid, Resource::Fsize, unlimited).expect("our own process");
            }
        }
    }
}

impl Drop for LittleRoom {
    fn drop(&mut self) {
        if let Self::FileSystem { at } = self {
            let _ = Command::new("umount").arg("-l").arg(at).status();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_503_and_the_engine_goes_on_once_there_is_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let room = LittleRoom::make(directory.path());
    fill_and_go_on(&room, directory.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_the_size_of_files_is_503_too() {
    let directory = tempfile::tempdir().expect("a directory");
    fill_and_go_on(&LittleRoom::FileSize, directory.path()).await;
}

async fn fill_and_go_on(room: &LittleRoom, directory: &Path) {
    let engine = Engine::start_with(room.options(directory)).await;
    let receiver = Receiver::good().await;
    engine.api.tenant("acme").await;
    engine.api.endpoint("acme", &receiver.url(), json!({})).await;
    let ledger = Ledger::new("acme");
    let event = json!({"type": "order.paid", "payload": "x".repeat(room.payload())});
    let refused = until("the disk is full", || async {
        let answer = engine.api.post("/tenants/acme/events", event.clone()).await;
        match answer.status {
            202 => {
                ledger.note(&answer.body);
                None
            }
            _ => Some(answer),
        }
    })
    .await;
    assert_eq!(refused.problem(503), "unavailable");
    assert!(refused.headers.contains_key("retry-after"));
    assert!(!ledger.ids().is_empty(), "there was room at first");
    assert_eq!(engine.api.get("/healthz").await.expect(200)["status"], "live", "it survives");

    room.make_room(&engine);
    until("there is room again", || async {
        let answer = engine.api.post("/tenants/acme/events", event.clone()).await;
        (answer.status == 202).then(|| ledger.note(&answer.body))
    })
    .await;
    ledger.settled(&engine.api).await;
    let standing = ledger.account(&engine.api, Some(&receiver)).await;
    assert_eq!(standing["delivered"], ledger.ids().len(), "{standing:?}");
}
