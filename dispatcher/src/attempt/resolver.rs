//! Names to addresses that may be called. The client connects to exactly what comes out of here.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::egress::EgressPolicy;
use fairhook_common::limits;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::AttempterError;
use super::client::Dial;
use super::dns::Dns;

/// How names are resolved.
#[derive(Debug, Clone)]
pub struct ResolverSettings {
    /// Names (lower case, no dot at the end) whose addresses are known without asking. They are checked like any other.
    pub overrides: HashMap<String, Vec<IpAddr>>,
    /// Whom to ask; none: whom the system asks.
    pub nameservers: Vec<SocketAddr>,
    /// How long one look-up may take.
    pub timeout: Duration,
}

impl Default for ResolverSettings {
    fn default() -> Self {
        Self { overrides: HashMap::new(), nameservers: Vec::new(), timeout: limits::DNS_TIMEOUT }
    }
}

/// Why a name has no address to connect to. Says nothing of the addresses: they may be of somebody's inner network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResolveFailure {
    #[error("the host's name does not exist")]
    NoSuchName,
    #[error("the host's name has no address")]
    NoAddress,
    #[error("no name server answered in time")]
    NoAnswer,
    #[error("the host's name could not be resolved")]
    Failed,
    #[error("the host's name has no address that may be called")]
    Blocked,
}

/// A resolver whose every answer has been checked against the policy.
pub(super) struct CheckedResolver {
    policy: Arc<EgressPolicy>,
    dns: Arc<Dns>,
}

impl CheckedResolver {
    pub(super) fn new(policy: Arc<EgressPolicy>, settings: ResolverSettings) -> Result<Self, AttempterError> {
        let dns = Dns::new(settings).map_err(|e| AttempterError::Resolver(e.to_string()))?;
        Ok(Self { policy, dns: Arc::new(dns) })
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        // Read here, where the attempt's task asks; outside of one only what any port may use is permitted.
        let port = Dial::current_port().unwrap_or(0);
        let (policy, dns) = (Arc::clone(&self.policy), Arc::clone(&self.dns));
        Box::pin(async move {
            let found = dns.addresses(name.as_str()).await?;
            if found.is_empty() {
                return Err(ResolveFailure::NoAddress.into());
            }
            let permitted = permitted(&policy, &found, port);
            if permitted.is_empty() {
                return Err(ResolveFailure::Blocked.into());
            }
            // The client sets the port itself.
            let addresses = permitted.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

fn permitted(policy: &EgressPolicy, found: &[IpAddr], port: u16) -> Vec<IpAddr> {
    let may_be_called = |ip: &&IpAddr| policy.check(SocketAddr::new(**ip, port)).is_ok();
    found.iter().filter(may_be_called).take(limits::DNS_ADDRESSES).copied().collect()
}
