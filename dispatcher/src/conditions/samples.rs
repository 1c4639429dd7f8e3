//! What is measured of a tenant.

use fairhook_common::activity::Board;
use fairhook_common::condition::{ConditionKey, ConditionKind, Evidence, QuotaName, Subject};
use fairhook_common::store::Surveyed;

use super::Sample;

/// A tenant as the store has it and as the processes tell of it, measured by its limits.
pub fn samples<'a>(stored: &'a Surveyed, board: &Board) -> impl Iterator<Item = Sample> + 'a {
    let seen = board.tenant(stored.tenant);
    // What another quota refuses is that quota's.
    let sent = seen.map_or(0.0, |seen| seen.rates.events + seen.rates.over_rate);
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

#[cfg(test)]
mod tests {
    use fairhook_common::activity::{Counted, ProcessActivity, Standing, TenantActivity};
    use fairhook_common::endpoint::StatusReason;
    use fairhook_common::ids::{EndpointId, TenantId};
    use fairhook_common::tenant::{DeliveryCounts, Dispatch, DlqOverflow, QuotaLimits};
    use fairhook_common::time::Timestamp;

    use super::*;
    use crate::conditions::{Detector, rule};

    /// A tenant all of whose quotas are 100, with so many deliveries in flight, in its backlog, endpoints and dead letters.
    fn using([in_flight, backlog, endpoints, dead]: [u32; 4]) -> Surveyed {
        let (backlog, dead) = (u64::from(backlog), u64::from(dead));
        Surveyed {
            tenant: TenantId::generate(),
            slug: "acme".into(),
            weight: 1,
            dispatch: Dispatch::Open,
            limits: QuotaLimits {
                max_events_per_sec: 100,
                burst: 1_000,
                max_concurrent_deliveries: 100,
                max_dlq_size: 100,
                max_backlog: 100,
                max_endpoints: 100,
                dlq_overflow: DlqOverflow::DropOldest,
            },
            counts: DeliveryCounts { accepted: backlog + dead, backlog, dead, ..DeliveryCounts::default() },
            in_flight,
            endpoints,
            circuits: 0,
            disabled: Vec::new(),
            waiting_since: None,
        }
    }

    /// What an ingest tells of it.
    fn board(stored: &Surveyed, rates: Counted) -> Board {
        let tenant = TenantActivity { tenant: stored.tenant, rates, standing: Standing::default() };
        Board::of([&ProcessActivity { tenants: vec![tenant], ..ProcessActivity::default() }])
    }

    #[test]
    fn each_quota_is_measured_by_its_own_use_and_its_own_limit() {
        let endpoint = EndpointId::generate();
        let mut stored = using([8, 6, 9, 35]);
        stored.limits = QuotaLimits {
            max_events_per_sec: 10,
            burst: 1_000,
            max_concurrent_deliveries: 20,
            max_dlq_size: 50,
            max_backlog: 12,
            max_endpoints: 15,
            dlq_overflow: DlqOverflow::DropOldest,
        };
        stored.disabled = vec![(endpoint, Some(StatusReason::Gone))];
        // Of 41 that were refused, 40 were so over other quotas.
        let rates = Counted { events: 2.0, throttled: 41.0, over_rate: 1.0, ..Counted::default() };
        let measured: Vec<_> = samples(&stored, &board(&stored, rates))
            .map(|one| {
                assert_eq!(one.key.tenant, stored.tenant);
                (one.key.kind, one.key.subject, one.pressure, one.evidence.value, one.evidence.limit)
            })
            .collect();
        let quota = |quota| (ConditionKind::QuotaWarning, Subject::Quota(quota));
        let expected = [
            // A process that has no slots has nothing to be loud with; its fair share is all there is.
            ((ConditionKind::TenantNoisy, Subject::Tenant), 0.0, 0.0, 1.0),
            (quota(QuotaName::Events), 0.3, 3.0, 10.0),
            (quota(QuotaName::ConcurrentDeliveries), 0.4, 8.0, 20.0),
            (quota(QuotaName::Backlog), 0.5, 6.0, 12.0),
            (quota(QuotaName::Endpoints), 0.6, 9.0, 15.0),
            ((ConditionKind::DlqWarning, Subject::Tenant), 0.7, 35.0, 50.0),
            ((ConditionKind::EndpointDisabled, Subject::Endpoint(endpoint)), 1.0, 1.0, 1.0),
        ];
        let expected =
            expected.map(|((kind, subject), pressure, value, limit)| (kind, subject, pressure, value, limit));
        assert_eq!(measured, expected);
    }

    #[test]
    fn over_four_fifths_of_any_quota_is_a_warning_and_four_fifths_are_none() {
        let warned = |used: u32| {
            let (stored, mut detector) = (using([used; 4]), Detector::default());
            let board = board(&stored, Counted { events: f64::from(used), ..Counted::default() });
            let begin = Timestamp(1_700_000_000_000);
            let rounds = [begin, begin.after(rule(ConditionKind::QuotaWarning).after)];
            let raised = rounds.map(|now| detector.round(now, samples(&stored, &board)).raised);
            let keys = raised.into_iter().flatten().map(|(key, _)| key);
            let quotas = keys.filter(|key| key.kind == ConditionKind::QuotaWarning);
            quotas.map(|key| key.subject).collect::<Vec<_>>()
        };
        assert!(warned(80).is_empty());
        let mut all = warned(81);
        all.sort();
        let quotas =
            [QuotaName::Events, QuotaName::ConcurrentDeliveries, QuotaName::Backlog, QuotaName::Endpoints];
        assert_eq!(all, quotas.map(Subject::Quota));
    }

    #[test]
    fn a_quota_of_nothing_is_not_near_its_end() {
        let mut stored = using([5; 4]);
        stored.limits.max_endpoints = 0;
        let nothing = Board::default();
        let of = Subject::Quota(QuotaName::Endpoints);
        let found = samples(&stored, &nothing).find(|one| one.key.subject == of);
        assert_eq!(found.map(|one| one.pressure), Some(0.0));
    }
}
