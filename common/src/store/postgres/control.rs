//! The control plane: each verb is one transaction of its module, which tells all processes with its commit.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::{PostgresStore, endpoints, jobs, keys, notices, overrides, plans, sources, tenants};
use crate::endpoint::{Endpoint, EndpointStatus};
use crate::ids::{EndpointId, KeyId, SourceId, TenantId};
use crate::key::ApiKey;
use crate::limits;
use crate::plan::{Plan, PlanChanges, PlanName};
use crate::policy::{Override, Policy};
use crate::signature::SigningSecret;
use crate::source::{Source, TokenHash};
use crate::store::shared::told::{if_found, of, of_key, of_opened};
use crate::store::shared::{store_failed, sure};
use crate::store::{
    BoxFuture, Change, Control, ControlError, EndpointChanges, EndpointRef, Job, KeyOwner, NewEndpoint,
    NewSource, NewTenant, Page, PageRequest, SourceChanges, StoreError, TenantChanges, TenantRef, Usage,
};
use crate::tenant::{Dispatch, Tenant};
use crate::time::Timestamp;

impl PostgresStore {
    /// Runs a change and tells everybody what `told` says of its result: others with the commit, who listens here after it.
    pub(super) async fn change<T, F>(
        &self,
        job: F,
        told: impl Fn(&T) -> Vec<Change> + Send + Sync + 'static,
    ) -> Result<T, ControlError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<Result<T, ControlError>, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        let (voice, change) = (Arc::clone(&self.voice), Arc::new((job, told)));
        let answer = self.write(move |db| {
            let (voice, change) = (Arc::clone(&voice), Arc::clone(&change));
            Box::pin(async move {
                let (job, told) = &*change;
                let answer = job(&mut *db).await?;
                let notices = voice.notices(answer.as_ref().map(told).unwrap_or_default());
                notices::announce(db, &notices).await?;
                Ok((answer, notices))
            })
        });
        let (answer, notices) = answer.await?;
        notices.into_iter().for_each(|notice| self.voice.tell(notice));
        answer
    }

    /// The same on a tenant's behalf, one at a time for each.
    async fn change_of<T, F>(
        &self,
        tenant: TenantId,
        job: F,
        told: impl Fn(&T) -> Vec<Change> + Send + Sync + 'static,
    ) -> Result<T, ControlError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<Result<T, ControlError>, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        let turn = self.changing.take(tenant, Instant::now() + limits::CONTROL_TURN_WAIT).await?;
        self.change(
            move |db| {
                // It has its turn until the end.
                let _ = &turn;
                job(db)
            },
            told,
        )
        .await
    }
}

#[async_trait]
impl Control for PostgresStore {
    async fn create_tenant(
        &self,
        new: NewTenant,
        key: Option<ApiKey>,
        now: Timestamp,
    ) -> Result<Tenant, ControlError> {
        let told = |tenant: &Tenant| vec![Change::Tenant(tenant.id)];
        self.change(move |db| Box::pin(tenants::create(db, new.clone(), key.clone(), now)), told).await
    }

    async fn put_tenant(&self, new: NewTenant, now: Timestamp) -> Result<(Tenant, bool), ControlError> {
        let told = |(tenant, _): &(Tenant, bool)| vec![Change::Tenant(tenant.id)];
        self.change(move |db| Box::pin(tenants::put(db, new.clone(), now)), told).await
    }

    async fn find_tenant(&self, tenant: &TenantRef) -> Result<Option<Tenant>, StoreError> {
        let tenant = tenant.clone();
        self.look_up(move |db| {
            let tenant = tenant.clone();
            Box::pin(async move { tenants::find(db, &tenant).await })
        })
        .await
    }

    async fn list_tenants(&self, page: &PageRequest) -> Result<Page<Tenant>, StoreError> {
        let page = page.clone();
        self.read(move |db| Box::pin(async move { tenants::list(db, &page).await })).await
    }

