//! One connection: dialled within a deadline, watched, closed.
//!
//! `lapin` lives on a runtime of its own, which is there until the process ends: its thread panics when the runtime under
//! it ends first, and a connection must be closable from wherever its last handle is dropped.

use std::io;
use std::sync::{Arc, OnceLock};

use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{sleep, timeout};

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
        let name = format!("{} {purpose}", self.name);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let (uri, queue_type) = (self.uri.clone(), self.queue_type);
        let dialling = runtime()?.spawn(async move {
            let connection = Connection::connect_uri(uri, properties).await?;
            topology::declare(&connection, queue_type).await?;
            Ok::<_, lapin::Error>(connection)
        });
        // Late, it goes on by itself: the connection is closed as soon as it is there.
        match timeout(limits::AMQP_DIAL_DEADLINE, dialling).await {
            Ok(Ok(Ok(connection))) => Ok(connection),
            Ok(Ok(Err(error))) => Err(down(error)),
            Ok(Err(panicked)) => Err(QueueDown(panicked.to_string())),
            Err(_late) => Err(QueueDown("it does not answer in time".into())),
        }
    }
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
