//! One connection: dialled within a deadline, watched, closed.
//!
//! `lapin` lives on a runtime of its own, which is there until the process ends: its thread panics when the runtime under
//! it ends first, and a connection must be closable from wherever its last handle is dropped.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::runtime::default_runtime;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{sleep, timeout};

use super::socket::Socket;
use super::{QueueType, topology};
use crate::limits;
use crate::queue::QueueDown;

/// Where the broker is and who dials. It holds the password: it has no `Debug`, and no error quotes it.
#[derive(Clone)]
pub struct Address {
    uri: AMQPUri,
    name: String,
    queue_type: QueueType,
}

impl Address {
    /// Reads an `amqp://` or `amqps://` URL.
    pub fn parse(url: &str, name: &str, queue_type: QueueType) -> Result<Self, QueueDown> {
        let mut uri: AMQPUri = url
            .parse()
            .map_err(|_| QueueDown("its URL is not of the form amqp://user:password@host/vhost".into()))?;
        let heartbeat = u16::try_from(limits::AMQP_HEARTBEAT.as_secs()).unwrap_or(u16::MAX);
        uri.query.heartbeat.get_or_insert(heartbeat);
        Ok(Self { uri, name: name.to_owned(), queue_type })
    }

    /// Connects and declares the topology. `purpose` is what the management UI shows.
    pub async fn dial(&self, purpose: &str) -> Result<Connection, QueueDown> {
        self.dial_within(purpose, limits::AMQP_DIAL_DEADLINE).await
    }

    async fn dial_within(&self, purpose: &str, deadline: Duration) -> Result<Connection, QueueDown> {
        let name = format!("{} {purpose}", self.name);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let (uri, queue_type, socket) = (self.uri.clone(), self.queue_type, Socket::default());
        let opened = socket.clone();
        let dialling = runtime()?.spawn(async move {
            let connection = connect(uri, properties, opened, deadline).await?;
            topology::declare(&connection, queue_type).await?;
            Ok::<_, lapin::Error>(connection)
        });
        let dialled = timeout(deadline, dialling).await;
        if dialled.is_err() {
            socket.give_up();
        }
        socket.release();
        match dialled {
            Ok(Ok(Ok(connection))) => Ok(connection),
            Ok(Ok(Err(error))) => Err(down(error)),
            Ok(Err(panicked)) => Err(QueueDown(panicked.to_string())),
            Err(_late) => Err(QueueDown("it does not answer in time".into())),
        }
    }
}

/// As [`Connection::connect_uri`], but for the hold on the socket.
async fn connect(
    uri: AMQPUri,
    properties: ConnectionProperties,
    socket: Socket,
    deadline: Duration,
) -> lapin::Result<Connection> {
    Connection::connector(
        uri,
        default_runtime()?,
        async move |uri: AMQPUri, runtime| {
            let opening = async {
                let AMQPAuthority { host, port, .. } = &uri.authority;
                let place = runtime.to_socket_addrs((host.clone(), *port));
                let stream = AsyncTcpStream::connect(&runtime, place).await?;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    socket.opened(plain.get_ref())?;
                }
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => stream.into_tls(host, OwnedTLSConfig::default().as_ref()).await,
                }
            };
            let opened = timeout(deadline, opening).await;
            opened.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into())).map_err(lapin::Error::from)
        },
        properties,
    )
    .await
}

/// An error of the broker's or of the way to it.
pub fn down(error: lapin::Error) -> QueueDown {
    QueueDown(error.to_string())
}

/// Returns once the connection is not usable any more.
pub async fn lost(connection: &Connection) {
    while connection.status().connected() {
        sleep(limits::AMQP_LOOK).await;
    }
}

/// Closes the connection: what was unacked on it goes back to its queues.
pub async fn closing(connection: Arc<Connection>) {
    // One that is lost already is closed in its way, and one that does not answer is dropped.
    let _ = timeout(limits::AMQP_CALL_DEADLINE, connection.close(200, "done".into())).await;
}

/// The runtime of all connections of this process.
pub fn runtime() -> Result<&'static Handle, QueueDown> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(1).thread_name("amqp").enable_all().build()
    });
    match made {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(QueueDown(format!("no thread for its connections: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    fn threads() -> usize {
        let tasks = fs::read_dir("/proc/self/task").expect("Linux lists them").flatten();
        let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        tasks.map(name).filter(|name| name.starts_with("lapin-io-loop")).count()
    }

    #[tokio::test]
    async fn a_broker_that_takes_connections_and_says_nothing_leaves_no_thread_behind() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("amqp://guest:guest@{}/", listener.local_addr().expect("it has one"));
        let silent = tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Ok((socket, _)) = listener.accept().await {
                taken.push(socket);
            }
        });
        let address = Address::parse(&url, "test", QueueType::Classic).expect("a URL");
        for _ in 0..3 {
            assert!(address.dial_within("test", Duration::from_millis(200)).await.is_err());
        }
        let began = Instant::now();
        while threads() > 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "{} threads are left", threads());
            sleep(Duration::from_millis(20)).await;
        }
        silent.abort();
    }
}
