//! Where the endpoints of bad tenants are.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

use super::background::Background;
use super::hostile::Hostile;
use super::kind::Host;
use super::names;

/// What stands at the endpoints' URLs.
pub struct Premises {
    host: Host,
    shared: String,
    hostile: Option<Hostile>,
    refusing: Option<(TcpSocket, SocketAddr)>,
}

impl Premises {
    /// Builds what `host` needs; `shared` is a URL at the good receivers' host that never answers.
    pub async fn build(host: Host, shared: String, background: &Background) -> io::Result<Self> {
        let hostile = match host {
            Host::Own(conduct) | Host::Tls(conduct) => Some(background.run(Hostile::start(conduct)).await?),
            _ => None,
        };
        let refusing = (host == Host::Refusing).then(refusing).transpose()?;
        Ok(Self { host, shared, hostile, refusing })
    }

    /// An endpoint's URL. Each has a path, or a name, of its own.
    pub fn url(&self, tenant: usize, endpoint: usize) -> String {
        let at = self.hostile.as_ref().map(|hostile| hostile.address);
        let at = at.or(self.refusing.as_ref().map(|(_, address)| *address));
        match (self.host, at) {
            (Host::Shared, _) => self.shared.clone(),
            (Host::SilentName, _) => format!("http://t{tenant}e{endpoint}.{}/", names::SILENT),
            (Host::NoSuchName, _) => format!("http://t{tenant}e{endpoint}.{}/", names::NOWHERE),
            (Host::Tls(_), Some(at)) => format!("https://{at}/{tenant}/{endpoint}"),
            (_, Some(at)) => format!("http://{at}/{tenant}/{endpoint}"),
            (_, None) => unreachable!("what has an address was built with it"),
        }
    }

    /// How many requests came there so far, where they can be counted.
    pub fn requests(&self) -> Option<u64> {
        self.hostile.as_ref().map(Hostile::requests)
    }
}

/// A port that is taken and at which nobody listens: nobody else can come to listen there either.
fn refusing() -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}
