//! The roles of a process, started over its backends.

use fairhook_common::config::{Config, OperatorKey};
use fairhook_common::egress::EgressPolicy;
use fairhook_common::health::Health;
use fairhook_common::membership::{self, Members, Node};
use fairhook_common::metrics::Families;
use fairhook_common::store::Roles;
use fairhook_dispatcher as dispatcher;
use fairhook_dispatcher::attempt::{Attempter, ResolverSettings};
use fairhook_ingest as ingest;
use prometheus::Registry;

use super::backends::Backends;
use super::listeners::Listeners;
use super::{StartError, Tasks, readiness, sharing};
use crate::{metrics_listener, receiver};

/// What a start has made so far.
pub struct Starting<'a> {
    pub config: &'a Config,
    pub roles: Roles,
    pub node: &'a str,
    /// There if the API is.
    pub key: Option<&'a OperatorKey>,
    pub slots: usize,
    pub backends: Backends,
    pub registry: Registry,
}

impl Starting<'_> {
    /// Runs the roles, then what surrounds them.
    pub async fn run(
        self,
        listeners: Listeners,
    ) -> Result<(Tasks, Tasks, Option<dispatcher::Handle>), StartError> {
        let receiver_address = listeners.addresses().receiver;
        let egress = EgressPolicy::new(self.config.allowed_networks.clone(), receiver_address);
        let families = Families::new(self.registry.clone());
        tell_version(&families);
        let Backends { store, queue, .. } = &self.backends;
        let health = readiness::of(store.clone(), queue.clone(), self.roles.ingest);
        let (mut roles, mut surroundings): (Tasks, Tasks) = Default::default();
        let members = self.join(&families, &health, &mut roles);
        let handle = match self.roles.dispatcher {
            true => Some(self.start_dispatcher(&egress, &families, &members, &mut roles)?),
            false => None,
        };
        if let (Some(listener), Some(key)) = (listeners.api, self.key) {
            let parts = self.ingest_parts(key, egress, families, &health, &members, &mut roles)?;
            let api = ingest::start(parts, &mut roles.1, &roles.0);
            roles.1.spawn(ingest::serve(listener, api, roles.0.clone()));
        }
        let metrics = metrics_listener::router(self.registry, health);
        surroundings.1.spawn(ingest::serve(listeners.metrics, metrics, surroundings.0.clone()));
        if let (Some(listener), Some(address)) = (listeners.receiver, receiver_address) {
            let (router, reporter) = receiver::new(self.backends.store.clone(), address);
            surroundings.1.spawn(ingest::serve(listener, router, surroundings.0.clone()));
            surroundings.1.spawn(reporter.run());
        }
        Ok((roles, surroundings, handle))
    }

    /// Every process tells the others that it is there, whatever its roles are.
    fn join(&self, families: &Families, health: &Health, tasks: &mut Tasks) -> Members {
        let store = self.backends.store.clone();
        let node = match self.config.is_distributed() {
            true => Node::new(self.node, self.roles),
            false => Node::only(self.node, self.roles),
        };
        let members = membership::start(store, node, families, &mut tasks.1, &tasks.0);
        if self.config.is_distributed() {
            readiness::among_others(health, &members);
        }
        members
    }

    fn start_dispatcher(
        &self,
        egress: &EgressPolicy,
        families: &Families,
        members: &Members,
        tasks: &mut Tasks,
    ) -> Result<dispatcher::Handle, StartError> {
        let settings = dispatcher::DispatchSettings {
            slots: self.slots,
            retention: self.config.retention,
            disable_after: self.config.disable_after,
        };
        let nameservers = self.config.nameservers.clone();
        let resolver = ResolverSettings { nameservers, ..ResolverSettings::default() };
        let parts = dispatcher::Parts {
            store: self.backends.store.clone(),
            queue: self.backends.queue.clone(),
            attempter: Attempter::new(egress.clone(), resolver, self.config.base_domain.clone())?,
            settings,
            families: families.clone(),
            members: members.clone(),
        };
        Ok(dispatcher::start(parts, &mut tasks.1, &tasks.0))
    }

    fn ingest_parts(
        &self,
        key: &OperatorKey,
        egress: EgressPolicy,
        families: Families,
        health: &Health,
        members: &Members,
        tasks: &mut Tasks,
    ) -> Result<ingest::Parts, StartError> {
        let settings = ingest::IngestSettings {
            operator_key: ingest::OperatorKey::new(key.reveal()),
            override_ceiling: self.config.override_ceiling,
            base_domain: self.config.base_domain.clone(),
            retention: self.config.retention,
            rates: self.config.limits,
            trusted_proxies: self.config.trusted_proxies.clone(),
            concurrent_requests: self.config.concurrent_requests,
        };
        Ok(ingest::Parts {
            store: self.backends.store.clone(),
            queue: self.backends.queue.clone(),
            egress,
            settings,
            families,
            health: health.clone(),
            sharing: sharing::of(self.config, members, tasks)?,
        })
    }
}

fn tell_version(families: &Families) {
    families
        .gauges("fairhook_build_info", "The version that runs.", &["version"])
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
}
