//! How many events a tenant may send: over all ingests together, by what they keep in Redis or by a share for each, and
//! the count of the current second for what is shown. The decision itself is pure (`allowance.rs`, `../shared/lease.rs`).

pub(super) mod allowance;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::policy::Policy;
use fairhook_common::tenant::QuotaLimits;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::key::Key;
use super::shared::lease::{Grant, Window};
use super::shared::{Patience, Question, Shared};
use super::{Clock, Decision, Now};
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
    clock: Clock,
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
        Self { clock: Clock::start(), accounts, ingests, shared }
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Takes a token for one event of `tenant`. Other limits than last time begin with full tokens. Waits for Redis as
    /// `patience` allows, and for nothing else.
    pub async fn take(&self, tenant: TenantId, limits: &QuotaLimits, patience: &mut Patience) -> Decision {
        if let Some(shared) = &self.shared {
            if let Some(decision) = self.take_leased(shared, tenant, limits.into(), patience).await {
                return decision;
            }
            shared.count_share();
        }
        self.take_share(tenant, limits, self.now())
    }

    /// Takes a token of this ingest's own share.
    pub fn take_share(&self, tenant: TenantId, limits: &QuotaLimits, now: Now) -> Decision {
        self.with(tenant, Rate::from(limits), now, |allowance| allowance.take(now))
    }

    /// What a caller is shown when nothing is taken.
    pub fn peek(&self, tenant: TenantId, limits: &QuotaLimits, now: Now) -> Decision {
        let leased = self.is_shared();
        self.with(tenant, Rate::from(limits), now, |allowance| allowance.peek(leased, now))
    }

    /// Events of `tenant` that would pass at once, as far as is known here.
    pub fn at_once(&self, tenant: TenantId, limits: &QuotaLimits, now: Now) -> u32 {
        let leased = self.is_shared();
        self.with(tenant, Rate::from(limits), now, |allowance| allowance.at_once(leased, now))
    }

    fn is_shared(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.answers())
    }

    /// Events that `tenant` sent to this ingest in the current second.
    pub fn events_sent(&self, tenant: TenantId, now: Now) -> u32 {
        let account = self.accounts.get(&tenant);
        account.map_or(0, |account| locked(&account.allowance).sent(now))
    }

    async fn take_leased(
        &self,
        shared: &Shared,
        tenant: TenantId,
        rate: Rate,
        patience: &mut Patience,
    ) -> Option<Decision> {
        let account = self.account(tenant, rate, self.now());
        let question = Question { asking: &account.asking, window: Window::from(rate), cost: 1 };
        let spend = |now| self.fitted(&account, rate, now, |allowance| allowance.take_leased(now));
        let learn = |grant: &Grant, asked_at, now| {
            self.fitted(&account, rate, now, |allowance| allowance.take_granted(grant, asked_at, now))
        };
        let name = |window: &Window| window.key(Policy::Events, &Key::tenant(tenant));
        shared.take(question, name, (patience, self.clock), spend, learn).await
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
