//! A delivery in the engine's hands, from its message or claim to the record of its outcome.

use fairhook_common::delivery::{Lane, Outcome, Verdict};
use fairhook_common::ids::{EndpointId, TenantId};
use fairhook_common::limits;
use fairhook_common::store::Ticket;
use fairhook_common::time::Timestamp;

use super::twins::Taken;
use crate::schedule::{Moment, SlotId};
use crate::verdict::Class;

/// What the scheduler keeps of a delivery that waits.
pub struct Held {
    /// The delivery at the generation it came with.
    pub ticket: Ticket,
    /// Since when we hold it.
    pub since: Moment,
    /// The message it came by; `None`: claimed.
    pub receipt: Option<Taken>,
}

/// A delivery that holds a slot.
pub struct Started {
    /// Its slot.
    pub slot: SlotId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Its lane.
    pub lane: Lane,
    /// What it came with.
    pub held: Held,
}

/// An attempt that has ended.
pub struct Ended {
    /// The slot it held.
    pub slot: SlotId,
    /// What the endpoint's gate learns.
    pub class: Class,
    /// Whether a connection had to be made.
    pub new_connection: bool,
    /// What is to be recorded.
    pub unrecorded: Unrecorded,
}

/// A verdict that is not in the store yet.
pub struct Unrecorded {
    /// The verdict.
    pub outcome: Outcome,
    /// The message to ack afterwards.
    pub receipt: Option<Taken>,
    /// Since when it waits to be recorded.
    pub since: Moment,
}

impl Held {
    /// The verdict on a delivery that was not attempted.
    pub fn without_attempt(
        self,
        tenant: TenantId,
        endpoint: EndpointId,
        verdict: Verdict,
        now: Moment,
        decided_at: Timestamp,
    ) -> Unrecorded {
        let outcome = Outcome {
            delivery: self.ticket.delivery,
            tenant,
            endpoint,
            generation: self.ticket.generation,
            attempt: None,
            verdict,
            disable: None,
            decided_at,
        };
        Unrecorded { outcome, receipt: self.receipt, since: now }
    }
}

/// What started and is to be loaded.
#[derive(Default)]
pub struct ToLoad {
    started: Vec<Started>,
    /// How many of them, the first, the store does not have at hand.
    asked: usize,
    /// The next load begins then at the earliest.
    next: Moment,
}

impl ToLoad {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.started.len()
    }

    /// One more has started.
    pub fn push(&mut self, started: Started) {
        self.started.push(started);
    }

    /// What started since the last time: the store may have it at hand.
    pub fn take_new(&mut self) -> Vec<Started> {
        self.started.split_off(self.asked)
    }

    /// The store does not have these at hand.
    pub fn put_back(&mut self, started: Vec<Started>) {
        self.started.extend(started);
        self.asked = self.started.len();
    }

    /// When [`Self::begin`] has something.
    pub fn begins_at(&self) -> Option<Moment> {
        (!self.started.is_empty()).then_some(self.next)
    }

    /// All of it, to be loaded now; nothing if a load began a moment ago.
    pub fn begin(&mut self, now: Moment) -> Vec<Started> {
        if self.begins_at().is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.next = now.after(limits::LOAD_GATHER);
        self.take()
    }

    /// All of it.
    pub fn take(&mut self) -> Vec<Started> {
        self.asked = 0;
        std::mem::take(&mut self.started)
    }
}
