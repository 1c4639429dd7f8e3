//! Three ingests, a tenant far over its limit, and the window they keep together: what passes in all.

use std::num::NonZeroU32;
use std::time::Duration;

use fairhook_common::time::Timestamp;
use proptest::prelude::*;

use super::lease::{Grant, Lease, Step, Window};
use crate::limiter::Now;
use crate::limiter::events::Rate;
use crate::limiter::events::allowance::Allowance;
use crate::limiter::windows::counter::Counter;

/// What `window.lua` does, with the time given.
pub(super) struct Twin {
    pub(super) window: Window,
    counter: Counter,
}

impl Twin {
    pub(super) fn new(window: Window) -> Self {
        Self { window, counter: Counter::default() }
    }

    pub(super) fn grant(&mut self, now: u64) -> Grant {
        self.grant_of((1, self.window.batch()), now)
    }

    pub(super) fn grant_of(&mut self, (least, wanted): (u32, u32), now: u64) -> Grant {
        self.counter.grant(&self.window, least, wanted, Duration::from_micros(now))
    }
}

/// Numbers that a seed determines.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) % bound
    }
}

fn at(micros: u64) -> Now {
    let monotonic = Duration::from_micros(micros);
    Now { monotonic, wall: Timestamp(1_700_000_000_000 + (micros / 1_000) as i64) }
}

const INGESTS: u32 = 3;
const SECOND: u64 = 1_000_000;

/// When events passed, in microseconds, while each ingest gets its part of `times` the limit until `end`. Redis is away
/// from `killed` on.
fn passed(rate: Rate, times: u64, end: u64, killed: u64, dice: &mut Dice) -> Vec<u64> {
    let origin = dice.below(SECOND);
    let mut twin = Twin::new(Window::from(rate));
    let ingests = NonZeroU32::new(INGESTS).expect("three");
    let mut nodes: Vec<_> =
        (0..INGESTS).map(|_| (Allowance::new(rate, ingests, at(origin)), 0_u64)).collect();
    let gap = (SECOND * u64::from(INGESTS) / (u64::from(rate.per_second) * times)).max(2);
    let mut passed = Vec::new();
    loop {
        let next = (0..nodes.len()).min_by_key(|node| nodes[*node].1).expect("three");
        let (allowance, clock) = &mut nodes[next];
        if *clock >= end {
            return passed;
        }
        let now = origin + *clock;
        let decision = if *clock >= killed {
            allowance.take(at(now))
        } else if let Some(decision) = allowance.take_leased(at(now)) {
            decision
        } else {
            // An answer takes up to 2 ms, in which this ingest's events of the tenant wait.
            let (there, back) = (dice.below(1_000), dice.below(1_000));
            let grant = twin.grant(now + there);
            *clock += there + back;
            allowance.take_granted(&grant, at(now).monotonic, at(now + there + back))
        };
        if decision.allowed {
            passed.push(*clock);
        }
        *clock += gap / 2 + dice.below(gap);
    }
}

