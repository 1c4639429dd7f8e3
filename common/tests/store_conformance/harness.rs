//! What every test needs: a store on a backend, a tenant, endpoints, events, and the proof at the end that every
//! delivery is accounted for.

use std::time::Duration;

use bytes::Bytes;
use fairhook_common::delivery::{
    AttemptError, AttemptErrorCode, AttemptRecord, DeliveryState, Outcome, Verdict,
};
use fairhook_common::endpoint::{BodyForm, Endpoint, EndpointSettings, EndpointStatus, StatusReason};
use fairhook_common::event::{EventPattern, EventType, Idempotency, NewEvent};
use fairhook_common::ids::{DeliveryId, EndpointId, EventId, TenantId};
use fairhook_common::plan::PlanName;
use fairhook_common::retry::RetrySchedule;
use fairhook_common::store::{
    Admission, Claim, ClaimFrom, Claimed, DeliveryFilter, DeliveryView, EndpointChanges, Load, Loaded,
    NewEndpoint, NewTenant, Order, PageRequest, Recorded, SharedStore, TenantChanges, Ticket,
};
use fairhook_common::tenant::{DeliveryCounts, Dispatch, DlqOverflow, QuotaPatch, Tenant};
use fairhook_common::time::Timestamp;
use uuid::Uuid;

pub use super::backend::Home;

/// The time at which every test begins.
pub const START: Timestamp = Timestamp(1_700_000_000_000);
/// How long the events of tests live.
pub const LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long claims of tests hold.
pub const LEASE: Duration = Duration::from_secs(180);
/// How long an endpoint may only fail.
pub const DISABLE_AFTER: Duration = Duration::from_secs(5 * 24 * 3600);

/// So many seconds after the start.
pub fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

/// A store with what a test knows of it.
pub struct World {
    pub store: SharedStore,
    pub home: Home,
}

impl World {
    pub async fn new() -> Self {
        let home = Home::new();
        Self { store: home.open().await, home }
    }

    /// Ends the store without a word, as a kill does, and opens it again.
    pub async fn reopen(self) -> Self {
        let Self { store, home } = self;
        drop(store);
        Self { store: home.open().await, home }
    }

    pub async fn tenant(&self, slug: &str) -> TenantId {
        self.tenant_with(slug, QuotaPatch::default()).await
    }

    pub async fn tenant_with(&self, slug: &str, quota: QuotaPatch) -> TenantId {
        let new = NewTenant {
            slug: slug.into(),
            name: slug.into(),
            plan: PlanName::STARTER,
            weight: None,
            metadata: "{}".into(),
        };
        let tenant: Tenant = self.store.create_tenant(new, None, START).await.expect("a tenant");
        self.change_tenant(tenant.id, TenantChanges { quota, ..TenantChanges::default() }).await;
        tenant.id
    }

    /// A tenant whose dead-letter queue is that short and overflows like that.
    pub async fn tenant_with_dlq(&self, max_dlq_size: u32, overflow: DlqOverflow) -> TenantId {
        let (size, overflow) = (Some(Some(max_dlq_size)), Some(Some(overflow)));
        let quota = QuotaPatch { max_dlq_size: size, dlq_overflow: overflow, ..QuotaPatch::default() };
        self.tenant_with("dlq", quota).await
    }

    pub async fn change_tenant(&self, tenant: TenantId, changes: TenantChanges) {
        self.store.update_tenant(tenant, changes, START).await.expect("changed");
    }

    pub async fn dispatch(&self, tenant: TenantId, dispatch: Dispatch) {
        self.change_tenant(tenant, TenantChanges { dispatch: Some(dispatch), ..TenantChanges::default() })
            .await;
    }

    /// An endpoint for every type.
    pub async fn endpoint(&self, tenant: TenantId) -> EndpointId {
        self.endpoint_for(tenant, &["*"]).await
    }

    pub async fn endpoint_for(&self, tenant: TenantId, patterns: &[&str]) -> EndpointId {
        let pattern = |text: &&str| EventPattern::parse(text).expect("a pattern");
        let settings = EndpointSettings {
            url: "https://example.com/hook".into(),
            event_types: patterns.iter().map(pattern).collect(),
            description: None,
            metadata: None,
            headers: vec![],
            rate_limit_per_s: None,
            timeout: Duration::from_secs(15),
            retry: RetrySchedule::default(),
            body: BodyForm::Raw,
            handshake: false,
        };
        let new = NewEndpoint { tenant, uid: None, settings, secret: None };
        self.store.create_endpoint(new, START).await.expect("an endpoint").id
    }

    pub async fn find_endpoint(&self, tenant: TenantId, endpoint: EndpointId) -> Endpoint {
        let endpoint = fairhook_common::store::EndpointRef::Id(endpoint);
        self.store.find_endpoint(tenant, &endpoint).await.expect("reads").expect("is there")
    }

    pub async fn set_status(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        status: EndpointStatus,
        reason: Option<StatusReason>,
    ) {
        let changes = EndpointChanges { status: Some((status, reason)), ..EndpointChanges::default() };
        self.store.update_endpoint(tenant, endpoint, changes, START).await.expect("changed");
    }

