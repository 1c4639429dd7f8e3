//! What a receiver says, and how its connection is used.

use std::time::Duration;

use fairhook_common::delivery::AttemptErrorCode;
use fairhook_common::limits;

use super::receiver::{Receiver, answer, answer_with};
use super::{attempt, attempter, code, delivery, detail};

#[tokio::test]
async fn every_2xx_is_a_success_and_its_beginning_is_kept() {
    for (status, body) in [("200 OK", "fine"), ("201 Created", ""), ("202 Accepted", "{}"), ("299 Odd", "x")]
    {
        let receiver = Receiver::answering(answer(status, body)).await;
        let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
        assert_eq!(code(&attempted), None, "{status}");
        assert_eq!(attempted.record.status_code, Some(status[..3].parse().expect("a status")));
        assert_eq!(attempted.record.response_snippet, body);
        assert_eq!(attempted.record.duration_ms as u128, attempted.elapsed.as_millis());
    }
    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
    assert_eq!((code(&attempted), attempted.record.status_code), (None, Some(204)));
}

#[tokio::test]
async fn every_other_status_is_a_failure_that_says_so() {
    for status in
        ["400 Bad Request", "404 Not Found", "410 Gone", "418 Odd", "500 Internal Server Error", "999 Odd"]
    {
        let receiver = Receiver::answering(answer(status, "why")).await;
        let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
        assert_eq!(code(&attempted), Some(AttemptErrorCode::HttpStatus), "{status}");
        assert_eq!(attempted.record.status_code, Some(status[..3].parse().expect("a status")));
        assert!(detail(&attempted).starts_with(&format!("the endpoint answered {}", &status[..3])));
        assert_eq!(attempted.record.response_snippet, "why");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Receiver::answering(answer("200 OK", "")).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let location = format!("location: {}\r\n", target.url());
        let receiver = Receiver::answering(answer_with(status, &location, "")).await;
        let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
        assert_eq!(code(&attempted), Some(AttemptErrorCode::HttpStatus), "{status}");
        assert!(detail(&attempted).contains("redirects are not followed"), "{}", detail(&attempted));
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn retry_after_is_read_with_429_and_503_only() {
    for (status, expected) in
        [("429 Slow", Some(7)), ("503 Busy", Some(7)), ("500 Broken", None), ("200 OK", None)]
    {
        let receiver = Receiver::answering(answer_with(status, "retry-after: 7\r\n", "")).await;
        let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
        assert_eq!(attempted.retry_after, expected.map(Duration::from_secs), "{status}");
    }
}

#[tokio::test]
async fn only_the_beginning_of_an_answer_is_kept_any_bytes() {
    let mut bytes = answer("500 Broken", "").into_bytes();
    let body = vec![0u8; limits::RESPONSE_SNIPPET_BYTES + 500];
    bytes.truncate(bytes.len() - "content-length: 0\r\n\r\n".len());
    bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
    bytes.extend(&body);
    let receiver = Receiver::answering(bytes).await;
    let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
    assert_eq!(attempted.record.response_snippet, body[..limits::RESPONSE_SNIPPET_BYTES]);
}

#[tokio::test]
async fn a_compressed_answer_is_not_unpacked() {
    let gzip = answer_with("200 OK", "content-encoding: gzip\r\n", "not really gzip");
    let receiver = Receiver::answering(gzip).await;
    let attempted = attempt(&attempter(), &delivery(&receiver.url())).await;
    assert_eq!(code(&attempted), None);
    assert_eq!(attempted.record.response_snippet, "not really gzip");
}

#[tokio::test]
async fn a_connection_is_used_again_and_says_so() {
    let receiver = Receiver::answering(answer("200 OK", "fine")).await;
    let attempter = attempter();
    let mut opened = Vec::new();
    for _ in 0..5 {
        opened.push(attempt(&attempter, &delivery(&receiver.url())).await.new_connection);
    }
    assert_eq!(receiver.connections(), 1);
    assert_eq!(opened, [true, false, false, false, false]);
}

#[tokio::test]
async fn an_idle_connection_closed_under_our_hands_costs_no_attempt() {
    let mut receiver = Receiver::behaving(|mut connection, n| async move {
        connection.request().await;
        connection.write(answer("200 OK", "").as_bytes()).await;
        // The first connection dies of the second request; a later one serves it.
        connection.request().await;
        if n > 0 {
            connection.write(answer("200 OK", "").as_bytes()).await;
        }
    })
    .await;
    let attempter = attempter();
    attempt(&attempter, &delivery(&receiver.url())).await;
    receiver.next().await;
    let loaded = delivery(&receiver.url());
    let attempted = attempt(&attempter, &loaded).await;
    assert_eq!(code(&attempted), None, "{attempted:?}");
    assert!(attempted.new_connection);
    let [broken, whole] = [receiver.next().await, receiver.next().await];
    assert_eq!(broken.header("webhook-id"), loaded.delivery.event.to_string());
    assert_eq!(broken.header("webhook-signature"), whole.header("webhook-signature"));
    assert_eq!(receiver.connections(), 2);
}
