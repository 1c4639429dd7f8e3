//! The life of a delivery, from admission to its end.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Admitted, ControlError, Job, JobFilter, JobKind, Load, Report, Roster, Settled, StoreError, Ticket,
};
use crate::delivery::{DeliveryState, Generation, Lane, Outcome};
use crate::endpoint::StatusReason;
use crate::event::NewEvent;
use crate::ids::{DeliveryId, EndpointId, JobId, TenantId};
use crate::tenant::DeliveryCounts;
use crate::time::Timestamp;

/// The hot path, what waits, and housekeeping.
#[async_trait]
pub trait Deliveries: Send + Sync + 'static {
    /// Makes events and their deliveries durable, in one transaction. Each event goes to the tenant's endpoints whose
    /// patterns match and that exist at the commit; a paused or disabled endpoint's deliveries start `Held`, those with
    /// a future `deliver_at` start `Scheduled`, the others `Queued`. One outbox row stands for all `Queued` ones until
    /// [`Deliveries::settle_outbox`]. Counts move in the same transaction.
    ///
    /// Event ids are ascending in the order of commits. Answers one result per event, in order. Events with the same
    /// idempotency key within the batch are twins: the first is admitted, the others are answered from it. Idempotent by
    /// idempotency key only.
    async fn admit(&self, events: Vec<NewEvent>, now: Timestamp) -> Result<Admitted, StoreError>;

    /// For each of `settled`: the queue has confirmed all of the outbox row's deliveries but `unpublished`; these become
    /// due now (lane `First`, same generation, state `Scheduled`) as far as they are still `Queued` and nobody has claimed them, and
    /// the row goes with the last of them or after it. Idempotent.
    async fn settle_outbox(&self, settled: &[Settled], now: Timestamp) -> Result<(), StoreError>;

    /// Makes due now (lane `First`, same generation, state `Scheduled`) those of `deliveries` that are still `Queued` and that
    /// nobody has claimed; returns how many. For what a queue gave back as unroutable. Idempotent; if it
    /// fails, some may be due already.
    async fn make_due(&self, deliveries: &[DeliveryId], now: Timestamp) -> Result<u64, StoreError>;

    /// Makes due what a crash or a lost queue left behind, at the next generation; returns how many deliveries. Bounded
    /// transactions, idempotent.
    async fn recover(&self, what: Recovery, now: Timestamp) -> Result<u64, StoreError>;

    /// Reads what an attempt needs, one answer per ticket, in order. Changes nothing.
    async fn load(&self, tickets: &[Ticket], now: Timestamp) -> Result<Vec<Load>, StoreError>;

    /// What [`Deliveries::load`] would answer to each of `tickets` now, where that is known without asking anybody; `None`:
    /// load it. Never waits, so that what was just admitted is attempted without a detour.
    fn at_hand(&self, tickets: &[Ticket], _now: Timestamp) -> Vec<Option<Load>> {
        vec![None; tickets.len()]
    }

    /// Records what came of deliveries, one answer per outcome, in order; in one transaction or a few (bisected if an
    /// item's data cannot be stored): if it fails, some may be recorded, and are answered for when they come again. Numbers the attempts. A `Delivered` ends any unfinished delivery whatever its generation; any
    /// other verdict applies only at the current generation to an unfinished delivery, and is [`Recorded::Stale`] otherwise.
    /// (A stale outcome's attempt is kept all the same.) Idempotent by the attempt's id.
    ///
    /// A retry that would be due at or after the delivery's `expires_at` ends it as `discarded: expired` at once; a verdict
    /// other than `Delivered` for a deleted endpoint or tenant ends it as discarded for that reason.
    ///
    /// Within the transaction of an outcome: dead letters are counted exactly and the tenant's overflow policy is applied; an
    /// endpoint's `failing_since` is set or cleared, and it is disabled when it has only failed for longer than
    /// `disable_after` or when the outcome says so; `Hold` is decided against the endpoint's and the tenant's rows: if
    /// both are active the delivery becomes due at once instead; counts move.
    async fn record(
        &self,
        outcomes: Vec<Outcome>,
        disable_after: Duration,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// Which tenants have something due at `now`, and which endpoints have parked deliveries. Bounded by the number of
    /// tenants and endpoints with waiting work, not by the amount of it.
    async fn due_work(&self, now: Timestamp) -> Result<DueWork, StoreError>;

    /// Claims deliveries, the oldest of a lane first, for each want at most its `limit`: they become `Queued` at the next generation,
    /// and due again at `now + lease` unless recorded by then. Never hands the same claim to two. If it fails half way, it answers
    /// with what was claimed.
    async fn claim(
        &self,
        wants: &[Claim],
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError>;

    /// Makes at most `limit` held deliveries due whose endpoint is active and whose tenant's dispatch is open; returns how
    /// many: of every tenant an equal part, as far as it has so many. Level-triggered: called continually, it needs no notice.
    async fn release_held(&self, limit: u32, now: Timestamp) -> Result<u64, StoreError>;

    /// One bounded step of housekeeping; returns how many rows it changed (0: nothing left to do now).
    async fn sweep(&self, what: Sweep, limit: u32, now: Timestamp) -> Result<u64, StoreError>;

    /// Ends an unfinished delivery as `discarded: cancelled`; returns the state it has now. `None`: no such delivery of
    /// this tenant.
    async fn cancel(
        &self,
        tenant: TenantId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<DeliveryState>, StoreError>;

    /// Makes one delivery due again (lane `Replay`, next generation, retry schedule from its start, a new `expires_at` of
    /// `now + retention` at most that of its event): a dead or overflowed one itself; a delivered one as a new delivery of
    /// the same event with `replay_of`. One whose event has expired stays as it is. `None`: no such delivery of this tenant.
    async fn replay(
        &self,
        tenant: TenantId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<Replayed>, StoreError>;

    /// How many deliveries a job of this filter would touch, counted up to `limit`.
    async fn count_matching(
        &self,
        tenant: TenantId,
        filter: &JobFilter,
        limit: u64,
    ) -> Result<u64, StoreError>;

    /// Makes a job, unless the tenant is gone or has `limits::OPEN_JOBS_PER_TENANT` that are not at their end.
    async fn create_job(
        &self,
        tenant: TenantId,
        kind: JobKind,
        filter: JobFilter,
        now: Timestamp,
    ) -> Result<Job, ControlError>;

    /// Jobs that are not at their end, oldest first, one per tenant.
    async fn open_jobs(&self) -> Result<Vec<Job>, StoreError>;

    /// One bounded step of a job: touches at most `limit` rows, moves its cursor and counts in the same transaction, and
    /// ends it when nothing is left. Keeps the filter's `rate_per_s`: a step that comes too early changes nothing. Returns it
    /// as it stands now. Restarts go on where the last commit stood.
    async fn advance_job(&self, job: JobId, limit: u32, now: Timestamp) -> Result<Job, StoreError>;

    /// Ends a job that is not at its end as cancelled; what it did stays done. A tenant's deletion has no way back, and is
    /// answered as it stands. `None`: no such job of this tenant.
    async fn cancel_job(
        &self,
        tenant: TenantId,
        job: JobId,
        now: Timestamp,
    ) -> Result<Option<Job>, StoreError>;

    /// What a dispatcher says of itself, replacing what it said before. Best effort.
    async fn report(&self, node: &str, report: Report, now: Timestamp) -> Result<(), StoreError>;

    /// What a dispatcher has to know of the tenants that changed after `since` (0: all).
    async fn roster(&self, since: u64) -> Result<Roster, StoreError>;

    /// The counts of all tenants together.
    async fn totals(&self) -> Result<DeliveryCounts, StoreError>;

    /// Whether the store can be written, for `/readyz`.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// What [`Deliveries::recover`] makes due.
#[derive(Debug, Clone, Copy)]
pub enum Recovery {
    /// Everything `Queued` and every claim: no queue holds anything and no dispatcher lives (the embedded engine's start).
    /// Outbox rows go.
    Everything,
    /// Outbox rows made before this: what they stand for and is still `Queued` and unclaimed.
    Outbox {
        /// Rows made before this.
        before: Timestamp,
    },
    /// Deliveries of the tenant admitted before this and still `Queued` and unclaimed: its queue was seen empty.
    Lost {
        /// The tenant.
        tenant: TenantId,
        /// Admitted before this.
        before: Timestamp,
    },
}

/// What recording an outcome did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The delivery is in this state now, and due then if it waits. (Not always the verdict's own: an overflow policy, or an
    /// endpoint that is active again, may have decided otherwise.)
    Applied {
        /// The state.
        state: DeliveryState,
        /// When it is due, if `Scheduled`.
        due_at: Option<Timestamp>,
        /// Why the endpoint was disabled or paused by this outcome, if it was.
        endpoint_stopped: Option<StatusReason>,
    },
    /// It matched nothing.
    Stale,
    /// Its data could not be stored, though the verdict was, without them; the error was logged.
    WithoutAttempt,
}

/// Where due work waits.
#[derive(Debug, Clone, Default)]
pub struct DueWork {
    /// Tenants and lanes with something due.
    pub due: Vec<(TenantId, Lane)>,
    /// Endpoints with parked deliveries.
    pub parked: Vec<(TenantId, EndpointId)>,
    /// When the next delivery that waits for its time becomes due, if any does.
    pub next_due_at: Option<Timestamp>,
}

/// A wish to claim.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Whose.
    pub tenant: TenantId,
    /// From where.
    pub from: ClaimFrom,
    /// At most so many.
    pub limit: u32,
}

/// Where to claim from.
#[derive(Debug, Clone, Copy)]
pub enum ClaimFrom {
    /// What is due in this lane.
    Due(Lane),
    /// What is parked for room at this endpoint.
    Parked {
        /// The endpoint.
        endpoint: EndpointId,
        /// All of the first lane's goes before anything of the second's, and so on.
        lanes: [Lane; 3],
    },
}

/// A claimed delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// The lane it waited in.
    pub lane: Lane,
    /// Its new generation.
    pub generation: Generation,
}

/// A kind of housekeeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Unfinished deliveries past their `expires_at` end as `discarded: expired`.
    Expired,
    /// Unfinished deliveries of deleted endpoints end as `discarded: endpoint_deleted`.
    DeletedEndpoints,
    /// Events admitted before `before` go, with everything of theirs. What is unfinished or dead ends as
    /// `discarded: expired` first, so that the counts stay whole.
    Retention {
        /// Admitted before this.
        before: Timestamp,
    },
    /// Idempotency keys past their time go.
    IdempotencyKeys,
    /// Jobs that ended before this go.
    EndedJobs {
        /// Ended before this.
        before: Timestamp,
    },
    /// What limits did in minutes that began before this goes.
    LimitMinutes {
        /// Began before this.
        before: Timestamp,
    },
}

/// What [`Deliveries::replay`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// This delivery is due now (the same one, or a new one for a delivered one).
    Due(DeliveryId),
    /// It is not at its end, or was cancelled or expired, or its event has as many deliveries as it can.
    NotReplayable(DeliveryState),
    /// Its endpoint is deleted.
    EndpointGone,
}
