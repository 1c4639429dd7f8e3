//! Outcomes on their way into the store: batches that commit one after the other, and acks only behind the commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::delivery::Verdict;
use fairhook_common::ids::{DeliveryId, EndpointId, TenantId};
use fairhook_common::limits;
use fairhook_common::store::{Recorded, SharedStore};
use tokio::time::Instant;

use super::held::Unrecorded;
use super::metrics::Metrics;
use super::outage::Outage;
use super::twins::Taken;
use crate::schedule::Moment;

/// What waits to be recorded and acked.
#[derive(Default)]
pub struct Outbound {
    waiting: VecDeque<Unrecorded>,
    /// Messages whose delivery needs no record: stale ones.
    acks: Vec<Taken>,
    under_way: Option<UnderWay>,
    /// How many of what waits or is under way were attempts.
    attempts: usize,
    /// The next batch begins then at the earliest.
    next: Moment,
}

/// The batch that is being recorded.
struct UnderWay {
    outcomes: usize,
    attempts: usize,
    /// Since when its oldest waits.
    since: Option<Moment>,
}

/// One recording's worth.
pub struct Batch {
    outcomes: Vec<Unrecorded>,
    acks: Vec<Taken>,
}

/// What recording did to one delivery.
pub struct Told {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// What was to be recorded.
    pub verdict: Verdict,
    /// What was.
    pub recorded: Recorded,
}

impl Outbound {
    /// An outcome is to be recorded.
    pub fn push(&mut self, unrecorded: Unrecorded) {
        self.attempts += usize::from(unrecorded.outcome.attempt.is_some());
        self.waiting.push_back(unrecorded);
    }

    /// A message is to be acked, without any record.
    pub fn ack(&mut self, receipt: Option<Taken>) {
        self.acks.extend(receipt);
    }

    /// Outcomes that are not in the store yet.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.under_way.as_ref().map_or(0, |batch| batch.outcomes)
    }

    /// Whether everything is recorded and acked.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.acks.is_empty() && self.under_way.is_none()
    }

    /// The age of the oldest unrecorded outcome.
    pub fn age(&self, now: Moment) -> Duration {
        let first = self.waiting.front().map(|unrecorded| unrecorded.since);
        let oldest = self.under_way.as_ref().and_then(|batch| batch.since).or(first);
        oldest.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Whether so little is unrecorded, and for so short a time, that new attempts may start.
    pub fn has_room(&self, now: Moment) -> bool {
        self.len() < limits::UNRECORDED_OUTCOMES && self.age(now) < limits::RECORD_LAG_MAX
    }

    /// Whether so little is unrecorded of what was not attempted that more may be parked.
    pub fn has_room_for_parked(&self) -> bool {
        self.len() - self.attempts < limits::UNRECORDED_PARKED
    }

    /// When [`Self::begin`] has something to begin; `None`: not before something ends.
    pub fn begins_at(&self) -> Option<Moment> {
        let waits = !self.waiting.is_empty() || !self.acks.is_empty();
        (waits && self.under_way.is_none()).then_some(self.next)
    }

    /// What is to be recorded now, unless a batch is under way or began a moment ago: everything that came meanwhile, up to a
    /// bound.
    pub fn begin(&mut self, now: Moment) -> Option<Batch> {
        self.begins_at().filter(|at| *at <= now)?;
        self.next = now.after(limits::RECORD_GATHER);
        let count = self.waiting.len().min(limits::RECORD_BATCH);
        let outcomes: Vec<_> = self.waiting.drain(..count).collect();
        let attempts = outcomes.iter().filter(|unrecorded| unrecorded.outcome.attempt.is_some()).count();
        let since = outcomes.first().map(|unrecorded| unrecorded.since);
        self.under_way = Some(UnderWay { outcomes: count, attempts, since });
        Some(Batch { outcomes, acks: std::mem::take(&mut self.acks) })
    }

    /// The batch under way is recorded and acked.
    pub fn end(&mut self) {
        self.attempts -= self.under_way.take().map_or(0, |batch| batch.attempts);
    }
}

/// Records `batch`, however long the store needs, then acks its messages. Returns what became of each, and how long the
/// record took.
pub async fn record(
    store: SharedStore,
    batch: Batch,
    disable_after: Duration,
    outage: Arc<Outage>,
    metrics: Arc<Metrics>,
) -> (Vec<Told>, Option<Duration>) {
    let Batch { outcomes, mut acks } = batch;
    let count = outcomes.len();
    let mut to_record = Vec::with_capacity(count);
    for unrecorded in outcomes {
        to_record.push(unrecorded.outcome);
        acks.extend(unrecorded.receipt);
    }
    let mut told = Vec::with_capacity(count);
    let mut took = None;
    if !to_record.is_empty() {
        let began = Instant::now();
        let recorded = outage.persist("recording", || store.record(to_record.clone(), disable_after)).await;
        assert_eq!(recorded.len(), count, "a record answers every outcome");
        metrics.record.done(count, began.elapsed());
        took = Some(began.elapsed());
        told.extend(to_record.iter().zip(recorded).map(|(outcome, recorded)| Told {
            delivery: outcome.delivery,
            tenant: outcome.tenant,
            endpoint: outcome.endpoint,
            verdict: outcome.verdict,
            recorded,
        }));
    }
    for receipt in acks {
        receipt.ack().await;
    }
    (told, took)
}
