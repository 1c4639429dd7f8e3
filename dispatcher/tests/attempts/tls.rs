//! TLS, with a certificate of our own that only a child process is made to trust.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;

use fairhook_common::delivery::AttemptErrorCode;
use fairhook_dispatcher::attempt::ResolverSettings;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::receiver::{Receiver, answer};
use super::{attempt, attempter, attempter_with, code, delivery, detail};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attempts/tls/ca.pem");
const LEAF: &[u8] = include_bytes!("tls/leaf.pem");
const KEY: &[u8] = include_bytes!("tls/leaf.key");

/// A receiver for `hook.test` that answers each connection once, and where it is.
fn https_receiver() -> SocketAddr {
    let leaf = CertificateDer::from_pem_slice(LEAF).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .expect("a pair");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = StreamOwned::new(connection, stream);
            let mut request = [0; 4_096];
            if stream.read(&mut request).is_ok_and(|n| n > 0) {
                let _ = stream.write_all(answer("200 OK", "over TLS").as_bytes());
                let _ = stream.flush();
            }
        }
    });
    address
}

fn attempter_for_hook_test() -> fairhook_dispatcher::attempt::Attempter {
    let localhost = vec![Ipv4Addr::LOCALHOST.into()];
    let names = ["hook.test", "other.test"].map(|name| (name.to_owned(), localhost.clone()));
    attempter_with(ResolverSettings { overrides: HashMap::from(names), ..ResolverSettings::default() })
}

#[tokio::test]
async fn tls_to_a_port_without_it_says_so() {
    let plain = Receiver::behaving(|mut connection, _| async move {
        connection.write(answer("400 Bad Request", "this is http").as_bytes()).await;
        connection.hold().await;
    })
    .await;
    let closing = Receiver::behaving(|connection, _| async move { drop(connection) }).await;
    let url = format!("https://{}/", plain.address);
    let attempted = attempt(&attempter(), &delivery(&url)).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::Tls), "{attempted:?}");
    assert_eq!(detail(&attempted), "the TLS connection failed: what answers there does not speak TLS");
    let url = format!("https://{}/", closing.address);
    let attempted = attempt(&attempter(), &delivery(&url)).await;
    let expected = [Some(AttemptErrorCode::Tls), Some(AttemptErrorCode::Connect)];
    assert!(expected.contains(&code(&attempted)), "closed or reset within the handshake: {attempted:?}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let url = format!("https://hook.test:{}/", https_receiver().port());
    let attempted = attempt(&attempter_for_hook_test(), &delivery(&url)).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::Tls), "{attempted:?}");
    assert!(attempted.record.status_code.is_none());
}

#[test]
fn a_trusted_certificate_is_accepted_for_its_own_name_only() {
    let child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--exact", "tls::with_the_test_root_trusted"])
        .env("SSL_CERT_FILE", ROOT)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "needs SSL_CERT_FILE; run by a_trusted_certificate_is_accepted_for_its_own_name_only"]
async fn with_the_test_root_trusted() {
    let (attempter, port) = (attempter_for_hook_test(), https_receiver().port());
    let attempted = attempt(&attempter, &delivery(&format!("https://hook.test:{port}/"))).await;
    assert_eq!(code(&attempted), None, "{attempted:?}");
    assert_eq!(attempted.record.response_snippet, "over TLS");
    let attempted = attempt(&attempter, &delivery(&format!("https://other.test:{port}/"))).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::Tls), "{attempted:?}");
    assert!(detail(&attempted).contains("not valid for name"), "{}", detail(&attempted));
}
