//! A store, a queue and a dispatcher, with just enough of an ingest to post events.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairhook_common::egress::EgressPolicy;
use fairhook_common::endpoint::{BodyForm, Endpoint, EndpointSettings, EndpointStatus, StatusReason};
use fairhook_common::event::{EventPattern, EventType, NewEvent};
use fairhook_common::ids::{DeliveryId, EventId, TenantId};
use fairhook_common::membership::{self, Node};
use fairhook_common::metrics::Families;
use fairhook_common::plan::PlanName;
use fairhook_common::queue::memory::MemoryQueue;
use fairhook_common::queue::{Message, Published, Queue, QueueAddress};
use fairhook_common::retry::RetrySchedule;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::sqlite::SqliteStore;
use fairhook_common::store::{
    Admission, Browse, Control, Deliveries, DeliveryView, EndpointChanges, NewEndpoint, NewTenant, Recovery,
    Roles, Settled, TenantChanges,
};
use fairhook_common::tenant::{DeliveryCounts, Dispatch, QuotaPatch, Tenant};
use fairhook_common::time::Timestamp;
use fairhook_dispatcher::attempt::{Attempter, ResolverSettings};
use fairhook_dispatcher::{DispatchSettings, Handle, Parts};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(40);

pub struct Rig {
    pub store: Arc<SqliteStore>,
    pub queue: MemoryQueue,
    dispatcher: Option<Running>,
}

/// A dispatcher that runs.
pub struct Running {
    tasks: JoinSet<()>,
    shutdown: Shutdown,
    handle: Handle,
    registry: prometheus::Registry,
}

impl Running {
    /// Drains it; it must be done in time.
    pub async fn drain(mut self) {
        self.shutdown.drain();
        assert!(self.shutdown.join(&mut self.tasks, PATIENCE).await, "drained in time");
    }

    /// Ends it in the middle of whatever it does.
    pub async fn kill(mut self) {
        self.tasks.shutdown().await;
    }

    /// What one of its counters says, over all labels.
    pub fn counted(&self, name: &str) -> u64 {
        let family = self.registry.gather().into_iter().find(|family| family.name() == name);
        let family = family.expect("the counter is there");
        family.get_metric().iter().map(|metric| metric.get_counter().get_value() as u64).sum()
    }
}

