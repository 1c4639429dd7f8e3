//! Large payloads, each in a file of its own under `payloads/`: nothing that the one writer takes to the disk while small
//! events wait for it.
//!
//! A file is on the disk before the row that names it comes to the writer, and goes after the commit that removed the row.
//! What a crash leaves in between are files that no row names; the next start removes them. A name begins with the *run* of
//! the store that gave it, and no name is given twice: what is being admitted is of this run, and never taken for left over.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, ReadDir};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions, Row};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::bulk::Text;
use super::values::{blob, uuid};
use super::{make_private, unavailable};
use crate::event::NewEvent;
use crate::limits;
use crate::store::StoreError;
use crate::store::outage::Watch;

/// The directory with the files.
pub(super) struct Payloads {
    directory: PathBuf,
    /// The same, to be synced.
    opened: Arc<File>,
    /// The first half of every name that is given here.
    run: u64,
    named: AtomicU64,
    /// Who may write a file now, in the order in which they came.
    pub(super) writing: Arc<Semaphore>,
    watch: Watch,
}

/// Where a payload is that is not in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outside {
    /// The file's name.
    pub file: Uuid,
    /// Its length.
    pub bytes: usize,
}

/// Why a file is not what its row says of it.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("the file {0} of a payload is not there")]
    Gone(String),
    #[error("the file {name} of a payload has {found} bytes, and should have {wanted}")]
    Length { name: String, found: u64, wanted: usize },
    #[error("the file {0} of a payload cannot be read: {1}")]
    Unreadable(String, io::Error),
}

impl Payloads {
    /// Opens or makes the directory in `data`.
    pub(super) fn open(data: &Path) -> Result<Self, StoreError> {
        let directory = data.join("payloads");
        make_private(&directory)?;
        let opened = File::open(&directory).and_then(|opened| {
            // What is in it must not go because it does.
            File::open(data)?.sync_all()?;
            Ok(Arc::new(opened))
        });
        Ok(Self {
            directory,
            opened: opened.map_err(|e| unavailable("the directory of payloads cannot be used", e))?,
            run: rand::random(),
            named: AtomicU64::new(0),
            writing: Arc::new(Semaphore::new(limits::PAYLOAD_WRITES)),
            watch: Watch::new("given large payloads"),
        })
    }

    /// Brings the large payloads of these to the disk; says for each event where its is. `Err`: none of them is there.
    pub(super) async fn write(&self, events: &[NewEvent]) -> Result<Vec<Option<Outside>>, StoreError> {
        let outside: Vec<_> = events.iter().map(|event| self.name(&event.payload)).collect();
        let large = outside.iter().zip(events).filter_map(|(outside, event)| {
            outside.map(|outside| self.write_one(outside.file, event.payload.clone()))
        });
        let large: Vec<_> = large.collect();
        if large.is_empty() {
            return Ok(outside);
        }
        let written = match join_all(large).await.into_iter().collect::<io::Result<()>>() {
            Ok(()) => {
                let opened = Arc::clone(&self.opened);
                blocking(move || opened.sync_all()).await
            }
            Err(error) => Err(error),
        };
        let written = written.map_err(|e| unavailable("a payload cannot be written", e));
        self.watch.note(&written);
        if let Err(error) = written {
            self.remove(files(&outside)).await;
            return Err(error);
        }
        Ok(outside)
    }

    fn name(&self, payload: &Bytes) -> Option<Outside> {
        (payload.len() >= limits::LARGE_PAYLOAD_BYTES).then(|| {
            let number = self.named.fetch_add(1, Ordering::Relaxed);
            Outside { file: Uuid::from_u64_pair(self.run, number), bytes: payload.len() }
        })
    }

    async fn write_one(&self, file: Uuid, payload: Bytes) -> io::Result<()> {
        let writing = Arc::clone(&self.writing).acquire_owned().await.expect("nobody closes the semaphore");
        let path = self.path(file);
        blocking(move || {
            // Until it is written, whoever waits for it.
            let _writing = writing;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(&payload)?;
            file.sync_data()
        })
        .await
    }

    /// Reads these; an error is of the row that names the file. One that is gone may have gone with its row
    /// ([`is_gone`]).
    pub(super) async fn read(&self, outside: Vec<Outside>) -> Result<Vec<Bytes>, sqlx::Error> {
        if outside.is_empty() {
            return Ok(Vec::new());
        }
        let paths: Vec<_> = outside.into_iter().map(|outside| (self.path(outside.file), outside)).collect();
        let read = blocking(move || {
            let read = paths.iter().map(|(path, outside)| read(path, *outside));
            Ok(read.collect::<Result<Vec<_>, Damage>>())
        });
        let damaged = |damage| sqlx::Error::ColumnDecode { index: "payload_file".into(), source: damage };
        read.await?.map_err(|damage| damaged(Box::new(damage)))
    }

