//! Why an engine does not start, each in one sentence without a secret.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use fairhook_common::config::ServerUrl;
use fairhook_common::queue::QueueDown;
use fairhook_common::store::{ControlError, StoreError};
use fairhook_dispatcher::attempt::AttempterError;
use fairhook_ingest::BadRedisUrl;

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error("cannot use the data directory {directory}: {error}", directory = .0.display(), error = .1)]
    DataDir(PathBuf, io::Error),
    /// The embedded store.
    #[error("cannot open the store in {directory}: {error}", directory = .0.display(), error = .1)]
    Store(PathBuf, StoreError),
    /// Postgres.
    #[error("cannot use Postgres at {0}: {1}")]
    Postgres(ServerUrl, StoreError),
    /// RabbitMQ.
    #[error("cannot use RabbitMQ at {0}: {1}")]
    RabbitMq(ServerUrl, QueueDown),
    /// Redis.
    #[error("cannot use Redis (setting redis_url): {0}")]
    Redis(#[from] BadRedisUrl),
    /// The operator's key.
    #[error("cannot use the operator's key: {0}")]
    OperatorKey(io::Error),
    /// A port.
    #[error("cannot listen on {1} (setting {0}): {2}")]
    Listen(&'static str, SocketAddr, io::Error),
    /// The operator's endpoint.
    #[error("cannot keep the endpoint for operational events (setting operator_webhook_url): {0}")]
    OperatorWebhook(ControlError),
    /// What the process before left behind cannot be read.
    #[error("cannot take up what was left behind: {0}")]
    Recovery(StoreError),
    /// The HTTP client.
    #[error("cannot make the HTTP client: {0}")]
    Client(#[from] AttempterError),
}
