//! API keys, a tenant's and the operators'. A key is shown once, and never may more than whoever made it.

use fairhook_common::key::{ApiKey, KeyText, Scope};
use fairhook_common::limits;
use fairhook_common::store::KeyOwner;
use fairhook_common::tenant::Tenant;
use serde_json::value::RawValue;

use super::answer::{self, Answer};
use super::auth::Caller;
use super::body::Posted;
use super::json::{Fields, Read};
use super::openapi::requests;
use super::page::Listed;
use super::problem::Problem;
use super::show::KeyView;
use super::tenant::Asked;
use super::{audit, page, read};

/// Make a key of a tenant
#[utoipa::path(
    post, path = "/keys", operation_id = "createKey", tag = "Keys",
    security(("key" = ["keys:write"])),
    request_body = Option<requests::NewKey>,
    responses((status = 201, description = "Made. It is shown this once.", body = KeyView)),
    extensions(("x-problems" = json!(["limit_reached", "not_found"])))
)]
pub(super) async fn create(asked: Asked, body: Posted) -> Answer {
    let mut fields = body.fields_or_none()?;
    let acting = asked.tenant_in(Scope::KeysWrite, &mut fields).await?;
    make(&asked, Some(&acting.tenant), fields).await
}

/// List a tenant's keys
#[utoipa::path(
    get, path = "/keys", operation_id = "listKeys", tag = "Keys",
    security(("key" = ["keys:write"])),
    params(requests::Paging),
    responses((status = 200, description = "A page of them, without their secrets.", body = Listed<KeyView>))
)]
pub(super) async fn list(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::KeysWrite).await?;
    show(&asked, KeyOwner::Tenant(acting.id())).await
}

/// Revoke a key of a tenant
///
/// In force everywhere within a second.
#[utoipa::path(
    delete, path = "/keys/{key}", operation_id = "revokeKey", tag = "Keys",
    security(("key" = ["keys:write"])),
    responses((status = 204, description = "It is no key any more."))
)]
pub(super) async fn revoke(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::KeysWrite).await?;
    end(&asked, Some(&acting.tenant)).await
}

/// Make an operator's key
#[utoipa::path(
    post, path = "/operator-keys", operation_id = "createOperatorKey", tag = "Keys",
    security(("key" = ["keys:write"])),
    request_body = Option<requests::NewOperatorKey>,
    responses((status = 201, description = "Made. It is shown this once.", body = KeyView)),
    extensions(("x-problems" = json!(["operator_required", "limit_reached"])))
)]
pub(super) async fn create_operators(asked: Asked, body: Posted) -> Answer {
    asked.caller.must_be_operator(Scope::KeysWrite)?;
    make(&asked, None, body.fields_or_none()?).await
}

/// List operators' keys
#[utoipa::path(
    get, path = "/operator-keys", operation_id = "listOperatorKeys", tag = "Keys",
    security(("key" = ["keys:write"])),
    params(requests::Paging),
    responses((status = 200, description = "A page of them, without their secrets.", body = Listed<KeyView>)),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn list_operators(asked: Asked) -> Answer {
    asked.caller.must_be_operator(Scope::KeysWrite)?;
    show(&asked, KeyOwner::Operator).await
}

/// Revoke an operator's key
///
/// In force everywhere within a second.
#[utoipa::path(
    delete, path = "/operator-keys/{key}", operation_id = "revokeOperatorKey", tag = "Keys",
    security(("key" = ["keys:write"])),
    responses((status = 204, description = "It is no key any more.")),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn revoke_operators(asked: Asked) -> Answer {
    asked.caller.must_be_operator(Scope::KeysWrite)?;
    end(&asked, None).await
}

/// Makes a key of this tenant, or an operator's.
async fn make(asked: &Asked, owner: Option<&Tenant>, mut fields: Fields<'_>) -> Answer {
    let name = fields.optional("name", read::text(limits::NAME_CHARS));
    let scopes =
        fields.optional("scopes", read::list(Scope::ALL.len(), |value| scope(value, owner.is_some())));
    let expires_at = fields.optional("expires_at", read::timestamp);
    let suits = |scope: &Scope| owner.is_none() || scope.is_for_tenants();
    if scopes.as_ref().is_some_and(Vec::is_empty) {
        fields.refuse("scopes", "names no scope; leave it out for all that you have");
    }
    if let Some(foreign) = scopes.iter().flatten().find(|scope| !suits(scope)) {
        fields.refuse("scopes", format!("`{}` is not for a tenant's key", foreign.name()));
    }
    if expires_at.is_some_and(|at| at <= asked.at) {
        fields.refuse("expires_at", "is not in the future");
    }
    let tenant = owner.map(|tenant| tenant.id);
    // A key that ends makes none of its own kind that outlives it.
    let ends = match &asked.caller {
        Caller::Key(own) if own.tenant == tenant => own.expires_at,
        _ => None,
    };
    if expires_at.zip(ends).is_some_and(|(at, ends)| at > ends) {
        fields.refuse("expires_at", "is after the end of the key that makes it");
    }
    let (name, scopes, expires_at) = fields.finish(|| Some((name, scopes, expires_at)))?;
    let mut scopes = scopes.unwrap_or_else(|| asked.caller.scopes().filter(suits).collect());
    scopes.sort_unstable();
    scopes.dedup();
    for scope in &scopes {
        asked.caller.must_have(*scope)?;
    }
    let text = KeyText::generate();
    let expires_at = expires_at.or(ends);
    let secret_hash = text.hash();
    let (created_at, revoked_at) = (asked.at, None);
    let key = ApiKey { id: text.id, tenant, name, scopes, secret_hash, created_at, expires_at, revoked_at };
    let shown = KeyView::in_full(&key, &text);
    asked.edge.store.add_key(key).await?;
    audit::key_made(&asked.caller, owner, text.id);
    Ok(answer::created(&shown))
}

async fn show(asked: &Asked, owner: KeyOwner) -> Answer {
    let mut params = asked.params();
    let request = params.page();
    params.finish()?;
    let keys = asked.edge.store.list_keys(owner, &request).await?;
    Ok(page::answer(keys, |key| KeyView::of(&key)))
}

async fn end(asked: &Asked, owner: Option<&Tenant>) -> Answer {
    asked.params().finish()?;
    let key = asked.id("key")?;
    let whose = owner.map_or(KeyOwner::Operator, |tenant| KeyOwner::Tenant(tenant.id));
    if !asked.edge.store.revoke_key(whose, key, asked.at).await? {
        return Err(Problem::not_found("key"));
    }
    audit::key_revoked(&asked.caller, owner, key);
    Ok(answer::nothing())
}

fn scope(value: &RawValue, of_tenant: bool) -> Read<Scope> {
    const TENANTS: usize = 7;
    // Those of tenants, then those of operators.
    const NAMES: &[&str] = &[
        "events:write",
        "events:read",
        "endpoints:write",
        "endpoints:read",
        "secrets:read",
        "replays:write",
        "keys:write",
        "tenants:write",
        "quotas:write",
    ];
    let named = |name: &str| Scope::ALL.iter().find(|(_, known)| *known == name).map(|(scope, _)| *scope);
    let told = if of_tenant { NAMES.split_at(TENANTS).0 } else { NAMES };
    read::one_of(told, named)(value)
}
