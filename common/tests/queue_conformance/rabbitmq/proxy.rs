//! A TCP proxy before the broker: it cuts connections, turns new ones away, and says what only a broker in distress says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use url::Url;

/// Gone when it is dropped, with every connection through it.
pub struct Proxy {
    url: Url,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// Whether new connections are let through.
    open: bool,
    connections: BTreeMap<u64, Connection>,
    next: u64,
}

struct Connection {
    task: AbortHandle,
    /// Frames for the client.
    to_client: mpsc::Sender<Vec<u8>>,
}

impl Proxy {
    /// Before the broker that `url` names; closed, unless `open`.
    pub async fn start(url: &Url, open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut own = url.clone();
        own.set_port(Some(listener.local_addr().expect("bound").port())).expect("a URL with a host");
        let broker = (url.host_str().expect("a host").to_owned(), url.port().unwrap_or(5672));
        let state = Arc::new(Mutex::new(State { open, ..State::default() }));
        let accepting = tokio::spawn(accept(listener, broker, Arc::clone(&state)));
        Self { url: own, state, accepting }
    }

    /// Where it listens, with the login and the vhost of the broker.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Lets connections through from now on.
    pub fn open(&self) {
        self.state().open = true;
    }

    /// How many connections go through it.
    pub fn connections(&self) -> usize {
        self.state().connections.len()
    }

    /// Cuts the connection at this place, counted over those that are there.
    pub fn cut(&self, place: usize) {
        let mut state = self.state();
        let key = state.connections.keys().nth(place % state.connections.len().max(1)).copied();
        if let Some(cut) = key.and_then(|key| state.connections.remove(&key)) {
            cut.task.abort();
        }
    }

    /// Cuts every connection.
    pub fn cut_all(&self) {
        let cut = std::mem::take(&mut self.state().connections);
        cut.into_values().for_each(|connection| connection.task.abort());
    }

    /// Tells every client what a broker tells that is out of memory.
    pub async fn block(&self) {
        self.say(&[0, 10, 0, 60, 6, b'm', b'e', b'm', b'o', b'r', b'y']).await;
    }

    /// Tells every client that all is well again.
    pub async fn unblock(&self) {
        self.say(&[0, 10, 0, 61]).await;
    }

    /// A method's frame on the channel that stands for the connection.
    async fn say(&self, method: &[u8]) {
        let mut frame = vec![1, 0, 0];
        frame.extend(u32::try_from(method.len()).expect("a short one").to_be_bytes());
        frame.extend(method);
        frame.push(0xCE);
        let clients: Vec<_> = self.state().connections.values().map(|c| c.to_client.clone()).collect();
        for client in clients {
            client.send(frame.clone()).await.expect("the connection is there");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no step under this lock can panic")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_all();
    }
}

async fn accept(listener: TcpListener, broker: (String, u16), state: Arc<Mutex<State>>) {
    loop {
        let (client, _) = listener.accept().await.expect("it listens");
        let mut state_now = state.lock().expect("no step under this lock can panic");
        if !state_now.open {
            continue;
        }
        let (to_client, frames) = mpsc::channel(64);
        let key = state_now.next;
        state_now.next += 1;
        let (broker, sender, state) = (broker.clone(), to_client.clone(), Arc::clone(&state));
        let task = tokio::spawn(async move {
            pass(client, broker, sender, frames).await;
            state.lock().expect("no step under this lock can panic").connections.remove(&key);
        });
        state_now.connections.insert(key, Connection { task: task.abort_handle(), to_client });
    }
}

/// Passes everything on until either side is gone.
async fn pass(
    client: TcpStream,
    broker: (String, u16),
    to_client: mpsc::Sender<Vec<u8>>,
    frames: mpsc::Receiver<Vec<u8>>,
) {
    let Ok(broker) = TcpStream::connect(broker).await else { return };
    let (mut from_client, writer) = client.into_split();
    let (reader, mut to_broker) = broker.into_split();
    tokio::select! {
        _ = copy(&mut from_client, &mut to_broker) => {}
        () = read_frames(reader, to_client) => {}
        () = write_frames(frames, writer) => {}
    }
}

/// Whole frames, so that something can be said between two of them.
async fn read_frames(mut broker: OwnedReadHalf, to_client: mpsc::Sender<Vec<u8>>) {
    loop {
        let mut frame = vec![0; 7];
        if broker.read_exact(&mut frame).await.is_err() {
            return;
        }
        let size = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]) as usize;
        frame.resize(7 + size + 1, 0);
        if broker.read_exact(&mut frame[7..]).await.is_err() || to_client.send(frame).await.is_err() {
            return;
        }
    }
}

async fn write_frames(mut frames: mpsc::Receiver<Vec<u8>>, mut client: OwnedWriteHalf) {
    while let Some(frame) = frames.recv().await {
        if client.write_all(&frame).await.is_err() {
            return;
        }
    }
}
