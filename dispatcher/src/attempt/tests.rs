//! What becomes of an attempt that has to renew a consent; everything else is tested over the public face, in `tests/attempts`.

use std::sync::Arc;

use fairhook_common::endpoint::{BodyForm, Secrets};
use fairhook_common::ids::{DeliveryId, EndpointId, EventId, TenantId};
use fairhook_common::retry::RetrySchedule;
use fairhook_common::signature::SigningSecret;
use fairhook_common::store::EndpointSnapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A receiver that takes deliveries and answers questions with `reply`: with nothing and no end if there is none.
async fn receiver(reply: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, reply));
        }
    });
    url
}

async fn serve(mut stream: TcpStream, reply: Option<&'static str>) {
    let mut seen = Vec::new();
    // The body of what is posted is `{}`.
    while stream.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {
        let reply = match seen.as_slice() {
            question if question.starts_with(b"OPTIONS ") && question.ends_with(b"\r\n\r\n") => reply,
            delivery if delivery.ends_with(b"\r\n\r\n{}") => {
                Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            }
            _ => continue,
        };
        let Some(reply) = reply else { continue };
        seen.clear();
        if reply.is_empty() || stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn to(url: String, timeout: Duration) -> Loaded {
    let endpoint = EndpointSnapshot {
        id: EndpointId::generate(),
        url,
        headers: vec![],
        secrets: Secrets { current: SigningSecret::generate(), previous: None },
        timeout,
        retry: RetrySchedule::default(),
        body: BodyForm::Raw,
        rate_limit_per_s: None,
        handshake: true,
    };
    Loaded {
        delivery: DeliveryId { event: EventId::generate(), ordinal: 0 },
        tenant: TenantId::generate(),
        endpoint: Arc::new(endpoint),
        event_type: "order.paid".into(),
        payload: Bytes::from_static(b"{}"),
        cloudevent: None,
        created_at: Timestamp::now(),
        expires_at: Timestamp::MAX,
        attempts: 0,
        schedule_position: 0,
    }
}

fn attempter() -> Attempter {
    let loopback = "127.0.0.0/8".parse().expect("a network");
    let policy = EgressPolicy::new(vec![loopback], None);
    Attempter::new(policy, ResolverSettings::default(), Some("hooks.test".into())).expect("an attempter")
}

/// One attempt of an endpoint whose consent is to be renewed, which it answers with `reply`; the rate that it has then.
async fn renewing(reply: Option<&'static str>, timeout: Duration) -> (Attempted, Option<u32>) {
    let (attempter, loaded) = (attempter(), to(receiver(reply).await, timeout));
    let now = Instant::now();
    let long_ago = now.checked_sub(limits::HANDSHAKE_TTL).expect("the clock has no beginning");
    attempter.consents.of(loaded.tenant, &loaded.endpoint, now).grant(Allowed::PerMinute(7), long_ago);
    let attempted = attempter.attempt(&loaded, Timestamp::now()).await;
    (attempted, attempter.rate_per_minute(&loaded))
}

const ENOUGH: Duration = Duration::from_secs(20);

#[tokio::test]
async fn no_clear_answer_to_a_renewal_takes_nothing_back() {
    for (reply, timeout) in [
        (Some("HTTP/1.1 503 Service Unavailable\r\nretry-after: 9\r\ncontent-length: 4\r\n\r\nbusy"), ENOUGH),
        (Some("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"), ENOUGH),
        (Some("this is not HTTP\r\n\r\n"), ENOUGH),
        (Some(""), ENOUGH),
        (None, Duration::from_secs(2)),
    ] {
        let (attempted, rate) = renewing(reply, timeout).await;
        let record = &attempted.record;
        assert_eq!((record.status_code, &record.error), (Some(200), &None), "{reply:?}");
        assert_eq!((attempted.retry_after, record.response_snippet.len()), (None, 0), "{reply:?}");
        assert_eq!(rate, Some(7), "{reply:?}");
    }
}

#[tokio::test]
async fn a_clear_answer_to_a_renewal_is_heeded() {
    let no = "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n";
    let (attempted, rate) = renewing(Some(no), ENOUGH).await;
    let error = attempted.record.error.expect("it was refused");
    assert_eq!((error.code, attempted.record.status_code), (AttemptErrorCode::HandshakeRefused, Some(405)));
    assert_eq!(rate, Some(limits::HANDSHAKES_PER_MINUTE));
    let yes = "HTTP/1.1 200 OK\r\nwebhook-allowed-origin: *\r\ncontent-length: 0\r\n\r\n";
    let (attempted, rate) = renewing(Some(yes), ENOUGH).await;
    assert_eq!((attempted.record.status_code, attempted.record.error, rate), (Some(200), None, None));
}
