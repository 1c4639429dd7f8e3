//! A ledger and a queue whose every call waits for the test's answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use fairhook_common::delivery::DeliveryState;
use fairhook_common::event::{EventType, NewEvent};
use fairhook_common::ids::{DeliveryId, EndpointId, EventId, TenantId};
use fairhook_common::metrics::Families;
use fairhook_common::queue::{Consumer, Message, Published, Queue, QueueAddress, QueueDown};
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{
    AcceptedEvent, Admission, Admitted, NewDelivery, OutboxId, Settled, StoreError, Usage,
};
use fairhook_common::time::Timestamp;
use prometheus::Registry;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::super::{AdmissionHandle, AdmitError, Ledger, Ticket, start_over};

/// A call with what it is answered by.
pub struct Call<Q, A> {
    pub asked: Q,
    reply: oneshot::Sender<A>,
}

impl<Q, A> Call<Q, A> {
    pub fn reply(self, answer: A) {
        // Who asked may be gone.
        let _ = self.reply.send(answer);
    }
}

type Calls<Q, A> = mpsc::Sender<Call<Q, A>>;

async fn ask<Q, A>(calls: &Calls<Q, A>, asked: Q, unanswered: A) -> A {
    let (reply, answer) = oneshot::channel();
    if calls.send(Call { asked, reply }).await.is_err() {
        return unanswered;
    }
    answer.await.unwrap_or(unanswered)
}

pub type AdmitCall = Call<Vec<NewEvent>, Result<Admitted, StoreError>>;
pub type SettleCall = Call<Vec<Settled>, Result<(), StoreError>>;
pub type PublishCall = Call<Vec<(QueueAddress, Message)>, Vec<Published>>;

struct Scripted {
    admits: Calls<Vec<NewEvent>, Result<Admitted, StoreError>>,
    settles: Calls<Vec<Settled>, Result<(), StoreError>>,
    publishes: Calls<Vec<(QueueAddress, Message)>, Vec<Published>>,
}

fn away() -> StoreError {
    StoreError::Unavailable("the test is over".into())
}

#[async_trait]
impl Ledger for Scripted {
    async fn admit(&self, events: Vec<NewEvent>, _: Timestamp) -> Result<Admitted, StoreError> {
        ask(&self.admits, events, Err(away())).await
    }

    async fn settle_outbox(&self, settled: &[Settled], _: Timestamp) -> Result<(), StoreError> {
        ask(&self.settles, settled.to_vec(), Err(away())).await
    }

    async fn usages(&self, tenants: &[TenantId]) -> Result<Vec<Usage>, StoreError> {
        Ok(vec![Usage::default(); tenants.len()])
    }
}

#[async_trait]
impl Queue for Scripted {
    async fn publish(&self, messages: &[(QueueAddress, Message)]) -> Vec<Published> {
        ask(&self.publishes, messages.to_vec(), Vec::new()).await
    }

    async fn consumer(&self) -> Result<Box<dyn Consumer>, QueueDown> {
        Err(QueueDown("nobody consumes here".into()))
    }

    async fn delete(&self, _: &QueueAddress) -> Result<(), QueueDown> {
        Ok(())
    }

    async fn depth(&self, _: &QueueAddress) -> Result<u64, QueueDown> {
        Ok(0)
    }

    async fn unrouted(&self) -> Result<Box<dyn Consumer>, QueueDown> {
        Err(QueueDown("nobody consumes here".into()))
    }

    async fn is_marked(&self, _: Uuid) -> Result<bool, QueueDown> {
        Ok(false)
    }

    async fn mark(&self, _: Uuid) -> Result<(), QueueDown> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), QueueDown> {
        Ok(())
    }
}

/// Admission with everything around it.
pub struct Stage {
    pub handle: AdmissionHandle,
    pub admits: mpsc::Receiver<AdmitCall>,
    pub settles: mpsc::Receiver<SettleCall>,
    pub publishes: mpsc::Receiver<PublishCall>,
    pub tasks: JoinSet<()>,
    pub shutdown: Shutdown,
}

impl Stage {
    pub fn new() -> Self {
        let (admits, admit_calls) = mpsc::channel(16);
        let (settles, settle_calls) = mpsc::channel(16);
        let (publishes, publish_calls) = mpsc::channel(64);
        let scripted = Arc::new(Scripted { admits, settles, publishes });
        let (mut tasks, shutdown) = (JoinSet::new(), Shutdown::new());
        let families = Families::new(Registry::new());
        let handle = start_over(scripted.clone(), scripted, &families, &mut tasks, &shutdown);
        Self { handle, admits: admit_calls, settles: settle_calls, publishes: publish_calls, tasks, shutdown }
    }

    pub fn offer(&self, tenant: u8, payload: &str) -> Result<Ticket, AdmitError> {
        let event = event(tenant, payload);
        let queue = QueueAddress { tenant: event.tenant, name: "queue".into() };
        self.handle.offer(event, queue)
    }

    pub async fn admit_call(&mut self) -> AdmitCall {
        self.admits.recv().await.expect("the admitter lives")
    }

    pub async fn publish_call(&mut self) -> PublishCall {
        self.publishes.recv().await.expect("the publisher lives")
    }

    pub async fn settle_call(&mut self) -> SettleCall {
        self.settles.recv().await.expect("the publisher lives")
    }
}

pub fn tenant(n: u32) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(u128::from(n)))
}

pub fn event(tenant_number: u8, payload: &str) -> NewEvent {
    NewEvent {
        tenant: tenant(tenant_number.into()),
        event_type: EventType::parse("a.b").expect("a type"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        metadata: None,
        cloudevent: None,
        deliver_at: None,
        expires_at: Timestamp::MAX,
        idempotency: None,
        only_endpoint: None,
    }
}

/// Everything accepted, each event with deliveries in these states; row `outbox` stands for them.
pub fn accepted(events: &[NewEvent], outbox: i64, states: &[DeliveryState]) -> Admitted {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let accept = |_: &NewEvent| {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) as u128;
        let deliveries = states.iter().enumerate().map(|(ordinal, &state)| NewDelivery {
            ordinal: ordinal as u16,
            endpoint: EndpointId::from_uuid(Uuid::from_u128(ordinal as u128)),
            state,
        });
        Admission::Accepted(AcceptedEvent {
            id: EventId::from_uuid(Uuid::from_u128(number)),
            created_at: Timestamp(1),
            deliveries: deliveries.collect(),
        })
    };
    Admitted { outbox: Some(OutboxId(outbox)), results: events.iter().map(accept).collect() }
}

impl AdmitCall {
    /// Accepts all, each event with one delivery to publish; returns the deliveries.
    pub fn accept(self, outbox: i64) -> Vec<DeliveryId> {
        let admitted = accepted(&self.asked, outbox, &[DeliveryState::Queued]);
        let ids = admitted.results.iter().filter_map(|admission| match admission {
            Admission::Accepted(event) => Some(DeliveryId { event: event.id, ordinal: 0 }),
            _ => None,
        });
        let ids = ids.collect();
        self.reply(Ok(admitted));
        ids
    }

    pub fn payloads(&self) -> Vec<String> {
        let text = |event: &NewEvent| String::from_utf8_lossy(&event.payload).into_owned();
        self.asked.iter().map(text).collect()
    }
}
