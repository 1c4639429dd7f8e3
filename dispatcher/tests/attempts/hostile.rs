//! Receivers that hang, drip, flood, lie and break.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fairhook_common::delivery::AttemptErrorCode;
use fairhook_common::limits;
use fairhook_dispatcher::attempt::Attempted;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::receiver::{Connection, Receiver, answer};
use super::{DEADLINE, PATIENCE, attempt, attempter, code, delivery, detail, impatient};

/// The deadline ended it: not before, and not much later.
fn timed_out(attempted: &Attempted, took: Duration) {
    assert_eq!(code(attempted), Some(AttemptErrorCode::Timeout), "{attempted:?}");
    assert!(took >= DEADLINE && took < DEADLINE + PATIENCE / 2, "{took:?}");
    assert!(attempted.elapsed >= DEADLINE, "{:?}", attempted.elapsed);
}

async fn timed(receiver: &Receiver) -> (Attempted, Duration) {
    let clock = Instant::now();
    let attempted = attempt(&attempter(), &impatient(&receiver.url())).await;
    (attempted, clock.elapsed())
}

async fn drip(connection: &mut Connection, bytes: &[u8]) {
    for byte in bytes.iter().cycle() {
        if !connection.write(&[*byte]).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_that_never_answers_runs_into_the_deadline() {
    let receiver = Receiver::behaving(|mut connection, _| async move { connection.hold().await }).await;
    let (attempted, took) = timed(&receiver).await;
    timed_out(&attempted, took);
    assert_eq!(attempted.record.status_code, None);
    assert_eq!(detail(&attempted), "the answer was not complete within 400 ms");
}

#[tokio::test]
async fn one_that_never_accepts_runs_into_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    for scheme in ["http", "https"] {
        let clock = Instant::now();
        let attempted = attempt(&attempter(), &impatient(&format!("{scheme}://{address}/"))).await;
        timed_out(&attempted, clock.elapsed());
    }
}

#[tokio::test]
async fn one_that_drips_its_body_runs_into_the_deadline_and_what_came_is_kept() {
    let receiver = Receiver::behaving(|mut connection, _| async move {
        connection.request().await;
        connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
        drip(&mut connection, b"drip").await;
    })
    .await;
    let (attempted, took) = timed(&receiver).await;
    timed_out(&attempted, took);
    assert_eq!(attempted.record.status_code, Some(200));
    assert!(attempted.record.response_snippet.starts_with(b"drip"));
}

#[tokio::test]
async fn one_that_drips_its_head_runs_into_the_deadline() {
    let receiver = Receiver::behaving(|mut connection, _| async move {
        connection.request().await;
        connection.write(b"HTTP/1.1 200 OK\r\nx: ").await;
        drip(&mut connection, b"d").await;
    })
    .await;
    let (attempted, took) = timed(&receiver).await;
    timed_out(&attempted, took);
}

#[tokio::test]
async fn one_that_sends_interim_answers_for_ever_runs_into_the_deadline() {
    let receiver = Receiver::behaving(|mut connection, _| async move {
        connection.request().await;
        drip(&mut connection, b"HTTP/1.1 102 Processing\r\n\r\n").await;
    })
    .await;
    let (attempted, took) = timed(&receiver).await;
    timed_out(&attempted, took);
}

/// Sends `head`, then `chunk` until nobody takes it any more; then notifies.
async fn flooding(head: &'static [u8], chunk: &'static [u8]) -> (Receiver, Arc<Notify>) {
    let closed = Arc::new(Notify::new());
    let notify = Arc::clone(&closed);
    let receiver = Receiver::behaving(move |mut connection, _| {
        let notify = Arc::clone(&notify);
        async move {
            connection.request().await;
            connection.write(head).await;
            while connection.write(chunk).await {}
            notify.notify_one();
        }
    })
    .await;
    (receiver, closed)
}

#[tokio::test]
async fn an_endless_body_is_too_large_and_the_connection_is_closed() {
    let heads: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.1 500 Broken\r\ncontent-length: 99999999999\r\n\r\n",
    ];
    for head in heads {
        let (receiver, closed) = flooding(head, &[b'x'; 8_192]).await;
        let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
        assert_eq!(code(&attempted), Some(AttemptErrorCode::TooLarge), "{attempted:?}");
        assert!(attempted.record.status_code.is_some());
        assert_eq!(attempted.record.response_snippet.len(), limits::RESPONSE_SNIPPET_BYTES);
        tokio::time::timeout(PATIENCE, closed.notified()).await.expect("the connection is closed");
    }
}