    /// Removes these, of which no row names any (any more). What cannot be removed is left to the next start.
    pub(super) async fn remove(&self, files: Vec<Uuid>) {
        if files.is_empty() {
            return;
        }
        let paths: Vec<_> = files.into_iter().map(|file| self.path(file)).collect();
        let removed = blocking(move || {
            let mut removed = Ok(());
            for path in paths {
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => removed = Err(error),
                    _ => {}
                }
            }
            removed
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "files of payloads that nobody needs cannot be removed; the next start tries again");
        }
    }

    /// Removes, beside everything else, what earlier runs left behind; until the guard is dropped. Nobody else may write into the
    /// directory meanwhile, which `lock` sees to.
    pub(super) fn sweep_beside(
        self: &Arc<Self>,
        reading: SqliteConnectOptions,
        lock: Arc<File>,
    ) -> DropGuard {
        let (payloads, stopped) = (Arc::clone(self), CancellationToken::new());
        let guard = stopped.clone().drop_guard();
        tokio::spawn(async move {
            let swept = stopped.run_until_cancelled(payloads.sweep(reading)).await;
            match swept {
                Some(Ok(files @ 1..)) => {
                    tracing::info!(files, "files of payloads without an event were removed")
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "what earlier runs left of payloads is not removed")
                }
                Some(Ok(0)) | None => {}
            }
            drop(lock);
        });
        guard
    }

    /// Removes the files of earlier runs that no row names, step by step; returns how many.
    pub(super) async fn sweep(&self, reading: SqliteConnectOptions) -> Result<u64, sqlx::Error> {
        let directory = self.directory.clone();
        let mut entries = blocking(move || std::fs::read_dir(directory)).await?;
        let (mut connection, mut removed) = (None, 0);
        loop {
            let began = Instant::now();
            let (rest, names) = blocking(move || next_names(entries)).await?;
            entries = rest;
            let Some(mut names) = names else { return Ok(removed) };
            names.retain(|name| name.as_u64_pair().0 != self.run);
            if !names.is_empty() {
                let connection = match &mut connection {
                    Some(connection) => connection,
                    none => none.insert(reading.connect().await?),
                };
                let known = named(connection, &names).await?;
                names.retain(|name| !known.contains(name));
                removed += names.len() as u64;
                self.remove(names).await;
            }
            let pause = began.elapsed() * limits::SWEEP_REST;
            tokio::time::sleep(pause.clamp(limits::SWEEP_PAUSE, limits::SWEEP_PAUSE_MAX)).await;
        }
    }

    fn path(&self, file: Uuid) -> PathBuf {
        self.directory.join(name(file))
    }
}

fn name(file: Uuid) -> String {
    file.simple().to_string()
}

/// The names of all that are outside.
pub(super) fn files(outside: &[Option<Outside>]) -> Vec<Uuid> {
    outside.iter().flatten().map(|outside| outside.file).collect()
}

/// Where a row's payload is; `None`: in the row. The row has the columns `payload_file` and `payload_bytes`.
pub(super) fn outside(row: &SqliteRow) -> Result<Option<Outside>, sqlx::Error> {
    let Some(file) = file(row)? else { return Ok(None) };
    let bytes: u32 = row.try_get("payload_bytes")?;
    Ok(Some(Outside { file, bytes: bytes as usize }))
}

/// The file that a row names. The row has the column `payload_file`.
pub(super) fn file(row: &SqliteRow) -> Result<Option<Uuid>, sqlx::Error> {
    let file: Option<&[u8]> = row.try_get("payload_file")?;
    let damaged = |source| sqlx::Error::ColumnDecode { index: "payload_file".into(), source };
    file.map(Uuid::from_slice).transpose().map_err(|error| damaged(Box::new(error)))
}

/// Whether a file was not there: whoever looks at the row again knows whether that is gone too.
pub(super) fn is_gone(error: &sqlx::Error) -> bool {
    let sqlx::Error::ColumnDecode { source, .. } = error else { return false };
    matches!(source.downcast_ref(), Some(Damage::Gone(_)))
}

fn read(path: &Path, outside: Outside) -> Result<Bytes, Damage> {
    let name = || name(outside.file);
    let unreadable = |error| Damage::Unreadable(name(), error);
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Damage::Gone(name()),
        _ => unreadable(error),
    })?;
    let found = file.metadata().map_err(unreadable)?.len();
    if found != outside.bytes as u64 {
        return Err(Damage::Length { name: name(), found, wanted: outside.bytes });
    }
    let mut payload = vec![0; outside.bytes];
    file.read_exact(&mut payload).map_err(unreadable)?;
    Ok(payload.into())
}

/// The names of some more files of ours, and where to go on; `None`: there are no more.
fn next_names(mut entries: ReadDir) -> io::Result<(ReadDir, Option<Vec<Uuid>>)> {
    let step = entries.by_ref().take(limits::PAYLOADS_SWEPT).collect::<io::Result<Vec<_>>>()?;
    // What is not named like ours is somebody else's.
    let ours = |entry: &std::fs::DirEntry| {
        let found = entry.file_name();
        Uuid::try_parse(found.to_str()?).ok().filter(|file| found == *name(*file))
    };
    let names = (!step.is_empty()).then(|| step.iter().filter_map(ours).collect());
    Ok((entries, names))
}

/// Which of these files a row names.
async fn named(connection: &mut SqliteConnection, files: &[Uuid]) -> Result<HashSet<Uuid>, sqlx::Error> {
    const NAMED: Text = Text {
        before: "SELECT payload_file FROM events INDEXED BY events_by_payload_file WHERE payload_file IN (",
        row: "?",
        after: ")",
    };
    let rows = NAMED.fetch(connection, files, |query, file| query.bind(blob(*file))).await?;
    rows.iter().map(|row| uuid(row, 0)).collect()
}

/// Runs what waits for the disk where nobody else waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
#[path = "payloads_tests.rs"]
mod tests;
