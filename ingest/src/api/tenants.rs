//! Tenants, for operators.

use fairhook_common::ids::TenantId;
use fairhook_common::key::{ApiKey, KeyText, Scope};
use fairhook_common::limits;
use fairhook_common::slug::check_slug;
use fairhook_common::store::{ControlError, NewTenant, TenantChanges};
use fairhook_common::tenant::{Dispatch, Ingest, QuotaPatch};

use super::answer::{self, Answer};
use super::body::Posted;
use super::json::Fields;
use super::openapi::requests;
use super::page::Listed;
use super::problem::{Code, Fault, Problem};
use super::show::TenantView;
use super::tenant::{Acting, Asked};
use super::{audit, jobs, page, read};

const NO_METADATA: &str = "{}";

/// Make a tenant
///
/// With a first key, unless `create_key` is false.
#[utoipa::path(
    post, path = "/tenants", operation_id = "createTenant", tag = "Tenants",
    security(("key" = ["tenants:write"])),
    request_body = requests::NewTenant,
    responses((status = 201, description = "Made. The key is shown this once.", body = TenantView)),
    extensions(("x-problems" = json!(["operator_required", "already_exists"])))
)]
pub(super) async fn create(asked: Asked, body: Posted) -> Answer {
    asked.caller.must_be_operator(Scope::TenantsWrite)?;
    let mut fields = body.fields()?;
    let slug = fields.optional("slug", read::parsed(limits::NAME_CHARS, owned_slug));
    let with_key = fields.optional("create_key", read::flag);
    let named = settable(&mut fields);
    let new = fields.finish(|| {
        let (name, rest) = named?;
        let slug = slug.unwrap_or_else(|| slug_of(&name));
        Some(NewTenant { slug, name, ..rest })
    })?;
    if with_key == Some(true) {
        asked.caller.must_have(Scope::KeysWrite)?;
    }
    let key = with_key.unwrap_or(asked.caller.has(Scope::KeysWrite)).then(KeyText::generate);
    let stored = key.as_ref().map(|key| first_key(key, &asked));
    let tenant = asked.edge.store.create_tenant(new, stored, asked.at).await?;
    audit::tenant_made(&asked.caller, &tenant, key.as_ref().map(|key| key.id));
    Ok(answer::created(&TenantView::with_key(&tenant, key.as_ref())))
}

/// Make a tenant, or replace what can be set of it
///
/// The path names its slug. Makes no key.
#[utoipa::path(
    put, path = "/tenants/{tenant}", operation_id = "putTenant", tag = "Tenants",
    security(("key" = ["tenants:write"])),
    request_body = requests::PutTenant,
    responses(
        (status = 201, description = "Made.", body = TenantView),
        (status = 200, description = "Changed.", body = TenantView)
    ),
    extensions(("x-problems" = json!(["operator_required", "already_exists", "not_found", "conflict"])))
)]
pub(super) async fn put(asked: Asked, body: Posted) -> Answer {
    asked.caller.must_be_operator(Scope::TenantsWrite)?;
    let slug = asked.param("tenant").unwrap_or_default().to_owned();
    check_slug(&slug).map_err(|why| Problem::invalid(vec![Fault::of_parameter("slug", why)]))?;
    let mut fields = body.fields()?;
    if fields.optional("slug", read::any_text).is_some_and(|given| given != slug) {
        fields.refuse("slug", "is another one than the path's; a slug cannot be changed");
    }
    let named = settable(&mut fields);
    let new = fields.finish(|| named.map(|(name, rest)| NewTenant { slug, name, ..rest }))?;
    let put = asked.edge.store.put_tenant(new, asked.at).await;
    let (tenant, made) = put.map_err(|error| match error {
        // One that is there is changed, so only one that is on its way out is in the way.
        ControlError::SlugTaken => Problem::new(
            Code::AlreadyExists,
            "the tenant with this slug is being deleted; it is free again when its job has ended",
        ),
        other => other.into(),
    })?;
    match made {
        true => audit::tenant_made(&asked.caller, &tenant, None),
        false => audit::tenant_changed(&asked.caller, &tenant),
    }
    Ok(answer::made_or_changed(made, &TenantView::of(&tenant)))
}

/// List tenants
#[utoipa::path(
    get, path = "/tenants", operation_id = "listTenants", tag = "Tenants",
    security(("key" = ["tenants:write"])),
    params(requests::Paging),
    responses((status = 200, description = "A page of them.", body = Listed<TenantView>)),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn list(asked: Asked) -> Answer {
    asked.caller.must_be_operator(Scope::TenantsWrite)?;
    let mut params = asked.params();
    let request = params.page();
    params.finish()?;
    let tenants = asked.edge.store.list_tenants(&request).await?;
    Ok(page::answer(tenants, |tenant| TenantView::of(&tenant)))
}

/// Read a tenant
#[utoipa::path(
    get, path = "/tenants/{tenant}", operation_id = "getTenant", tag = "Tenants",
    security(("key" = ["tenants:write"])),
    responses((status = 200, description = "The tenant.", body = TenantView)),
    extensions(("x-problems" = json!(["operator_required"])))
)]
pub(super) async fn get(asked: Asked) -> Answer {
    let acting = named(&asked).await?;
    asked.params().finish()?;
    Ok(answer::ok(&TenantView::of(&acting.tenant)))
}

