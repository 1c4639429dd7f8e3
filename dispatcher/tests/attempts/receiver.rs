//! A receiver that does to its connections whatever a test wants.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::PATIENCE;

/// A request as it came over the wire.
pub struct Seen {
    pub line: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

pub struct Receiver {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: mpsc::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Does `behave` to each connection, the `n`-th from 0.
    pub async fn behaving<F, B>(behave: F) -> Self
    where
        F: Fn(Connection, usize) -> B + Send + 'static,
        B: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, seen) = mpsc::channel(64);
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let n = counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(behave(Connection { stream, sender: sender.clone(), spare: Vec::new() }, n));
            }
        });
        Self { address, connections, seen, task }
    }

    /// Answers every request with `answer`, and keeps connections open.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::behaving(move |mut connection, _| {
            let answer = Arc::clone(&answer);
            async move { while connection.request().await.is_some() && connection.write(&answer).await {} }
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request that came.
    pub async fn next(&mut self) -> Seen {
        tokio::time::timeout(PATIENCE, self.seen.recv()).await.expect("in time").expect("it lives")
    }

    /// Whether nothing has come but what [`Self::next`] gave.
    pub fn has_nothing_more(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

pub struct Connection {
    pub stream: TcpStream,
    sender: mpsc::Sender<Seen>,
    /// Read beyond the last request.
    spare: Vec<u8>,
}

impl Connection {
    /// Reads a request and notes it. `None`: the sender closed.
    pub async fn request(&mut self) -> Option<()> {
        let end = loop {
            if let Some(at) = self.spare.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let rest = self.spare.split_off(end);
        let head = String::from_utf8(std::mem::replace(&mut self.spare, rest)).expect("an ASCII head");
        let (line, fields) = head.split_once("\r\n").expect("a request line");
        let headers: HeaderMap = fields.lines().filter_map(field).collect();
        let length =
            headers.get("content-length").map_or(0, |v| v.to_str().expect("text").parse().expect("a number"));
        while self.spare.len() < length {
            self.more().await?;
        }
        let rest = self.spare.split_off(length);
        let body = std::mem::replace(&mut self.spare, rest);
        let _ = self.sender.try_send(Seen { line: line.into(), headers, body });
        Some(())
    }

    /// The same, for whoever answers handshakes otherwise than deliveries.
    pub async fn is_question(&mut self) -> Option<bool> {
        while !self.spare.contains(&b' ') {
            self.more().await?;
        }
        let is_question = self.spare.starts_with(b"OPTIONS ");
        self.request().await.map(|()| is_question)
    }

    async fn more(&mut self) -> Option<()> {
        (self.stream.read_buf(&mut self.spare).await.ok()? > 0).then_some(())
    }

    /// Whether the sender is still there to take it.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Until the sender closes.
    pub async fn hold(&mut self) {
        while self.more().await.is_some() {}
    }
}

fn field(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.parse().expect("a name"), value.trim().parse().expect("a value")))
}

pub fn answer(status: &str, body: &str) -> String {
    answer_with(status, "", body)
}

/// `extra`: whole header lines.
pub fn answer_with(status: &str, extra: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{extra}content-length: {}\r\n\r\n{body}", body.len())
}