fn within(passed: &[u64], from: u64, to: u64) -> f64 {
    passed.iter().filter(|at| (from..to).contains(*at)).count() as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// At ten times its limit a tenant gets it within +2 % and -5 % over 30 s, once its burst is used up.
    #[test]
    fn a_flood_over_three_ingests_gets_the_limit(
        per_second in prop::sample::select(vec![5_u32, 20, 100, 333, 1_000]), burst in 1_u32..12, seed: u64,
    ) {
        let rate = Rate { per_second, burst: (per_second * burst / 2).max(1) };
        let events = passed(rate, 10, 33 * SECOND, u64::MAX, &mut Dice(seed));
        let (got, limit) = (within(&events, 3 * SECOND, 33 * SECOND), f64::from(per_second) * 30.0);
        prop_assert!(got >= limit * 0.95 - 1.0 && got <= limit * 1.02 + 1.0, "{got} of {limit}, {rate:?}");
    }

    /// Redis is killed after 15 s: no more than a fifth over the limit, and no famine either, once the burst is used up.
    #[test]
    fn a_flood_gets_about_the_limit_when_redis_dies(
        per_second in prop::sample::select(vec![5_u32, 20, 100, 1_000]), burst in 1_u32..20, seed: u64,
    ) {
        let rate = Rate { per_second, burst: per_second * burst / 2 };
        let events = passed(rate, 10, 30 * SECOND, 15 * SECOND, &mut Dice(seed));
        let (got, limit) = (within(&events, 2 * SECOND, 30 * SECOND), f64::from(per_second) * 28.0);
        prop_assert!(got >= limit * 0.9 && got <= limit * 1.2, "{got} of {limit}, {rate:?}");
    }

    /// Whatever is sent, over any span no more passes than the burst and what came back meanwhile.
    #[test]
    fn no_span_gets_more_than_burst_and_rate(
        per_second in 1_u32..300, burst in 1_u32..600, times in 1_u64..8, seed: u64,
    ) {
        let rate = Rate { per_second, burst };
        let events = passed(rate, times, 6 * SECOND, u64::MAX, &mut Dice(seed));
        // A burst below a tenth of a second's events counts as that; what sits at a window's edge is an event more.
        let burst = f64::from(burst.max(per_second.div_ceil(10)));
        for (first, from) in events.iter().enumerate().step_by(7) {
            for (last, to) in events.iter().enumerate().skip(first).step_by(5) {
                let (got, most) = (last - first + 1, burst + (to - from) as f64 / 1e6 * f64::from(per_second));
                // What is spent later than it was granted: a lease for each ingest.
                let leased = f64::from(INGESTS * Window::from(rate).batch());
                prop_assert!(got as f64 <= most + leased + 1.0, "{got} of {most}, {rate:?}");
            }
        }
    }
}

#[test]
fn tokens_end_with_their_window_and_refusals_with_their_wait() {
    let ms = Duration::from_millis;
    let mut lease = Lease::default();
    assert_eq!((lease.spend(1, ms(0)), lease.left(ms(0))), (Step::Ask, None));
    let grant = Grant { tokens: 3, left: 5, wait: ms(0), ends: ms(100) };
    assert_eq!(lease.learn(&grant, 1, ms(0), ms(2)), Ok(()));
    assert_eq!(lease.left(ms(2)), Some(7));
    assert_eq!((lease.spend(1, ms(99)), lease.spend(1, ms(100))), (Step::Spent, Step::Ask));
    assert_eq!(lease.left(ms(100)), None);
    let none = Grant { tokens: 0, left: 0, wait: ms(20), ends: ms(90) };
    assert_eq!(lease.learn(&none, 1, ms(110), ms(111)), Err(ms(20)));
    assert_eq!((lease.spend(1, ms(121)), lease.left(ms(121))), (Step::Refused(ms(10)), Some(0)));
    assert_eq!(lease.spend(1, ms(131)), Step::Ask);
    // Granted at the very end of a window: the event for which was asked passes, the rest ended.
    assert_eq!(lease.learn(&Grant { ends: ms(1), ..grant }, 1, ms(200), ms(205)), Ok(()));
    assert_eq!(lease.spend(1, ms(205)), Step::Ask);
}

#[test]
fn a_window_fits_its_rate() {
    let window = |per_second, burst| Window::from(Rate { per_second, burst });
    let made = |events, ms, saved| Window { events, span: Duration::from_millis(ms), saved };
    assert_eq!(window(100, 1_000), made(100, 1_000, 900));
    assert_eq!(window(100, 20), made(20, 200, 0));
    assert_eq!(window(1_000, 1), made(100, 100, 0));
    assert_eq!(window(1, 0), made(1, 1_000, 0));
    assert_eq!(
        [10, 50, 100, 200, 1_000, 1_000_000].map(|events| window(events, events).batch()),
        [1, 2, 4, 4, 20, 1_000]
    );
    assert_eq!(window(1, 1_000_000_000).forget_after(), fairhook_common::limits::LIMIT_KEPT_MAX);
}