/// Change a tenant
///
/// `ingest` and `dispatch` are the kill switch, in force everywhere within a second: blocked events are a 403, paused deliveries
/// are held. Opening both forgets the reason.
#[utoipa::path(
    patch, path = "/tenants/{tenant}", operation_id = "changeTenant", tag = "Tenants",
    security(("key" = ["tenants:write"])),
    request_body = requests::TenantChanges,
    responses((status = 200, description = "Changed.", body = TenantView)),
    extensions(("x-problems" = json!(["operator_required", "not_found", "conflict"])))
)]
pub(super) async fn change(asked: Asked, body: Posted) -> Answer {
    let acting = named(&asked).await?;
    let mut fields = body.fields()?;
    let changes = TenantChanges {
        name: fields.set("name", read::text(limits::NAME_CHARS)),
        plan: fields.set("plan", read::plan),
        weight: fields.change("weight", read::integer(1..=limits::TENANT_WEIGHT_MAX)),
        metadata: fields
            .change("metadata", read::object)
            .map(|text| text.unwrap_or_else(|| NO_METADATA.into())),
        ingest: fields.set("ingest", read::one_of(&["open", "blocked"], ingest_of)),
        dispatch: fields.set("dispatch", read::one_of(&["open", "paused"], dispatch_of)),
        reason: fields.change("reason", read::text(limits::NAME_CHARS)),
        quota: QuotaPatch::default(),
    };
    let changes = fields.finish(|| Some(changes))?;
    let switched = changes.ingest.is_some() || changes.dispatch.is_some() || changes.reason.is_some();
    let plain = [
        changes.name.is_some(),
        changes.plan.is_some(),
        changes.weight.is_some(),
        changes.metadata.is_some(),
    ];
    let tenant = asked.edge.store.update_tenant(acting.id(), changes, asked.at).await?;
    if switched {
        audit::kill_switch_set(&asked.caller, &tenant);
    }
    if plain.contains(&true) {
        audit::tenant_changed(&asked.caller, &tenant);
    }
    Ok(answer::ok(&TenantView::of(&tenant)))
}

/// Delete a tenant
///
/// Nothing more is delivered from now on; its data goes step by step.
#[utoipa::path(
    delete, path = "/tenants/{tenant}", operation_id = "deleteTenant", tag = "Tenants",
    security(("key" = ["tenants:write"])),
    responses((status = 202, description = "The job that deletes it.", body = jobs::Shown)),
    extensions(("x-problems" = json!(["operator_required", "not_found"])))
)]
pub(super) async fn delete(asked: Asked) -> Answer {
    let acting = named(&asked).await?;
    asked.params().finish()?;
    let job = asked.edge.store.delete_tenant(acting.id(), asked.at).await?;
    audit::tenant_deleted(&asked.caller, &acting.tenant);
    Ok(answer::accepted(&jobs::Shown::of(&job)))
}

async fn named(asked: &Asked) -> Result<Acting, Problem> {
    asked.caller.must_be_operator(Scope::TenantsWrite)?;
    asked.tenant(Scope::TenantsWrite).await
}

/// What `POST` and `PUT` have in common: the name, and the rest with an empty slug and name.
fn settable(fields: &mut Fields<'_>) -> Option<(String, NewTenant)> {
    let name = fields.required("name", read::text(limits::NAME_CHARS));
    let rest = NewTenant {
        slug: String::new(),
        name: String::new(),
        plan: fields.optional("plan", read::plan).unwrap_or_default(),
        weight: fields.optional("weight", read::integer(1..=limits::TENANT_WEIGHT_MAX)),
        metadata: fields.optional("metadata", read::object).unwrap_or_else(|| NO_METADATA.into()),
    };
    name.map(|name| (name, rest))
}

fn owned_slug(text: &str) -> Result<String, &'static str> {
    check_slug(text).map(|()| text.to_owned())
}

/// A slug for a tenant that was given none: of its name, with an end that nobody else's has.
fn slug_of(name: &str) -> String {
    const STEM_CHARS: usize = 40;
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let words: String = name.chars().take(STEM_CHARS).map(plain).collect();
    let words: Vec<_> = words.split('-').filter(|word| !word.is_empty()).collect();
    let stem = if words.is_empty() { "tenant".to_owned() } else { words.join("-") };
    let id = TenantId::generate().to_string();
    format!("{stem}-{}", &id[id.len() - 8..])
}

/// The first key of a new tenant may do all that a tenant's key may, as far as whoever makes it may do so.
fn first_key(key: &KeyText, asked: &Asked) -> ApiKey {
    ApiKey {
        id: key.id,
        // The store fills in whose it is: the tenant has no id yet.
        tenant: None,
        name: Some("first key".into()),
        scopes: asked.caller.scopes().filter(|scope| scope.is_for_tenants()).collect(),
        secret_hash: key.hash(),
        created_at: asked.at,
        expires_at: None,
        revoked_at: None,
    }
}

fn ingest_of(name: &str) -> Option<Ingest> {
    match name {
        "open" => Some(Ingest::Open),
        "blocked" => Some(Ingest::Blocked),
        _ => None,
    }
}

fn dispatch_of(name: &str) -> Option<Dispatch> {
    match name {
        "open" => Some(Dispatch::Open),
        "paused" => Some(Dispatch::Paused),
        _ => None,
    }
}