    pub async fn pause(&self, tenant: TenantId, endpoint: EndpointId) {
        self.set_status(tenant, endpoint, EndpointStatus::Paused, Some(StatusReason::User)).await;
    }

    pub async fn resume(&self, tenant: TenantId, endpoint: EndpointId) {
        self.set_status(tenant, endpoint, EndpointStatus::Active, None).await;
    }

    pub async fn admit(&self, events: Vec<NewEvent>, now: Timestamp) -> Vec<Admission> {
        self.store.admit(events, now).await.expect("admitted").results
    }

    /// Admits so many events of the tenant in one batch; their deliveries in order.
    pub async fn deliveries(&self, tenant: TenantId, events: usize) -> Vec<Sent> {
        self.deliveries_at(tenant, events, START).await
    }

    pub async fn deliveries_at(&self, tenant: TenantId, events: usize, now: Timestamp) -> Vec<Sent> {
        let batch = (0..events).map(|_| event_at(tenant, "order.paid", now)).collect();
        let mut made = vec![];
        for admission in self.admit(batch, now).await {
            let Admission::Accepted(event) = admission else { panic!("not accepted: {admission:?}") };
            made.extend(event.deliveries.iter().map(|d| Sent {
                id: DeliveryId { event: event.id, ordinal: d.ordinal },
                tenant,
                endpoint: d.endpoint,
                generation: 0,
            }));
        }
        made
    }

    pub async fn record(&self, outcomes: Vec<Outcome>) -> Vec<Recorded> {
        self.store.record(outcomes, DISABLE_AFTER).await.expect("recorded")
    }

    pub async fn record_one(&self, outcome: Outcome) -> Recorded {
        self.record(vec![outcome]).await[0]
    }

    /// Claims whatever is due of the tenant in every lane.
    pub async fn claim_due(&self, tenant: TenantId, now: Timestamp) -> Vec<Sent> {
        let lanes = fairhook_common::delivery::Lane::ALL;
        let wants = lanes.map(|lane| Claim { tenant, from: ClaimFrom::Due(lane), limit: 1_000 });
        self.claim(&wants, now).await
    }

    pub async fn claim(&self, wants: &[Claim], now: Timestamp) -> Vec<Sent> {
        self.store.claim(wants, LEASE, now).await.expect("claimed").into_iter().map(Sent::from).collect()
    }

    pub async fn view(&self, delivery: &Sent) -> DeliveryView {
        self.store.find_delivery(delivery.tenant, delivery.id).await.expect("reads").expect("is there")
    }

    pub async fn state(&self, delivery: &Sent) -> DeliveryState {
        self.view(delivery).await.state
    }

    /// Loads it, and makes sure that what the store has at hand, if anything, says the same.
    pub async fn load(&self, delivery: &Sent, now: Timestamp) -> Load {
        let at_hand = self.store.at_hand(&[delivery.ticket()], now).pop().flatten();
        let load = self.store.load(&[delivery.ticket()], now).await.unwrap().pop().unwrap();
        if let Some(at_hand) = at_hand {
            assert_eq!(told(&at_hand), told(&load), "at hand and as loaded");
        }
        load
    }

    pub async fn counts(&self, tenant: TenantId) -> DeliveryCounts {
        self.store.usage(tenant).await.expect("usage").counts
    }

    /// Every delivery of a tenant.
    pub async fn all(&self, tenant: TenantId) -> Vec<DeliveryView> {
        let mut page = PageRequest { limit: 250, order: Order::Ascending, ..PageRequest::default() };
        let mut all = vec![];
        loop {
            let found =
                self.store.list_deliveries(tenant, &DeliveryFilter::default(), &page).await.expect("a list");
            all.extend(found.items);
            match found.next {
                Some(next) => page.after = Some(next),
                None => return all,
            }
        }
    }

    /// How many dead letters the list of them holds.
    pub async fn dead_letters(&self, tenant: TenantId) -> Vec<DeliveryId> {
        let page = PageRequest { limit: 250, order: Order::Ascending, ..PageRequest::default() };
        let found =
            self.store.list_dead_letters(tenant, &DeliveryFilter::default(), &page).await.expect("a list");
        found.items.into_iter().map(|d| d.id).collect()
    }

