//! Every port that a process listens on, bound before anything runs.

use std::net::SocketAddr;

use fairhook_common::config::Config;
use fairhook_common::store::Roles;
use tokio::net::TcpListener;

use super::StartError;

/// Every port, bound.
pub struct Listeners {
    /// The API's, if this process has the API.
    pub api: Option<TcpListener>,
    /// The built-in receiver's, if it is wanted.
    pub receiver: Option<TcpListener>,
    /// That of health and metrics.
    pub metrics: TcpListener,
}

/// Where they listen.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The API.
    pub api: Option<SocketAddr>,
    /// The built-in receiver.
    pub receiver: Option<SocketAddr>,
    /// Health and metrics.
    pub metrics: SocketAddr,
}

impl Listeners {
    /// Binds what these roles need.
    pub async fn bind(config: &Config, roles: Roles) -> Result<Self, StartError> {
        let api = roles.ingest.then_some(config.listen);
        Ok(Self {
            api: bind_if("listen", api).await?,
            receiver: bind_if("receiver_listen", config.receiver_listen).await?,
            metrics: bind("metrics_listen", config.metrics_listen).await?,
        })
    }

    /// Where they listen, with the ports that the system chose.
    pub fn addresses(&self) -> Addresses {
        let address =
            |listener: &TcpListener| listener.local_addr().expect("a bound listener has an address");
        Addresses {
            api: self.api.as_ref().map(address),
            receiver: self.receiver.as_ref().map(address),
            metrics: address(&self.metrics),
        }
    }
}

async fn bind_if(
    setting: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<TcpListener>, StartError> {
    match address {
        Some(address) => bind(setting, address).await.map(Some),
        None => Ok(None),
    }
}

async fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|e| StartError::Listen(setting, address, e))
}
