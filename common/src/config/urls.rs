//! Which backends stand behind the two seams.

use std::path::PathBuf;

/// Which store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite:` in the data directory, or `sqlite:DIRECTORY`.
    Sqlite(Option<PathBuf>),
}

/// Which queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueUrl {
    /// `memory:`, in this process.
    Memory,
}

impl StoreUrl {
    /// Reads a URL; the error does not quote it, it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(directory) = text.strip_prefix("sqlite:") {
            return Ok(Self::Sqlite((!directory.is_empty()).then(|| directory.into())));
        }
        Err(match scheme(text) {
            Some("postgres" | "postgresql") => not_in_this_version("a Postgres store"),
            _ => "a store is `sqlite:` (in the data directory) or `sqlite:DIRECTORY`".to_owned(),
        })
    }
}

impl QueueUrl {
    /// Reads a URL; the error does not quote it, it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "memory:" => Ok(Self::Memory),
            _ if matches!(scheme(text), Some("amqp" | "amqps")) => {
                Err(not_in_this_version("a RabbitMQ queue"))
            }
            _ => Err("a queue is `memory:`".to_owned()),
        }
    }
}

/// The answer to a URL of the distributed mode.
pub(super) fn not_in_this_version(what: &str) -> String {
    format!("this version runs on SQLite and in-process queues and cannot use {what}; leave the setting out")
}

fn scheme(url: &str) -> Option<&str> {
    url.split_once("://").map(|(scheme, _)| scheme)
}
