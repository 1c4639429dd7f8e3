//! Nothing that is kept or may be logged holds a secret.

use fairhook_common::endpoint::CustomHeader;
use fairhook_common::signature::SigningSecret;
use fairhook_common::store::{EndpointSnapshot, Loaded};
use tokio::net::TcpListener;

use super::receiver::{Receiver, answer};
use super::{DEADLINE, attempt, attempter, endpoint, to};

const SECRET: &str = "s3cr3tV4lue";

fn secretive(base: &str) -> Loaded {
    let headers = vec![CustomHeader { name: "authorization".into(), value: format!("Bearer {SECRET}") }];
    let url = format!("{base}/{SECRET}?token={SECRET}");
    let mut loaded = to(EndpointSnapshot { headers, timeout: DEADLINE, ..endpoint(&url) });
    loaded.payload = format!("{{\"password\":\"{SECRET}\"}}").into();
    loaded
}

#[tokio::test]
async fn no_secret_is_in_what_an_attempt_leaves_behind() {
    let failing = Receiver::answering(answer("500 Broken", "no")).await;
    let hanging = Receiver::behaving(|mut connection, _| async move { connection.hold().await }).await;
    let garbage = Receiver::answering("garbage\r\n\r\n").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = listener.local_addr().expect("an address");
    drop(listener);
    let bases = [
        format!("http://{}", failing.address),
        format!("http://{}", hanging.address),
        format!("http://{}", garbage.address),
        format!("https://{}", garbage.address),
        format!("http://{closed}"),
        "http://10.0.0.1".into(),
        "http://no.such.name.invalid".into(),
        format!("ftp://{SECRET}.example"),
        format!("http://{SECRET}@example.com"),
    ];
    for base in bases {
        let loaded = secretive(&base);
        let attempted = attempt(&attempter(), &loaded).await;
        let said = format!("{attempted:?} {loaded:?}");
        assert!(attempted.record.error.is_some(), "{base}");
        assert!(!said.contains(SECRET), "{base}: {said}");
        let signing: &SigningSecret = &loaded.endpoint.secrets.current;
        assert!(!said.contains(&signing.reveal()["whsec_".len()..]));
    }
}
