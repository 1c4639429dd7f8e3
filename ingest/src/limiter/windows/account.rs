//! What one key may ask at one ingest: its share of the limit, and beside it what was leased of what all ingests keep together.
//! Pure: (state, now) in, decision out.

use std::time::Duration;

use fairhook_common::policy::PolicyRate;

use super::counter::Counter;
use crate::limiter::shared::lease::{Grant, Lease, Step, Window};
use crate::limiter::{Decision, Now};

/// The window of a whole limit.
pub(super) fn whole(rate: PolicyRate) -> Window {
    Window { events: rate.limit, span: rate.window.length(), saved: 0 }
}

/// What one of `ingests` lets pass by itself: whole ones, in a window that is as much longer as these are more than its exact
/// part. So all of them together let the limit's rate pass, and at once at most one each more.
fn share(rate: PolicyRate, ingests: u32) -> Window {
    let events = rate.limit.div_ceil(ingests).max(1);
    let (each, limit) = (u64::from(events) * u64::from(ingests), u64::from(rate.limit.max(1)));
    let span = rate.window.length().as_micros() as u64;
    let span = u128::from(span) * u128::from(each) / u128::from(limit);
    Window { events, span: Duration::from_micros(u64::try_from(span).unwrap_or(u64::MAX)), saved: 0 }
}

/// One key's account under one policy.
#[derive(Debug)]
pub(super) struct Account {
    rate: PolicyRate,
    ingests: u32,
    share: Window,
    counter: Counter,
    lease: Lease,
}

impl Account {
    /// Nothing was asked.
    pub(super) fn new(rate: PolicyRate, ingests: u32) -> Self {
        let (counter, lease) = (Counter::default(), Lease::default());
        Self { rate, ingests, share: share(rate, ingests), counter, lease }
    }

    /// Fits the rate and the number of ingests. What was taken counts under another rate as well, as far as there is room for
    /// it: neither a new limit nor another ingest is a way to begin anew.
    pub(super) fn fit(&mut self, rate: PolicyRate, ingests: u32, now: Now) {
        if (self.rate, self.ingests) == (rate, ingests) {
            return;
        }
        let used = self.share.events.saturating_sub(self.counter.left(&self.share, now.monotonic));
        let lease = if self.rate == rate { std::mem::take(&mut self.lease) } else { Lease::default() };
        *self = Self { lease, ..Self::new(rate, ingests) };
        if used > 0 {
            self.counter.grant(&self.share, 0, used, now.monotonic);
        }
    }

    /// Takes of this ingest's share.
    pub(super) fn take(&mut self, cost: u32, now: Now) -> Decision {
        let grant = self.counter.grant_whole(&self.share, cost, now.monotonic);
        if grant.tokens == cost {
            self.shown(true, grant.left, grant.ends, now)
        } else {
            self.shown(false, grant.left, grant.wait, now)
        }
    }

    /// Takes of what is leased. `None`: more has to be asked for.
    pub(super) fn take_leased(&mut self, cost: u32, now: Now) -> Option<Decision> {
        match self.lease.spend(cost, now.monotonic) {
            Step::Spent => Some(self.passed(cost, now)),
            Step::Refused(wait) => Some(self.shown(false, 0, wait, now)),
            Step::Ask => None,
        }
    }

    /// Learns what was granted to a question of `asked_at` and takes of it.
    pub(super) fn take_granted(
        &mut self,
        grant: &Grant,
        cost: u32,
        asked_at: Duration,
        now: Now,
    ) -> Decision {
        match self.lease.learn(grant, cost, asked_at, now.monotonic) {
            Ok(()) => self.passed(cost, now),
            Err(wait) => self.shown(false, 0, wait, now),
        }
    }

    /// It counts for the share too: should that have to decide alone from now on, it goes on where this ingest's requests have
    /// left it.
    fn passed(&mut self, cost: u32, now: Now) -> Decision {
        let ends = self.counter.grant(&self.share, 0, cost, now.monotonic).ends;
        self.shown(true, self.lease.left(now.monotonic).unwrap_or_default(), ends, now)
    }

    fn shown(&self, allowed: bool, left: u32, reset_after: Duration, now: Now) -> Decision {
        // A timestamp holds whole milliseconds: it must not be earlier than the wait.
        let reset = now.wall.after(reset_after + Duration::from_micros(999));
        let (limit, window) = (self.rate.limit, self.rate.window.length());
        Decision { allowed, limit, window, remaining: left.min(limit), reset, reset_after }
    }
}

#[cfg(test)]
mod tests {
    use fairhook_common::time::Timestamp;

    use super::*;

    fn at(ms: u64) -> Now {
        Now { monotonic: Duration::from_millis(ms), wall: Timestamp(1_700_000_000_000 + ms as i64) }
    }

    fn rate(text: &str) -> PolicyRate {
        text.parse().expect("a rate")
    }

    #[test]
    fn a_refusal_tells_when_to_come_again() {
        let mut account = Account::new(rate("3 / 10 s"), 1);
        for left in [2, 1, 0] {
            let decision = account.take(1, at(0));
            assert_eq!((decision.allowed, decision.limit, decision.remaining), (true, 3, left));
        }
        let refused = account.take(1, at(5_000));
        assert_eq!((refused.allowed, refused.remaining), (false, 0));
        let back = 5_000 + refused.reset_after.as_millis() as u64 + 1;
        assert!(!account.take(1, at(back - 2)).allowed);
        assert!(account.take(1, at(back)).allowed);
    }

    #[test]
    fn shares_add_up_to_the_limit() {
        for (limit, ingests) in [(10_u32, 3_u32), (1, 3), (100, 7), (50, 1)] {
            let rate = rate(&format!("{limit} / 10 s"));
            let mut accounts: Vec<_> = (0..ingests).map(|_| Account::new(rate, ingests)).collect();
            let mut passed = 0;
            for ms in (0..1_000_000).step_by(50) {
                for account in &mut accounts {
                    passed += u32::from(account.take(1, at(ms)).allowed);
                }
            }
            let wanted = f64::from(limit * 100);
            let off = f64::from(passed) / wanted;
            assert!((0.95..=1.05).contains(&off), "{passed} of {wanted} at {limit} over {ingests}");
        }
    }

    #[test]
    fn another_rate_or_ingest_gives_nothing_back() {
        let (narrow, wide) = (rate("4 / 10 s"), rate("6 / 10 s"));
        let mut account = Account::new(narrow, 1);
        assert!((0..4).all(|_| account.take(1, at(0)).allowed));
        account.fit(narrow, 2, at(0));
        assert!(!account.take(1, at(0)).allowed);
        account.fit(wide, 1, at(0));
        assert_eq!((0..9).filter(|_| account.take(1, at(0)).allowed).count(), 4, "two were in use");
    }

    #[test]
    fn what_was_leased_counts_for_the_share() {
        let mut account = Account::new(rate("4 / 10 s"), 1);
        assert_eq!(account.take_leased(1, at(0)), None, "nothing is leased");
        let grant = Grant { tokens: 4, left: 0, wait: Duration::ZERO, ends: Duration::from_secs(10) };
        assert!(account.take_granted(&grant, 1, Duration::ZERO, at(0)).allowed);
        assert!((0..3).all(|_| account.take_leased(1, at(1)).expect("leased").allowed));
        assert!(!account.take(1, at(2)).allowed, "the share goes on where it was left");
    }
}
