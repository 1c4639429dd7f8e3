//! Tenants and what they may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::TenantId;
use crate::plan::Plan;
use crate::policy::{Configured, Override, OwnRates, PerPolicy, Policy, PolicyRate};
use crate::time::Timestamp;

/// A tenant as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// The stored id.
    pub id: TenantId,
    /// The short name that may stand for the id everywhere.
    pub slug: String,
    /// The name for people.
    pub name: String,
    /// The plan, from which limits and weight come where they are not set.
    pub plan: Plan,
    /// A weight of the tenant's own; `None`: the plan's.
    pub weight: Option<u32>,
    /// The operator's notes: a JSON object as text.
    pub metadata: String,
    /// Whether it lives.
    pub status: TenantStatus,
    /// The kill switch of the way in.
    pub ingest: Ingest,
    /// The kill switch of the way out.
    pub dispatch: Dispatch,
    /// Why the kill switch stands as it does.
    pub reason: Option<String>,
    /// Limits that differ from the plan's.
    pub quota: QuotaChanges,
    /// Rates that hold for a while in place of its plan's, some of which may have ended: see [`Tenant::override_of`].
    pub overrides: Vec<Override>,
    /// The name of its queue; made with the tenant and never computed again.
    pub queue: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Tenant {
    /// The weight in force, at least 1.
    pub fn effective_weight(&self) -> u32 {
        self.weight.unwrap_or(self.plan.weight).max(1)
    }

    /// The limits in force: the tenant's own where set, else the plan's.
    pub fn limits(&self) -> QuotaLimits {
        self.quota.over(self.plan.limits)
    }

    /// The overrides in force.
    pub fn overrides_at(&self, now: Timestamp) -> impl Iterator<Item = &Override> {
        self.overrides.iter().filter(move |one| now < one.ends_at)
    }

    /// The rate that the tenant has under a policy while no override is in force; `configured` is for those that have no other.
    pub fn rate_of(&self, policy: Policy, configured: Configured) -> Option<PolicyRate> {
        match (self.quota.policies.of(policy), configured) {
            (Some(own), _) => Some(own),
            (None, Configured::Off) => None,
            (None, Configured::Rate(rate)) => Some(rate),
            (None, Configured::Tenants) => Some(self.plan.tier),
        }
    }

    /// The rate that holds now in place of the one that this policy has otherwise.
    pub fn override_of(&self, policy: Policy, now: Timestamp) -> Option<PolicyRate> {
        self.overrides_at(now).find(|one| one.policy == policy).map(|one| one.rate)
    }
}

/// Whether a tenant lives. Stored as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantStatus {
    /// In use.
    Active,
    /// Its deletion is under way: nothing more is accepted or delivered.
    Deleting,
}

/// The kill switch of the way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ingest {
    /// Events are accepted.
    Open,
    /// Events are refused with `tenant_suspended`.
    Blocked,
}

/// The kill switch of the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dispatch {
    /// Deliveries are attempted.
    Open,
    /// Deliveries are held.
    Paused,
}

crate::endpoint::stored_as_text!(TenantStatus { Active = "active", Deleting = "deleting" });
crate::endpoint::stored_as_text!(Ingest { Open = "open", Blocked = "blocked" });
crate::endpoint::stored_as_text!(Dispatch { Open = "open", Paused = "paused" });

/// What a tenant may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct QuotaLimits {
    /// Sustained rate of accepted events, per second.
    pub max_events_per_sec: u32,
    /// How many events may come at once after a quiet time.
    pub burst: u32,
    /// Deliveries in flight at the same moment, over all dispatchers.
    pub max_concurrent_deliveries: u32,
    /// Dead letters kept.
    pub max_dlq_size: u32,
    /// Unfinished deliveries that have had no attempt yet.
    pub max_backlog: u32,
    /// Endpoints.
    pub max_endpoints: u32,
    /// What happens to a dead letter that finds no room.
    pub dlq_overflow: DlqOverflow,
}

/// What happens when a delivery dies and the tenant's DLQ is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DlqOverflow {
    /// The oldest dead letters make room: `discarded: dlq_overflow`.
    DropOldest,
    /// The new one is `discarded: dlq_overflow`.
    RejectNew,
    /// The endpoint is paused (`dlq_full`) and the delivery held.
    PauseEndpoint,
}

crate::endpoint::stored_as_text!(DlqOverflow {
    DropOldest = "drop_oldest",
    RejectNew = "reject_new",
    PauseEndpoint = "pause_endpoint",
});

