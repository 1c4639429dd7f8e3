//! What is seen of all tenants. How busy they are is kept in memory: nobody else has the file open.

use std::collections::HashMap;

use async_trait::async_trait;
use uuid::Uuid;

use super::{SqliteStore, conditions, limit_minutes, locked, survey};
use crate::activity::ProcessActivity;
use crate::condition::{Condition, ConditionKey};
use crate::ids::TenantId;
use crate::limits;
use crate::store::{LimitCount, Page, PageRequest, StoreError, Surveyed, Untold, Watch, Which};
use crate::time::Timestamp;

/// What was told, and when. There are as many tellers as this process has roles.
pub(super) type Activities = HashMap<Uuid, (Timestamp, ProcessActivity)>;

#[async_trait]
impl Watch for SqliteStore {
    async fn tell_activity(
        &self,
        teller: Uuid,
        activity: &ProcessActivity,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut activities = locked(&self.activities);
        activities.retain(|_, (told_at, _)| *told_at >= now.before(limits::ACTIVITY_TTL));
        activities.insert(teller, (now, activity.clone()));
        Ok(())
    }

    async fn activities(&self, now: Timestamp) -> Result<Vec<ProcessActivity>, StoreError> {
        let activities = locked(&self.activities);
        let fresh = activities.values().filter(|(told_at, _)| *told_at >= now.before(limits::ACTIVITY_TTL));
        Ok(fresh.map(|(_, activity)| activity.clone()).collect())
    }

    async fn survey(&self, which: Which) -> Result<Vec<Surveyed>, StoreError> {
        self.read(move |db| Box::pin(survey::survey(db, which))).await
    }

    async fn conditions(
        &self,
        tenant: Option<TenantId>,
        page: &PageRequest,
    ) -> Result<Page<Condition>, StoreError> {
        let page = page.clone();
        self.read(move |db| Box::pin(async move { conditions::held(db, tenant, &page).await })).await
    }

    async fn change_conditions(
        &self,
        raised: &[Condition],
        cleared: &[ConditionKey],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (raised, cleared) = (raised.to_vec(), cleared.to_vec());
        self.write(move |db| Box::pin(async move { conditions::change(db, &raised, &cleared, now).await }))
            .await
    }

    async fn untold_conditions(&self, limit: u32) -> Result<Vec<Untold>, StoreError> {
        self.look_up(move |db| Box::pin(conditions::untold(db, limit))).await
    }

    async fn conditions_told(&self, told: &[Untold]) -> Result<(), StoreError> {
        let told = told.to_vec();
        self.write(move |db| Box::pin(async move { conditions::told(db, &told).await })).await
    }

    async fn add_limit_counts(&self, minute: Timestamp, counts: &[LimitCount]) -> Result<(), StoreError> {
        let counts = counts.to_vec();
        self.write(move |db| Box::pin(async move { limit_minutes::add(db, minute, &counts).await })).await
    }

    async fn limit_counts(&self, from: Timestamp, to: Timestamp) -> Result<Vec<LimitCount>, StoreError> {
        self.read(move |db| Box::pin(limit_minutes::sums(db, from, to))).await
    }
}
