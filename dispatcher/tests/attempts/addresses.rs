//! Addresses that must not be called are not called.

use fairhook_common::delivery::AttemptErrorCode;
use fairhook_common::egress::EgressPolicy;
use fairhook_dispatcher::attempt::{Attempter, ResolverSettings};

use super::receiver::{Receiver, answer};
use super::{ORIGIN, attempt, code, delivery, detail};

fn under(policy: EgressPolicy) -> Attempter {
    Attempter::new(policy, ResolverSettings::default(), Some(ORIGIN.into())).expect("an attempter")
}

#[tokio::test]
async fn literals_are_refused_in_every_spelling_before_anything_is_sent() {
    let receiver = Receiver::answering(answer("200 OK", "")).await;
    let attempter = under(EgressPolicy::default());
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.1",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "LOCALHOST.",
        "x.localhost",
    ] {
        let url = format!("http://{host}:{}/", receiver.address.port());
        let attempted = attempt(&attempter, &delivery(&url)).await;
        assert_eq!(code(&attempted), Some(AttemptErrorCode::BlockedAddress), "{host}: {attempted:?}");
        assert!(!attempted.new_connection);
    }
    for url in ["http://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/", "http://10.0.0.1/"] {
        let attempted = attempt(&attempter, &delivery(url)).await;
        assert_eq!(code(&attempted), Some(AttemptErrorCode::BlockedAddress), "{url}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn one_exact_address_may_be_called_also_as_localhost_and_no_other_port() {
    let allowed = Receiver::answering(answer("200 OK", "")).await;
    let other = Receiver::answering(answer("200 OK", "")).await;
    let attempter = under(EgressPolicy::new(vec![], Some(allowed.address)));
    for host in ["127.0.0.1", "localhost"] {
        let url = |port| format!("http://{host}:{port}/");
        let attempted = attempt(&attempter, &delivery(&url(allowed.address.port()))).await;
        assert_eq!(code(&attempted), None, "{attempted:?}");
        let attempted = attempt(&attempter, &delivery(&url(other.address.port()))).await;
        assert_eq!(code(&attempted), Some(AttemptErrorCode::BlockedAddress), "{attempted:?}");
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn what_is_no_endpoint_fails_without_an_attempt_at_the_network() {
    let attempter = under(EgressPolicy::default());
    for url in ["ftp://example.com/", "not a url", "http://user:s3cr3t@example.com/", "http://example.com:0/"]
    {
        let attempted = attempt(&attempter, &delivery(url)).await;
        assert_eq!(code(&attempted), Some(AttemptErrorCode::Connect), "{url}");
        assert!(!detail(&attempted).contains("s3cr3t"));
        assert!(!attempted.new_connection);
    }
}