    async fn update_tenant(
        &self,
        tenant: TenantId,
        changes: TenantChanges,
        now: Timestamp,
    ) -> Result<Tenant, ControlError> {
        let opened = changes.dispatch == Some(Dispatch::Open);
        let told = of_opened(tenant, opened);
        self.change(move |db| Box::pin(tenants::update(db, tenant, changes.clone(), now)), told).await
    }

    async fn delete_tenant(&self, tenant: TenantId, now: Timestamp) -> Result<Job, ControlError> {
        // Not in the tenant's turn: one that floods the API is deleted all the same.
        let total = self.read(move |db| Box::pin(jobs::count_deliveries(db, tenant))).await?;
        self.change(move |db| Box::pin(tenants::delete(db, tenant, total, now)), of(tenant)).await
    }

    async fn put_plan(
        &self,
        name: PlanName,
        changes: PlanChanges,
        now: Timestamp,
    ) -> Result<(Plan, bool), ControlError> {
        // It is in many tenants.
        let told = |_: &(Plan, bool)| vec![Change::Everything];
        self.change(move |db| Box::pin(plans::put(db, name.clone(), changes, now)), told).await
    }

    async fn find_plan(&self, name: &PlanName) -> Result<Option<Plan>, StoreError> {
        let name = name.clone();
        self.read(move |db| Box::pin(async move { plans::find(db, &name).await })).await
    }

    async fn list_plans(&self) -> Result<Vec<Plan>, StoreError> {
        self.read(move |db| Box::pin(plans::list(db))).await
    }

    async fn add_key(&self, key: ApiKey) -> Result<(), ControlError> {
        match key.tenant {
            Some(tenant) => {
                self.change_of(tenant, move |db| Box::pin(keys::add(db, key.clone())), of(tenant)).await
            }
            None => {
                let told = |_: &()| vec![Change::OperatorKeys];
                self.change(move |db| Box::pin(keys::add(db, key.clone())), told).await
            }
        }
    }

    async fn find_key(&self, key: KeyId) -> Result<Option<ApiKey>, StoreError> {
        self.look_up(move |db| Box::pin(keys::find(db, key))).await
    }

    async fn list_keys(&self, owner: KeyOwner, page: &PageRequest) -> Result<Page<ApiKey>, StoreError> {
        let page = page.clone();
        match owner {
            KeyOwner::Tenant(tenant) => {
                self.read_of(tenant, move |db| Box::pin(async move { keys::list(db, owner, &page).await }))
                    .await
            }
            KeyOwner::Operator => {
                self.read(move |db| Box::pin(async move { keys::list(db, owner, &page).await })).await
            }
        }
    }

    async fn revoke_key(&self, owner: KeyOwner, key: KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let told = if_found(of_key(owner.tenant()));
        let revoked = self.change(move |db| Box::pin(sure(keys::revoke(db, owner, key, now))), told);
        revoked.await.map_err(store_failed)
    }

    async fn create_endpoint(&self, new: NewEndpoint, now: Timestamp) -> Result<Endpoint, ControlError> {
        let tenant = new.tenant;
        self.change_of(tenant, move |db| Box::pin(endpoints::create(db, new.clone(), now)), of(tenant)).await
    }

    async fn put_endpoint(&self, new: NewEndpoint, now: Timestamp) -> Result<(Endpoint, bool), ControlError> {
        let tenant = new.tenant;
        self.change_of(tenant, move |db| Box::pin(endpoints::put(db, new.clone(), now)), of(tenant)).await
    }

    async fn find_endpoint(
        &self,
        tenant: TenantId,
        endpoint: &EndpointRef,
    ) -> Result<Option<Endpoint>, StoreError> {
        let endpoint = endpoint.clone();
        self.read_of(tenant, move |db| Box::pin(async move { endpoints::find(db, tenant, &endpoint).await }))
            .await
    }

