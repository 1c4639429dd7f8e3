//! Asking name servers, and remembering what they said: few addresses of each name, for a short time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairhook_common::egress::is_localhost;
use fairhook_common::limits;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use moka::sync::Cache;

use super::resolver::{ResolveFailure, ResolverSettings};

pub(super) struct Dns {
    overrides: HashMap<String, Arc<[IpAddr]>>,
    timeout: Duration,
    resolver: TokioResolver,
    /// Ours rather than the resolver's, which would keep every answer whole, however large.
    remembered: Cache<String, Remembered>,
}

/// What was said of a name.
type Said = Result<Arc<[IpAddr]>, ResolveFailure>;

#[derive(Clone)]
struct Remembered {
    said: Said,
    until: Instant,
}

impl Dns {
    pub(super) fn new(settings: ResolverSettings) -> Result<Self, NetError> {
        let resolver = resolver(&settings)?;
        let remembered = Cache::builder()
            .max_capacity(limits::DNS_CACHE_ENTRIES)
            .time_to_live(limits::DNS_TTL_MAX)
            .build();
        let overrides =
            settings.overrides.into_iter().map(|(name, addresses)| (name, addresses.into())).collect();
        Ok(Self { overrides, timeout: settings.timeout, resolver, remembered })
    }

    /// The addresses of `name`, which is lower case. None of them has been checked.
    pub(super) async fn addresses(&self, name: &str) -> Said {
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Some(addresses) = self.overrides.get(name) {
            return Ok(Arc::clone(addresses));
        }
        if is_localhost(name) {
            return Ok([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into());
        }
        let now = Instant::now();
        if let Some(remembered) = self.remembered.get(name).filter(|r| now < r.until) {
            return remembered.said;
        }
        let (said, ttl) = self.ask(name).await;
        if !ttl.is_zero() {
            let remembered = Remembered { said: said.clone(), until: now + ttl };
            self.remembered.insert(name.to_owned(), remembered);
        }
        said
    }

    /// What is said of the name now, and for how long that is to be believed.
    async fn ask(&self, name: &str) -> (Said, Duration) {
        // With the dot the name is what it says, whatever the search domains of this machine.
        let lookup = self.resolver.lookup_ip(format!("{name}."));
        match tokio::time::timeout(self.timeout, lookup).await {
            Ok(Ok(found)) => (Ok(found.iter().take(limits::DNS_ADDRESSES_KEPT).collect()), ttl(&found)),
            Ok(Err(error)) => match failure(&error) {
                sure @ (ResolveFailure::NoSuchName | ResolveFailure::NoAddress) => {
                    (Err(sure), limits::DNS_NEGATIVE_TTL_MAX)
                }
                unsure => (Err(unsure), Duration::ZERO),
            },
            Err(_) => (Err(ResolveFailure::NoAnswer), Duration::ZERO),
        }
    }
}

fn ttl(found: &LookupIp) -> Duration {
    let shortest = found.as_lookup().answers().iter().map(|record| record.ttl).min();
    Duration::from_secs(shortest.unwrap_or(0).into()).min(limits::DNS_TTL_MAX)
}

fn failure(error: &NetError) -> ResolveFailure {
    match error {
        e if e.is_nx_domain() => ResolveFailure::NoSuchName,
        e if e.is_no_records_found() => ResolveFailure::NoAddress,
        NetError::Timeout => ResolveFailure::NoAnswer,
        _ => ResolveFailure::Failed,
    }
}

fn resolver(settings: &ResolverSettings) -> Result<TokioResolver, NetError> {
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
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // One slow name server must not make the look-ups of other tenants wait for a place.
    options.max_active_requests = limits::DNS_LOOKUPS;
}
