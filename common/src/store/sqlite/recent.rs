//! What was admitted a moment ago, as its attempts need it, and where events go. Most deliveries are loaded right behind their
//! admission, and most events go where others went; to ask the file each time costs as much as to write to it.
//!
//! What is here is what the file says, or it is not used. An *era* ends with every commit that may have changed what a load
//! answers: all of the control plane's and of housekeeping's, and an endpoint that was stopped. What was learnt in one era
//! does not count in the next. Admissions, outcomes and claims go on within an era, for they touch no delivery but their own:
//! an outcome's is forgotten, a claimed one is in the schedule and was never here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::locked;
use super::routes::{Aim, Targets};
use crate::cloudevent::Context;
use crate::delivery::DeliveryState;
use crate::event::NewEvent;
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::limits;
use crate::store::{Admission, EndpointSnapshot, Load, Loaded, Ticket};
use crate::time::Timestamp;

/// A time in which nothing changed that loads depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Era(u64);

/// What was admitted in this era and not loaded yet, and the endpoints that were read in it.
#[derive(Default)]
pub(super) struct Recent {
    /// The open transaction ends the era.
    disturbed: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    era: Era,
    young: Deliveries,
    /// What was young before the last turn, and goes with the next one.
    old: Deliveries,
    endpoints: Endpoints,
    routes: Routes,
}

#[derive(Default)]
struct Deliveries {
    of: HashMap<DeliveryId, Recently>,
    bytes: usize,
}

#[derive(Default)]
struct Endpoints {
    of: HashMap<EndpointId, Arc<EndpointSnapshot>>,
    bytes: usize,
}

#[derive(Default)]
struct Routes {
    of: HashMap<Aim, Targets>,
    targets: usize,
}

struct Recently {
    tenant: TenantId,
    endpoint: EndpointId,
    event_type: Arc<str>,
    payload: Bytes,
    cloudevent: Option<Context>,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl Recently {
    /// What counts of it.
    fn bytes(&self) -> usize {
        self.payload.len() + self.cloudevent.as_ref().map_or(0, |context| context.json().len())
    }
}

impl Recent {
    /// The era that an open transaction, or a read that begins now, belongs to.
    pub(super) fn era(&self) -> Era {
        locked(&self.kept).era
    }

    /// The open transaction changes something that loads depend on.
    pub(super) fn disturb(&self) {
        self.disturbed.store(true, Ordering::Relaxed);
    }

    /// A transaction was committed, and nobody has been told yet. (One that failed may end an era for nothing.)
    pub(super) fn committed(&self) {
        if self.disturbed.swap(false, Ordering::Relaxed) {
            let mut kept = locked(&self.kept);
            *kept = Kept { era: Era(kept.era.0 + 1), ..Kept::default() };
        }
    }

    /// Keeps what was admitted by a transaction of `era`, which is committed.
    pub(super) fn keep(&self, era: Era, events: &[NewEvent], admissions: &[Admission]) {
        let mut kept = locked(&self.kept);
        if kept.era != era {
            return;
        }
        for (event, admission) in events.iter().zip(admissions) {
            let Admission::Accepted(accepted) = admission else { continue };
            // A large one would take the place of many, and is quickly read.
            if event.payload.len() >= limits::LARGE_PAYLOAD_BYTES {
                continue;
            }
            let mut queued =
                accepted.deliveries.iter().filter(|d| d.state == DeliveryState::Queued).peekable();
            if queued.peek().is_none() {
                continue;
            }
            // Copied: a slice would keep the whole request in memory.
            let payload = Bytes::copy_from_slice(&event.payload);
            let event_type: Arc<str> = event.event_type.as_str().into();
            for delivery in queued {
                let id = DeliveryId { event: accepted.id, ordinal: delivery.ordinal };
                let recently = Recently {
                    tenant: event.tenant,
                    endpoint: delivery.endpoint,
                    event_type: Arc::clone(&event_type),
                    payload: payload.clone(),
                    cloudevent: event.cloudevent.clone(),
                    created_at: accepted.created_at,
                    expires_at: event.expires_at,
                };
                kept.put(id, recently);
            }
        }
    }

    /// What is known of each of `tickets`; whoever asks again has to load it.
    pub(super) fn take(&self, tickets: &[Ticket], now: Timestamp) -> Vec<Option<Load>> {
        let mut kept = locked(&self.kept);
        tickets.iter().map(|ticket| kept.take(*ticket, now)).collect()
    }

