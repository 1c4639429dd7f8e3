//! The control plane: each verb is one transaction of its module, told to whoever listens once it is committed.

use std::time::Duration;

use async_trait::async_trait;

use super::{SqliteStore, endpoints, jobs, keys, overrides, plans, sources, tenants};
use crate::endpoint::{Endpoint, EndpointStatus};
use crate::ids::{EndpointId, KeyId, SourceId, TenantId};
use crate::key::ApiKey;
use crate::plan::{Plan, PlanChanges, PlanName};
use crate::policy::{Override, Policy};
use crate::signature::SigningSecret;
use crate::source::{Source, TokenHash};
use crate::store::{
    Change, Control, ControlError, EndpointChanges, EndpointRef, Job, KeyOwner, NewEndpoint, NewSource,
    NewTenant, Page, PageRequest, SourceChanges, StoreError, TenantChanges, TenantRef, Usage,
};
use crate::tenant::{Dispatch, Tenant};
use crate::time::Timestamp;

#[async_trait]
impl Control for SqliteStore {
    async fn create_tenant(
        &self,
        new: NewTenant,
        key: Option<ApiKey>,
        now: Timestamp,
    ) -> Result<Tenant, ControlError> {
        let tenant = self.write(move |db| Box::pin(tenants::create(db, new, key, now))).await??;
        self.announce(Change::Tenant(tenant.id));
        Ok(tenant)
    }

    async fn put_tenant(&self, new: NewTenant, now: Timestamp) -> Result<(Tenant, bool), ControlError> {
        let (tenant, made) = self.write(move |db| Box::pin(tenants::put(db, new, now))).await??;
        self.announce(Change::Tenant(tenant.id));
        Ok((tenant, made))
    }

    async fn find_tenant(&self, tenant: &TenantRef) -> Result<Option<Tenant>, StoreError> {
        let tenant = tenant.clone();
        self.look_up(move |db| Box::pin(async move { tenants::find(db, &tenant).await })).await
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
        let changed = self.write(move |db| Box::pin(tenants::update(db, tenant, changes, now))).await??;
        self.announce(Change::Tenant(tenant));
        if opened {
            self.announce(Change::Due(tenant));
        }
        Ok(changed)
    }

    async fn delete_tenant(&self, tenant: TenantId, now: Timestamp) -> Result<Job, ControlError> {
        let total = self.read_of(tenant, move |db| Box::pin(jobs::count_deliveries(db, tenant))).await?;
        let job = self.write(move |db| Box::pin(tenants::delete(db, tenant, total, now))).await??;
        self.announce(Change::Tenant(tenant));
        Ok(job)
    }

    async fn put_plan(
        &self,
        name: PlanName,
        changes: PlanChanges,
        now: Timestamp,
    ) -> Result<(Plan, bool), ControlError> {
        let put = self.write(move |db| Box::pin(plans::put(db, name, changes, now))).await??;
        // It is in many tenants.
        self.announce(Change::Everything);
        Ok(put)
    }

    async fn find_plan(&self, name: &PlanName) -> Result<Option<Plan>, StoreError> {
        let name = name.clone();
        self.read(move |db| Box::pin(async move { plans::find(db, &name).await })).await
    }

    async fn list_plans(&self) -> Result<Vec<Plan>, StoreError> {
        self.read(move |db| Box::pin(plans::list(db))).await
    }

    async fn add_key(&self, key: ApiKey) -> Result<(), ControlError> {
        let change = key.tenant.map_or(Change::OperatorKeys, Change::Tenant);
        match key.tenant {
            Some(tenant) => self.write_of(tenant, move |db| Box::pin(keys::add(db, key))).await??,
            None => self.write(move |db| Box::pin(keys::add(db, key))).await??,
        }
        self.announce(change);
        Ok(())
    }

    async fn find_key(&self, key: KeyId) -> Result<Option<ApiKey>, StoreError> {
        self.look_up(move |db| Box::pin(keys::find(db, key))).await
    }

