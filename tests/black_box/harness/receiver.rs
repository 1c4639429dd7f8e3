//! A receiver that does as it is told and remembers every request.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

/// What is answered, and after how long.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    pub status: u16,
    pub after: Duration,
}

impl Reply {
    /// At once.
    pub const fn status(status: u16) -> Self {
        Self { status, after: Duration::ZERO }
    }

    /// 200, after a while.
    pub const fn late(after: Duration) -> Self {
        Self { status: 200, after }
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub at: Instant,
    /// When it was answered, or given up by whoever sent it.
    pub ended: Option<Instant>,
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub replied: u16,
}

impl Arrival {
    /// A header's text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

type Script = dyn Fn(&Arrival) -> Reply + Send + Sync;

/// A receiver on a port of its own.
pub struct Receiver {
    pub address: SocketAddr,
    desk: Desk,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Desk {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    count: Arc<watch::Sender<usize>>,
    script: Arc<Mutex<Arc<Script>>>,
}

impl Receiver {
    /// Answers 200 to everything.
    pub async fn good() -> Self {
        Self::scripted(|_| Reply::status(200)).await
    }

    /// Answers as `script` says.
    pub async fn scripted(script: impl Fn(&Arrival) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let desk = Desk {
            arrivals: Arc::default(),
            count: Arc::new(watch::Sender::new(0)),
            script: Arc::new(Mutex::new(Arc::new(script))),
        };
        let router = Router::new().fallback(receive).with_state(desk.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { address, desk, task }
    }

    /// Answers otherwise from now on.
    pub fn now(&self, script: impl Fn(&Arrival) -> Reply + Send + Sync + 'static) {
        *self.desk.script.lock().expect("no panic under it") = Arc::new(script);
    }

    /// Where endpoints send to.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Everything that arrived so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.desk.arrivals.lock().expect("no panic under it").clone()
    }

    /// The ids of the events that were answered with 2xx.
    pub fn taken(&self) -> HashSet<String> {
        let taken = self.arrivals().into_iter().filter(|arrival| (200..300).contains(&arrival.replied));
        taken.map(|arrival| arrival.header("webhook-id").to_owned()).collect()
    }

    /// Waits until so many requests have arrived.
    pub async fn wait_for(&self, arrivals: usize, deadline: Duration) {
        let mut count = self.desk.count.subscribe();
        let came = timeout(deadline, count.wait_for(|count| *count >= arrivals)).await.is_ok();
        let seen = self.arrivals().len();
        assert!(came, "{seen} of {arrivals} requests arrived within {deadline:?}");
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Notes when a request ended, which may be in the middle of its answer.
struct Ending(Desk, usize);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.arrivals.lock().expect("no panic under it")[self.1].ended = Some(Instant::now());
    }
}

async fn receive(State(desk): State<Desk>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let mut arrival = Arrival { at: Instant::now(), ended: None, method, headers, body, replied: 0 };
    let script = desk.script.lock().expect("no panic under it").clone();
    let reply = script(&arrival);
    arrival.replied = reply.status;
    let place = {
        let mut arrivals = desk.arrivals.lock().expect("no panic under it");
        arrivals.push(arrival);
        arrivals.len() - 1
    };
    let _ending = Ending(desk.clone(), place);
    desk.count.send_modify(|count| *count += 1);
    tokio::time::sleep(reply.after).await;
    // Whoever asks may send.
    (StatusCode::from_u16(reply.status).expect("a status"), [("webhook-allowed-origin", "*")]).into_response()
}
