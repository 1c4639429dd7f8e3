use fairhook_common::tenant::DlqOverflow;
use fairhook_common::time::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::super::shared::Sharing;
use super::super::windows::counter::Counter;
use super::*;
use std::time::Duration;

const ORIGIN: i64 = 1_700_000_000_000;

/// Limits of which only these are looked at here.
pub(in crate::limiter) fn limits(max_events_per_sec: u32, burst: u32) -> QuotaLimits {
    QuotaLimits {
        max_events_per_sec,
        burst,
        max_concurrent_deliveries: 50,
        max_dlq_size: 100,
        max_backlog: 100_000,
        max_endpoints: 50,
        dlq_overflow: DlqOverflow::DropOldest,
    }
}

fn at(ms: u64) -> Now {
    Now { monotonic: Duration::from_millis(ms), wall: Timestamp(ORIGIN + ms as i64) }
}

fn allowance(per_second: u32, burst: u32) -> Allowance {
    Allowance::new(Rate { per_second, burst }, NonZeroU32::MIN, at(0))
}

#[test]
fn a_quota_is_reached_and_recovers() {
    let mut allowance = allowance(10, 20);
    for sent in 1..=20u32 {
        let decision = allowance.take(at(0));
        assert!(decision.allowed);
        // The second's ten, then the ten that were saved.
        assert_eq!((decision.limit, decision.remaining), (10, if sent < 10 { 10 - sent } else { 20 - sent }));
        assert_eq!(allowance.at_once(false, at(0)), 20 - sent);
        assert_eq!((decision.reset, decision.reset_seconds()), (Timestamp(ORIGIN + 1_000), 1));
    }
    let refused = allowance.take(at(0));
    assert!(!refused.allowed);
    assert_eq!(refused.remaining, 0);
    assert_eq!(refused.reset_after, Duration::from_millis(100));
    assert_eq!(refused.reset, Timestamp(ORIGIN + 100));
    assert_eq!(allowance.sent(at(999)), 20);
    // A token is back after a tenth of a second, and one only.
    assert!(!allowance.take(at(99)).allowed);
    assert!(allowance.take(at(100)).allowed);
    assert!(!allowance.take(at(100)).allowed);
    // The window is new after a second, but the bucket has only what was refilled.
    assert_eq!(allowance.peek(false, at(1_000)).remaining, 9);
    assert_eq!(allowance.sent(at(1_000)), 0);
    // And it is full again after a quiet time.
    assert_eq!((0..100).filter(|_| allowance.take(at(60_000)).allowed).count(), 20);
}

/// A burst of ten seconds is sent from, as one batch would: who obeys what it is shown stops only where it would be refused.
#[test]
fn nothing_is_left_only_where_nothing_would_pass() {
    let (mut alone, mut leased) = (allowance(100, 1_000), allowance(100, 1_000));
    let rate = Rate { per_second: 100, burst: 1_000 };
    let (window, mut counter) = (Window::from(rate), Counter::default());
    for sent in 1..=1_000 {
        let here = alone.take(at(0)).remaining;
        let grant = counter.grant_whole(&window, 1, at(0).monotonic);
        let of_all = leased.take_granted(&grant, at(0).monotonic, at(0)).remaining;
        assert_eq!(here, of_all, "the same with Redis, after {sent}");
        assert_eq!(here == 0, sent == 1_000, "{here} are left after {sent}");
        assert!(here <= 100, "never more than the limit beside which it stands");
        assert_eq!((alone.at_once(false, at(0)), leased.at_once(true, at(0))), (1_000 - sent, 1_000 - sent));
    }
}

#[test]
fn who_may_send_nothing_is_refused_for_long() {
    let decision = allowance(0, 0).take(at(5));
    assert!(!decision.allowed);
    assert_eq!((decision.limit, decision.remaining), (0, 0));
    assert_eq!(decision.reset_seconds(), 24 * 3600);
}

#[test]
fn other_limits_count_at_once_and_what_was_sent_is_still_shown() {
    let (quotas, tenant) =
        (Quotas::new(Sharing::alone().ingests, None), TenantId::from_uuid(Uuid::from_u128(1)));
    let narrow = limits(1, 1);
    assert!(quotas.take_share(tenant, &narrow, at(0)).allowed);
    assert!(!quotas.take_share(tenant, &narrow, at(0)).allowed);
    let wide = limits(100, 1_000);
    let decision = quotas.take_share(tenant, &wide, at(0));
    assert!(decision.allowed);
    assert_eq!(decision.remaining, 98);
    assert_eq!(quotas.events_sent(tenant, at(0)), 2);
    assert_eq!(quotas.events_sent(tenant, at(1_000)), 0);
    // Another tenant has its own.
    let other = TenantId::from_uuid(Uuid::from_u128(2));
    assert!(quotas.take_share(other, &narrow, at(0)).allowed);
    assert_eq!(quotas.events_sent(other, at(0)), 1);
}

