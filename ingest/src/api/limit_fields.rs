//! Limits in requests and answers: a tenant's own, and a plan's.

use std::ops::RangeInclusive;

use fairhook_common::limits::{ENDPOINTS_MAX, NAME_CHARS, QUOTA_MAX};
use fairhook_common::policy::{PerPolicy, Policy, PolicyRate, WindowLength};
use fairhook_common::tenant::{DlqOverflow, QuotaLimits, QuotaPatch};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::json::{Fields, Read};
use super::read;

const OVERFLOWS: &[&str] = &["drop_oldest", "reject_new", "pause_endpoint"];

/// Whether a limit may be `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Null {
    /// It goes back to the plan's.
    PlansOwn,
    /// There is nothing to go back to.
    Refused,
}

const NAMES: [&str; 7] = [
    "max_events_per_sec",
    "burst",
    "max_concurrent_deliveries",
    "max_dlq_size",
    "max_backlog",
    "max_endpoints",
    "dlq_overflow",
];

/// The limits that `fields` name, beside each other or under `limits` as they are shown; none in both places.
pub(super) fn read(fields: &mut Fields<'_>, null: Null) -> QuotaPatch {
    let mut quota = QuotaPatch::default();
    merge(fields, null, &mut quota);
    let beside = NAMES.map(|name| fields.has(name));
    let nested = fields.set("limits", |value| {
        let mut limits = Fields::nested(value, String::new())?;
        let mut under_limits = quota;
        merge(&mut limits, null, &mut under_limits);
        for (name, beside) in NAMES.into_iter().zip(beside) {
            if beside && limits.has(name) {
                limits.refuse(name, "stands beside `limits` too: say it once");
            }
        }
        limits.finish_nested(|| Some(under_limits))
    });
    nested.unwrap_or(quota)
}

/// Makes the changes that `fields` name.
fn merge(fields: &mut Fields<'_>, null: Null, quota: &mut QuotaPatch) {
    // What a tenant cannot do without at least one of: below, nothing would ever be sent.
    let (some, any) = (1..=QUOTA_MAX, 0..=QUOTA_MAX);
    let mut take = |name, range: RangeInclusive<u64>| match null {
        Null::PlansOwn => fields.change(name, read::integer(range)),
        Null::Refused => fields.set(name, read::integer(range)).map(Some),
    };
    let limits = [
        (&mut quota.max_events_per_sec, take("max_events_per_sec", some.clone())),
        (&mut quota.burst, take("burst", some.clone())),
        (&mut quota.max_concurrent_deliveries, take("max_concurrent_deliveries", some)),
        (&mut quota.max_dlq_size, take("max_dlq_size", any.clone())),
        (&mut quota.max_backlog, take("max_backlog", any)),
        (&mut quota.max_endpoints, take("max_endpoints", 0..=ENDPOINTS_MAX)),
    ];
    for (limit, change) in limits {
        *limit = change.or(*limit);
    }
    let overflow = read::one_of(OVERFLOWS, DlqOverflow::from_name);
    let overflow = match null {
        Null::PlansOwn => fields.change("dlq_overflow", overflow),
        Null::Refused => fields.set("dlq_overflow", overflow).map(Some),
    };
    quota.dlq_overflow = overflow.or(quota.dlq_overflow);
}

/// Rates of a tenant's own, by the names of policies; `null` goes back to what it has otherwise.
pub(super) fn policies(value: &RawValue) -> Read<PerPolicy<Option<Option<PolicyRate>>>> {
    let mut named = Fields::nested(value, String::new())?;
    let mut changes = PerPolicy::default();
    for policy in Policy::OWN {
        changes.set(*policy, named.change(policy.name(), rate));
    }
    named.finish_nested(|| Some(changes))
}

/// `{limit, window}`.
fn rate(value: &RawValue) -> Read<PolicyRate> {
    let mut fields = Fields::nested(value, String::new())?;
    let limit = fields.required("limit", read::integer(1..=QUOTA_MAX));
    let window = fields.required("window", read::parsed(NAME_CHARS, str::parse::<WindowLength>));
    fields.finish_nested(|| Some(PolicyRate { limit: limit?, window: window? }))
}

/// Rates that a tenant has while no override is in force; `null` where there is no limit.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyRates)]
pub(super) struct Rates {
    /// Events in a day.
    events_per_day: Option<PolicyRate>,
    /// Bytes of requests that send events.
    bytes_per_minute: Option<PolicyRate>,
    /// Other calls from one address.
    tier: Option<PolicyRate>,
    /// Other calls in all.
    api_requests: Option<PolicyRate>,
}

impl Rates {
    pub(super) fn of(rate: impl Fn(Policy) -> Option<PolicyRate>) -> Self {
        Self {
            events_per_day: rate(Policy::EventsPerDay),
            bytes_per_minute: rate(Policy::BytesPerMinute),
            tier: rate(Policy::Tier),
            api_requests: rate(Policy::ApiRequests),
        }
    }
}

/// How limits are shown. What happens to dead letters over theirs stands beside them.
#[derive(Serialize, ToSchema)]
#[schema(as = Limits)]
pub(super) struct Shown {
    /// Events per second, sustained.
    max_events_per_sec: u32,
    /// Events at once after a quiet time.
    burst: u32,
    /// Deliveries in flight at the same moment.
    max_concurrent_deliveries: u32,
    /// Dead letters.
    max_dlq_size: u32,
    /// Deliveries that wait for their first attempt.
    max_backlog: u32,
    /// Endpoints.
    max_endpoints: u32,
}

impl Shown {
    pub(super) fn of(limits: &QuotaLimits) -> Self {
        Self {
            max_events_per_sec: limits.max_events_per_sec,
            burst: limits.burst,
            max_concurrent_deliveries: limits.max_concurrent_deliveries,
            max_dlq_size: limits.max_dlq_size,
            max_backlog: limits.max_backlog,
            max_endpoints: limits.max_endpoints,
        }
    }
}
