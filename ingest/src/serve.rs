//! Serving connections: so many at once and of one peer, none that dawdles, and an end in good order.

mod answers;
mod room;

use std::io;
use std::time::Duration;

use axum::Router;
use fairhook_common::limits;
use fairhook_common::shutdown::Shutdown;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::api::client::Peer;
use answers::Answers;
use room::{Place, Room};

/// How long to wait after a failed accept: the process is out of files, and only time helps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` until `shutdown` drains: then no connection is accepted, requests under way are answered, idle
/// connections end. Returns when all have ended, or at once when there is nothing to be waited for any more.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) {
    serve_in(
        Room::new(limits::API_CONNECTIONS, limits::API_CONNECTIONS_PER_PEER),
        listener,
        router,
        shutdown,
    )
    .await;
}

async fn serve_in(room: Room, listener: TcpListener, router: Router, shutdown: Shutdown) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.draining() => break,
            accepted = accept(&listener, &room) => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        match accepted {
            // Closed at once: waiting for room, it would wait before everybody else.
            Ok((stream, _, None)) => drop(stream),
            Ok((stream, peer, Some(place))) => {
                let connection = converse(stream, peer, router.clone(), shutdown.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(error.detail = %error, "no connection could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = drained => {}
        () = shutdown.stopping_now() => {}
    }
}

/// The next connection, once there is room for it, and its place if its peer may have one more.
async fn accept(listener: &TcpListener, room: &Room) -> io::Result<(TcpStream, Peer, Option<Place>)> {
    let permit = room.some().await;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, Peer(peer.ip()), room.place(peer.ip(), permit)))
}

async fn converse(stream: TcpStream, peer: Peer, router: Router, shutdown: Shutdown) {
    // An answer is written whole; waiting for more of it would only delay it. Failing to say so costs time, not truth.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::REQUEST_HEAD_DEADLINE)
        .max_buf_size(limits::REQUEST_HEAD_BYTES)
        .serve_connection(
            TokioIo::new(Answers::new(stream, limits::ANSWER_DEADLINE)),
            TowerToHyperService::new(router.map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer);
                request
            })),
        );
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.draining() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(error.detail = %error, "a connection broke");
    }
}

/// Whether a failed accept says something of that one connection only.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_drain_answers_what_is_under_way_and_then_ends() {
        let (entered, inside) = tokio::sync::oneshot::channel::<()>();
        let (go, may_go) = tokio::sync::oneshot::channel::<()>();
        let gates = Arc::new(std::sync::Mutex::new(Some((entered, may_go))));
        let slow = move || {
            let (entered, may_go) = gates.lock().expect("unpoisoned").take().expect("called once");
            async move {
                entered.send(()).expect("listens");
                may_go.await.expect("let go");
                "done"
            }
        };
        let router = Router::new().route("/slow", get(slow));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        let server = tokio::spawn(serve(listener, router, shutdown.clone()));

        let mut busy = TcpStream::connect(address).await.expect("connects");
        busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("writes");
        let mut idle = TcpStream::connect(address).await.expect("connects");
        inside.await.expect("the handler runs");
        shutdown.drain();
        let mut rest = Vec::new();
        assert_eq!(idle.read_to_end(&mut rest).await.expect("closed in order"), 0);
        go.send(()).expect("listens");
        busy.read_to_end(&mut rest).await.expect("answered and closed");
        assert!(String::from_utf8_lossy(&rest).ends_with("done"));
        server.await.expect("ends");
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }

    #[tokio::test]
    async fn a_peer_that_holds_its_share_is_closed_the_door_on_and_gets_in_again() {
        let router = Router::new().route("/", get(async || "done"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        let server = tokio::spawn(serve_in(Room::new(10, 2), listener, router, shutdown.clone()));
        let ask = async |stream: &mut TcpStream| {
            let mut answer = [0; 15];
            let asked = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
            asked.is_ok() && stream.read_exact(&mut answer).await.is_ok() && answer == *b"HTTP/1.1 200 OK"
        };
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            assert!(ask(&mut stream).await);
            held.push(stream);
        }
        let mut third = TcpStream::connect(address).await.expect("the system takes it");
        assert!(!ask(&mut third).await, "it is closed");
        // Its end is seen some time later.
        held.pop();
        while !ask(&mut TcpStream::connect(address).await.expect("connects")).await {
            tokio::task::yield_now().await;
        }
        shutdown.drain();
        server.await.expect("ends");
    }
}
