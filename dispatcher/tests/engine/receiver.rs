//! A customer's endpoint: tells what arrives and answers as it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use fairhook_common::ids::EventId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub event: EventId,
    pub attempt: u32,
    pub body: Bytes,
}

/// How to answer.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    Status(u16),
    After(Duration, u16),
    Never,
}

/// A running receiver.
pub struct Receiver {
    pub address: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
    server: JoinHandle<()>,
}

impl Receiver {
    /// One that answers what `answer` says.
    pub async fn start(answer: impl Fn(&Arrival) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (told, arrivals) = mpsc::channel(100_000);
        let answer = Arc::new(answer);
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let (told, answer) = (told.clone(), Arc::clone(&answer));
            async move {
                let header = |name| headers.get(name).and_then(|v| v.to_str().ok()).expect("a header");
                let arrival = Arrival {
                    event: header("webhook-id").parse().expect("an event's id"),
                    attempt: header("webhook-attempt").parse().expect("a number"),
                    body,
                };
                let answer = answer(&arrival);
                told.send(arrival).await.expect("the test listens");
                match answer {
                    Answer::Status(status) => code(status),
                    Answer::After(wait, status) => {
                        tokio::time::sleep(wait).await;
                        code(status)
                    }
                    Answer::Never => std::future::pending().await,
                }
            }
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, arrivals, server }
    }

    /// One that answers 200 to everything.
    pub async fn good() -> Self {
        Self::start(|_| Answer::Status(200)).await
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The next arrival; there must be one.
    pub async fn next(&mut self) -> Arrival {
        let next = timeout(super::rig::PATIENCE, self.arrivals.recv()).await;
        next.expect("it arrives in time").expect("the server runs")
    }

    /// The next `count` arrivals.
    pub async fn take(&mut self, count: usize) -> Vec<Arrival> {
        let mut taken = Vec::new();
        let taking = async {
            while taken.len() < count {
                taken.push(self.arrivals.recv().await.expect("the server runs"));
            }
        };
        let in_time = timeout(super::rig::PATIENCE, taking).await.is_ok();
        assert!(in_time, "{} of {count} arrived in time", taken.len());
        taken
    }

    /// What has arrived and was not looked at.
    pub fn rest(&mut self) -> Vec<Arrival> {
        std::iter::from_fn(|| self.arrivals.try_recv().ok()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status")
}