    /// These endpoints were read in `era`.
    pub(super) fn learn<'a>(&self, era: Era, endpoints: impl Iterator<Item = &'a Arc<EndpointSnapshot>>) {
        let mut kept = locked(&self.kept);
        if kept.era == era {
            endpoints.for_each(|endpoint| kept.endpoints.put(endpoint));
        }
    }

    /// Where these go, as far as that is known and the open transaction has not changed it.
    pub(super) fn routes(&self, aims: &[Aim]) -> Vec<Option<Targets>> {
        if self.disturbed.load(Ordering::Relaxed) {
            return vec![None; aims.len()];
        }
        let kept = locked(&self.kept);
        aims.iter().map(|aim| kept.routes.of.get(aim).cloned()).collect()
    }

    /// The open transaction, the only one that writes, has read this.
    pub(super) fn learn_route(&self, aim: &Aim, targets: &Targets) {
        if !self.disturbed.load(Ordering::Relaxed) {
            locked(&self.kept).routes.put(aim, targets);
        }
    }

    /// Something else becomes of these than to be loaded.
    pub(super) fn forget(&self, deliveries: impl Iterator<Item = DeliveryId>) {
        let mut kept = locked(&self.kept);
        deliveries.for_each(|id| drop(kept.remove(id)));
    }
}

impl Kept {
    fn put(&mut self, id: DeliveryId, recently: Recently) {
        let full = self.young.of.len() >= limits::RECENT_DELIVERIES / 2;
        if full || self.young.bytes + recently.bytes() > limits::RECENT_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.bytes += recently.bytes();
        self.young.of.insert(id, recently);
    }

    fn take(&mut self, ticket: Ticket, now: Timestamp) -> Option<Load> {
        let recently = self.remove(ticket.delivery)?;
        if ticket.generation != 0 || recently.expires_at <= now {
            return None;
        }
        Some(Load::Attempt(Box::new(Loaded {
            delivery: ticket.delivery,
            tenant: recently.tenant,
            endpoint: Arc::clone(self.endpoints.of.get(&recently.endpoint)?),
            event_type: recently.event_type,
            payload: recently.payload,
            cloudevent: recently.cloudevent,
            created_at: recently.created_at,
            expires_at: recently.expires_at,
            attempts: 0,
            schedule_position: 0,
        })))
    }

    fn remove(&mut self, id: DeliveryId) -> Option<Recently> {
        self.young.remove(id).or_else(|| self.old.remove(id))
    }
}

impl Deliveries {
    fn remove(&mut self, id: DeliveryId) -> Option<Recently> {
        let recently = self.of.remove(&id)?;
        self.bytes -= recently.bytes();
        Some(recently)
    }
}

impl Endpoints {
    fn put(&mut self, endpoint: &Arc<EndpointSnapshot>) {
        let bytes = weight(endpoint);
        if self.bytes + bytes > limits::RECENT_BYTES {
            *self = Self::default();
        }
        if self.of.insert(endpoint.id, Arc::clone(endpoint)).is_none() {
            self.bytes += bytes;
        }
    }
}

impl Routes {
    fn put(&mut self, aim: &Aim, targets: &Targets) {
        let more = 1 + targets.len();
        if self.targets + more > limits::RECENT_TARGETS {
            *self = Self::default();
        }
        self.targets += more;
        self.of.insert(aim.clone(), Arc::clone(targets));
    }
}