fn many(ingests: u32) -> NonZeroU32 {
    NonZeroU32::new(ingests).expect("at least one")
}

#[test]
fn shares_add_up_to_the_limit_even_below_one_event_per_second() {
    for (rate, ingests, seconds) in [(100, 3, 30), (1, 3, 30), (7, 5, 100), (1, 50, 500), (1_000, 1, 5)] {
        let rate = Rate { per_second: rate, burst: rate };
        let mut shares: Vec<_> = (0..ingests).map(|_| Allowance::new(rate, many(ingests), at(0))).collect();
        let mut passed = 0;
        for ms in 0..seconds * 1_000 {
            for share in &mut shares {
                passed += u64::from(share.take(at(ms)).allowed);
            }
        }
        let first = u64::from(rate.burst.max(ingests));
        let (least, most) =
            (u64::from(rate.per_second) * seconds, first + u64::from(rate.per_second) * seconds);
        let slack = u64::from(ingests);
        assert!(
            (least - slack..=most).contains(&passed),
            "{passed} of {rate:?} over {ingests} in {seconds} s"
        );
    }
}

#[test]
fn another_number_of_ingests_fills_nothing_up() {
    let rate = Rate { per_second: 10, burst: 90 };
    let mut share = Allowance::new(rate, many(3), at(0));
    assert_eq!((0..100).filter(|_| share.take(at(0)).allowed).count(), 30);
    for (ms, ingests) in [(0, 1), (1, 2), (2, 7), (3, 1)] {
        share.fit(rate, many(ingests), at(ms));
        assert!(!share.take(at(ms)).allowed, "{ingests} ingests");
    }
    // Alone now: ten more per second, and what is left of a full bucket is cut to the new share.
    assert_eq!((0..100).filter(|_| share.take(at(1_003)).allowed).count(), 10);
    assert_eq!(share.peek(false, at(60_000)).remaining, 10);
    share.fit(rate, many(9), at(60_000));
    assert_eq!((0..100).filter(|_| share.take(at(60_000)).allowed).count(), 10);
    let shown = share.take(at(60_000));
    assert_eq!((shown.allowed, shown.limit), (false, 10), "what is shown is the whole limit");
}

#[test]
fn the_number_of_ingests_is_taken_from_who_knows_it() {
    let (known, ingests) = tokio::sync::watch::channel(0);
    let (quotas, tenant) = (Quotas::new(ingests, None), TenantId::from_uuid(Uuid::from_u128(1)));
    let limits = limits(1, 6);
    // An ingest that is told of none counts itself.
    assert!(quotas.take_share(tenant, &limits, at(0)).allowed);
    known.send_replace(3);
    assert_eq!((0..10).filter(|_| quotas.take_share(tenant, &limits, at(0)).allowed).count(), 2);
}

/// Each of them has spent its burst; so many that an earlier bound forgot some, who had a burst again.
#[test]
fn a_crowd_of_tenants_pushes_nobody_out() {
    let quotas = Quotas::new(Sharing::alone().ingests, None);
    let narrow = limits(1, 1);
    let tenants: Vec<_> = (1..=30_000).map(|n| TenantId::from_uuid(Uuid::from_u128(n))).collect();
    assert!(tenants.iter().all(|tenant| quotas.take_share(*tenant, &narrow, at(0)).allowed));
    let again = tenants.iter().filter(|tenant| quotas.take_share(**tenant, &narrow, at(0)).allowed).count();
    assert_eq!(again, 0);
}

#[test]
fn a_wall_clock_that_steps_back_refuses_nobody() {
    let mut allowance = allowance(1, 1);
    assert!(allowance.take(at(0)).allowed);
    let stepped = Now { monotonic: Duration::from_secs(1), wall: Timestamp(ORIGIN - 3_600_000) };
    assert!(allowance.take(stepped).allowed);
}

proptest! {
    /// Over any span no more passes than the burst and what was refilled; who waits as long as it was told passes; and no
    /// more is promised than passes.
    #[test]
    fn the_bucket_keeps_its_promises(
        per_second in 1u32..500, burst in 1u32..1_000, waits in prop::collection::vec(0u64..1_500, 1..200),
    ) {
        let mut allowance = allowance(per_second, burst);
        let (mut now, mut passed) = (0u64, 0u64);
        for wait in waits {
            now += wait;
            let shown = allowance.peek(false, at(now)).remaining;
            let decision = allowance.take(at(now));
            prop_assert!(shown == 0 || decision.allowed, "{shown} were promised");
            if decision.allowed {
                passed += 1;
                let most = f64::from(burst) + now as f64 / 1_000.0 * f64::from(per_second);
                prop_assert!(passed as f64 <= most + 1.0, "{passed} of {most} after {now} ms");
            } else {
                let told = decision.reset_seconds() * 1_000;
                prop_assert!(decision.reset_after <= Duration::from_millis(told));
                now += told;
                prop_assert!(allowance.take(at(now)).allowed, "refused after {told} ms");
                passed += 1;
            }
        }
    }
}
