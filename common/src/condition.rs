//! Conditions that a tenant may be in, of which its operator is told.

use serde::{Deserialize, Serialize};

use crate::endpoint::{StatusReason, stored_as_text};
use crate::ids::{ConditionId, EndpointId, TenantId};
use crate::time::Timestamp;

/// The tenant whose endpoints get the operational events. It is like any other, made by the operator or by a setting.
pub const OPERATOR_TENANT: &str = "fairhook-operator";

/// What may be the matter with a tenant. Stored as text.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
pub enum ConditionKind {
    /// It has used more than its fair share of the slot time for a while.
    #[serde(rename = "tenant.noisy")]
    TenantNoisy,
    /// It uses more than 80 % of a quota.
    #[serde(rename = "quota.warning")]
    QuotaWarning,
    /// Its dead-letter queue is more than half full.
    #[serde(rename = "dlq.warning")]
    DlqWarning,
    /// One of its endpoints was disabled.
    #[serde(rename = "endpoint.disabled")]
    EndpointDisabled,
}

stored_as_text!(ConditionKind {
    TenantNoisy = "tenant.noisy",
    QuotaWarning = "quota.warning",
    DlqWarning = "dlq.warning",
    EndpointDisabled = "endpoint.disabled",
});

impl ConditionKind {
    /// Every one.
    pub const ALL: [Self; 4] =
        [Self::TenantNoisy, Self::QuotaWarning, Self::DlqWarning, Self::EndpointDisabled];
}

/// A quota that can be near its end. Stored as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuotaName {
    /// `max_events_per_sec`.
    Events,
    /// `max_concurrent_deliveries`.
    ConcurrentDeliveries,
    /// `max_backlog`.
    Backlog,
    /// `max_endpoints`.
    Endpoints,
}

stored_as_text!(QuotaName {
    Events = "events",
    ConcurrentDeliveries = "concurrent_deliveries",
    Backlog = "backlog",
    Endpoints = "endpoints",
});

/// What of the tenant a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// All of it.
    Tenant,
    /// A quota.
    Quota(QuotaName),
    /// An endpoint.
    Endpoint(EndpointId),
}

impl Subject {
    /// The stored text.
    pub fn text(self) -> String {
        match self {
            Self::Tenant => String::new(),
            Self::Quota(quota) => quota.name().to_owned(),
            Self::Endpoint(endpoint) => endpoint.to_string(),
        }
    }

    /// Reads a stored text.
    pub fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Tenant);
        }
        let quota = QuotaName::from_name(text).map(Self::Quota);
        quota.or_else(|| text.parse().ok().map(Self::Endpoint))
    }
}

/// Which condition: at most one of the same key holds at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConditionKey {
    /// What is the matter.
    pub kind: ConditionKind,
    /// With whom.
    pub tenant: TenantId,
    /// With what of it.
    pub subject: Subject,
}

/// What was seen when a condition was raised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// What was measured.
    pub value: f64,
    /// What it is measured by: the fair share, the quota, the cap.
    pub limit: f64,
    /// Why an endpoint was disabled.
    pub reason: Option<StatusReason>,
}

/// A condition that holds, or that was cleared a moment ago.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// New with each time that it is raised.
    pub id: ConditionId,
    /// Which it is.
    pub key: ConditionKey,
    /// The tenant's slug, for people; empty if the tenant is gone.
    pub slug: String,
    /// What was seen.
    pub evidence: Evidence,
    /// Since when it holds.
    pub raised_at: Timestamp,
    /// Since when it does not.
    pub cleared_at: Option<Timestamp>,
}

