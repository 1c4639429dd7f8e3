//! A receiver that does what its [`Conduct`] says, whatever HTTP says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::net::{TcpListener, TcpStream};

use super::kind::Conduct;

/// Between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_secs(1);
/// What is written at once of an answer without an end.
const CHUNK: usize = 16 * 1024;

/// A receiver on loopback. It ends with the runtime that it was started in.
pub struct Hostile {
    /// Where it listens.
    pub address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Hostile {
    /// Listens on a free port.
    pub async fn start(conduct: Conduct) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, requests) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        let counted = requests.clone();
        tokio::spawn(async move {
            loop {
                // A connection that could not be taken is the caller's failure, as it should be.
                let Ok((stream, _)) = listener.accept().await else { continue };
                let counted = counted.clone();
                tokio::spawn(async move {
                    // However it ends, it ends for the caller.
                    let _ = serve(stream, conduct, &counted).await;
                });
            }
        });
        Ok(Self { address, requests })
    }

    /// How many requests, or connections of those that are not read, came so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn serve(stream: TcpStream, conduct: Conduct, requests: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    if conduct == Conduct::Hang {
        requests.fetch_add(1, Ordering::Relaxed);
        return copy(&mut stream, &mut sink()).await.map(drop);
    }
    while read_request(&mut stream).await? {
        requests.fetch_add(1, Ordering::Relaxed);
        answer(&mut stream, conduct).await?;
    }
    Ok(())
}

async fn answer(stream: &mut BufReader<TcpStream>, conduct: Conduct) -> io::Result<()> {
    match conduct {
        Conduct::Hang => std::future::pending().await,
        Conduct::Answer(status, headers) => {
            let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await
        }
        Conduct::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await?;
            loop {
                tokio::time::sleep(DRIP).await;
                stream.write_all(b"x").await?;
            }
        }
        Conduct::EndlessBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await?;
            endlessly(stream, &[b'x'; CHUNK]).await
        }
        Conduct::EndlessHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            endlessly(stream, &b"x-more: of the same\r\n".repeat(CHUNK / 21)).await
        }
    }
}

async fn endlessly(stream: &mut BufReader<TcpStream>, chunk: &[u8]) -> io::Result<()> {
    loop {
        stream.write_all(chunk).await?;
    }
}

/// Reads a request to its end; `false` if there is none any more.
async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let (mut line, mut body) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let header = line.trim_end().split_once(": ");
        if let Some((_, length)) = header.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            body = length.parse().map_err(io::Error::other)?;
        }
    }
    Ok(copy(&mut stream.take(body), &mut sink()).await? == body)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exchange(conduct: Conduct, least: usize) -> (Vec<u8>, u64) {
        let hostile = Hostile::start(conduct).await.expect("listens");
        let mut client = TcpStream::connect(hostile.address).await.expect("connects");
        let request = b"POST / HTTP/1.1\r\nhost: x\r\nContent-Length: 3\r\n\r\nabc";
        client.write_all(&request.repeat(2)).await.expect("sent");
        let mut answer = vec![0; least];
        client.read_exact(&mut answer).await.expect("an answer");
        (answer, hostile.requests())
    }

    #[tokio::test]
    async fn an_answer_is_given_to_each_request_of_a_connection() {
        let one = b"HTTP/1.1 503 No\r\na: b\r\ncontent-length: 0\r\n\r\n";
        let (answer, requests) = exchange(Conduct::Answer("503 No", "a: b\r\n"), 2 * one.len()).await;
        assert_eq!((answer, requests), (one.repeat(2), 2));
    }

    #[tokio::test]
    async fn an_answer_without_an_end_goes_on() {
        for conduct in [Conduct::EndlessBody, Conduct::EndlessHead] {
            let (answer, _) = exchange(conduct, 10 * CHUNK).await;
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dripping_answer_begins() {
        let (answer, _) = exchange(Conduct::Drip, 46).await;
        assert!(answer.ends_with(b"\r\n\r\nxxx"), "{}", String::from_utf8_lossy(&answer));
    }
}
