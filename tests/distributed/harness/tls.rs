//! A line that speaks TLS to whoever comes, and none of it to the server behind: as that server would with a certificate of a
//! root of our own.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The root that a process has to trust.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/distributed/tls/ca.pem");
const LEAF: &[u8] = include_bytes!("../tls/leaf.pem");
const KEY: &[u8] = include_bytes!("../tls/leaf.key");

/// What a client of Postgres sends before a TLS handshake (PostgreSQL's documentation, 55.7, SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Ends with its test.
pub struct TlsLine {
    /// Where it listens; its certificate is for this address.
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the first byte.
    AtOnce,
    /// When a client of Postgres has asked for it.
    WhenAsked,
}

impl TlsLine {
    /// Goes to `server`.
    pub async fn to(server: SocketAddr, begin: Begin) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            let acceptor = acceptor();
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, acceptor.clone(), begin));
            }
        });
        Self { address, task }
    }
}

impl Drop for TlsLine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor() -> TlsAcceptor {
    let leaf = CertificateDer::from_pem_slice(LEAF).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

/// Whoever does not speak TLS is hung up on.
async fn carry(mut client: TcpStream, server: SocketAddr, acceptor: TlsAcceptor, begin: Begin) {
    let _ = client.set_nodelay(true);
    if begin == Begin::WhenAsked {
        let mut asked = [0; SSL_REQUEST.len()];
        let read = client.read_exact(&mut asked).await;
        if read.is_err() || asked != SSL_REQUEST || client.write_all(b"S").await.is_err() {
            return;
        }
    }
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = server.set_nodelay(true);
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