#[tokio::test]
async fn an_endless_chunked_body_is_too_large() {
    let (receiver, closed) =
        flooding(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"5\r\nxxxxx\r\n").await;
    let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::TooLarge), "{attempted:?}");
    tokio::time::timeout(PATIENCE, closed.notified()).await.expect("the connection is closed");
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit_and_no_further() {
    for (bytes, expected) in [
        (limits::RESPONSE_BODY_BYTES, None),
        (limits::RESPONSE_BODY_BYTES + 1, Some(AttemptErrorCode::TooLarge)),
    ] {
        let receiver = Receiver::answering(answer("200 OK", &"x".repeat(bytes))).await;
        let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
        assert_eq!(code(&attempted), expected, "{bytes}");
    }
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_waited_for() {
    let receiver = Receiver::behaving(|mut connection, _| async move {
        connection.request().await;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", limits::RESPONSE_BODY_BYTES + 1);
        connection.write(head.as_bytes()).await;
        connection.write(&[b'x'; limits::RESPONSE_SNIPPET_BYTES + 1]).await;
        connection.hold().await;
    })
    .await;
    let attempted = attempt(&attempter(), &impatient(&receiver.url())).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::TooLarge), "{attempted:?}");
    assert_eq!(attempted.record.response_snippet.len(), limits::RESPONSE_SNIPPET_BYTES);
}

#[tokio::test]
async fn endless_headers_are_too_large() {
    for (head, chunk) in [
        (b"HTTP/1.1 200 OK\r\n".as_slice(), b"x-more: 0123456789abcdef\r\n".as_slice()),
        (b"HTTP/1.1 200 OK\r\nx-long: ".as_slice(), &[b'x'; 8_192]),
        (b"HTTP/1.1 200 ".as_slice(), &[b'x'; 8_192]),
    ] {
        let (receiver, closed) = flooding(head, chunk).await;
        let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
        assert_eq!(code(&attempted), Some(AttemptErrorCode::TooLarge), "{attempted:?}");
        tokio::time::timeout(PATIENCE, closed.notified()).await.expect("the connection is closed");
    }
}

#[tokio::test]
async fn one_that_closes_at_once_is_a_broken_connection() {
    let receiver = Receiver::behaving(|connection, _| async move { drop(connection) }).await;
    let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::Connect), "{attempted:?}");
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn one_that_closes_within_its_answer_is_a_broken_connection() {
    let halves: [&[u8]; 2] =
        [b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"];
    for half in halves {
        let receiver = Receiver::behaving(move |mut connection, _| async move {
            connection.request().await;
            connection.write(half).await;
        })
        .await;
        let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
        assert_eq!(code(&attempted), Some(AttemptErrorCode::Connect), "{attempted:?}");
    }
}

#[tokio::test]
async fn garbage_is_a_broken_connection() {
    for garbage in
        ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/9.9 200 OK\r\n\r\n", "\0\0\0\0\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"]
    {
        let receiver = Receiver::answering(garbage).await;
        let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
        assert_eq!(code(&attempted), Some(AttemptErrorCode::Connect), "{garbage:?}: {attempted:?}");
        assert_eq!(attempted.record.status_code, None);
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let attempted = attempt(&attempter(), &delivery(&format!("http://{address}/"))).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::Connect));
    assert_eq!(detail(&attempted), "no connection could be made: connection refused");
    assert!(attempted.new_connection);
}

#[tokio::test]
async fn one_bad_receiver_does_not_slow_another_down() {
    let hanging = Receiver::behaving(|mut connection, _| async move { connection.hold().await }).await;
    let good = Receiver::answering(answer("200 OK", "")).await;
    let attempter = Arc::new(attempter());
    let mut stuck = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (attempter, url) = (Arc::clone(&attempter), hanging.url());
        stuck.spawn(async move { attempt(&attempter, &delivery(&url)).await });
    }
    for _ in 0..20 {
        assert_eq!(code(&attempt(&attempter, &delivery(&good.url())).await), None);
    }
    assert!(stuck.try_join_next().is_none(), "the hanging ones hang, and the good one did not wait for them");
}