    async fn list_keys(&self, owner: KeyOwner, page: &PageRequest) -> Result<Page<ApiKey>, StoreError> {
        let page = page.clone();
        self.read(move |db| Box::pin(async move { keys::list(db, owner, &page).await })).await
    }

    async fn revoke_key(&self, owner: KeyOwner, key: KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let found = self.write(move |db| Box::pin(keys::revoke(db, owner, key, now))).await?;
        if found {
            self.announce(match owner {
                KeyOwner::Tenant(tenant) => Change::Tenant(tenant),
                KeyOwner::Operator => Change::OperatorKeys,
            });
        }
        Ok(found)
    }

    async fn create_endpoint(&self, new: NewEndpoint, now: Timestamp) -> Result<Endpoint, ControlError> {
        let endpoint =
            self.write_of(new.tenant, move |db| Box::pin(endpoints::create(db, new, now))).await??;
        self.announce(Change::Tenant(endpoint.tenant));
        Ok(endpoint)
    }

    async fn put_endpoint(&self, new: NewEndpoint, now: Timestamp) -> Result<(Endpoint, bool), ControlError> {
        let (endpoint, made) =
            self.write_of(new.tenant, move |db| Box::pin(endpoints::put(db, new, now))).await??;
        self.announce(Change::Tenant(endpoint.tenant));
        Ok((endpoint, made))
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
        let changed = self
            .write_of(tenant, move |db| Box::pin(endpoints::update(db, tenant, endpoint, changes, now)))
            .await??;
        self.announce(Change::Tenant(tenant));
        if activated {
            self.announce(Change::Due(tenant));
        }
        Ok(changed)
    }

    async fn delete_endpoint(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let found =
            self.write_of(tenant, move |db| Box::pin(endpoints::delete(db, tenant, endpoint, now))).await?;
        if found {
            self.announce(Change::Tenant(tenant));
        }
        Ok(found)
    }

    async fn rotate_secret(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        secret: SigningSecret,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Endpoint, ControlError> {
        let endpoint = self
            .write_of(tenant, move |db| Box::pin(endpoints::rotate(db, tenant, endpoint, secret, grace, now)))
            .await??;
        self.announce(Change::Tenant(tenant));
        Ok(endpoint)
    }

    async fn create_source(&self, new: NewSource, now: Timestamp) -> Result<Source, ControlError> {
        let source = self.write_of(new.tenant, move |db| Box::pin(sources::create(db, new, now))).await??;
        self.announce(Change::Tenant(source.tenant));
        Ok(source)
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
        let changed = self
            .write_of(tenant, move |db| Box::pin(sources::update(db, tenant, source, changes, now)))
            .await??;
        self.announce(Change::Tenant(tenant));
        Ok(changed)
    }

    async fn delete_source(&self, tenant: TenantId, source: SourceId) -> Result<bool, StoreError> {
        let found = self.write_of(tenant, move |db| Box::pin(sources::delete(db, tenant, source))).await?;
        if found {
            self.announce(Change::Tenant(tenant));
        }
        Ok(found)
    }

    async fn put_override(
        &self,
        tenant: TenantId,
        new: Override,
        now: Timestamp,
    ) -> Result<bool, ControlError> {
        let made = self.write(move |db| Box::pin(overrides::put(db, tenant, new, now))).await??;
        self.announce(Change::Tenant(tenant));
        Ok(made)
    }

    async fn delete_override(
        &self,
        tenant: TenantId,
        policy: Policy,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let found = self.write(move |db| Box::pin(overrides::delete(db, tenant, policy, now))).await?;
        if found {
            self.announce(Change::Tenant(tenant));
        }
        Ok(found)
    }

    async fn usage(&self, tenant: TenantId) -> Result<Usage, StoreError> {
        self.look_up(move |db| Box::pin(tenants::usage(db, tenant))).await
    }
}
