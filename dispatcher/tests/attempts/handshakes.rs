//! Endpoints that want to be asked before anything is sent to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairhook_common::delivery::AttemptErrorCode;
use fairhook_common::egress::EgressPolicy;
use fairhook_common::endpoint::CustomHeader;
use fairhook_common::store::{EndpointSnapshot, Loaded};
use fairhook_dispatcher::attempt::{Attempted, Attempter, ResolverSettings};

use super::receiver::{Receiver, answer, answer_with};
use super::{DEADLINE, ORIGIN, attempt, attempter, code, detail, endpoint, to};

const CONSENT: &str = "webhook-allowed-origin: *\r\n";

fn asked(url: &str) -> Loaded {
    to(EndpointSnapshot { handshake: true, ..endpoint(url) })
}

/// One that answers questions with `reply`, and takes deliveries.
async fn consenting(reply: String) -> Receiver {
    Receiver::behaving(move |mut connection, _| {
        let reply = reply.clone();
        async move {
            while let Some(is_question) = connection.is_question().await {
                let answer = if is_question { reply.clone() } else { answer("200 OK", "taken") };
                if !connection.write(answer.as_bytes()).await {
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_endpoint_is_asked_once_and_every_delivery_says_who_asked() {
    let mut receiver = consenting(answer_with("200 OK", CONSENT, "yes")).await;
    let headers = vec![CustomHeader { name: "authorization".into(), value: "Bearer s3cr3t".into() }];
    let loaded = to(EndpointSnapshot { handshake: true, headers, ..endpoint(&receiver.url()) });
    let attempter = attempter();
    let first = attempt(&attempter, &loaded).await;
    assert_eq!((code(&first), first.record.status_code), (None, Some(200)), "{first:?}");
    assert_eq!(&first.record.response_snippet[..], b"taken", "what the delivery was answered with");
    assert!(first.new_connection);
    let question = receiver.next().await;
    assert_eq!(question.line, "OPTIONS /hook HTTP/1.1");
    assert_eq!((question.header("webhook-request-origin"), &question.body[..]), (ORIGIN, &b""[..]));
    assert_eq!(question.header("authorization"), "Bearer s3cr3t");
    for absent in ["webhook-id", "webhook-signature", "content-type"] {
        assert_eq!(question.header(absent), "", "{absent}");
    }
    let delivery = receiver.next().await;
    assert_eq!(delivery.line, "POST /hook HTTP/1.1");
    assert_eq!(delivery.header("webhook-request-origin"), ORIGIN);
    assert_eq!(delivery.body, loaded.payload);
    assert_eq!(code(&attempt(&attempter, &loaded).await), None);
    assert_eq!(receiver.next().await.line, "POST /hook HTTP/1.1", "it has said yes");
    // One that has forgotten asks again.
    assert_eq!(code(&attempt(&super::attempter(), &loaded).await), None);
    assert_eq!(receiver.next().await.line, "OPTIONS /hook HTTP/1.1");
}

#[tokio::test]
async fn nothing_is_sent_to_one_that_does_not_consent() {
    for (reply, says) in [
        (answer("200 OK", "hello"), "without WebHook-Allowed-Origin"),
        (answer_with("405 Method Not Allowed", CONSENT, ""), "405"),
        (answer_with("200 OK", "webhook-allowed-origin: example.com\r\n", ""), "neither"),
        (answer_with("302 Found", "location: http://127.0.0.1:1/\r\n", ""), "302"),
    ] {
        let mut receiver = consenting(reply).await;
        let attempter = attempter();
        for _ in 0..2 {
            let refused = attempt(&attempter, &asked(&receiver.url())).await;
            assert_eq!(code(&refused), Some(AttemptErrorCode::HandshakeRefused));
            assert!(detail(&refused).contains(says), "{}", detail(&refused));
            assert!(receiver.next().await.line.starts_with("OPTIONS "), "{says}");
        }
    }
}

/// Attempts of the same moment: each has begun before the first one's question is out.
async fn five(attempter: &Attempter, loaded: &Loaded) -> [Attempted; 5] {
    let attempt = || attempt(attempter, loaded);
    let (a, b, c, d, e) = tokio::join!(attempt(), attempt(), attempt(), attempt(), attempt());
    [a, b, c, d, e]
}

#[tokio::test]
async fn one_of_many_asks_and_the_others_heed_what_it_hears() {
    let mut receiver = consenting(answer_with("200 OK", CONSENT, "")).await;
    let (attempter, loaded) = (attempter(), asked(&receiver.url()));
    assert_eq!(five(&attempter, &loaded).await.map(|attempted| code(&attempted)), [None; 5]);
    assert!(receiver.next().await.line.starts_with("OPTIONS "));
    for _ in 0..5 {
        assert!(receiver.next().await.line.starts_with("POST "), "it was asked by more than one");
    }

    let mut busy = consenting(answer_with("503 Service Unavailable", "retry-after: 7\r\n", "later")).await;
    let loaded = asked(&busy.url());
    for refused in five(&attempter, &loaded).await {
        assert_eq!(code(&refused), Some(AttemptErrorCode::HandshakeRefused));
        assert_eq!(
            (refused.record.status_code, refused.retry_after),
            (Some(503), Some(Duration::from_secs(7)))
        );
    }
    assert!(busy.next().await.line.starts_with("OPTIONS "));
    assert!(busy.has_nothing_more(), "the others have asked too");
}

#[tokio::test]
async fn what_it_answers_to_the_question_is_what_the_attempt_got() {
    let busy = answer_with("503 Service Unavailable", "retry-after: 7\r\n", "later");
    let receiver = consenting(busy).await;
    let refused = attempt(&attempter(), &asked(&receiver.url())).await;
    assert_eq!((refused.record.status_code, refused.retry_after), (Some(503), Some(Duration::from_secs(7))));
    assert_eq!(&refused.record.response_snippet[..], b"later");
}

#[tokio::test]
async fn another_url_is_asked_anew() {
    let mut first = consenting(answer_with("200 OK", CONSENT, "")).await;
    let mut second = consenting(answer("200 OK", "")).await;
    let attempter = attempter();
    let before = asked(&first.url());
    assert_eq!(code(&attempt(&attempter, &before).await), None);
    assert!(first.next().await.line.starts_with("OPTIONS "));
    let id = before.endpoint.id;
    let after = to(EndpointSnapshot { id, handshake: true, ..endpoint(&second.url()) });
    assert_eq!(code(&attempt(&attempter, &after).await), Some(AttemptErrorCode::HandshakeRefused));
    assert!(second.next().await.line.starts_with("OPTIONS "));
}

#[tokio::test]
async fn the_question_has_the_deadline_and_the_checks_of_an_attempt() {
    let silent = Receiver::behaving(|mut connection, _| async move { connection.hold().await }).await;
    let loaded = to(EndpointSnapshot { handshake: true, timeout: DEADLINE, ..endpoint(&silent.url()) });
    assert_eq!(code(&attempt(&attempter(), &loaded).await), Some(AttemptErrorCode::Timeout));
    let endless = Receiver::behaving(|mut connection, _| async move {
        connection.request().await;
        connection.write(b"HTTP/1.1 200 OK\r\nwebhook-allowed-origin: *\r\n\r\n").await;
        while connection.write(&[b'x'; 65_536]).await {}
    })
    .await;
    assert_eq!(code(&attempt(&attempter(), &asked(&endless.url())).await), Some(AttemptErrorCode::TooLarge));
    let strict = Attempter::new(EgressPolicy::default(), ResolverSettings::default(), Some(ORIGIN.into()));
    let blocked = attempt(&strict.expect("an attempter"), &asked(&silent.url())).await;
    assert_eq!(code(&blocked), Some(AttemptErrorCode::BlockedAddress));
    assert_eq!(silent.connections(), 1, "the first one's");
}

#[tokio::test]
async fn nobody_asks_without_a_name() {
    let receiver = consenting(answer_with("200 OK", CONSENT, "")).await;
    let loopback = ["127.0.0.0/8".parse().expect("a network")];
    let policy = EgressPolicy::new(loopback.into(), None);
    let nameless = Attempter::new(policy, ResolverSettings::default(), None).expect("an attempter");
    let refused = attempt(&nameless, &asked(&receiver.url())).await;
    assert_eq!(code(&refused), Some(AttemptErrorCode::HandshakeRefused));
    assert!(detail(&refused).contains("base_domain"));
    assert_eq!(receiver.connections(), 0);
    let unasked = to(endpoint(&receiver.url()));
    assert_eq!(code(&attempt(&nameless, &unasked).await), None);
}

#[tokio::test]
async fn the_lower_of_two_rates_holds_and_hardly_any_before_consent() {
    let allowed =
        |rate: &str| answer_with("200 OK", &format!("{CONSENT}webhook-allowed-rate: {rate}\r\n"), "");
    for (set, said, before, after) in [
        (None, "90", Some(60), Some(90)),
        (Some(1), "90", Some(60), Some(60)),
        (Some(2), "90", Some(60), Some(90)),
        (None, "*", Some(60), None),
        (Some(5), "*", Some(60), Some(300)),
    ] {
        let receiver = consenting(allowed(said)).await;
        let loaded =
            to(EndpointSnapshot { handshake: true, rate_limit_per_s: set, ..endpoint(&receiver.url()) });
        let attempter = attempter();
        assert_eq!(attempter.rate_per_minute(&loaded), before);
        assert_eq!(code(&attempt(&attempter, &loaded).await), None);
        assert_eq!(attempter.rate_per_minute(&loaded), after, "set {set:?}, said {said}");
    }
    let unasked = EndpointSnapshot { rate_limit_per_s: Some(3), ..endpoint("http://a.test/") };
    assert_eq!(attempter().rate_per_minute(&to(unasked)), Some(180));
}

#[tokio::test]
async fn an_idle_connection_that_closed_after_the_question_is_no_failure() {
    let hung_up = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&hung_up);
    let mut receiver = Receiver::behaving(move |mut connection, n| {
        let flag = Arc::clone(&flag);
        async move {
            connection.request().await;
            let reply = match n {
                0 => answer_with("200 OK", CONSENT, ""),
                _ => answer("200 OK", ""),
            };
            connection.write(reply.as_bytes()).await;
            if n == 0 {
                // The delivery comes on this connection, and finds nobody.
                connection.request().await;
                flag.store(true, Ordering::SeqCst);
                return;
            }
            connection.hold().await;
        }
    })
    .await;
    let attempted = attempt(&attempter(), &asked(&receiver.url())).await;
    assert_eq!(code(&attempted), None, "{attempted:?}");
    assert!(hung_up.load(Ordering::SeqCst) && receiver.connections() == 2);
    assert!(receiver.next().await.line.starts_with("OPTIONS "));
}
