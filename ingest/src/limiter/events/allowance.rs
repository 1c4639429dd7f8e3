//! One tenant's allowance at one ingest: this ingest's share of the limit as a bucket of tokens, and beside it the tokens
//! that were leased of what all ingests keep together. Pure: (state, now) in, decision out.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fairhook_common::time::Timestamp;
use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::{Decision, Now, Rate};
use crate::limiter::shared::lease::{Grant, Lease, Step};

/// What is shown is of a second.
const SECOND: Duration = Duration::from_secs(1);
/// A tenant that may send nothing is told to come again tomorrow.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// The time that the bucket is asked at: given, not read.
#[derive(Debug, Clone, Default)]
struct GivenTime(Arc<AtomicU64>);

impl GivenTime {
    fn set(&self, monotonic: Duration) {
        self.0.fetch_max(u64::try_from(monotonic.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for GivenTime {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, GivenTime, StateInformationMiddleware>;

/// What one of `ingests` lets pass by itself.
///
/// The rate is divided exactly: below one event per second for each ingest it is an event every few seconds. A bucket
/// holds a whole token or nothing would ever pass, so that the bursts of all ingests together are at most the larger of
/// the tenant's burst and the number of ingests. Over any span `s` all of them let at most
/// `max(burst, ingests) + rate × s` pass, and one share of the burst more for each ingest that starts meanwhile: its
/// bucket begins full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    /// A token comes back after this.
    period: Duration,
    burst: NonZeroU32,
}

impl Share {
    /// `None`: nothing may pass.
    fn of(rate: Rate, ingests: NonZeroU32) -> Option<Self> {
        let second = u64::from(ingests.get()) * 1_000_000_000;
        let nanos = second.div_ceil(u64::from(NonZeroU32::new(rate.per_second)?.get()));
        let burst = NonZeroU32::new(rate.burst / ingests).unwrap_or(NonZeroU32::MIN);
        Some(Self { period: Duration::from_nanos(nanos), burst })
    }

    /// A full bucket.
    fn bucket(self, time: &GivenTime) -> Bucket {
        let quota = Quota::with_period(self.period).expect("a share's period is at least a nanosecond");
        RateLimiter::direct_with_clock(quota.allow_burst(self.burst), time.clone()).with_middleware()
    }
}

/// The share's bucket, with what is known of it.
#[derive(Debug)]
struct Filled {
    share: Share,
    bucket: Bucket,
    /// Tokens left when the bucket was last asked, and when that was.
    tokens: (u32, Duration),
}

impl Filled {
    fn new(share: Share, time: &GivenTime) -> Self {
        Self { share, bucket: share.bucket(time), tokens: (share.burst.get(), time.now()) }
    }

    /// Whole tokens.
    fn left(&self, now: Duration) -> u32 {
        let (tokens, at) = self.tokens;
        let back = now.saturating_sub(at).as_nanos() / self.share.period.as_nanos();
        tokens.saturating_add(u32::try_from(back).unwrap_or(u32::MAX)).min(self.share.burst.get())
    }

    /// Takes all but `kept` tokens.
    fn leave(&mut self, kept: u32, now: Duration) {
        if let Some(surplus) = NonZeroU32::new(self.left(now).saturating_sub(kept)) {
            let _ = self.bucket.check_n(surplus).expect("no more is taken than a full bucket holds");
            self.tokens = (kept, now);
        }
    }

    /// How long to wait for a token if there is none.
    fn take(&mut self, now: Duration) -> Result<(), Duration> {
        match self.bucket.check() {
            Ok(state) => {
                self.tokens = (state.remaining_burst_capacity(), now);
                Ok(())
            }
            Err(not_until) => {
                self.tokens = (0, now);
                Err(not_until.wait_time_from(now))
            }
        }
    }

    /// The same tokens, as far as they fit, in another share's bucket: a change of the number of ingests must not fill
    /// anything up.
    fn poured(&self, share: Share, time: &GivenTime) -> Self {
        let mut poured = Self::new(share, time);
        poured.leave(self.left(time.now()), time.now());
        poured
    }
}

/// One tenant's allowance.
#[derive(Debug)]
pub struct Allowance {
    rate: Rate,
    ingests: NonZeroU32,
    time: GivenTime,
    /// `None`: nothing may pass.
    filled: Option<Filled>,
    /// What was leased, if limits are kept for all ingests together.
    lease: Lease,
    /// The current second, and what was sent in it.
    second: (i64, u32),
}

impl Allowance {
    /// A full allowance at one of `ingests`.
    pub fn new(rate: Rate, ingests: NonZeroU32, now: Now) -> Self {
        let time = GivenTime::default();
        time.set(now.monotonic);
        let filled = Share::of(rate, ingests).map(|share| Filled::new(share, &time));
        Self { rate, ingests, time, filled, lease: Lease::default(), second: (now.wall.unix_seconds(), 0) }
    }

    /// Fits what is allowed and the number of ingests. Another rate begins full, what was sent is still shown; another
    /// number of ingests keeps the tokens.
    pub fn fit(&mut self, rate: Rate, ingests: NonZeroU32, now: Now) {
        if self.rate != rate {
            let second = self.second;
            *self = Self { second, ..Self::new(rate, ingests, now) };
        } else if self.ingests != ingests {
            self.time.set(now.monotonic);
            self.ingests = ingests;
            let share = Share::of(rate, ingests);
            let (filled, time) = (&self.filled, &self.time);
            self.filled = share.zip(filled.as_ref()).map(|(share, filled)| filled.poured(share, time));
        }
    }

    /// Takes a token of this ingest's share for one event, if there is one.
    pub fn take(&mut self, now: Now) -> Decision {
        self.turn(now);
        let Some(filled) = &mut self.filled else { return self.refusal(now, NEVER) };
        match filled.take(self.time.now()) {
            Ok(()) => {
                self.second.1 = self.second.1.saturating_add(1);
                self.shown(now, self.left(now))
            }
            Err(wait) => self.refusal(now, wait),
        }
    }

    /// Takes a leased token. `None`: more have to be asked for.
    pub fn take_leased(&mut self, now: Now) -> Option<Decision> {
        self.turn(now);
        if self.filled.is_none() {
            return Some(self.refusal(now, NEVER));
        }
        match self.lease.spend(1, now.monotonic) {
            Step::Spent => Some(self.passed(now)),
            Step::Refused(wait) => Some(self.refusal(now, wait)),
            Step::Ask => None,
        }
    }

    /// Learns what was granted to a question of `asked_at` and takes a token of it, if there is one.
    pub fn take_granted(&mut self, grant: &Grant, asked_at: Duration, now: Now) -> Decision {
        self.turn(now);
        match self.lease.learn(grant, 1, asked_at, now.monotonic) {
            Ok(()) => self.passed(now),
            Err(wait) => {
                // All together have used the limit up, so no share of it is left either, whoever got it.
                if let Some(filled) = &mut self.filled {
                    filled.leave(0, self.time.now());
                }
                self.refusal(now, wait)
            }
        }
    }

    /// What a caller is shown when nothing is taken; `leased`: limits are kept for all ingests together.
    pub fn peek(&mut self, leased: bool, now: Now) -> Decision {
        self.turn_second(now);
        self.shown(now, self.at_once(leased, now))
    }

    /// Events that would pass at once, as far as is known here.
    pub fn at_once(&self, leased: bool, now: Now) -> u32 {
        let known = leased.then(|| self.lease.left(now.monotonic)).flatten();
        known.unwrap_or_else(|| self.left(now))
    }

    /// Events sent in the current second.
    pub fn sent(&mut self, now: Now) -> u32 {
        self.turn_second(now);
        self.second.1
    }

    fn turn(&mut self, now: Now) {
        self.time.set(now.monotonic);
        self.turn_second(now);
    }

    fn turn_second(&mut self, now: Now) {
        let second = now.wall.unix_seconds();
        if self.second.0 != second {
            self.second = (second, 0);
        }
    }

    /// An event passed with a leased token. The share's bucket gives one too, if it has one: should it have to decide
    /// alone from now on, it begins where this ingest's traffic has left it and not with a second burst.
    fn passed(&mut self, now: Now) -> Decision {
        if let Some(filled) = &mut self.filled {
            let _ = filled.take(self.time.now());
        }
        self.second.1 = self.second.1.saturating_add(1);
        self.shown(now, self.at_once(true, now))
    }

    fn left(&self, now: Now) -> u32 {
        self.filled.as_ref().map_or(0, |filled| filled.left(now.monotonic))
    }

    /// What is sent beyond a second's events comes out of the burst, one second's events after another: so nothing is left only
    /// where nothing would pass.
    fn shown(&self, now: Now, tokens: u32) -> Decision {
        let limit = self.rate.per_second;
        let left = limit - self.second.1.checked_rem(limit).unwrap_or(0);
        let reset = Timestamp((now.wall.unix_seconds() + 1) * 1_000);
        let remaining = left.min(tokens);
        Decision {
            allowed: true,
            limit,
            window: SECOND,
            remaining,
            reset,
            reset_after: reset.since(now.wall),
        }
    }

    fn refusal(&self, now: Now, wait: Duration) -> Decision {
        // A timestamp holds whole milliseconds: it must not be earlier than the wait.
        let reset = now.wall.after(wait + Duration::from_micros(999));
        let limit = self.rate.per_second;
        Decision { allowed: false, limit, window: SECOND, remaining: 0, reset, reset_after: wait }
    }
}
