//! What is measured of a tenant.

use fairhook_common::activity::Board;
use fairhook_common::condition::{ConditionKey, ConditionKind, Evidence, QuotaName, Subject};
use fairhook_common::store::Surveyed;

use super::Sample;

/// A tenant as the store has it and as the processes tell of it, measured by its limits.
pub fn samples<'a>(stored: &'a Surveyed, board: &Board) -> impl Iterator<Item = Sample> + 'a {
    let seen = board.tenant(stored.tenant);
    let sent = seen.map_or(0.0, |seen| seen.rates.events + seen.rates.throttled);
    let noisy = seen.map(|seen| Sample {
        key: key(stored, ConditionKind::TenantNoisy, Subject::Tenant),
        pressure: board.loudness(seen),
        evidence: Evidence { value: board.slot_share(seen), limit: board.fair_share(seen), reason: None },
    });
    let limits = stored.limits;
    let quotas = [
        (QuotaName::Events, sent, limits.max_events_per_sec),
        (QuotaName::ConcurrentDeliveries, f64::from(stored.in_flight), limits.max_concurrent_deliveries),
        (QuotaName::Backlog, stored.counts.backlog as f64, limits.max_backlog),
        (QuotaName::Endpoints, f64::from(stored.endpoints), limits.max_endpoints),
    ];
    let quotas = quotas.map(|(quota, used, limit)| {
        used_of(key(stored, ConditionKind::QuotaWarning, Subject::Quota(quota)), used, limit)
    });
    let dlq = used_of(
        key(stored, ConditionKind::DlqWarning, Subject::Tenant),
        stored.counts.dead as f64,
        limits.max_dlq_size,
    );
    let disabled = stored.disabled.iter().map(|(endpoint, reason)| Sample {
        key: key(stored, ConditionKind::EndpointDisabled, Subject::Endpoint(*endpoint)),
        pressure: 1.0,
        evidence: Evidence { value: 1.0, limit: 1.0, reason: *reason },
    });
    noisy.into_iter().chain(quotas).chain([dlq]).chain(disabled)
}

fn key(stored: &Surveyed, kind: ConditionKind, subject: Subject) -> ConditionKey {
    ConditionKey { kind, tenant: stored.tenant, subject }
}

/// A quota of nothing is not near its end: there is nothing to use.
fn used_of(key: ConditionKey, used: f64, limit: u32) -> Sample {
    let pressure = if limit == 0 { 0.0 } else { used / f64::from(limit) };
    Sample { key, pressure, evidence: Evidence { value: used, limit: f64::from(limit), reason: None } }
}
