//! An endpoint that wants to be asked first, and says how much it takes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode};
use fairhook_common::delivery::{AttemptErrorCode, DeliveryState};
use fairhook_common::endpoint::{Endpoint, EndpointSettings};
use fairhook_common::store::{Control, EndpointChanges};
use fairhook_common::time::Timestamp;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::receiver::Receiver;
use super::rig::{PATIENCE, Rig, until};

/// A receiver that consents, to one request a minute, while `consents` says so; tells the methods of what it gets.
async fn careful(consents: &Arc<AtomicBool>) -> (SocketAddr, mpsc::Receiver<Method>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (told, arrivals) = mpsc::channel(1_000);
    let consents = Arc::clone(consents);
    let router = Router::new().fallback(move |method: Method| {
        let yes = consents.load(Ordering::SeqCst);
        let told = told.clone();
        async move {
            let mut headers = HeaderMap::new();
            if method == Method::OPTIONS && yes {
                headers.insert("webhook-allowed-origin", "hooks.test".parse().expect("a value"));
                headers.insert("webhook-allowed-rate", "1".parse().expect("a value"));
            }
            told.send(method).await.expect("the test listens");
            (StatusCode::OK, headers)
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    (address, arrivals)
}

async fn want_handshakes(rig: &Rig, endpoint: &Endpoint) {
    let settings = EndpointSettings { handshake: true, ..endpoint.settings.clone() };
    let changes = EndpointChanges { settings: Some(settings), ..EndpointChanges::default() };
    let changed = rig.store.update_endpoint(endpoint.tenant, endpoint.id, changes, Timestamp::now());
    changed.await.expect("changed");
}

async fn next(arrivals: &mut mpsc::Receiver<Method>) -> Method {
    timeout(PATIENCE, arrivals.recv()).await.expect("in time").expect("it runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_handshake_is_tried_again_by_the_schedule_and_a_rate_that_was_said_holds() {
    let dir = TempDir::new().expect("a directory");
    let mut rig = Rig::open(&dir).await;
    let consents = Arc::new(AtomicBool::new(false));
    let (address, mut arrivals) = careful(&consents).await;
    let tenant = rig.tenant("acme", 50).await;
    let endpoint = rig.endpoint(&tenant, format!("http://{address}/"), "order.*", &[1; 30]).await;
    want_handshakes(&rig, &endpoint).await;
    rig.start();
    let first = rig.post(&tenant, "order.paid", 1).await[0];
    assert_eq!(next(&mut arrivals).await, Method::OPTIONS);
    until("the refusal is recorded", || async {
        rig.delivery(tenant.id, first).await.attempts.first().is_some_and(|attempt| {
            attempt.record.error.as_ref().map(|e| e.code) == Some(AttemptErrorCode::HandshakeRefused)
        })
    })
    .await;
    consents.store(true, Ordering::SeqCst);
    while next(&mut arrivals).await != Method::POST {}
    rig.until_delivered(&tenant, 1).await;

    // What comes now is over the one request of the minute. Others are delivered meanwhile.
    let later = rig.post(&tenant, "order.paid", 5).await;
    let mut receiver = Receiver::good().await;
    rig.endpoint(&tenant, receiver.url(), "user.*", &[]).await;
    for _ in 0..20 {
        rig.post(&tenant, "user.made", 1).await;
        receiver.next().await;
    }
    assert!(timeout(Duration::ZERO, arrivals.recv()).await.is_err(), "nothing more has come");
    for event in later {
        let delivery = rig.delivery(tenant.id, event).await;
        assert!(delivery.state.is_unfinished() && delivery.attempts.is_empty(), "{delivery:?}");
        assert_ne!(delivery.state, DeliveryState::Dead);
    }
}
