//! Around every request: what is left of its body when the answer is there is read and thrown away before the answer is
//! sent. A connection that is closed under a client that is still sending shows it a reset in place of the answer, and
//! the refusals that are meant to spare the engine work (429, 401, 403, 413) are those that leave a body unread.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, EXPECT};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use fairhook_common::limits;
use hyper::body::{Frame, SizeHint};
use tokio::time::timeout;

/// Answers `request` once its body has come to its end, or after a while of waiting for that.
pub async fn settle(request: Request, next: Next) -> Response {
    // A client that waits to be asked for its body sends none after an answer.
    if request.body().is_end_stream() || request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let left = Left::default();
    let request = request.map(|body| Body::new(Lent { body: Some(body), left: left.clone() }));
    let mut response = next.run(request).await;
    let unread = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(body) = unread
        && !discarded(body).await
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

type Left = Arc<Mutex<Option<Body>>>;

/// A body that is given back when it is dropped before its end.
struct Lent {
    body: Option<Body>,
    left: Left,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

/// Whether `body` came to its end within what is read of it.
async fn discarded(mut body: Body) -> bool {
    let reading = async {
        let mut read = 0;
        loop {
            match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
            }
            if read > limits::DISCARDED_BODY_BYTES {
                return false;
            }
        }
    };
    timeout(limits::DISCARDED_BODY_DEADLINE, reading).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use fairhook_common::shutdown::Shutdown;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Sends a head, then a body, `times` on one connection; the handler refuses without reading.
    async fn refused(times: usize, body: usize) -> Vec<String> {
        let refuses = async || (StatusCode::TOO_MANY_REQUESTS, "refused");
        let router = Router::new().route("/", post(refuses)).layer(from_fn(settle));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        let server = tokio::spawn(crate::serve::serve(listener, router, shutdown.clone()));
        let mut client = TcpStream::connect(address).await.expect("connects");
        let mut answers = Vec::new();
        for _ in 0..times {
            let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {body}\r\n\r\n");
            client.write_all(head.as_bytes()).await.expect("writes the head");
            // The server has the head alone for as long as it wants it.
            tokio::task::yield_now().await;
            for part in vec![b'x'; body].chunks(64 * 1024) {
                client.write_all(part).await.expect("writes the body");
            }
            let mut answer = Vec::new();
            while !answer.ends_with(b"refused") {
                let mut part = [0; 1024];
                let read = client.read(&mut part).await.expect("reads");
                assert_ne!(read, 0, "closed after {}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(&part[..read]);
            }
            answers.push(String::from_utf8_lossy(&answer).into_owned());
        }
        drop(client);
        shutdown.drain();
        server.await.expect("ends");
        answers
    }

    #[tokio::test]
    async fn a_refused_client_reads_its_answer_and_keeps_its_connection() {
        for body in [1, 1_000, limits::REQUEST_BODY_BYTES] {
            for answer in refused(20, body).await {
                assert!(answer.starts_with("HTTP/1.1 429") && !answer.contains("connection:"), "{answer}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_waited_for_only_so_long() {
        assert!(discarded(Body::from("ends")).await);
        let started = tokio::time::Instant::now();
        assert!(!discarded(Body::new(Pending)).await);
        assert_eq!(started.elapsed(), limits::DISCARDED_BODY_DEADLINE);
    }

    struct Pending;

    impl HttpBody for Pending {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }
}
