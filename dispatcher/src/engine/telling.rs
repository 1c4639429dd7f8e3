//! Tells the operator's endpoint of conditions: the events go the way of any other, to the endpoints of the tenant that the
//! operator has for that. Without such a tenant nobody is told this way.

use std::sync::Arc;
use std::time::Duration;

use fairhook_common::condition::{Condition, OPERATOR_TENANT};
use fairhook_common::delivery::DeliveryState;
use fairhook_common::event::{EventType, Idempotency, NewEvent};
use fairhook_common::ids::{DeliveryId, TenantId};
use fairhook_common::limits;
use fairhook_common::store::{Admission, Settled, SharedStore, StoreError, TenantRef, Untold};
use fairhook_common::tenant::TenantStatus;
use fairhook_common::time::Timestamp;
use serde_json::Value;

use super::roster::Pokes;

/// How long it is known that an event was admitted already, should this process die between that and noting it.
const TWICE_KNOWN: Duration = Duration::from_secs(24 * 3600);

/// Tells what is untold, a bounded number at a time. At least once; an event that was admitted before is not admitted again.
pub async fn tell(store: &SharedStore, pokes: &Arc<Pokes>, now: Timestamp) -> Result<(), StoreError> {
    let untold = store.untold_conditions(limits::CONDITIONS_TOLD).await?;
    if untold.is_empty() {
        return Ok(());
    }
    let operator = store.find_tenant(&TenantRef::Slug(OPERATOR_TENANT.into())).await?;
    if let Some(operator) = operator.filter(|tenant| tenant.status == TenantStatus::Active) {
        let events: Vec<_> = untold.iter().flat_map(|one| events(one, operator.id, now)).collect();
        if !events.is_empty() {
            admit(store, events, now).await?;
            pokes.due.notify_one();
        }
    }
    store.conditions_told(&untold).await
}

/// Makes the events durable and their deliveries due; no queue is needed for so few.
async fn admit(store: &SharedStore, events: Vec<NewEvent>, now: Timestamp) -> Result<(), StoreError> {
    let admitted = store.admit(events, now).await?;
    let mut unpublished = Vec::new();
    for admission in admitted.results {
        match admission {
            Admission::Accepted(event) => {
                let queued = event.deliveries.iter().filter(|one| one.state == DeliveryState::Queued);
                unpublished.extend(queued.map(|one| DeliveryId { event: event.id, ordinal: one.ordinal }));
            }
            Admission::Replayed { .. } | Admission::IdempotencyConflict | Admission::NoSuchTenant => {}
            refused @ (Admission::NoSuchEndpoint | Admission::Refused(_)) => {
                tracing::error!(?refused, "an operational event cannot be kept");
            }
        }
    }
    match admitted.outbox {
        Some(outbox) => store.settle_outbox(&[Settled { outbox, unpublished }], now).await,
        None => Ok(()),
    }
}

/// That it was raised, that it was cleared, or both. Nothing of the operator's own tenant: that it cannot be told is what
/// would be told.
fn events(untold: &Untold, operator: TenantId, now: Timestamp) -> Vec<NewEvent> {
    let condition = &untold.condition;
    if condition.key.tenant == operator {
        return Vec::new();
    }
    let raised = (!untold.raised_told).then_some("");
    let cleared = condition.cleared_at.map(|_| ".cleared");
    let event = |end: &str| {
        let event_type = format!("fairhook.{}{end}", condition.key.kind.name());
        let mut fingerprint = [0; 32];
        fingerprint[..16].copy_from_slice(condition.id.uuid().as_bytes());
        let key = format!("{}{end}", condition.id);
        NewEvent {
            tenant: operator,
            event_type: EventType::parse(&event_type).expect("names of conditions are parts of a type"),
            payload: payload(condition, end).to_string().into(),
            metadata: None,
            cloudevent: None,
            deliver_at: None,
            expires_at: now.after(limits::CONDITION_EVENT_LIFE),
            idempotency: Some(Idempotency { key, fingerprint, expires_at: now.after(TWICE_KNOWN) }),
            only_endpoint: None,
        }
    };
    raised.into_iter().chain(cleared).map(event).collect()
}

fn payload(condition: &Condition, end: &str) -> Value {
    let mut payload = serde_json::to_value(condition.shown()).expect("plain data is JSON");
    if end.is_empty() {
        payload["cleared_at"] = Value::Null;
    }
    payload
}

#[cfg(test)]
mod tests {
    use fairhook_common::condition::{ConditionKey, ConditionKind, Evidence, Subject};
    use fairhook_common::ids::ConditionId;
    use serde_json::json;

    use super::*;

    fn untold(raised_told: bool, cleared_at: Option<Timestamp>) -> Untold {
        let (kind, tenant) = (ConditionKind::TenantNoisy, TenantId::generate());
        let key = ConditionKey { kind, tenant, subject: Subject::Tenant };
        let evidence = Evidence { value: 0.97, limit: 0.25, reason: None };
        let condition = Condition {
            id: ConditionId::generate(),
            key,
            slug: "bad".into(),
            evidence,
            raised_at: Timestamp(5),
            cleared_at,
        };
        Untold { condition, raised_told }
    }

    #[test]
    fn each_change_is_an_event_with_a_key_of_its_own() {
        let operator = TenantId::generate();
        let types = |raised_told, cleared_at| {
            let events = events(&untold(raised_told, cleared_at), operator, Timestamp(9));
            events.iter().map(|event| event.event_type.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(types(false, None), ["fairhook.tenant.noisy"]);
        assert_eq!(types(true, Some(Timestamp(7))), ["fairhook.tenant.noisy.cleared"]);
        assert_eq!(types(false, Some(Timestamp(7))).len(), 2, "it was cleared before it could be told");
        let both = untold(false, Some(Timestamp(7)));
        let events = events(&both, operator, Timestamp(9));
        let keys: Vec<_> = events.iter().map(|event| event.idempotency.as_ref().map(|i| &i.key)).collect();
        assert_ne!(keys[0], keys[1]);
        let raised: Value = serde_json::from_slice(&events[0].payload).expect("JSON");
        assert_eq!((&raised["tenant"], &raised["cleared_at"]), (&json!("bad"), &Value::Null));
        assert_eq!(raised["remedy"], "fairhook tenant pause bad");
    }

    #[test]
    fn the_operator_is_not_told_of_its_own_tenant() {
        let own = untold(false, None);
        assert!(events(&own, own.condition.key.tenant, Timestamp(9)).is_empty());
    }
}
