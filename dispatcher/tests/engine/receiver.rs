//! A customer's endpoint: tells what arrives and answers as it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    crowd: Arc<Crowd>,
    arrivals: mpsc::Receiver<Arrival>,
    server: JoinHandle<()>,
}

/// How many requests are and were being answered at once.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A request that is being answered, until its caller goes.
struct Inside(Arc<Crowd>);

impl Inside {
    fn enter(crowd: &Arc<Crowd>) -> Self {
        let now = crowd.now.fetch_add(1, Ordering::Relaxed) + 1;
        crowd.most.fetch_max(now, Ordering::Relaxed);
        Self(Arc::clone(crowd))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Receiver {
    /// One that answers what `answer` says.
    pub async fn start(answer: impl Fn(&Arrival) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (told, arrivals) = mpsc::channel(100_000);
        let answer = Arc::new(answer);
        let crowd = Arc::<Crowd>::default();
        let counted = Arc::clone(&crowd);
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let (told, answer) = (told.clone(), Arc::clone(&answer));
            let inside = Inside::enter(&counted);
            async move {
                let _inside = inside;
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
        Self { address, crowd, arrivals, server }
    }

    /// One that answers 200 to everything.
    pub async fn good() -> Self {
        Self::start(|_| Answer::Status(200)).await
    }

    /// How many requests there were at once, at most, since this was last asked.
    pub fn most_at_once(&self) -> usize {
        self.crowd.most.swap(0, Ordering::Relaxed)
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
