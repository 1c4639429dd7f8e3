//! Names: unknown ones, name servers that do not answer, and answers that change.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use fairhook_common::delivery::AttemptErrorCode;
use fairhook_dispatcher::attempt::{Attempter, ResolverSettings};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::receiver::{Receiver, answer, answer_with};
use super::{DEADLINE, PATIENCE, attempt, attempter_with, code, delivery, detail, impatient};

/// A name server that says of each name what `tell` says at the `n`-th question for an A record, to be believed for no
/// time. `None`: there is no such name.
async fn name_server<F>(tell: F) -> (SocketAddr, JoinHandle<()>)
where
    F: Fn(usize) -> Option<Vec<Ipv4Addr>> + Send + 'static,
{
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        let (mut asked, mut packet) = (0, [0; 512]);
        while let Ok((length, client)) = socket.recv_from(&mut packet).await {
            let question = question(&packet[..length]);
            let is_a = question[question.len() - 4..question.len() - 2] == [0, 1];
            let told = if is_a { tell(asked) } else { tell(asked).map(|_| vec![]) };
            asked += usize::from(is_a);
            let _ = socket.send_to(&reply(&packet, question, told), client).await;
        }
    });
    (address, task)
}

/// The question section: a name, a type and a class.
fn question(packet: &[u8]) -> &[u8] {
    let mut end = 12;
    while packet[end] != 0 {
        end += 1 + usize::from(packet[end]);
    }
    &packet[12..end + 5]
}

fn reply(query: &[u8], question: &[u8], told: Option<Vec<Ipv4Addr>>) -> Vec<u8> {
    let code = if told.is_some() { 0x80 } else { 0x83 };
    let addresses = told.unwrap_or_default();
    let mut reply = vec![query[0], query[1], 0x81, code, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0];
    reply.extend(question);
    for address in addresses {
        // A pointer to the name, type A, class IN, time to live 0, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(address.octets());
    }
    reply
}

fn asking(server: SocketAddr, timeout: Duration) -> Attempter {
    attempter_with(ResolverSettings { nameservers: vec![server], timeout, ..ResolverSettings::default() })
}

fn knowing(name: &str, addresses: &[&str]) -> Attempter {
    let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().expect("an address")).collect();
    let overrides = HashMap::from([(name.to_owned(), addresses)]);
    attempter_with(ResolverSettings { overrides, ..ResolverSettings::default() })
}

fn at(name: &str, receiver: &Receiver) -> String {
    format!("http://{name}:{}/hook", receiver.address.port())
}

#[tokio::test]
async fn a_name_is_resolved_and_its_receiver_gets_the_name_as_host() {
    let (server, _task) = name_server(|_| Some(vec![Ipv4Addr::LOCALHOST])).await;
    let mut receiver = Receiver::answering(answer("200 OK", "")).await;
    let url = at("Hook.Example", &receiver);
    let attempted = attempt(&asking(server, PATIENCE), &delivery(&url)).await;
    assert_eq!(code(&attempted), None, "{attempted:?}");
    assert_eq!(receiver.next().await.header("host"), format!("hook.example:{}", receiver.address.port()));
}

#[tokio::test]
async fn a_name_that_does_not_exist_or_has_no_address_is_a_dns_failure() {
    let (unknown, _unknown) = name_server(|_| None).await;
    let attempted = attempt(&asking(unknown, PATIENCE), &delivery("http://nobody.example/")).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::Dns));
    assert_eq!(detail(&attempted), "the host's name does not exist");
    let (empty, _empty) = name_server(|_| Some(vec![])).await;
    let attempted = attempt(&asking(empty, PATIENCE), &delivery("http://nowhere.example/")).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::Dns));
    assert_eq!(detail(&attempted), "the host's name has no address");
}

#[tokio::test]
async fn a_name_server_that_never_answers_ends_the_attempt_by_whichever_limit_is_first() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let server = silent.local_addr().expect("an address");
    let attempted = attempt(&asking(server, DEADLINE / 2), &delivery("http://slow.example/")).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::Dns), "{attempted:?}");
    assert_eq!(detail(&attempted), "no name server answered in time");
    let attempted = attempt(&asking(server, PATIENCE), &impatient("http://slow.example/")).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::Timeout), "{attempted:?}");
}

#[tokio::test]
async fn a_name_that_resolves_differently_the_second_time_gets_no_further() {
    let private = [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(10, 0, 0, 1)];
    let (server, _task) =
        name_server(move |n| Some(if n == 0 { vec![Ipv4Addr::LOCALHOST] } else { private.to_vec() })).await;
    let closing = answer_with("200 OK", "connection: close\r\n", "");
    let receiver = Receiver::answering(closing).await;
    let (attempter, url) = (asking(server, PATIENCE), at("rebind.example", &receiver));
    assert_eq!(code(&attempt(&attempter, &delivery(&url)).await), None);
    let second = attempt(&attempter, &delivery(&url)).await;
    assert_eq!(code(&second), Some(AttemptErrorCode::BlockedAddress), "{second:?}");
    assert_eq!(detail(&second), "the host's name has no address that may be called");
}

#[tokio::test]
async fn of_a_name_with_several_addresses_only_the_permitted_are_called() {
    let receiver = Receiver::answering(answer("200 OK", "")).await;
    let mixed = knowing("mixed.example", &["10.0.0.1", "169.254.169.254", "127.0.0.1", "fd00::1"]);
    let attempted = attempt(&mixed, &delivery(&at("mixed.example", &receiver))).await;
    assert_eq!(code(&attempted), None, "{attempted:?}");
    let mapped = knowing("mapped.example", &["::ffff:10.0.0.1", "64:ff9b::a00:1"]);
    let attempted = attempt(&mapped, &delivery(&at("mapped.example", &receiver))).await;
    assert_eq!(code(&attempted), Some(AttemptErrorCode::BlockedAddress), "{attempted:?}");
}

#[tokio::test]
async fn a_known_name_is_known_however_it_is_written() {
    let receiver = Receiver::answering(answer("200 OK", "")).await;
    let attempter = knowing("known.example", &["127.0.0.1"]);
    for name in ["known.example", "KNOWN.example", "known.example."] {
        let attempted = attempt(&attempter, &delivery(&at(name, &receiver))).await;
        assert_eq!(code(&attempted), None, "{name}: {attempted:?}");
    }
}

#[tokio::test]
async fn the_second_address_is_tried_when_the_first_is_not_there() {
    let receiver = Receiver::answering(answer("200 OK", "")).await;
    let attempter = knowing("two.example", &["127.0.0.2", "127.0.0.1"]);
    let attempted = attempt(&attempter, &delivery(&at("two.example", &receiver))).await;
    assert_eq!(code(&attempted), None, "{attempted:?}");
}
