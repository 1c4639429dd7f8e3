use super::*;
use crate::ids::{DeliveryId, EndpointId, EventId};

fn address() -> QueueAddress {
    QueueAddress { tenant: TenantId::generate(), name: "queue".into() }
}

fn messages(address: &QueueAddress, count: usize) -> Vec<(QueueAddress, Message)> {
    let message = |_| Message {
        delivery: DeliveryId { event: EventId::generate(), ordinal: 0 },
        endpoint: EndpointId::generate(),
        generation: 0,
    };
    (0..count).map(message).map(|m| (address.clone(), m)).collect()
}

#[tokio::test]
async fn a_full_queue_refuses_its_tenant_and_no_other() {
    let queue = MemoryQueue::new();
    let (full, other) = (address(), address());
    let sent = queue.publish(&messages(&full, limits::MEMORY_QUEUE_MESSAGES + 3)).await;
    let (taken, refused) = sent.split_at(limits::MEMORY_QUEUE_MESSAGES);
    assert!(taken.iter().all(|p| *p == Published::Confirmed));
    assert_eq!(refused, [Published::Refused; 3]);
    assert_eq!(queue.publish(&messages(&other, 1)).await, [Published::Confirmed]);
    let consumer = queue.consumer().await.expect("in process");
    consumer.subscribe(&full, 2).await.expect("in process");
    assert_eq!(queue.publish(&messages(&full, 3)).await[1..], [Published::Confirmed, Published::Refused]);
}

#[tokio::test]
async fn crowded_queues_leave_a_quiet_tenant_its_place() {
    let queue = MemoryQueue::new();
    let tenants = limits::MEMORY_QUEUE_MESSAGES_TOTAL / limits::MEMORY_QUEUE_MESSAGES;
    for _ in 0..tenants {
        queue.publish(&messages(&address(), limits::MEMORY_QUEUE_MESSAGES)).await;
    }
    let quiet = address();
    let sent = queue.publish(&messages(&quiet, limits::MEMORY_QUEUE_MESSAGES_FLOOR + 1)).await;
    let confirmed = sent.iter().filter(|p| **p == Published::Confirmed).count();
    assert_eq!(confirmed, limits::MEMORY_QUEUE_MESSAGES_FLOOR);
}

#[tokio::test]
async fn nothing_stays_behind_of_tenants_that_came_and_went() {
    let queue = MemoryQueue::new();
    let consumer = queue.consumer().await.expect("in process");
    for n in 0..100 {
        let address = address();
        consumer.subscribe(&address, 4).await.expect("in process");
        queue.publish(&messages(&address, 3)).await;
        let received = consumer.next().await.expect("in process");
        match n % 3 {
            0 => consumer.unsubscribe(address.tenant).await.expect("in process"),
            1 => drop(received),
            _ => received.receipt.ack().await,
        }
        queue.delete(&address).await.expect("in process");
    }
    let queues = queue.shared.lock();
    assert!(queues.tenants.is_empty());
    assert_eq!(queues.ready, 0);
    let state = queues.consumers.values().next().expect("the consumer");
    assert!(state.held.is_empty() && state.turn.is_empty());
}
