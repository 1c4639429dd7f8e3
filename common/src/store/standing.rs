//! What an outcome does to its delivery, its endpoint and its tenant's dead-letter queue: plain values, no database.

use std::time::Duration;

use crate::delivery::{DeliveryState, DiscardReason, Generation, Lane, Outcome, Verdict};
use crate::endpoint::{EndpointStatus, StatusReason};
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::store::Recorded;
use crate::tenant::DlqOverflow;
use crate::time::Timestamp;

/// A delivery as it stands, while the outcomes of a batch are applied one after another.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub delivery: DeliveryId,
    pub tenant: TenantId,
    pub endpoint: EndpointId,
    pub state: DeliveryState,
    pub generation: Generation,
    pub attempts: u32,
    pub position: u32,
    pub expires_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub reason: Option<DiscardReason>,
    /// Its row in the schedule.
    pub waits: Option<Waits>,
}

/// A row of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waits {
    pub lane: Lane,
    pub wait: Wait,
    pub due_at: Timestamp,
}

/// What a row of the schedule waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Time,
    Parked,
    Held,
}

crate::endpoint::stored_as_text!(Wait { Time = "time", Parked = "parked", Held = "held" });

/// What counts of an endpoint. One that is not there is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndpointFacts {
    pub tenant: TenantId,
    pub status: EndpointStatus,
    pub reason: Option<StatusReason>,
    pub failing_since: Option<Timestamp>,
}

/// What counts of a tenant.
#[derive(Debug, Clone, Copy)]
pub(super) struct TenantFacts {
    pub lives: bool,
    pub dispatch_open: bool,
    pub max_dlq_size: u32,
    pub dlq_overflow: DlqOverflow,
    /// Dead letters, those of this batch among them.
    pub dead: u64,
}

impl TenantFacts {
    /// Of a tenant that is not there.
    pub(super) const GONE: Self = Self {
        lives: false,
        dispatch_open: false,
        max_dlq_size: 0,
        dlq_overflow: DlqOverflow::DropOldest,
        dead: 0,
    };
}

impl EndpointFacts {
    /// Learns from an outcome, stale ones too: the attempt was made. Returns why the endpoint was stopped by it, if it was.
    fn learn(&mut self, outcome: &Outcome, disable_after: Duration) -> Option<StatusReason> {
        let mut stop = outcome.disable;
        if outcome.attempt.is_some() {
            if outcome.verdict == Verdict::Delivered {
                self.failing_since = None;
            } else if self.status != EndpointStatus::Deleted {
                let since = *self.failing_since.get_or_insert(outcome.decided_at);
                if outcome.decided_at.since(since) >= disable_after {
                    stop = stop.or(Some(StatusReason::Failing));
                }
            }
        }
        stop.and_then(|reason| self.stop(EndpointStatus::Disabled, reason))
    }

    fn stop(&mut self, status: EndpointStatus, reason: StatusReason) -> Option<StatusReason> {
        let stops = self.status == EndpointStatus::Active;
        if stops {
            (self.status, self.reason) = (status, Some(reason));
        }
        stops.then_some(reason)
    }
}

impl Standing {
    /// Applies `outcome`, whose attempt, if it has one, was not recorded before.
    pub(super) fn apply(
        &mut self,
        outcome: &Outcome,
        endpoint: &mut EndpointFacts,
        tenant: &mut TenantFacts,
        disable_after: Duration,
    ) -> Recorded {
        let current = outcome.verdict == Verdict::Delivered || outcome.generation == self.generation;
        let applies = current && self.state.is_unfinished();
        self.attempts += u32::from(outcome.attempt.is_some());
        let mut stopped = endpoint.learn(outcome, disable_after);
        if !applies {
            return Recorded::Stale;
        }
        let at = outcome.decided_at;
        let gone = match (tenant.lives, endpoint.status) {
            (false, _) => Some(DiscardReason::TenantDeleted),
            (_, EndpointStatus::Deleted) => Some(DiscardReason::EndpointDeleted),
            _ => None,
        };
        match (outcome.verdict, gone) {
            (Verdict::Delivered, _) => self.finish(DeliveryState::Delivered, None, at),
            (Verdict::Discard(reason), _) | (_, Some(reason)) => self.discard(reason, at),
            (Verdict::Retry { due_at }, None) => self.retry(due_at, at, outcome.attempt.is_some()),
            (Verdict::Park, None) => self.wait(DeliveryState::Scheduled, Wait::Parked, at),
            (Verdict::Hold, None) if endpoint.status == EndpointStatus::Active && tenant.dispatch_open => {
                self.wait(DeliveryState::Scheduled, Wait::Time, at);
            }
            (Verdict::Hold, None) => self.wait(DeliveryState::Held, Wait::Held, at),
            (Verdict::Dead, None) => stopped = self.die(endpoint, tenant, at).or(stopped),
        }
        self.answer(stopped)
    }

    /// What is answered to whoever brings its latest outcome, once more or for the first time.
    pub(super) fn answer(&self, endpoint_stopped: Option<StatusReason>) -> Recorded {
        let timed = self.waits.filter(|w| w.wait == Wait::Time && self.state == DeliveryState::Scheduled);
        Recorded::Applied { state: self.state, due_at: timed.map(|w| w.due_at), endpoint_stopped }
    }

    /// A dead one makes room for another; it ended when it died.
    pub(super) fn overflow(&mut self) {
        (self.state, self.reason) = (DeliveryState::Discarded, Some(DiscardReason::DlqOverflow));
    }

    fn discard(&mut self, reason: DiscardReason, at: Timestamp) {
        self.finish(DeliveryState::Discarded, Some(reason), at);
    }

    fn finish(&mut self, state: DeliveryState, reason: Option<DiscardReason>, at: Timestamp) {
        (self.state, self.reason, self.finished_at, self.waits) = (state, reason, Some(at), None);
    }

    fn wait(&mut self, state: DeliveryState, wait: Wait, due_at: Timestamp) {
        let lane = self.waits.map_or(Lane::First, |w| w.lane);
        self.state = state;
        self.waits = Some(Waits { lane, wait, due_at });
    }

    /// A retry that would come too late is none: the delivery ends now, so that it takes no more room.
    /// Without an attempt it takes nothing of the schedule.
    fn retry(&mut self, due_at: Timestamp, at: Timestamp, attempted: bool) {
        if due_at >= self.expires_at {
            return self.discard(DiscardReason::Expired, at);
        }
        self.position += u32::from(attempted);
        self.wait(DeliveryState::Scheduled, Wait::Time, due_at);
        if let Some(waits) = &mut self.waits
            && waits.lane != Lane::Replay
        {
            waits.lane = Lane::Retry;
        }
    }

    /// Dies, as far as the dead-letter queue's bound allows. (`DropOldest` makes room afterwards.)
    fn die(
        &mut self,
        endpoint: &mut EndpointFacts,
        tenant: &mut TenantFacts,
        at: Timestamp,
    ) -> Option<StatusReason> {
        let full = tenant.dead >= u64::from(tenant.max_dlq_size);
        match tenant.dlq_overflow {
            DlqOverflow::RejectNew if full => self.discard(DiscardReason::DlqOverflow, at),
            DlqOverflow::PauseEndpoint if full => {
                self.wait(DeliveryState::Held, Wait::Held, at);
                return endpoint.stop(EndpointStatus::Paused, StatusReason::DlqFull);
            }
            _ => {
                tenant.dead += 1;
                self.finish(DeliveryState::Dead, None, at);
            }
        }
        None
    }
}
