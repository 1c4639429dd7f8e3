//! How many events a tenant may send: a bucket of tokens that allows bursts, and the count of the current second for what
//! is shown. One process's own; the decision itself is pure.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::tenant::QuotaLimits;
use fairhook_common::time::Timestamp;
use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::sync::Cache;

/// What a tenant may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Events per second in the long run.
    pub per_second: u32,
    /// Events at once after a quiet time.
    pub burst: u32,
}

impl From<&QuotaLimits> for Rate {
    fn from(limits: &QuotaLimits) -> Self {
        Self { per_second: limits.max_events_per_sec, burst: limits.burst }
    }
}

/// Both clocks: one that never steps for the bucket, and that on the wall for what is shown.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Time since any fixed origin.
    pub monotonic: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

/// What was decided about one event, and what the caller is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the event may pass.
    pub allowed: bool,
    /// Events per second in the long run.
    pub limit: u32,
    /// Events left in the current second; never more than would pass now.
    pub remaining: u32,
    /// When that changes for the better: the end of the second, or of the wait.
    pub reset: Timestamp,
    /// How long until then.
    pub reset_after: Duration,
}

impl Decision {
    /// Whole seconds until `reset`, rounded up, at least 1: never earlier than the quota allows.
    pub fn reset_seconds(&self) -> u64 {
        let whole = self.reset_after.as_secs() + u64::from(self.reset_after.subsec_nanos() > 0);
        whole.max(1)
    }
}

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

/// One tenant's allowance: (state, now) in, decision out.
#[derive(Debug)]
pub struct Allowance {
    rate: Rate,
    time: GivenTime,
    /// `None`: nothing may pass.
    bucket: Option<Bucket>,
    /// Tokens left when the bucket was last asked, and when that was.
    tokens: (f64, Duration),
    /// The current second, and what was sent in it.
    second: (i64, u32),
}

impl Allowance {
    /// A full allowance.
    pub fn new(rate: Rate, now: Now) -> Self {
        let time = GivenTime::default();
        time.set(now.monotonic);
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        let bucket = NonZeroU32::new(rate.per_second).map(|per_second| {
            let quota = Quota::per_second(per_second).allow_burst(burst);
            RateLimiter::direct_with_clock(quota, time.clone()).with_middleware()
        });
        let tokens = (f64::from(burst.get()), now.monotonic);
        Self { rate, time, bucket, tokens, second: (now.wall.unix_seconds(), 0) }
    }

    /// Takes a token for one event, if there is one.
    pub fn take(&mut self, now: Now) -> Decision {
        self.turn_second(now);
        self.time.set(now.monotonic);
        let Some(bucket) = &self.bucket else { return self.refusal(now, NEVER) };
        match bucket.check() {
            Ok(state) => {
                self.tokens = (f64::from(state.remaining_burst_capacity()), now.monotonic);
                self.second.1 = self.second.1.saturating_add(1);
                self.shown(now, true)
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.time.now());
                self.tokens = (0.0, now.monotonic);
                self.refusal(now, wait)
            }
        }
    }

    /// What a caller is shown when nothing is taken.
    pub fn peek(&mut self, now: Now) -> Decision {
        self.turn_second(now);
        self.shown(now, true)
    }

    /// Events sent in the current second.
    pub fn sent(&mut self, now: Now) -> u32 {
        self.turn_second(now);
        self.second.1
    }

    fn turn_second(&mut self, now: Now) {
        let second = now.wall.unix_seconds();
        if self.second.0 != second {
            self.second = (second, 0);
        }
    }

    fn shown(&self, now: Now, allowed: bool) -> Decision {
        let left = self.rate.per_second.saturating_sub(self.second.1);
        let (tokens, at) = self.tokens;
        let refilled = now.monotonic.saturating_sub(at).as_secs_f64() * f64::from(self.rate.per_second);
        let tokens = (tokens + refilled).min(f64::from(self.rate.burst.max(1)));
        let reset = Timestamp((now.wall.unix_seconds() + 1) * 1_000);
        let (limit, remaining) = (self.rate.per_second, left.min(tokens as u32));
        Decision { allowed, limit, remaining, reset, reset_after: reset.since(now.wall) }
    }

    fn refusal(&self, now: Now, wait: Duration) -> Decision {
        // A timestamp holds whole milliseconds: it must not be earlier than the wait.
        let reset = now.wall.after(wait + Duration::from_micros(999));
        Decision { allowed: false, limit: self.rate.per_second, remaining: 0, reset, reset_after: wait }
    }
}

/// The allowances of the tenants that send.
pub struct Quotas {
    origin: Instant,
    allowances: Cache<TenantId, Arc<Mutex<Allowance>>>,
}

impl Quotas {
    /// No tenant has sent anything.
    pub fn new() -> Self {
        let allowances = Cache::builder()
            .max_capacity(limits::CONTROL_CACHE_ENTRIES)
            .time_to_idle(limits::QUOTA_IDLE)
            .build();
        Self { origin: Instant::now(), allowances }
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        Now { monotonic: self.origin.elapsed(), wall: Timestamp::now() }
    }

    /// Takes a token for one event of `tenant`. Other limits than last time begin with a full bucket.
    pub fn take(&self, tenant: TenantId, limits: &QuotaLimits, now: Now) -> Decision {
        self.with(tenant, limits, now, |allowance| allowance.take(now))
    }

    /// What a caller is shown when nothing is taken.
    pub fn peek(&self, tenant: TenantId, limits: &QuotaLimits, now: Now) -> Decision {
        self.with(tenant, limits, now, |allowance| allowance.peek(now))
    }

    /// Events that `tenant` sent in the current second.
    pub fn events_sent(&self, tenant: TenantId, now: Now) -> u32 {
        let allowance = self.allowances.get(&tenant);
        allowance.map_or(0, |a| a.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).sent(now))
    }

    fn with<T>(
        &self,
        tenant: TenantId,
        limits: &QuotaLimits,
        now: Now,
        ask: impl FnOnce(&mut Allowance) -> T,
    ) -> T {
        let rate = Rate::from(limits);
        let made = || Arc::new(Mutex::new(Allowance::new(rate, now)));
        let allowance = self.allowances.get_with(tenant, made);
        let mut allowance = allowance.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if allowance.rate != rate {
            let sent = allowance.second;
            *allowance = Allowance { second: sent, ..Allowance::new(rate, now) };
        }
        ask(&mut allowance)
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