    async fn list_endpoints(
        &self,
        tenant: TenantId,
        statuses: &[EndpointStatus],
        page: &PageRequest,
    ) -> Result<Page<Endpoint>, StoreError> {
        let (statuses, page) = (statuses.to_vec(), page.clone());
        self.read_of(tenant, move |db| {
            Box::pin(async move { endpoints::list(db, tenant, &statuses, &page).await })
        })
        .await
    }

    async fn update_endpoint(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        changes: EndpointChanges,
        now: Timestamp,
    ) -> Result<Endpoint, ControlError> {
        let activated = matches!(changes.status, Some((EndpointStatus::Active, _)));
        let told = of_opened(tenant, activated);
        self.change_of(
            tenant,
            move |db| Box::pin(endpoints::update(db, tenant, endpoint, changes.clone(), now)),
            told,
        )
        .await
    }

    async fn delete_endpoint(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let told = if_found(Change::Tenant(tenant));
        let deleted = self.change_of(
            tenant,
            move |db| Box::pin(sure(endpoints::delete(db, tenant, endpoint, now))),
            told,
        );
        deleted.await.map_err(store_failed)
    }

    async fn rotate_secret(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        secret: SigningSecret,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Endpoint, ControlError> {
        self.change_of(
            tenant,
            move |db| Box::pin(endpoints::rotate(db, tenant, endpoint, secret.clone(), grace, now)),
            of(tenant),
        )
        .await
    }

    async fn create_source(&self, new: NewSource, now: Timestamp) -> Result<Source, ControlError> {
        let tenant = new.tenant;
        self.change_of(tenant, move |db| Box::pin(sources::create(db, new.clone(), now)), of(tenant)).await
    }

    async fn find_source(&self, tenant: TenantId, source: SourceId) -> Result<Option<Source>, StoreError> {
        self.read_of(tenant, move |db| Box::pin(sources::find(db, tenant, source))).await
    }

    async fn find_source_by_token(&self, token: TokenHash) -> Result<Option<Source>, StoreError> {
        self.look_up(move |db| Box::pin(sources::find_by_token(db, token))).await
    }

    async fn list_sources(&self, tenant: TenantId, page: &PageRequest) -> Result<Page<Source>, StoreError> {
        let page = page.clone();
        self.read_of(tenant, move |db| Box::pin(async move { sources::list(db, tenant, &page).await })).await
    }

    async fn update_source(
        &self,
        tenant: TenantId,
        source: SourceId,
        changes: SourceChanges,
        now: Timestamp,
    ) -> Result<Source, ControlError> {
        self.change_of(
            tenant,
            move |db| Box::pin(sources::update(db, tenant, source, changes.clone(), now)),
            of(tenant),
        )
        .await
    }

    async fn delete_source(&self, tenant: TenantId, source: SourceId) -> Result<bool, StoreError> {
        let told = if_found(Change::Tenant(tenant));
        let deleted =
            self.change_of(tenant, move |db| Box::pin(sure(sources::delete(db, tenant, source))), told);
        deleted.await.map_err(store_failed)
    }

    async fn put_override(
        &self,
        tenant: TenantId,
        new: Override,
        now: Timestamp,
    ) -> Result<bool, ControlError> {
        self.change(move |db| Box::pin(overrides::put(db, tenant, new, now)), of(tenant)).await
    }

    async fn delete_override(
        &self,
        tenant: TenantId,
        policy: Policy,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let told = if_found(Change::Tenant(tenant));
        let deleted = self.change(move |db| Box::pin(sure(overrides::delete(db, tenant, policy, now))), told);
        deleted.await.map_err(store_failed)
    }

    async fn usages(&self, tenants: &[TenantId]) -> Result<Vec<Usage>, StoreError> {
        let tenants: Vec<_> = tenants.iter().map(|tenant| tenant.uuid()).collect();
        self.look_up(move |db| Box::pin(tenants::usages(db, tenants.clone()))).await
    }
}
