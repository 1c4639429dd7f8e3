//! How much of a tenant waits, at most a second old, read by one caller for all, and for many tenants together.

use std::sync::{Arc, Mutex};

use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::store::{StoreError, Usage};
use moka::sync::Cache;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout_at};

use super::Ledger;
use super::usages::Usages;

/// What the tenants use, remembered for a moment.
#[derive(Clone)]
pub struct Backlog {
    usages: Usages,
    tenants: Cache<TenantId, Arc<Slot>>,
}

#[derive(Default)]
struct Slot {
    known: Mutex<Option<(Usage, Instant)>>,
    reading: Arc<AsyncMutex<()>>,
}

impl Slot {
    /// The last value with its age.
    fn known(&self, now: Instant) -> Option<(Usage, std::time::Duration)> {
        let known = *self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.map(|(usage, at)| (usage, now.saturating_duration_since(at)))
    }

    fn learn(&self, usage: Usage, at: Instant) {
        *self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some((usage, at));
    }
}

impl Backlog {
    /// Nothing is known.
    pub fn new(ledger: Arc<dyn Ledger>) -> Self {
        let tenants = Cache::builder()
            .max_capacity(limits::CONTROL_CACHE_ENTRIES)
            .time_to_idle(limits::QUOTA_IDLE)
            .build();
        Self { usages: Usages::new(ledger), tenants }
    }

    /// What `tenant` uses, at most `limits::BACKLOG_AGE_MAX` old while the store answers.
    pub async fn usage(&self, tenant: TenantId, now: Instant) -> Result<Usage, StoreError> {
        let slot = self.tenants.get_with(tenant, Arc::default);
        if let Some((usage, age)) = slot.known(now).filter(|(_, age)| *age < limits::BACKLOG_AGE_MAX) {
            if age >= limits::BACKLOG_AGE_REFRESH {
                self.refresh_beside(tenant, &slot, now);
            }
            return Ok(usage);
        }
        let stale = || {
            let known = slot.known(now).filter(|(_, age)| *age < limits::BACKLOG_AGE_STALE);
            known.map(|(usage, _)| usage)
        };
        // One reads, the others wait for it: as long as a read may take, not for one read after the other.
        let until = Instant::now() + limits::READ_DEADLINE;
        let Ok(_reading) = timeout_at(until, slot.reading.lock()).await else {
            return stale().ok_or(StoreError::TooSlow);
        };
        if let Some((usage, _)) = slot.known(now).filter(|(_, age)| *age < limits::BACKLOG_AGE_MAX) {
            return Ok(usage);
        }
        match self.usages.read(tenant, until).await {
            Ok(usage) => {
                slot.learn(usage, now);
                Ok(usage)
            }
            Err(error) => stale().ok_or(error),
        }
    }

    /// How many endpoints `tenant` has, if that is known.
    pub fn endpoints(&self, tenant: TenantId) -> Option<u32> {
        let slot = self.tenants.get(&tenant)?;
        slot.known(Instant::now()).map(|(usage, _)| usage.endpoints)
    }

    /// Reads again without anybody waiting, unless somebody reads already.
    fn refresh_beside(&self, tenant: TenantId, slot: &Arc<Slot>, now: Instant) {
        let Ok(reading) = slot.reading.clone().try_lock_owned() else { return };
        let (usages, slot) = (self.usages.clone(), slot.clone());
        tokio::spawn(async move {
            // A failure is seen by whoever needs the value when it is too old.
            let until = Instant::now() + limits::READ_DEADLINE;
            if let Ok(usage) = usages.read(tenant, until).await {
                slot.learn(usage, now);
            }
            drop(reading);
        });
    }
}