/// Limits that differ from the plan's; `None`: the plan's. Stored as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QuotaChanges {
    /// See [`QuotaLimits::max_events_per_sec`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_events_per_sec: Option<u32>,
    /// See [`QuotaLimits::burst`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// See [`QuotaLimits::max_concurrent_deliveries`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent_deliveries: Option<u32>,
    /// See [`QuotaLimits::max_dlq_size`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_dlq_size: Option<u32>,
    /// See [`QuotaLimits::max_backlog`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_backlog: Option<u32>,
    /// See [`QuotaLimits::max_endpoints`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_endpoints: Option<u32>,
    /// See [`QuotaLimits::dlq_overflow`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dlq_overflow: Option<DlqOverflow>,
    /// Rates of policies, but for events.
    #[serde(skip_serializing_if = "OwnRates::is_empty")]
    pub policies: OwnRates,
}

impl QuotaChanges {
    /// `limits` with these changes made.
    pub fn over(&self, limits: QuotaLimits) -> QuotaLimits {
        QuotaLimits {
            max_events_per_sec: self.max_events_per_sec.unwrap_or(limits.max_events_per_sec),
            burst: self.burst.unwrap_or(limits.burst),
            max_concurrent_deliveries: self
                .max_concurrent_deliveries
                .unwrap_or(limits.max_concurrent_deliveries),
            max_dlq_size: self.max_dlq_size.unwrap_or(limits.max_dlq_size),
            max_backlog: self.max_backlog.unwrap_or(limits.max_backlog),
            max_endpoints: self.max_endpoints.unwrap_or(limits.max_endpoints),
            dlq_overflow: self.dlq_overflow.unwrap_or(limits.dlq_overflow),
        }
    }
}

/// What changes of a tenant's limits, each by itself: whoever changes one leaves another's to somebody else who changes it
/// at the same time. `None`: stays; `Some(None)`: goes back to the plan's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaPatch {
    /// See [`QuotaLimits::max_events_per_sec`].
    pub max_events_per_sec: Option<Option<u32>>,
    /// See [`QuotaLimits::burst`].
    pub burst: Option<Option<u32>>,
    /// See [`QuotaLimits::max_concurrent_deliveries`].
    pub max_concurrent_deliveries: Option<Option<u32>>,
    /// See [`QuotaLimits::max_dlq_size`].
    pub max_dlq_size: Option<Option<u32>>,
    /// See [`QuotaLimits::max_backlog`].
    pub max_backlog: Option<Option<u32>>,
    /// See [`QuotaLimits::max_endpoints`].
    pub max_endpoints: Option<Option<u32>>,
    /// See [`QuotaLimits::dlq_overflow`].
    pub dlq_overflow: Option<Option<DlqOverflow>>,
    /// See [`QuotaChanges::policies`].
    pub policies: PerPolicy<Option<Option<PolicyRate>>>,
}

impl QuotaPatch {
    /// `quota` with these changes made.
    pub fn over(&self, quota: QuotaChanges) -> QuotaChanges {
        QuotaChanges {
            max_events_per_sec: self.max_events_per_sec.unwrap_or(quota.max_events_per_sec),
            burst: self.burst.unwrap_or(quota.burst),
            max_concurrent_deliveries: self
                .max_concurrent_deliveries
                .unwrap_or(quota.max_concurrent_deliveries),
            max_dlq_size: self.max_dlq_size.unwrap_or(quota.max_dlq_size),
            max_backlog: self.max_backlog.unwrap_or(quota.max_backlog),
            max_endpoints: self.max_endpoints.unwrap_or(quota.max_endpoints),
            dlq_overflow: self.dlq_overflow.unwrap_or(quota.dlq_overflow),
            policies: OwnRates::from_fn(|policy| {
                self.policies.of(policy).unwrap_or(quota.policies.of(policy))
            }),
        }
    }
}

/// How a tenant's deliveries stand. `accepted` is always the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DeliveryCounts {
    /// Deliveries ever made, replays of delivered ones among them.
    pub accepted: u64,
    /// Ended well.
    pub delivered: u64,
    /// In the dead-letter queue.
    pub dead: u64,
    /// Ended otherwise.
    pub discarded: u64,
    /// Unfinished, without an attempt so far (what `max_backlog` bounds).
    pub backlog: u64,
    /// Unfinished, with an attempt behind them.
    pub retrying: u64,
}

impl DeliveryCounts {
    /// Unfinished deliveries.
    pub fn waiting(&self) -> u64 {
        self.backlog + self.retrying
    }

    /// Whether every accepted delivery is accounted for.
    pub fn balanced(&self) -> bool {
        self.accepted == self.delivered + self.dead + self.discarded + self.waiting()
    }
}

/// How long an endpoint may do nothing but fail before it is disabled, unless configured.
pub const DISABLE_AFTER: Duration = Duration::from_secs(5 * 24 * 3600);
