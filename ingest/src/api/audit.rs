//! Who changed what of tenants, plans, keys, quotas, endpoints, sources and jobs: one line in the log per change, told where it is known who
//! asked and only once the change is made. No secrets: a key and a source are their ids, an endpoint its host (what stands behind it in a URL
//! may be one), and of a tenant's settings only those are told that operators set.

use std::fmt::{self, Display};

use fairhook_common::endpoint::Endpoint;
use fairhook_common::ids::{KeyId, SourceId};
use fairhook_common::plan::Plan;
use fairhook_common::policy::{Override, Policy};
use fairhook_common::source::Source;
use fairhook_common::store::Job;
use fairhook_common::tenant::{Dispatch, Ingest, Tenant};
use url::Url;

use super::auth::Caller;

/// A caller in the log: a key's id, or the name of the setting that holds the configured key.
impl Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("operator_key"),
            Self::Key(key) => key.id.fmt(f),
        }
    }
}

/// A tenant was made, maybe with its first key.
pub(super) fn tenant_made(caller: &Caller, tenant: &Tenant, first_key: Option<KeyId>) {
    let (slug, plan) = (tenant.slug.as_str(), tenant.plan.name.as_str());
    let key = first_key.map(tracing::field::display);
    tracing::info!(%caller, tenant.slug = slug, tenant.id = %tenant.id, plan, key, "a tenant was made");
}

/// What can be set of a tenant was changed.
pub(super) fn tenant_changed(caller: &Caller, tenant: &Tenant) {
    let (slug, plan, weight) = (tenant.slug.as_str(), tenant.plan.name.as_str(), tenant.effective_weight());
    tracing::info!(%caller, tenant.slug = slug, plan, weight, "a tenant was changed");
}

/// Either kill switch was set, to whatever.
pub(super) fn kill_switch_set(caller: &Caller, tenant: &Tenant) {
    let (slug, reason) = (tenant.slug.as_str(), tenant.reason.as_deref());
    let (ingest, dispatch) = (tenant.ingest.name(), tenant.dispatch.name());
    if (tenant.ingest, tenant.dispatch) == (Ingest::Open, Dispatch::Open) {
        tracing::info!(%caller, tenant.slug = slug, ingest, dispatch, "a tenant's kill switch was opened");
    } else {
        tracing::warn!(%caller, tenant.slug = slug, ingest, dispatch, reason, "a tenant's kill switch was set");
    }
}

/// A tenant's end was begun.
pub(super) fn tenant_deleted(caller: &Caller, tenant: &Tenant) {
    let slug = tenant.slug.as_str();
    tracing::info!(%caller, tenant.slug = slug, tenant.id = %tenant.id, "a tenant is being deleted");
}

/// Limits were changed; those that are not the plan's are told.
pub(super) fn quota_changed(caller: &Caller, tenant: &Tenant) {
    let (slug, plan) = (tenant.slug.as_str(), tenant.plan.name.as_str());
    let quota = serde_json::to_string(&tenant.quota).unwrap_or_default();
    tracing::info!(%caller, tenant.slug = slug, plan, quota, "a tenant's quota was changed");
}

/// A plan was made or changed; all of it is told, for it is in force for every tenant that has it.
pub(super) fn plan_put(caller: &Caller, plan: &Plan, made: bool) {
    let Plan { name, weight, limits, tier, .. } = plan;
    let limits = serde_json::to_string(limits).unwrap_or_default();
    let done = if made { "a plan was made" } else { "a plan was changed" };
    tracing::info!(%caller, plan = %name, weight, limits, %tier, "{done}");
}

/// A key was made, an operator's or its owner's.
pub(super) fn key_made(caller: &Caller, owner: Option<&Tenant>, key: KeyId) {
    tracing::info!(%caller, tenant.slug = owner.map(|tenant| tenant.slug.as_str()), %key, "a key was made");
}

/// A key was revoked, an operator's or its owner's.
pub(super) fn key_revoked(caller: &Caller, owner: Option<&Tenant>, key: KeyId) {
    tracing::info!(%caller, tenant.slug = owner.map(|tenant| tenant.slug.as_str()), %key, "a key was revoked");
}

