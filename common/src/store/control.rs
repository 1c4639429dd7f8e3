//! The control plane: tenants, plans, keys, endpoints, sources, quotas.

use std::time::Duration;

use async_trait::async_trait;

use super::{Job, Page, PageRequest, StoreError};
use crate::endpoint::{Endpoint, EndpointSettings, EndpointStatus, StatusReason};
use crate::ids::{EndpointId, KeyId, SourceId, TenantId};
use crate::key::ApiKey;
use crate::plan::{Plan, PlanChanges, PlanName};
use crate::policy::{Override, Policy};
use crate::signature::SigningSecret;
use crate::source::{Source, SourceSettings, SourceStatus, TokenHash};
use crate::tenant::{DeliveryCounts, Dispatch, Ingest, QuotaPatch, Tenant};
use crate::time::Timestamp;

/// Tenants, plans, keys, endpoints, sources and quotas. Every change is told to [`super::Store::changes`].
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Makes a tenant, and its first key if there is one, in one transaction. Its queue's name is made here, once:
    /// `fairhook.tenant.<slug>.<last 8 characters of its id>`.
    async fn create_tenant(
        &self,
        new: NewTenant,
        key: Option<ApiKey>,
        now: Timestamp,
    ) -> Result<Tenant, ControlError>;

    /// Makes the tenant with this slug or replaces what can be set of it; returns whether it was made. Idempotent.
    async fn put_tenant(&self, new: NewTenant, now: Timestamp) -> Result<(Tenant, bool), ControlError>;

    /// Finds a tenant; one that is being deleted is found too.
    async fn find_tenant(&self, tenant: &TenantRef) -> Result<Option<Tenant>, StoreError>;

    /// Tenants by their creation.
    async fn list_tenants(&self, page: &PageRequest) -> Result<Page<Tenant>, StoreError>;

    /// Changes what `changes` names and nothing else; only that the reason goes, unless one is named, when a switch is
    /// set and both are open then.
    async fn update_tenant(
        &self,
        tenant: TenantId,
        changes: TenantChanges,
        now: Timestamp,
    ) -> Result<Tenant, ControlError>;

    /// Starts a tenant's end: from now on it is `Deleting`, its keys are refused, its endpoints and sources deleted; the job
    /// does the rest. Idempotent: the same job.
    async fn delete_tenant(&self, tenant: TenantId, now: Timestamp) -> Result<Job, ControlError>;

    /// Changes what `changes` names of the plan with this name, or makes it: what is not named is then the starter's, as that
    /// stands; returns whether it was made. In force for all its tenants with the commit. At most `limits::PLANS_MAX`.
    /// Idempotent.
    async fn put_plan(
        &self,
        name: PlanName,
        changes: PlanChanges,
        now: Timestamp,
    ) -> Result<(Plan, bool), ControlError>;

    /// Finds a plan.
    async fn find_plan(&self, name: &PlanName) -> Result<Option<Plan>, StoreError>;

    /// Every plan, by its name.
    async fn list_plans(&self) -> Result<Vec<Plan>, StoreError>;

    /// Keeps a key; at most `limits::KEYS_PER_TENANT` that are neither revoked nor expired.
    async fn add_key(&self, key: ApiKey) -> Result<(), ControlError>;

    /// Finds a key, revoked and expired ones too.
    async fn find_key(&self, key: KeyId) -> Result<Option<ApiKey>, StoreError>;

    /// An owner's keys that are not revoked, by their creation.
    async fn list_keys(&self, owner: KeyOwner, page: &PageRequest) -> Result<Page<ApiKey>, StoreError>;

    /// Revokes a key of this owner's; returns whether there was one. Idempotent.
    async fn revoke_key(&self, owner: KeyOwner, key: KeyId, now: Timestamp) -> Result<bool, StoreError>;

    /// Makes an endpoint, if the tenant has fewer than its limit and none of that uid.
    async fn create_endpoint(&self, new: NewEndpoint, now: Timestamp) -> Result<Endpoint, ControlError>;

    /// Makes the tenant's endpoint with this uid (`new.uid` is `Some`) or replaces its settings, keeping its secret unless
    /// one is given; returns whether it was made. Idempotent.
    async fn put_endpoint(&self, new: NewEndpoint, now: Timestamp) -> Result<(Endpoint, bool), ControlError>;

    /// Finds an endpoint that is not deleted.
    async fn find_endpoint(
        &self,
        tenant: TenantId,
        endpoint: &EndpointRef,
    ) -> Result<Option<Endpoint>, StoreError>;

    /// A tenant's endpoints that are not deleted, by their creation; of these statuses, or of any if there is none.
    async fn list_endpoints(
        &self,
        tenant: TenantId,
        statuses: &[EndpointStatus],
        page: &PageRequest,
    ) -> Result<Page<Endpoint>, StoreError>;

    /// Changes what `changes` names and nothing else. Activating clears `status_reason` and `failing_since`.
    async fn update_endpoint(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        changes: EndpointChanges,
        now: Timestamp,
    ) -> Result<Endpoint, ControlError>;

    /// Deletes an endpoint: a flip of its status; its unfinished deliveries are discarded by and by. Frees its uid.
    /// Returns whether there was one.
    async fn delete_endpoint(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Makes `secret` the current one; the one before signs as well for `grace`.
    async fn rotate_secret(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        secret: SigningSecret,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Endpoint, ControlError>;

    /// Makes a source, if the tenant has fewer than `limits::SOURCES_PER_TENANT`.
    async fn create_source(&self, new: NewSource, now: Timestamp) -> Result<Source, ControlError>;

    /// Finds a source of this tenant.
    async fn find_source(&self, tenant: TenantId, source: SourceId) -> Result<Option<Source>, StoreError>;

    /// Finds the source whose token has this hash, whosever.
    async fn find_source_by_token(&self, token: TokenHash) -> Result<Option<Source>, StoreError>;

    /// A tenant's sources by their creation.
    async fn list_sources(&self, tenant: TenantId, page: &PageRequest) -> Result<Page<Source>, StoreError>;

    /// Changes what `changes` names and nothing else.
    async fn update_source(
        &self,
        tenant: TenantId,
        source: SourceId,
        changes: SourceChanges,
        now: Timestamp,
    ) -> Result<Source, ControlError>;

    /// Deletes a source; returns whether there was one. The events that came through it stay.
    async fn delete_source(&self, tenant: TenantId, source: SourceId) -> Result<bool, StoreError>;

    /// Gives a tenant another rate for a policy of its own until `new.ends_at`, in place of one that it may have; returns
    /// whether it had none in force. What has ended of the tenant's goes. It is read with the tenant.
    async fn put_override(
        &self,
        tenant: TenantId,
        new: Override,
        now: Timestamp,
    ) -> Result<bool, ControlError>;

    /// Ends a tenant's override; returns whether there was one in force. Idempotent.
    async fn delete_override(
        &self,
        tenant: TenantId,
        policy: Policy,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// What tenants use, in their order; one that there is not uses nothing.
    async fn usages(&self, tenants: &[TenantId]) -> Result<Vec<Usage>, StoreError>;

    /// What a tenant uses.
    async fn usage(&self, tenant: TenantId) -> Result<Usage, StoreError> {
        Ok(self.usages(&[tenant]).await?.pop().unwrap_or_default())
    }
}

/// Why a change of the control plane was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// The slug is taken.
    #[error("there is a tenant with this slug")]
    SlugTaken,
    /// The uid is taken.
    #[error("there is an endpoint with this uid")]
    UidTaken,
    /// As many as there may be; the number is the limit.
    #[error("the limit of {0} is reached")]
    LimitReached(u32),
    /// The tenant's plan is to be one that there is not.
    #[error("there is no plan `{0}`")]
    NoPlan(PlanName),
    /// What is to be changed is not there, or is being deleted.
    #[error("not found")]
    NotFound,
    /// Somebody else changed it since it was read.
    #[error("changed meanwhile")]
    Conflict,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a caller names a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TenantRef {
    /// By its id.
    Id(TenantId),
    /// By its slug.
    Slug(String),
}

/// How a caller names an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointRef {
    /// By its id.
    Id(EndpointId),
    /// By its uid.
    Uid(String),
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOwner {
    /// A tenant's.
    Tenant(TenantId),
    /// An operator's.
    Operator,
}

impl KeyOwner {
    /// The tenant, if it is one's.
    pub fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::Operator => None,
        }
    }
}

