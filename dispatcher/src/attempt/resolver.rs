//! Names to addresses that may be called. The client connects to exactly what comes out of here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::egress::{EgressPolicy, is_localhost};
use fairhook_common::limits;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::AttempterError;
use super::client::Dial;

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
    known: Arc<Known>,
}

struct Known {
    overrides: HashMap<String, Vec<IpAddr>>,
    timeout: Duration,
    dns: TokioResolver,
}

impl CheckedResolver {
    pub(super) fn new(policy: Arc<EgressPolicy>, settings: ResolverSettings) -> Result<Self, AttempterError> {
        let dns = dns(&settings).map_err(|e| AttempterError::Resolver(e.to_string()))?;
        let ResolverSettings { overrides, timeout, .. } = settings;
        Ok(Self { policy, known: Arc::new(Known { overrides, timeout, dns }) })
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        // Read here, where the attempt's task asks; outside of one only what any port may use is permitted.
        let port = Dial::current_port().unwrap_or(0);
        let (policy, known) = (Arc::clone(&self.policy), Arc::clone(&self.known));
        Box::pin(async move {
            let found = known.addresses(name.as_str()).await?;
            if found.is_empty() {
                return Err(ResolveFailure::NoAddress.into());
            }
            let permitted = permitted(&policy, found, port);
            if permitted.is_empty() {
                return Err(ResolveFailure::Blocked.into());
            }
            // The client sets the port itself.
            let addresses = permitted.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

fn permitted(policy: &EgressPolicy, found: Vec<IpAddr>, port: u16) -> Vec<IpAddr> {
    let may_be_called = |ip: &IpAddr| policy.check(SocketAddr::new(*ip, port)).is_ok();
    found.into_iter().filter(may_be_called).take(limits::DNS_ADDRESSES).collect()
}

impl Known {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveFailure> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Some(addresses) = self.overrides.get(name) {
            return Ok(addresses.clone());
        }
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        // With the dot the name is what it says, whatever the search domains of this machine.
        let lookup = self.dns.lookup_ip(format!("{name}."));
        match tokio::time::timeout(self.timeout, lookup).await {
            Ok(Ok(found)) => Ok(found.iter().collect()),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(ResolveFailure::NoAnswer),
        }
    }
}

fn failure(error: &NetError) -> ResolveFailure {
    match error {
        e if e.is_nx_domain() => ResolveFailure::NoSuchName,
        e if e.is_no_records_found() => ResolveFailure::NoAddress,
        NetError::Timeout => ResolveFailure::NoAnswer,
        _ => ResolveFailure::Failed,
    }
}

fn dns(settings: &ResolverSettings) -> Result<TokioResolver, NetError> {
    let mut builder = if settings.nameservers.is_empty() {
        TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "the system's resolver settings cannot be read: no name will be resolved");
            TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
        })
    } else {
        let servers = settings.nameservers.iter().map(name_server).collect();
        let config = ResolverConfig::from_name_servers(servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    tune(builder.options_mut(), settings.timeout);
    builder.build()
}

fn name_server(at: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = at.port();
        connection
    });
    NameServerConfig::new(at.ip(), true, connections.into())
}

fn tune(options: &mut ResolverOpts, timeout: Duration) {
    // Two tries fit into the time for the whole.
    options.timeout = timeout / 2;
    options.attempts = 1;
    options.cache_size = limits::DNS_CACHE_ENTRIES as u64;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // A name that moves is followed soon, whatever its own time to live.
    options.positive_max_ttl = Some(limits::DNS_TTL_MAX);
    options.negative_max_ttl = Some(limits::DNS_NEGATIVE_TTL_MAX);
    // One slow name server must not make the look-ups of other tenants wait for a place.
    options.max_active_requests = limits::DNS_CACHE_ENTRIES;
}