    /// Ends a test: every delivery of every tenant is counted where it stands, and the backend finds no contradiction in
    /// its tables.
    pub async fn assert_balanced(&self) {
        let mut total = DeliveryCounts::default();
        let page = PageRequest { limit: 250, ..PageRequest::default() };
        for tenant in self.store.list_tenants(&page).await.expect("a list").items {
            let counts = self.counts(tenant.id).await;
            let mut counted = DeliveryCounts::default();
            for delivery in self.all(tenant.id).await {
                counted.accepted += 1;
                *match delivery.state {
                    DeliveryState::Delivered => &mut counted.delivered,
                    DeliveryState::Dead => &mut counted.dead,
                    DeliveryState::Discarded => &mut counted.discarded,
                    _ if delivery.attempt_count == 0 => &mut counted.backlog,
                    _ => &mut counted.retrying,
                } += 1;
                assert_eq!(delivery.discarded_reason.is_some(), delivery.state == DeliveryState::Discarded);
                assert_eq!(delivery.finished_at.is_some(), !delivery.state.is_unfinished());
            }
            assert!(counts.balanced(), "{}: {counts:?}", tenant.slug);
            assert_eq!(counts, counted, "counts of {}, then what was counted", tenant.slug);
            total.accepted += counts.accepted;
        }
        assert_eq!(self.store.totals().await.expect("totals").accepted, total.accepted);
        self.home.assert_sound().await;
    }
}

/// A delivery on its way: what a message or a claim says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub id: DeliveryId,
    pub tenant: TenantId,
    pub endpoint: EndpointId,
    pub generation: u32,
}

impl From<Claimed> for Sent {
    fn from(claimed: Claimed) -> Self {
        let Claimed { delivery, tenant, endpoint, generation, .. } = claimed;
        Self { id: delivery, tenant, endpoint, generation }
    }
}

impl Sent {
    pub fn ticket(&self) -> Ticket {
        Ticket { delivery: self.id, generation: self.generation }
    }

    /// A verdict without an attempt.
    pub fn verdict(&self, verdict: Verdict, now: Timestamp) -> Outcome {
        Outcome {
            delivery: self.id,
            tenant: self.tenant,
            endpoint: self.endpoint,
            generation: self.generation,
            attempt: None,
            verdict,
            disable: None,
            decided_at: now,
        }
    }

    /// A verdict of an attempt.
    pub fn attempted(&self, verdict: Verdict, now: Timestamp) -> Outcome {
        let well = verdict == Verdict::Delivered;
        let error =
            AttemptError { code: AttemptErrorCode::HttpStatus, detail: "the receiver said 500".into() };
        let attempt = AttemptRecord {
            id: Uuid::now_v7(),
            started_at: now,
            duration_ms: 12,
            status_code: Some(if well { 200 } else { 500 }),
            error: (!well).then_some(error),
            response_snippet: Bytes::from_static(b"\0 any bytes \xff"),
        };
        Outcome { attempt: Some(attempt), ..self.verdict(verdict, now) }
    }

    pub fn delivered(&self, now: Timestamp) -> Outcome {
        self.attempted(Verdict::Delivered, now)
    }

    pub fn retry(&self, due_at: Timestamp, now: Timestamp) -> Outcome {
        self.attempted(Verdict::Retry { due_at }, now)
    }

    pub fn dead(&self, now: Timestamp) -> Outcome {
        self.attempted(Verdict::Dead, now)
    }
}

pub fn event(tenant: TenantId, event_type: &str) -> NewEvent {
    event_at(tenant, event_type, START)
}

pub fn event_at(tenant: TenantId, event_type: &str, now: Timestamp) -> NewEvent {
    NewEvent {
        tenant,
        event_type: EventType::parse(event_type).expect("a type"),
        payload: Bytes::from_static(b"{\"id\": 7 }"),
        metadata: None,
        cloudevent: None,
        deliver_at: None,
        expires_at: now.after(LIFE),
        idempotency: None,
        only_endpoint: None,
    }
}

/// The same with an idempotency key.
pub fn keyed(tenant: TenantId, key: &str, fingerprint: u8) -> NewEvent {
    let expires_at = START.after(LIFE);
    let idempotency = Idempotency { key: key.into(), fingerprint: [fingerprint; 32], expires_at };
    NewEvent { idempotency: Some(idempotency), ..event(tenant, "order.paid") }
}

/// The state that was applied, and when it is due.
pub fn applied(recorded: Recorded) -> (DeliveryState, Option<Timestamp>) {
    match recorded {
        Recorded::Applied { state, due_at, .. } => (state, due_at),
        other => panic!("not applied: {other:?}"),
    }
}

/// The ids of events that were accepted; panics if one was not.
pub fn accepted(admissions: &[Admission]) -> Vec<EventId> {
    let id = |admission: &Admission| match admission {
        Admission::Accepted(event) => event.id,
        other => panic!("not accepted: {other:?}"),
    };
    admissions.iter().map(id).collect()
}

/// All that a load says, to be compared.
fn told(load: &Load) -> String {
    let Load::Attempt(loaded) = load else { return format!("{load:?}") };
    let Loaded { delivery, tenant, endpoint, event_type, payload, .. } = &**loaded;
    let secrets = (endpoint.secrets.current.reveal(), endpoint.secrets.previous.as_ref().map(|p| p.0.reveal()));
    let endpoint = (endpoint.id, &endpoint.url, endpoint.timeout, &endpoint.retry, endpoint.body, secrets);
    let times = (loaded.created_at, loaded.expires_at, loaded.attempts, loaded.schedule_position);
    format!("{delivery} {tenant} {endpoint:?} {event_type} {payload:?} {times:?}")
}
