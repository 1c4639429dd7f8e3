//! What a replay makes of a delivery.

use std::collections::HashMap;

use crate::delivery::{DeliveryState, DiscardReason};
use crate::ids::{DeliveryId, EndpointId, EventId, TenantId};
use crate::store::Replayed;
use crate::time::Timestamp;

/// What has to be known of a delivery to end or replay it.
#[derive(Debug, Clone)]
pub(in crate::store) struct Candidate {
    pub(in crate::store) id: DeliveryId,
    pub(in crate::store) endpoint: EndpointId,
    pub(in crate::store) event_type: String,
    pub(in crate::store) state: DeliveryState,
    pub(in crate::store) reason: Option<DiscardReason>,
    pub(in crate::store) attempted: bool,
    pub(in crate::store) is_replay: bool,
    pub(in crate::store) finished_at: Option<Timestamp>,
    pub(in crate::store) endpoint_gone: bool,
    pub(in crate::store) event_expires_at: Timestamp,
    pub(in crate::store) next_ordinal: u32,
}

/// An unfinished delivery that is to end.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Unfinished {
    pub(in crate::store) id: DeliveryId,
    pub(in crate::store) tenant: TenantId,
    pub(in crate::store) attempted: bool,
}

/// What a replay makes of a delivery, decided without a look at the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Replay {
    /// It is due again itself.
    Again,
    /// It ended well: a new delivery of the same event repeats it, with this ordinal.
    Anew(u16),
    /// It stays as it is.
    Refused(Replayed),
}

/// `made`: how many new deliveries of this event the transaction has decided on already.
pub(in crate::store) fn decide_replay(candidate: &Candidate, made: u32, now: Timestamp) -> Replay {
    let refused = Replay::Refused(Replayed::NotReplayable(candidate.state));
    if candidate.event_expires_at <= now {
        return refused;
    }
    match (candidate.state, candidate.reason) {
        (DeliveryState::Dead | DeliveryState::Delivered, _) if candidate.endpoint_gone => {
            Replay::Refused(Replayed::EndpointGone)
        }
        (DeliveryState::Discarded, Some(DiscardReason::DlqOverflow)) if candidate.endpoint_gone => {
            Replay::Refused(Replayed::EndpointGone)
        }
        (DeliveryState::Dead, _) | (DeliveryState::Discarded, Some(DiscardReason::DlqOverflow)) => {
            Replay::Again
        }
        (DeliveryState::Delivered, _) => {
            u16::try_from(candidate.next_ordinal + made).map_or(refused, Replay::Anew)
        }
        _ => refused,
    }
}

/// Decides on many; returns what is to be done, and how many were refused.
pub(in crate::store) fn decide_replays(
    chosen: Vec<Candidate>,
    now: Timestamp,
) -> (Vec<(Candidate, Replay)>, u64) {
    let mut made: HashMap<EventId, u32> = HashMap::new();
    let mut replays = Vec::with_capacity(chosen.len());
    let mut refused = 0;
    for candidate in chosen {
        let made = made.entry(candidate.id.event).or_default();
        let replay = decide_replay(&candidate, *made, now);
        *made += u32::from(matches!(replay, Replay::Anew(_)));
        match replay {
            Replay::Refused(_) => refused += 1,
            Replay::Again | Replay::Anew(_) => replays.push((candidate, replay)),
        }
    }
    (replays, refused)
}
