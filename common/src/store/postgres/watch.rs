//! What is seen of all tenants. The small tables here are asked about every few seconds: never behind a list.

use async_trait::async_trait;
use uuid::Uuid;

use super::{PostgresStore, columns, conditions, limit_minutes, survey};
use crate::activity::ProcessActivity;
use crate::condition::{Condition, ConditionKey};
use crate::ids::TenantId;
use crate::limits;
use crate::store::{LimitCount, Page, PageRequest, StoreError, Surveyed, Untold, Watch, Which};
use crate::time::Timestamp;

#[async_trait]
impl Watch for PostgresStore {
    async fn tell_activity(
        &self,
        teller: Uuid,
        activity: &ProcessActivity,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let body = serde_json::to_string(activity).map_err(|e| StoreError::Internal(e.to_string()))?;
        self.beside_lists(move |db| {
            let body = body.clone();
            Box::pin(async move {
                // Others forget the same ones at the same time.
                sqlx::query(
                    "DELETE FROM activities WHERE teller IN \
                     (SELECT teller FROM activities WHERE told_at < $1 FOR UPDATE SKIP LOCKED)",
                )
                .bind(now.before(limits::ACTIVITY_TTL).0)
                .execute(&mut *db)
                .await?;
                sqlx::query(
                    "INSERT INTO activities (teller, told_at, body) VALUES ($1, $2, $3) \
                     ON CONFLICT (teller) DO UPDATE SET told_at = excluded.told_at, body = excluded.body",
                )
                .bind(teller)
                .bind(now.0)
                .bind(body)
                .execute(db)
                .await
                .map(drop)
            })
        })
        .await
    }

    async fn activities(&self, now: Timestamp) -> Result<Vec<ProcessActivity>, StoreError> {
        self.look_up(move |db| {
            Box::pin(async move {
                let rows = sqlx::query("SELECT body FROM activities WHERE told_at >= $1")
                    .bind(now.before(limits::ACTIVITY_TTL).0)
                    .fetch_all(db)
                    .await?;
                // What a process of another version tells may not be read here.
                Ok(rows.iter().filter_map(|row| columns::json(row, "body").ok()).collect())
            })
        })
        .await
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
        self.write(move |db| {
            let (raised, cleared) = (raised.clone(), cleared.clone());
            Box::pin(async move { conditions::change(db, &raised, &cleared, now).await })
        })
        .await
    }

    async fn untold_conditions(&self, limit: u32) -> Result<Vec<Untold>, StoreError> {
        self.look_up(move |db| Box::pin(conditions::untold(db, limit))).await
    }

    async fn conditions_told(&self, told: &[Untold]) -> Result<(), StoreError> {
        let told = told.to_vec();
        self.write(move |db| {
            let told = told.clone();
            Box::pin(async move { conditions::told(db, &told).await })
        })
        .await
    }

    async fn add_limit_counts(&self, minute: Timestamp, counts: &[LimitCount]) -> Result<(), StoreError> {
        let counts = counts.to_vec();
        self.write(move |db| {
            let counts = counts.clone();
            Box::pin(async move { limit_minutes::add(db, minute, &counts).await })
        })
        .await
    }

    async fn limit_counts(&self, from: Timestamp, to: Timestamp) -> Result<Vec<LimitCount>, StoreError> {
        self.read(move |db| Box::pin(limit_minutes::sums(db, from, to))).await
    }
}