/// Polls until `check` holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let started = Instant::now();
    while !check().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Rig {
    /// Opens the store in `directory`, as a process does at its start.
    pub async fn open(directory: &TempDir) -> Self {
        Self::open_at(directory.path()).await
    }

    async fn open_at(directory: &Path) -> Self {
        let store = SqliteStore::open(directory).await.expect("a store");
        store.recover(Recovery::Everything, Timestamp::now()).await.expect("it recovers");
        Self { store: Arc::new(store), queue: MemoryQueue::new(), dispatcher: None }
    }

    /// Starts the dispatcher.
    pub fn start(&mut self) -> Handle {
        let running = self.launch(Arc::new(self.queue.clone()));
        let handle = running.handle.clone();
        self.dispatcher = Some(running);
        handle
    }

    /// Starts a dispatcher that may call loopback, beside whatever runs.
    pub fn launch(&self, queue: Arc<dyn Queue>) -> Running {
        let loopback = "127.0.0.0/8".parse().expect("a network");
        let policy = EgressPolicy::new(vec![loopback], None);
        let (mut tasks, shutdown) = (JoinSet::new(), Shutdown::new());
        let registry = prometheus::Registry::new();
        let families = Families::new(registry.clone());
        let node = Node::new("test", Roles { ingest: false, dispatcher: true });
        let members = membership::start(self.store.clone(), node, &families, &mut tasks, &shutdown);
        let parts = Parts {
            store: self.store.clone(),
            queue,
            attempter: Attempter::new(policy, ResolverSettings::default(), Some("hooks.test".into()))
                .expect("an attempter"),
            settings: DispatchSettings::default(),
            families,
            members,
        };
        let handle = fairhook_dispatcher::start(parts, &mut tasks, &shutdown);
        Running { tasks, shutdown, handle, registry }
    }

    /// Drains the dispatcher; it must be done in time.
    pub async fn drain(&mut self) {
        self.dispatcher.take().expect("it runs").drain().await;
    }

    /// Ends the dispatcher in the middle of whatever it does.
    pub async fn kill(&mut self) {
        self.dispatcher.take().expect("it runs").kill().await;
    }

    /// A tenant that may have `concurrent` deliveries in flight.
    pub async fn tenant(&self, slug: &str, concurrent: u32) -> Tenant {
        let new = NewTenant {
            slug: slug.into(),
            name: slug.into(),
            plan: PlanName::STARTER,
            weight: None,
            metadata: "{}".into(),
        };
        let tenant = self.store.create_tenant(new, None, Timestamp::now()).await.expect("a tenant");
        self.set_concurrent(&tenant, concurrent).await
    }

    pub async fn set_concurrent(&self, tenant: &Tenant, concurrent: u32) -> Tenant {
        let quota = QuotaPatch { max_concurrent_deliveries: Some(Some(concurrent)), ..QuotaPatch::default() };
        let changes = TenantChanges { quota, ..TenantChanges::default() };
        self.store.update_tenant(tenant.id, changes, Timestamp::now()).await.expect("a quota")
    }

    /// An endpoint for all events of `pattern`, with these waits between attempts.
    pub async fn endpoint(&self, tenant: &Tenant, url: String, pattern: &str, retries: &[u32]) -> Endpoint {
        let settings = EndpointSettings {
            url,
            event_types: vec![EventPattern::parse(pattern).expect("a pattern")],
            description: None,
            metadata: None,
            headers: Vec::new(),
            rate_limit_per_s: None,
            timeout: Duration::from_secs(30),
            retry: RetrySchedule { schedule_s: retries.to_vec(), jitter: 0.0 },
            body: BodyForm::Raw,
            handshake: false,
        };
        let new = NewEndpoint { tenant: tenant.id, uid: None, settings, secret: None };
        self.store.create_endpoint(new, Timestamp::now()).await.expect("an endpoint")
    }

    pub async fn set_status(&self, endpoint: &Endpoint, status: EndpointStatus) {
        let reason = (status != EndpointStatus::Active).then_some(StatusReason::User);
        let changes = EndpointChanges { status: Some((status, reason)), ..EndpointChanges::default() };
        let changed = self.store.update_endpoint(endpoint.tenant, endpoint.id, changes, Timestamp::now());
        changed.await.expect("a status");
    }

    pub async fn set_dispatch(&self, tenant: &Tenant, dispatch: Dispatch) {
        let changes = TenantChanges { dispatch: Some(dispatch), ..TenantChanges::default() };
        self.store.update_tenant(tenant.id, changes, Timestamp::now()).await.expect("a switch");
    }

    /// Posts `count` events of `event_type`.
    pub async fn post(&self, tenant: &Tenant, event_type: &str, count: usize) -> Vec<EventId> {
        let now = Timestamp::now();
        let event = |n| NewEvent {
            tenant: tenant.id,
            event_type: EventType::parse(event_type).expect("a type"),
            payload: format!("{{\"n\":{n}}}").into(),
            metadata: None,
            cloudevent: None,
            deliver_at: None,
            expires_at: now.after(Duration::from_secs(3600)),
            idempotency: None,
            only_endpoint: None,
        };
        self.admit(tenant, (0..count).map(event).collect()).await
    }

    /// Admits events and publishes their deliveries, as an ingest does.
    pub async fn admit(&self, tenant: &Tenant, events: Vec<NewEvent>) -> Vec<EventId> {
        let admitted = self.store.admit(events, Timestamp::now()).await.expect("admitted");
        let address = QueueAddress { tenant: tenant.id, name: tenant.queue.as_str().into() };
        let (mut messages, mut ids) = (Vec::new(), Vec::new());
        for result in admitted.results {
            let Admission::Accepted(accepted) = result else { panic!("{result:?}") };
            ids.push(accepted.id);
            for new in accepted.deliveries {
                if new.state == fairhook_common::delivery::DeliveryState::Queued {
                    let delivery = DeliveryId { event: accepted.id, ordinal: new.ordinal };
                    let message = Message { delivery, endpoint: new.endpoint, generation: 0 };
                    messages.push((address.clone(), message));
                }
            }
        }
        let published = self.queue.publish(&messages).await;
        let refused = messages.iter().zip(published).filter(|(_, p)| *p == Published::Refused);
        let unpublished = refused.map(|((_, message), _)| message.delivery).collect();
        if let Some(outbox) = admitted.outbox {
            let settled = Settled { outbox, unpublished };
            self.store.settle_outbox(&[settled], Timestamp::now()).await.expect("settled");
        }
        ids
    }

    pub async fn counts(&self, tenant: &Tenant) -> DeliveryCounts {
        let counts = self.store.usage(tenant.id).await.expect("usage").counts;
        assert!(counts.balanced(), "{counts:?}");
        counts
    }

    /// Waits until the tenant's counts are as `check` wants them.
    pub async fn until_counts(&self, what: &str, tenant: &Tenant, check: impl Fn(DeliveryCounts) -> bool) {
        until(what, || async { check(self.counts(tenant).await) }).await;
    }

    /// Waits until so many of the tenant's deliveries are delivered.
    pub async fn until_delivered(&self, tenant: &Tenant, count: u64) {
        let what = format!("{count} are delivered");
        self.until_counts(&what, tenant, |counts| counts.delivered == count).await;
    }

    /// The first delivery of an event.
    pub async fn delivery(&self, tenant: TenantId, event: EventId) -> DeliveryView {
        let delivery = DeliveryId { event, ordinal: 0 };
        self.store.find_delivery(tenant, delivery).await.expect("a read").expect("it is there")
    }
}
