//! A TCP proxy between one process and one server, which can be cut.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Ends with its test.
pub struct Proxy {
    pub address: SocketAddr,
    line: Arc<watch::Sender<Line>>,
    task: tokio::task::JoinHandle<()>,
}

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Open,
    /// Connections end, and new ones end at once.
    Cut,
    /// Nothing comes through and nobody is told, as when a cable is pulled.
    Silent,
    /// The same for connections that say this as they begin.
    SilentTo(&'static str),
}

impl Proxy {
    /// Goes to `server`.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let line = Arc::new(watch::Sender::new(Line::Open));
        let task = tokio::spawn(accept(listener, server, line.clone()));
        Self { address, line, task }
    }

    pub fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    pub fn silence(&self) {
        self.line.send_replace(Line::Silent);
    }

    /// Silences the connections that say `word` as they begin, a connection to Postgres for its purpose.
    pub fn silence_only(&self, word: &'static str) {
        self.line.send_replace(Line::SilentTo(word));
    }

    /// New connections come through again. Those that were silent end: their bytes are lost.
    pub fn mend(&self) {
        self.line.send_replace(Line::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, line: Arc<watch::Sender<Line>>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, server, line.subscribe()));
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, mut line: watch::Receiver<Line>) {
    let mut head = vec![0; 1_024];
    let read = client.peek(&mut head).await.unwrap_or_default();
    let says = |word: &str| head[..read].windows(word.len()).any(|part| part == word.as_bytes());
    let is_open = |line: &Line| match line {
        Line::Open => true,
        Line::SilentTo(word) => !says(word),
        Line::Cut | Line::Silent => false,
    };
    let open = is_open(&line.borrow_and_update());
    if open {
        let Ok(mut upstream) = TcpStream::connect(server).await else { return };
        let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut upstream) => return,
            _ = line.wait_for(|line| !is_open(line)) => {}
        }
    }
    // While the line is silent nobody is told; the proxy's end ends this too.
    let _ = line.wait_for(|line| *line == Line::Cut || is_open(line)).await;
}
