//! A name server that says of some names that they do not exist, and of all others nothing, ever.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

/// Names under this do not exist.
pub const NOWHERE: &str = "nowhere.test";
/// Of names under this nothing is said.
pub const SILENT: &str = "silent.test";

/// Where a DNS message says what it is: an answer (to the query that it was), that recursion is done, that there is no such name.
const FLAGS: [u8; 2] = [0x81, 0x83];
/// A DNS message's head.
const HEAD: usize = 12;

/// Answers on a free port of loopback until the runtime ends.
pub async fn start() -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        let mut message = [0; 512];
        loop {
            // What cannot be received or sent is silence, too.
            let Ok((length, asker)) = socket.recv_from(&mut message).await else { continue };
            if length > HEAD && is_nowhere(&message[HEAD..length]) {
                message[2..4].copy_from_slice(&FLAGS);
                let _ = socket.send_to(&message[..length], asker).await;
            }
        }
    });
    Ok(address)
}

fn is_nowhere(question: &[u8]) -> bool {
    let (label, _) = NOWHERE.split_once('.').unwrap_or((NOWHERE, ""));
    question.windows(label.len()).any(|part| part.eq_ignore_ascii_case(label.as_bytes()))
}
