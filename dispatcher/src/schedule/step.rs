//! What goes into the scheduler and what comes out of it.

use std::time::Duration;

use fairhook_common::delivery::Lane;
use fairhook_common::ids::{EndpointId, TenantId};

/// A delivery that waits for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting<T> {
    /// Whose it is.
    pub tenant: TenantId,
    /// The line within its tenant.
    pub lane: Lane,
    /// The gate it has to pass.
    pub endpoint: EndpointId,
    /// It was parked and is claimed back for the room that [`super::Scheduler::endpoint_room`] named: it finds a place where
    /// what was not has to be parked, behind what is in line already.
    pub released: bool,
    /// What the caller needs to go on with it.
    pub item: T,
}

/// What is to be done next.
#[must_use = "a step has a delivery, and may hold a slot"]
#[derive(Debug)]
pub enum Step<T> {
    /// Load it, attempt it, then finish the slot: it holds that until [`super::Scheduler::finish`].
    Start {
        /// The slot it holds.
        slot: SlotId,
        /// The delivery.
        waiting: Waiting<T>,
    },
    /// Record it as parked: its endpoint has no room soon. It holds no slot.
    Park(Waiting<T>),
}

/// A slot that is taken. There is no copy of it, so that it is given back once.
#[must_use = "a slot has to be finished"]
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub(super) u64);

/// How a slot's use ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotEnd {
    /// An attempt was made.
    Attempted {
        /// What the endpoint's gate learns from it.
        class: Class,
        /// It needed a new connection, which costs more of our own time.
        new_connection: bool,
    },
    /// None was: it is stale, or held, discarded or parked after all.
    NotAttempted,
}

/// What an attempt says of its endpoint's capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A 2xx.
    Success,
    /// An answer that is no sign of overload, such as 400 or 500: the receiver lives.
    Answered,
    /// A timeout, 429, 503, or no connection.
    Overload,
}

/// What the scheduler has to know of an endpoint; learnt when one of its deliveries is loaded. Until then the endpoint
/// gets one attempt at a time, so that a rate limit holds from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointFacts {
    /// Attempts started per minute at most.
    pub rate_per_minute: Option<u32>,
    /// The deadline of an attempt.
    pub timeout: Duration,
}

/// How many deliveries of a tenant wait here, by lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneCounts {
    /// First attempts.
    pub first: u32,
    /// Retries.
    pub retry: u32,
    /// Replays.
    pub replay: u32,
    /// Of all lanes: about to be parked.
    pub parking: u32,
}

impl LaneCounts {
    /// All of them.
    pub fn total(&self) -> u32 {
        self.first + self.retry + self.replay + self.parking
    }

    /// Those of one lane that are not about to be parked.
    pub fn of(&self, lane: Lane) -> u32 {
        match lane {
            Lane::First => self.first,
            Lane::Retry => self.retry,
            Lane::Replay => self.replay,
        }
    }

    pub(super) fn of_mut(&mut self, lane: Lane) -> &mut u32 {
        match lane {
            Lane::First => &mut self.first,
            Lane::Retry => &mut self.retry,
            Lane::Replay => &mut self.replay,
        }
    }
}