/// A condition as it is shown.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = Condition, example = json!({
    "id": "cnd_01kz0z5m4he58vf3j2c4q9w7xd", "condition": "quota.warning", "tenant_id": "ten_01kz0z5m4he58vf3j2c4q9w7xd",
    "tenant": "acme", "raised_at": "2026-01-31T12:00:00.000Z", "cleared_at": null,
    "detail": "acme uses 45 of 50 of its quota endpoints", "remedy": "PATCH /v1/quotas/acme",
    "quota": "endpoints", "value": 45.0, "limit": 50.0
}))]
pub struct ShownCondition {
    /// New with each time that it is raised.
    pub id: ConditionId,
    /// What is the matter.
    pub condition: ConditionKind,
    /// With whom.
    pub tenant_id: TenantId,
    /// That tenant's slug.
    pub tenant: String,
    /// Since when it holds.
    pub raised_at: Timestamp,
    /// Since when it does not.
    pub cleared_at: Option<Timestamp>,
    /// What is the matter, as a sentence.
    pub detail: String,
    /// What can be done about it.
    pub remedy: Option<String>,
    /// The endpoint that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub endpoint_id: Option<EndpointId>,
    /// Why that endpoint was disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<StatusReason>,
    /// The quota that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub quota: Option<QuotaName>,
    /// What was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub value: Option<f64>,
    /// What it is measured by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub limit: Option<f64>,
}

impl Condition {
    /// What is the matter, as a sentence for people.
    pub fn sentence(&self) -> String {
        let Evidence { value, limit, reason } = self.evidence;
        let slug = &self.slug;
        let percent = |part: f64| (part * 100.0).round();
        match (self.key.kind, self.key.subject) {
            (ConditionKind::TenantNoisy, _) => {
                let (used, fair) = (percent(value), percent(limit));
                format!("{slug} uses {used} % of the slot time in use; its fair share is {fair} %")
            }
            (ConditionKind::QuotaWarning, Subject::Quota(quota)) => {
                format!("{slug} uses {value:.0} of {limit:.0} of its quota {}", quota.name())
            }
            (ConditionKind::DlqWarning, _) => {
                format!("{slug} has {value:.0} dead letters; its dead-letter queue holds {limit:.0}")
            }
            (ConditionKind::EndpointDisabled, Subject::Endpoint(endpoint)) => {
                let why = reason.map_or("disabled", StatusReason::text);
                format!("the endpoint {endpoint} of {slug} gets nothing more: {why}")
            }
            (kind, _) => format!("{slug}: {}", kind.name()),
        }
    }

    /// As the API and the operational events show it.
    pub fn shown(&self) -> ShownCondition {
        let (endpoint_id, quota) = match self.key.subject {
            Subject::Endpoint(endpoint) => (Some(endpoint), None),
            Subject::Quota(quota) => (None, Some(quota)),
            Subject::Tenant => (None, None),
        };
        let measured = self.key.kind != ConditionKind::EndpointDisabled;
        let Evidence { value, limit, reason } = self.evidence;
        ShownCondition {
            id: self.id,
            condition: self.key.kind,
            tenant_id: self.key.tenant,
            tenant: self.slug.clone(),
            raised_at: self.raised_at,
            cleared_at: self.cleared_at,
            detail: self.sentence(),
            remedy: self.remedy(),
            endpoint_id,
            reason: endpoint_id.and(reason),
            quota,
            value: measured.then_some(value),
            limit: measured.then_some(limit),
        }
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> Option<String> {
        let slug = &self.slug;
        match (self.key.kind, self.key.subject) {
            (ConditionKind::TenantNoisy, _) => Some(format!("fairhook tenant pause {slug}")),
            (ConditionKind::QuotaWarning, _) => Some(format!("PATCH /v1/quotas/{slug}")),
            (ConditionKind::DlqWarning, _) => {
                Some(format!("POST /v1/tenants/{slug}/dead-letters/replay, or /purge"))
            }
            (ConditionKind::EndpointDisabled, Subject::Endpoint(endpoint)) => Some(format!(
                "PATCH /v1/tenants/{slug}/endpoints/{endpoint} {{\"status\": \"active\"}}, once it answers again"
            )),
            (ConditionKind::EndpointDisabled, _) => None,
        }
    }
}
