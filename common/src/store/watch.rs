//! What is seen of all tenants: where processes that count and processes that show meet.

use async_trait::async_trait;
use serde::Serialize;
use uuid::Uuid;

use super::{Page, PageRequest, StoreError};
use crate::activity::ProcessActivity;
use crate::condition::{Condition, ConditionKey};
use crate::endpoint::StatusReason;
use crate::ids::{EndpointId, TenantId};
use crate::tenant::{DeliveryCounts, Dispatch, QuotaLimits};
use crate::time::Timestamp;

/// Activity of tenants, and the conditions that they are in.
#[async_trait]
pub trait Watch: Send + Sync + 'static {
    /// What a part of a process tells of its tenants, in place of what it told before. Best effort.
    async fn tell_activity(
        &self,
        teller: Uuid,
        activity: &ProcessActivity,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// What was told within `limits::ACTIVITY_TTL`, one by each part that told anything.
    async fn activities(&self, now: Timestamp) -> Result<Vec<ProcessActivity>, StoreError>;

    /// How tenants stand, in the order of their ids; those that are being deleted are left out.
    async fn survey(&self, which: Which) -> Result<Vec<Surveyed>, StoreError>;

    /// The conditions that hold, of one tenant or of all.
    async fn conditions(
        &self,
        tenant: Option<TenantId>,
        page: &PageRequest,
    ) -> Result<Page<Condition>, StoreError>;

    /// Keeps what was raised and what was cleared, to be told. One transaction; of two conditions with the same key that
    /// hold, the first stays alone.
    async fn change_conditions(
        &self,
        raised: &[Condition],
        cleared: &[ConditionKey],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Conditions of which something is to be told: that they were raised, or were cleared, or both. Oldest first.
    async fn untold_conditions(&self, limit: u32) -> Result<Vec<Untold>, StoreError>;

    /// These were told as they stand; those that are cleared go. Idempotent.
    async fn conditions_told(&self, told: &[Untold]) -> Result<(), StoreError>;

    /// Adds to what is counted of a minute, which is named by its beginning; each name is there once. One transaction.
    async fn add_limit_counts(&self, minute: Timestamp, counts: &[LimitCount]) -> Result<(), StoreError>;

    /// What was counted of the minutes that begin in `from` (inclusive) to `to`: the sum of each name, the largest first, at
    /// most `limits::LIMIT_SUMS` of each kind.
    async fn limit_counts(&self, from: Timestamp, to: Timestamp) -> Result<Vec<LimitCount>, StoreError>;
}

/// What requests are counted by. Stored as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CountedBy {
    /// The method and the pattern of the path: each request is counted here.
    Route,
    /// The policy that refused it.
    Policy,
    /// The caller, if it is known.
    Tenant,
}

crate::endpoint::stored_as_text!(CountedBy { Route = "route", Policy = "policy", Tenant = "tenant" });

impl CountedBy {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Route, Self::Policy, Self::Tenant];
}

/// Requests by something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitCount {
    /// By what.
    pub by: CountedBy,
    /// Which one; a tenant is named by its id.
    pub name: String,
    /// How many.
    pub tally: Tally,
}

/// How many requests there were, and how many of these were refused over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct Tally {
    /// All.
    pub total: u64,
    /// Answered with 429.
    pub blocked: u64,
}

impl Tally {
    /// One more.
    pub fn count(&mut self, blocked: bool) {
        self.total += 1;
        self.blocked += u64::from(blocked);
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { total: self.total + other.total, blocked: self.blocked + other.blocked }
    }
}

/// Which tenants are surveyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// At most so many behind this one.
    Behind(Option<TenantId>, u32),
    /// These.
    These(Vec<TenantId>),
}

/// A tenant as the store has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Surveyed {
    /// The tenant.
    pub tenant: TenantId,
    /// Its slug.
    pub slug: String,
    /// Its share of dispatch time relative to others.
    pub weight: u32,
    /// The kill switch of the way out.
    pub dispatch: Dispatch,
    /// Its quotas.
    pub limits: QuotaLimits,
    /// How its deliveries stand.
    pub counts: DeliveryCounts,
    /// Deliveries in flight, as the dispatchers last said.
    pub in_flight: u32,
    /// Endpoints that are not deleted.
    pub endpoints: u32,
    /// Those whose circuit is not closed.
    pub circuits: u32,
    /// Those that are disabled.
    pub disabled: Vec<(EndpointId, Option<StatusReason>)>,
    /// Since when the longest has waited of what is due or parked; may be in the future. What is in a queue is not seen here.
    pub waiting_since: Option<Timestamp>,
}

/// A condition of which something is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Untold {
    /// The condition.
    pub condition: Condition,
    /// That it was raised has been told.
    pub raised_told: bool,
}
