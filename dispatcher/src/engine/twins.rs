//! A message that comes again while its delivery is still held here: a queue that lost our consumer hands out once more
//! what we are attempting. The second is neither attempted nor given back; it shares the first one's fate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use fairhook_common::queue::Receipt;
use fairhook_common::store::Ticket;

/// The receipts of one delivery's messages. Usually there is one.
type Receipts = Mutex<Vec<Box<dyn Receipt>>>;

/// The right to ack a delivery's messages. Dropped, they all go back to their queue.
pub struct Taken(Arc<Receipts>);

impl Taken {
    /// The delivery is done with. (On a consumer that is lost this does nothing.)
    pub async fn ack(self) {
        // What comes after this is seen to be stale.
        let receipts = std::mem::take(&mut *lock(&self.0));
        for receipt in receipts {
            receipt.ack().await;
        }
    }
}

/// The deliveries that are held here by a message.
#[derive(Default)]
pub struct Twins(HashMap<Ticket, Weak<Receipts>>);

impl Twins {
    /// Takes a message over; `None`: one of its kind is here already, and this one goes with it.
    pub fn take(&mut self, ticket: Ticket, receipt: Box<dyn Receipt>) -> Option<Taken> {
        if let Some(first) = self.0.get(&ticket).and_then(Weak::upgrade) {
            let mut receipts = lock(&first);
            if !receipts.is_empty() {
                receipts.push(receipt);
                return None;
            }
        }
        let taken = Arc::new(Mutex::new(vec![receipt]));
        self.0.insert(ticket, Arc::downgrade(&taken));
        Some(Taken(taken))
    }

    /// Forgets what is not held any more: bounds memory. To be called from time to time (it looks at all).
    pub fn tidy(&mut self) {
        self.0.retain(|_, receipts| receipts.strong_count() > 0);
    }
}

fn lock(receipts: &Receipts) -> MutexGuard<'_, Vec<Box<dyn Receipt>>> {
    // Every change is whole before anything can panic.
    receipts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use fairhook_common::ids::{DeliveryId, EventId};

    use super::*;

    struct Counted(Arc<AtomicUsize>);

    #[async_trait]
    impl Receipt for Counted {
        async fn ack(self: Box<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn one_that_comes_again_shares_the_first_ones_fate() {
        let (mut twins, acked) = (Twins::default(), Arc::new(AtomicUsize::new(0)));
        let receipt = || Box::new(Counted(Arc::clone(&acked)));
        let delivery = DeliveryId { event: EventId::generate(), ordinal: 0 };
        let ticket = Ticket { delivery, generation: 3 };
        let first = twins.take(ticket, receipt()).expect("the first");
        assert!(twins.take(ticket, receipt()).is_none());
        assert!(twins.take(Ticket { generation: 4, ..ticket }, receipt()).is_some(), "another life");
        assert_eq!(Arc::strong_count(&acked), 3, "the other life's went back, these two are held");
        first.ack().await;
        assert_eq!(acked.load(Ordering::Relaxed), 2);
        twins.take(ticket, receipt()).expect("nothing is held any more");
        assert_eq!(Arc::strong_count(&acked), 1, "dropped, it goes back");
        twins.tidy();
        assert!(twins.0.is_empty());
    }
}
