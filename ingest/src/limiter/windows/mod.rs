//! So many in a window that slides, for each key of each policy: over all ingests together by what they keep in Redis, or this
//! ingest's share.

mod account;
pub mod counter;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use fairhook_common::limits;
use fairhook_common::policy::{Policy, PolicyRate};
use fairhook_common::time::Timestamp;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::timeout_at;

use super::key::{Key, Origin};
use super::shared::Shared;
use super::{Decision, Now};
use account::Account;

/// What is remembered of a key that asks.
struct Entry {
    account: Mutex<Account>,
    /// Held by the one that asks for tokens; the others wait for it, and find what it got.
    asking: AsyncMutex<()>,
}

/// The accounts of those that ask.
pub struct Windows {
    origin: Instant,
    /// Of each of [`Origin::ALL`].
    entries: [Cache<(Policy, Key), Arc<Entry>>; Origin::ALL.len()],
    ingests: watch::Receiver<usize>,
    shared: Option<Arc<Shared>>,
}

impl Windows {
    /// Nobody has asked for anything. `ingests` live, this one included; what they keep together is in `shared`.
    pub fn new(ingests: watch::Receiver<usize>, shared: Option<Arc<Shared>>) -> Self {
        let entries = Origin::ALL.map(|_| {
            Cache::builder()
                .max_capacity(limits::LIMITER_KEYS)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_idle(limits::LIMITER_IDLE)
                .build()
        });
        Self { origin: Instant::now(), entries, ingests, shared }
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        Now { monotonic: self.origin.elapsed(), wall: Timestamp::now() }
    }

    /// Takes `cost` of what `key` may ask under `policy`, or nothing of it. Another rate than last time counts what was taken
    /// before, here; in Redis each rate is a count of its own. Waits for Redis for at most `limits::REDIS_BUDGET`, and for nothing else.
    pub async fn take(&self, policy: Policy, key: &Key, rate: PolicyRate, cost: u32) -> Decision {
        match self.take_leased(policy, key, rate, cost).await {
            Some(decision) => decision,
            None => self.take_share(policy, key, rate, cost, self.now()),
        }
    }

    /// Takes it of this ingest's own share.
    pub fn take_share(&self, policy: Policy, key: &Key, rate: PolicyRate, cost: u32, now: Now) -> Decision {
        if let Some(shared) = &self.shared {
            shared.count_share();
        }
        self.fitted(&self.entry(policy, key, rate), rate, now, |account| account.take(cost, now))
    }

    /// `None`: Redis is away, or does not answer in time; the share decides.
    async fn take_leased(&self, policy: Policy, key: &Key, rate: PolicyRate, cost: u32) -> Option<Decision> {
        let shared = self.shared.as_ref().filter(|shared| shared.answers())?;
        let entry = self.entry(policy, key, rate);
        let spend = |now| self.fitted(&entry, rate, now, |account| account.take_leased(cost, now));
        if let Some(decision) = spend(self.now()) {
            return Some(decision);
        }
        let deadline = tokio::time::Instant::now() + limits::REDIS_BUDGET;
        let _asking = timeout_at(deadline - limits::REDIS_ANSWER, entry.asking.lock()).await.ok()?;
        let asked_at = self.now();
        if let Some(decision) = spend(asked_at) {
            return Some(decision);
        }
        let window = account::whole(rate);
        let grant = shared.lease(&window.key(policy, key), &window, cost, deadline).await?;
        let now = self.now();
        let take = |account: &mut Account| account.take_granted(&grant, cost, asked_at.monotonic, now);
        Some(self.fitted(&entry, rate, now, take))
    }

    fn entry(&self, policy: Policy, key: &Key, rate: PolicyRate) -> Arc<Entry> {
        let (asked, entries) = ((policy, key.clone()), &self.entries[key.origin() as usize]);
        if let Some(entry) = entries.get(&asked) {
            return entry;
        }
        let made = || {
            let account = Mutex::new(Account::new(rate, self.ingests()));
            Arc::new(Entry { account, asking: AsyncMutex::default() })
        };
        entries.get_with(asked, made)
    }

    fn fitted<T>(&self, entry: &Entry, rate: PolicyRate, now: Now, ask: impl FnOnce(&mut Account) -> T) -> T {
        let mut account = entry.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.fit(rate, self.ingests(), now);
        ask(&mut account)
    }

    /// Those that are known to live; this one does.
    fn ingests(&self) -> u32 {
        u32::try_from(*self.ingests.borrow()).unwrap_or(u32::MAX).max(1)
    }
}
