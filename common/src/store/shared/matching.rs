//! Which deliveries a job's filter means.

use super::paging::Stretch;
use super::replays::Candidate;
use crate::delivery::{DeliveryState, DiscardReason};
use crate::ids::DeliveryId;
use crate::store::JobFilter;
use crate::time::Timestamp;

/// The states that a filter means; it means dead letters if it says nothing.
pub(in crate::store) fn states(filter: &JobFilter) -> &[DeliveryState] {
    if filter.states.is_empty() { &[DeliveryState::Dead] } else { &filter.states }
}

/// Whether a job that was made at `as_of` means this delivery. Not what ended since: a replay that succeeds while its job
/// is under way is not replayed again. Nor what a replay has made: the delivery that it repeats stands for it.
pub(in crate::store) fn matches(candidate: &Candidate, filter: &JobFilter, as_of: Timestamp) -> bool {
    let state = match candidate.state {
        DeliveryState::Discarded => candidate.reason == Some(DiscardReason::DlqOverflow),
        DeliveryState::Delivered => {
            !candidate.is_replay && candidate.finished_at.is_none_or(|at| at <= as_of)
        }
        _ => true,
    };
    state
        && states(filter).contains(&candidate.state)
        && filter.endpoint.is_none_or(|endpoint| endpoint == candidate.endpoint)
        && filter.event_type.as_ref().is_none_or(|wanted| *wanted == candidate.event_type)
        && admitted(filter).holds(candidate.id)
}

/// The deliveries that a filter names one by one; what is no id is left out.
pub(in crate::store) fn named(filter: &JobFilter) -> Vec<DeliveryId> {
    filter.deliveries.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The deliveries of events that were admitted when the filter says.
pub(in crate::store) fn admitted(filter: &JobFilter) -> Stretch {
    Stretch::made(filter.from_ms.map(Timestamp), filter.to_ms.map(Timestamp))
}
