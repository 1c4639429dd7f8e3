//! So many in a window that slides, for each key of each policy: over all ingests together by what they keep in Redis, or this
//! ingest's share.

mod account;
pub mod counter;

use std::sync::{Arc, Mutex, PoisonError};

use fairhook_common::limits;
use fairhook_common::policy::{Policy, PolicyRate};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::key::{Key, Origin};
use super::shared::lease::{Grant, Window};
use super::shared::{Patience, Question, Shared};
use super::{Clock, Decision, Now};
use account::Account;

/// What is remembered of a key that asks.
struct Entry {
    account: Mutex<Account>,
    /// Held by the one that asks for tokens; the others wait for it, and find what it got.
    asking: AsyncMutex<()>,
}

/// The accounts of those that ask.
pub struct Windows {
    clock: Clock,
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
        Self { clock: Clock::start(), entries, ingests, shared }
    }

    /// Takes `cost` of what `key` may ask under `policy`, or nothing of it. Another rate than last time counts what was taken
    /// before, here; in Redis each rate is a count of its own. Waits for Redis as `patience` allows, and for nothing else.
    pub async fn take(
        &self,
        policy: Policy,
        key: &Key,
        rate: PolicyRate,
        cost: u32,
        patience: &mut Patience,
    ) -> Decision {
        let entry = self.entry(policy, key, rate);
        if let Some(shared) = &self.shared {
            let question = Question { asking: &entry.asking, window: account::whole(rate), cost };
            let spend = |now| self.fitted(&entry, rate, now, |account| account.take_leased(cost, now));
            let learn = |grant: &Grant, asked_at, now| {
                self.fitted(&entry, rate, now, |account| account.take_granted(grant, cost, asked_at, now))
            };
            let name = |window: &Window| window.key(policy, key);
            if let Some(decision) = shared.take(question, name, (patience, self.clock), spend, learn).await {
                return decision;
            }
            shared.count_share();
        }
        let now = self.clock.now();
        self.fitted(&entry, rate, now, |account| account.take(cost, now))
    }

    /// What a caller is shown when nothing is taken: what is left of this ingest's share.
    pub fn peek(&self, policy: Policy, key: &Key, rate: PolicyRate) -> Decision {
        let now = self.clock.now();
        self.fitted(&self.entry(policy, key, rate), rate, now, |account| account.take(0, now))
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