/// A tenant to be made, or what replaces one.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Its slug, checked.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its plan.
    pub plan: PlanName,
    /// A weight of its own.
    pub weight: Option<u32>,
    /// A JSON object as text.
    pub metadata: String,
}

/// What changes of a tenant; `None`: stays.
#[derive(Debug, Clone, Default)]
pub struct TenantChanges {
    /// Its name.
    pub name: Option<String>,
    /// Its plan.
    pub plan: Option<PlanName>,
    /// A weight of its own; `Some(None)`: the plan's.
    pub weight: Option<Option<u32>>,
    /// A JSON object as text.
    pub metadata: Option<String>,
    /// The kill switch of the way in.
    pub ingest: Option<Ingest>,
    /// The kill switch of the way out.
    pub dispatch: Option<Dispatch>,
    /// Why.
    pub reason: Option<Option<String>>,
    /// Its limits.
    pub quota: QuotaPatch,
}

/// An endpoint to be made, or what replaces one.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// Whose.
    pub tenant: TenantId,
    /// The tenant's own name for it.
    pub uid: Option<String>,
    /// Its settings.
    pub settings: EndpointSettings,
    /// Its secret; `None`: made when it is new, kept when it is replaced.
    pub secret: Option<SigningSecret>,
}

/// What changes of an endpoint; `None`: stays.
#[derive(Debug, Clone, Default)]
pub struct EndpointChanges {
    /// All settings (read, changed, and written back by the caller).
    pub settings: Option<EndpointSettings>,
    /// Its status, with the reason when it is not active.
    pub status: Option<(EndpointStatus, Option<StatusReason>)>,
    /// `updated_at` as the caller read it: if somebody changed the endpoint since, the answer is
    /// [`ControlError::Conflict`] and the caller reads again.
    pub if_updated_at: Option<Timestamp>,
}

/// A source to be made.
#[derive(Debug, Clone)]
pub struct NewSource {
    /// Whose.
    pub tenant: TenantId,
    /// The hash of its token.
    pub token_hash: TokenHash,
    /// Its settings.
    pub settings: SourceSettings,
    /// Whether it takes anything from the beginning.
    pub status: SourceStatus,
}

/// What changes of a source; `None`: stays.
#[derive(Debug, Clone, Default)]
pub struct SourceChanges {
    /// All settings (read, changed, and written back by the caller).
    pub settings: Option<SourceSettings>,
    /// Whether it takes anything.
    pub status: Option<SourceStatus>,
    /// The hash of another token, in place of the one that it has.
    pub token_hash: Option<TokenHash>,
    /// `updated_at` as the caller read it, as in [`EndpointChanges`].
    pub if_updated_at: Option<Timestamp>,
}

/// What a tenant uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How its deliveries stand.
    pub counts: DeliveryCounts,
    /// Endpoints that are not deleted.
    pub endpoints: u32,
    /// Deliveries in flight, as the dispatchers last said.
    pub in_flight: u32,
}