/// A tenant has another rate for a while.
pub(super) fn override_set(caller: &Caller, tenant: &Tenant, new: &Override) {
    let (slug, policy, rate, ends_at) = (tenant.slug.as_str(), new.policy.name(), new.rate, new.ends_at);
    tracing::info!(%caller, tenant.slug = slug, policy, %rate, %ends_at, "a limit of a tenant was overridden");
}

/// An override was ended before its time.
pub(super) fn override_ended(caller: &Caller, tenant: &Tenant, policy: Policy) {
    let slug = tenant.slug.as_str();
    tracing::info!(%caller, tenant.slug = slug, %policy, "an override of a tenant's limit was ended");
}

/// An endpoint was made.
pub(super) fn endpoint_made(caller: &Caller, tenant: &Tenant, endpoint: &Endpoint) {
    let (slug, host) = (tenant.slug.as_str(), host(endpoint));
    tracing::info!(%caller, tenant.slug = slug, endpoint.id = %endpoint.id, host, "an endpoint was made");
}

/// Settings of an endpoint were changed, or its status; `set` are the names of those that the request held.
pub(super) fn endpoint_changed(caller: &Caller, tenant: &Tenant, endpoint: &Endpoint, set: &str) {
    let (slug, host, status) = (tenant.slug.as_str(), host(endpoint), endpoint.status.name());
    tracing::info!(%caller, tenant.slug = slug, endpoint.id = %endpoint.id, host, status, set, "an endpoint was changed");
}

/// An endpoint has a new signing secret.
pub(super) fn secret_rotated(caller: &Caller, tenant: &Tenant, endpoint: &Endpoint) {
    let slug = tenant.slug.as_str();
    tracing::info!(%caller, tenant.slug = slug, endpoint.id = %endpoint.id, "an endpoint's secret was rotated");
}

/// An endpoint was deleted.
pub(super) fn endpoint_deleted(caller: &Caller, tenant: &Tenant, endpoint: &Endpoint) {
    let (slug, host) = (tenant.slug.as_str(), host(endpoint));
    tracing::info!(%caller, tenant.slug = slug, endpoint.id = %endpoint.id, host, "an endpoint was deleted");
}

/// A source was made.
pub(super) fn source_made(caller: &Caller, tenant: &Tenant, source: &Source) {
    let (slug, scheme) = (tenant.slug.as_str(), source.settings.verification.scheme().name());
    tracing::info!(%caller, tenant.slug = slug, source.id = %source.id, scheme, "a source was made");
}

/// Settings of a source were changed, or its status; `set` are the names of those that the request held.
pub(super) fn source_changed(caller: &Caller, tenant: &Tenant, source: &Source, set: &str) {
    let (slug, scheme) = (tenant.slug.as_str(), source.settings.verification.scheme().name());
    let status = source.status.name();
    tracing::info!(%caller, tenant.slug = slug, source.id = %source.id, scheme, status, set, "a source was changed");
}

/// A source has another URL.
pub(super) fn source_token_rotated(caller: &Caller, tenant: &Tenant, source: &Source) {
    let slug = tenant.slug.as_str();
    tracing::info!(%caller, tenant.slug = slug, source.id = %source.id, "a source's token was rotated");
}

/// A source was deleted.
pub(super) fn source_deleted(caller: &Caller, tenant: &Tenant, source: SourceId) {
    let slug = tenant.slug.as_str();
    tracing::info!(%caller, tenant.slug = slug, source.id = %source, "a source was deleted");
}

/// Replays or a purge were begun.
pub(super) fn job_begun(caller: &Caller, tenant: &Tenant, job: &Job) {
    let (slug, kind) = (tenant.slug.as_str(), job.kind.name());
    tracing::info!(%caller, tenant.slug = slug, job.id = %job.id, kind, "a job was begun");
}

/// A job was cancelled before its end; its tenant may be gone.
pub(super) fn job_cancelled(caller: &Caller, tenant: Option<&Tenant>, job: &Job) {
    let (slug, kind) = (tenant.map(|tenant| tenant.slug.as_str()), job.kind.name());
    tracing::info!(%caller, tenant.slug = slug, tenant.id = %job.tenant, job.id = %job.id, kind, "a job was cancelled");
}

fn host(endpoint: &Endpoint) -> Option<String> {
    Url::parse(&endpoint.settings.url).ok()?.host_str().map(str::to_owned)
}
