use proptest::prelude::*;

use fairhook_common::activity::{Board, Counted, ProcessActivity, Standing, TenantActivity};
use fairhook_common::condition::{QuotaName, Subject};
use fairhook_common::ids::TenantId;
use uuid::Uuid;

use super::*;

fn key(kind: ConditionKind, tenant: u8) -> ConditionKey {
    let tenant = TenantId::from_uuid(Uuid::from_u128(tenant.into()));
    let subject = match kind {
        ConditionKind::QuotaWarning => Subject::Quota(QuotaName::Backlog),
        _ => Subject::Tenant,
    };
    ConditionKey { kind, tenant, subject }
}

fn sample(key: ConditionKey, pressure: f64) -> Sample {
    Sample { key, pressure, evidence: Evidence { value: pressure, limit: 1.0, reason: None } }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp(1_700_000_000_000 + seconds * 1_000)
}

#[test]
fn a_burst_is_nothing_and_what_lasts_is_told_of_once() {
    let noisy = key(ConditionKind::TenantNoisy, 1);
    let Rule { after, until, .. } = rule(ConditionKind::TenantNoisy);
    let (after, until) = (after.as_secs() as i64, until.as_secs() as i64);
    let mut detector = Detector::default();
    assert_eq!(detector.round(at(0), [sample(noisy, 3.0)]), Changes::default());
    assert_eq!(detector.round(at(after - 1), [sample(noisy, 0.9)]), Changes::default(), "it was a burst");
    assert_eq!(detector.round(at(after), [sample(noisy, 3.0)]), Changes::default());
    let raised = detector.round(at(2 * after), [sample(noisy, 2.0)]).raised;
    assert_eq!(raised, [(noisy, Evidence { value: 2.0, limit: 1.0, reason: None })]);
    // Around the limit nothing changes; nor does a pause that is shorter than it takes.
    for (second, pressure) in [(1, 0.9), (2, 1.1), (3, 0.5), (2 + until, 0.9), (3 + until, 0.1)] {
        let changes = detector.round(at(2 * after + second), [sample(noisy, pressure)]);
        assert_eq!(changes, Changes::default(), "{second} s later");
    }
    assert_eq!(detector.tenants_in_condition(), [1, 0, 0, 0]);
    let cleared = detector.round(at(2 * after + 3 + 2 * until), []).cleared;
    assert_eq!(cleared, [noisy], "who is not told of any more has no pressure");
    assert_eq!(detector.tenants_in_condition(), [0; 4]);
}

#[test]
fn whoever_comes_next_goes_on_where_the_last_one_stopped() {
    let dlq = key(ConditionKind::DlqWarning, 1);
    let mut detector = Detector::resume([dlq]);
    assert_eq!(detector.round(at(0), [sample(dlq, 0.45)]), Changes::default(), "it holds still");
    assert_eq!(detector.round(at(1), [sample(dlq, 0.39)]).cleared, [dlq]);
    assert_eq!(detector.round(at(2), [sample(dlq, 0.5)]), Changes::default(), "half is not over half");
    assert_eq!(detector.round(at(3), [sample(dlq, 0.51)]).raised.len(), 1);
}

#[test]
fn what_is_known_is_bounded_and_what_was_left_out_comes_when_there_is_room() {
    let many = |count: u128| {
        (1..=count).map(|n| {
            let tenant = TenantId::from_uuid(Uuid::from_u128(n));
            sample(ConditionKey { tenant, ..key(ConditionKind::DlqWarning, 0) }, 0.9)
        })
    };
    let mut detector = Detector::default();
    let all = limits::CONDITIONS as u128 + 7;
    let changes = detector.round(at(0), many(all));
    assert_eq!((changes.raised.len(), changes.left_out), (limits::CONDITIONS, 7));
    let changes = detector.round(at(1), many(all).skip(7));
    assert_eq!((changes.cleared.len(), changes.raised.len()), (7, 0), "the room is there from now on");
    assert_eq!(detector.round(at(2), many(all).skip(7)).raised.len(), 7);
}

/// Tenants of equal weight in a dispatcher of 100 slots, each holding so many.
fn board(slots: &[f64]) -> Board {
    let tenant = |(number, slots): (usize, &f64)| TenantActivity {
        tenant: TenantId::from_uuid(Uuid::from_u128(number as u128)),
        rates: Counted { slots: *slots, ..Counted::default() },
        standing: Standing { weight: 1, ..Standing::default() },
    };
    let tenants = slots.iter().enumerate().map(tenant).collect();
    Board::of([&ProcessActivity { slots: 100, tenants, ..ProcessActivity::default() }])
}

#[test]
fn noisy_is_who_uses_more_than_its_share_beside_others() {
    let loudness = |slots: &[f64]| {
        let board = board(slots);
        let first = board.tenant(TenantId::from_uuid(Uuid::nil())).expect("it is told of").clone();
        board.loudness(&first)
    };
    assert_eq!(loudness(&[90.0]), 0.0, "nobody is beside it");
    assert!(loudness(&[25.0, 0.05, 0.05, 0.05]) > 1.0, "it holds nearly all of what is used");
    assert!(loudness(&[25.0, 24.0, 26.0, 25.0]) < rule(ConditionKind::TenantNoisy).clear, "all use the same");
    assert!(loudness(&[1.5, 0.01]) < 1.0, "next to nothing hurts nobody");
    assert!(loudness(&[10.0, 8.0, 0.1, 0.1, 0.1, 0.1]) > 1.0, "two of a coalition");
}

proptest! {
    /// Whatever comes: raised and cleared alternate for each key, what holds is what was raised and not cleared, and nothing is
    /// raised that is not over its limit, nor cleared that is not under the lower one.
    #[test]
    fn raised_and_cleared_alternate(
        rounds in prop::collection::vec((0i64..12, prop::collection::vec((0usize..4, 0u8..3, 0.0f64..2.0), 0..12)), 1..60)
    ) {
        let mut detector = Detector::default();
        let mut held = BTreeSet::new();
        let mut over_since = BTreeMap::new();
        let mut now = 0;
        for (pause, measured) in rounds {
            now += pause;
            let mut pressures = BTreeMap::new();
            for (kind, tenant, pressure) in measured {
                pressures.entry(key(ConditionKind::ALL[kind], tenant)).or_insert(pressure);
            }
            over_since.retain(|key: &ConditionKey, _| pressures.get(key).is_some_and(|p| *p > rule(key.kind).raise));
            for (key, pressure) in &pressures {
                if *pressure > rule(key.kind).raise {
                    over_since.entry(*key).or_insert(now);
                }
            }
            let changes = detector.round(at(now), pressures.iter().map(|(key, pressure)| sample(*key, *pressure)));
            for (key, _) in &changes.raised {
                prop_assert!(held.insert(*key), "it held already");
                let since = over_since.get(key).copied();
                prop_assert!(since.is_some_and(|since| now - since >= rule(key.kind).after.as_secs() as i64));
            }
            for key in &changes.cleared {
                prop_assert!(held.remove(key), "it did not hold");
                prop_assert!(pressures.get(key).copied().unwrap_or(0.0) < rule(key.kind).clear);
            }
            // What has been over its limit for long enough holds.
            for (key, since) in &over_since {
                let long = now - since >= rule(key.kind).after.as_secs() as i64;
                prop_assert!(!long || held.contains(key));
            }
            prop_assert_eq!(detector.held().collect::<BTreeSet<_>>(), held.clone());
        }
    }
}
