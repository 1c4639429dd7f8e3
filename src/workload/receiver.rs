//! Receivers on loopback, each stream's with its own behaviour.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::Ledger;

/// What a receiver does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with this status after this time.
    Answer(u16, Duration),
    /// Never answers.
    Hang,
}

/// One server for all streams: stream `n` is at `/n`. Ends when dropped.
#[derive(Debug)]
pub struct Receivers {
    address: SocketAddr,
    task: AbortHandle,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    behaviours: Vec<Behaviour>,
    ledger: Arc<Ledger>,
    refusing: AtomicBool,
}

#[derive(Deserialize)]
struct Mark {
    stream: usize,
    number: usize,
}

impl Receivers {
    /// Listens on a free port of loopback.
    pub async fn start(behaviours: Vec<Behaviour>, ledger: Arc<Ledger>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { behaviours, ledger, refusing: AtomicBool::new(false) });
        let router = Router::new().route("/{stream}", post(receive)).with_state(shared.clone());
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            // Small answers must not wait for an acknowledgement. A socket that refuses the option is only slower.
            let _ = stream.set_nodelay(true);
        });
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the receivers stopped");
            }
        });
        Ok(Self { address, task: task.abort_handle(), shared })
    }

    /// Where stream `n`'s events go.
    pub fn url(&self, stream: usize) -> String {
        format!("http://{}/{stream}", self.address)
    }

    /// From now on everything is answered with 503 (or, with `false`, as before).
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::Relaxed);
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, Path(stream): Path<usize>, body: Bytes) -> StatusCode {
    if shared.refusing.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    match shared.behaviours.get(stream) {
        None => StatusCode::NOT_FOUND,
        Some(Behaviour::Hang) => std::future::pending().await,
        Some(Behaviour::Answer(status, delay)) => {
            if (200..300).contains(status)
                && let Ok(mark) = serde_json::from_slice::<Mark>(&body)
            {
                shared.ledger.arrived(mark.stream, mark.number);
            }
            if !delay.is_zero() {
                tokio::time::sleep(*delay).await;
            }
            StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}