/// About what an endpoint takes in memory. Within an era it does not change.
fn weight(endpoint: &EndpointSnapshot) -> usize {
    let headers: usize =
        endpoint.headers.iter().map(|header| header.name.len() + header.value.len() + 64).sum();
    512 + endpoint.url.len() + headers
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::{BodyForm, Secrets};
    use crate::event::EventType;
    use crate::ids::EventId;
    use crate::retry::RetrySchedule;
    use crate::signature::SigningSecret;
    use crate::store::{AcceptedEvent, NewDelivery};

    const NOW: Timestamp = Timestamp(1_000);

    fn snapshot(id: EndpointId) -> Arc<EndpointSnapshot> {
        Arc::new(EndpointSnapshot {
            id,
            url: "https://example.com/".into(),
            headers: vec![],
            secrets: Secrets { current: SigningSecret::generate(), previous: None },
            timeout: Duration::from_secs(1),
            retry: RetrySchedule::default(),
            body: BodyForm::Raw,
            rate_limit_per_s: None,
            handshake: false,
        })
    }

    /// Keeps an event that goes to `endpoint`, and has that delivery's ticket.
    fn admitted(recent: &Recent, era: Era, endpoint: EndpointId, payload: &'static str) -> Ticket {
        let event = NewEvent {
            tenant: TenantId::generate(),
            event_type: EventType::parse("order.paid").expect("a type"),
            payload: payload.into(),
            metadata: None,
            cloudevent: None,
            deliver_at: None,
            expires_at: Timestamp(2_000),
            idempotency: None,
            only_endpoint: None,
        };
        let delivery = NewDelivery { ordinal: 0, endpoint, state: DeliveryState::Queued };
        let id = EventId::from_uuid(uuid::Uuid::now_v7());
        let accepted = AcceptedEvent { id, created_at: NOW, deliveries: vec![delivery] };
        recent.keep(era, &[event], &[Admission::Accepted(accepted)]);
        Ticket { delivery: DeliveryId { event: id, ordinal: 0 }, generation: 0 }
    }

    fn is_at_hand(recent: &Recent, ticket: Ticket, now: Timestamp) -> bool {
        recent.take(&[ticket], now)[0].is_some()
    }

    #[test]
    fn what_was_admitted_is_at_hand_once_while_nothing_changes() {
        let (recent, endpoint) = (Recent::default(), EndpointId::generate());
        let before = admitted(&recent, recent.era(), endpoint, "1");
        assert!(!is_at_hand(&recent, before, NOW), "nobody has read the endpoint");
        recent.learn(recent.era(), [&snapshot(endpoint)].into_iter());
        let [once, later, expired, other] = [(); 4].map(|()| admitted(&recent, recent.era(), endpoint, "1"));
        assert!(is_at_hand(&recent, once, NOW) && !is_at_hand(&recent, once, NOW));
        assert!(!is_at_hand(&recent, Ticket { generation: 1, ..other }, NOW));
        assert!(!is_at_hand(&recent, expired, Timestamp(2_000)));
        let era = recent.era();
        recent.committed();
        assert_eq!(recent.era(), era, "nothing that loads depend on");
        recent.disturb();
        recent.committed();
        assert!(!is_at_hand(&recent, later, NOW));
        let late = admitted(&recent, era, endpoint, "1");
        recent.learn(era, [&snapshot(endpoint)].into_iter());
        let now = admitted(&recent, recent.era(), endpoint, "1");
        assert!(!is_at_hand(&recent, late, NOW) && !is_at_hand(&recent, now, NOW), "what is of an older era");
    }

    #[test]
    fn what_an_open_transaction_changed_is_not_known() {
        let (recent, aim) = (Recent::default(), Aim::Type(TenantId::generate(), "a".into()));
        let targets: Targets = Arc::from(vec![]);
        recent.learn_route(&aim, &targets);
        assert!(recent.routes(std::slice::from_ref(&aim))[0].is_some());
        recent.disturb();
        assert!(recent.routes(std::slice::from_ref(&aim))[0].is_none());
        recent.learn_route(&aim, &targets);
        recent.committed();
        assert!(recent.routes(&[aim])[0].is_none());
    }

    #[test]
    fn it_is_bounded_whatever_nobody_asks_for() {
        let (recent, endpoint) = (Recent::default(), EndpointId::generate());
        recent.learn(recent.era(), [&snapshot(endpoint)].into_iter());
        let tickets: Vec<_> = (0..2 * limits::RECENT_DELIVERIES)
            .map(|_| admitted(&recent, recent.era(), endpoint, "12"))
            .collect();
        {
            let kept = locked(&recent.kept);
            let entries = kept.young.of.len() + kept.old.of.len();
            assert!(entries <= limits::RECENT_DELIVERIES);
            assert_eq!(kept.young.bytes + kept.old.bytes, 2 * entries);
        }
        assert!(is_at_hand(&recent, tickets[tickets.len() - 1], NOW));
        assert!(!is_at_hand(&recent, tickets[0], NOW));
        recent.forget(tickets.iter().map(|ticket| ticket.delivery));
        let kept = locked(&recent.kept);
        assert_eq!((kept.young.bytes, kept.old.bytes), (0, 0));
    }
}
