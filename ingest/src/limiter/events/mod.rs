//! How many events a tenant may send: over all ingests together, by what they keep in Redis or by a share for each, and
//! the count of the current second for what is shown. The decision itself is pure (`allowance.rs`, `../shared/lease.rs`).

pub(super) mod allowance;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::policy::Policy;
use fairhook_common::tenant::QuotaLimits;
use fairhook_common::time::Timestamp;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::timeout_at;

use super::key::Key;
use super::shared::Shared;
use super::shared::lease::Window;
use super::{Decision, Now};
use allowance::Allowance;

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

/// What is remembered of a tenant that sends.
struct Account {
    allowance: Mutex<Allowance>,
    /// Held by the one that asks for tokens; the others wait for it, and find what it got.
    asking: AsyncMutex<()>,
}

/// The allowances of the tenants that send.
pub struct Quotas {
    origin: Instant,
    accounts: Cache<TenantId, Arc<Account>>,
    ingests: watch::Receiver<usize>,
    shared: Option<Arc<Shared>>,
}

impl Quotas {
    /// No tenant has sent anything. `ingests` live, this one included; what they keep together is in `shared`.
    pub fn new(ingests: watch::Receiver<usize>, shared: Option<Arc<Shared>>) -> Self {
        // The one that was idle longest goes first: by then it would be full again, as the bound's reason says.
        let accounts = Cache::builder()
            .max_capacity(limits::QUOTA_TENANTS)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(limits::QUOTA_IDLE)
            .build();
        Self { origin: Instant::now(), accounts, ingests, shared }
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        Now { monotonic: self.origin.elapsed(), wall: Timestamp::now() }
    }

    /// Takes a token for one event of `tenant`. Other limits than last time begin with full tokens. Waits for Redis for at
    /// most `limits::REDIS_BUDGET`, and for nothing else.
    pub async fn take(&self, tenant: TenantId, limits: &QuotaLimits) -> Decision {
        match self.take_leased(tenant, Rate::from(limits)).await {
            Some(decision) => decision,
            None => self.take_share(tenant, limits, self.now()),
        }
    }

    /// Takes a token of this ingest's own share.
    pub fn take_share(&self, tenant: TenantId, limits: &QuotaLimits, now: Now) -> Decision {
        if let Some(shared) = &self.shared {
            shared.count_share();
        }
        self.with(tenant, Rate::from(limits), now, |allowance| allowance.take(now))
    }

    /// What a caller is shown when nothing is taken.
    pub fn peek(&self, tenant: TenantId, limits: &QuotaLimits, now: Now) -> Decision {
        let leased = self.shared.as_ref().is_some_and(|shared| shared.answers());
        self.with(tenant, Rate::from(limits), now, |allowance| allowance.peek(leased, now))
    }

    /// Events that `tenant` sent to this ingest in the current second.
    pub fn events_sent(&self, tenant: TenantId, now: Now) -> u32 {
        let account = self.accounts.get(&tenant);
        account.map_or(0, |account| locked(&account.allowance).sent(now))
    }

    /// `None`: Redis is away, or does not answer in time; the share decides.
    async fn take_leased(&self, tenant: TenantId, rate: Rate) -> Option<Decision> {
        let shared = self.shared.as_ref().filter(|shared| shared.answers())?;
        let now = self.now();
        let account = self.account(tenant, rate, now);
        let spend = |now| self.fitted(&account, rate, now, |allowance| allowance.take_leased(now));
        if let Some(decision) = spend(now) {
            return Some(decision);
        }
        let deadline = tokio::time::Instant::now() + limits::REDIS_BUDGET;
        let _asking = timeout_at(deadline - limits::REDIS_ANSWER, account.asking.lock()).await.ok()?;
        let asked_at = self.now();
        if let Some(decision) = spend(asked_at) {
            return Some(decision);
        }
        let window = Window::from(rate);
        let grant =
            shared.lease(&window.key(Policy::Events, &Key::tenant(tenant)), &window, 1, deadline).await?;
        let now = self.now();
        let take = |allowance: &mut Allowance| allowance.take_granted(&grant, asked_at.monotonic, now);
        Some(self.fitted(&account, rate, now, take))
    }

    fn with<T>(&self, tenant: TenantId, rate: Rate, now: Now, ask: impl FnOnce(&mut Allowance) -> T) -> T {
        self.fitted(&self.account(tenant, rate, now), rate, now, ask)
    }

    fn account(&self, tenant: TenantId, rate: Rate, now: Now) -> Arc<Account> {
        let made = || {
            let allowance = Mutex::new(Allowance::new(rate, self.ingests(), now));
            Arc::new(Account { allowance, asking: AsyncMutex::default() })
        };
        self.accounts.get_with(tenant, made)
    }

    fn fitted<T>(&self, account: &Account, rate: Rate, now: Now, ask: impl FnOnce(&mut Allowance) -> T) -> T {
        let mut allowance = locked(&account.allowance);
        allowance.fit(rate, self.ingests(), now);
        ask(&mut allowance)
    }

    /// Those that are known to live; this one does.
    fn ingests(&self) -> NonZeroU32 {
        let known = u32::try_from(*self.ingests.borrow()).unwrap_or(u32::MAX);
        NonZeroU32::new(known).unwrap_or(NonZeroU32::MIN)
    }
}

fn locked(allowance: &Mutex<Allowance>) -> std::sync::MutexGuard<'_, Allowance> {
    allowance.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
pub(in crate::limiter) mod tests;
