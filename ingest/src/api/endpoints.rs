//! Endpoints: a tenant's receivers.

use fairhook_common::endpoint::{Endpoint, EndpointStatus, StatusReason};
use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::signature::SigningSecret;
use fairhook_common::store::{ControlError, EndpointChanges, EndpointRef, NewEndpoint};

use super::answer::{self, Answer};
use super::audit;
use super::body::Posted;
use super::endpoint_fields;
use super::openapi::requests;
use super::page::{self, Listed, name_of};
use super::problem::{Code, Fault, Problem};
use super::read;
use super::show::EndpointView;
use super::tenant::{Acting, Asked};

/// How often a change is tried again when somebody else changes the same thing.
pub(super) const CHANGE_TRIES: usize = 5;

/// Make an endpoint
#[utoipa::path(
    post, path = "/endpoints", operation_id = "createEndpoint", tag = "Endpoints",
    security(("key" = ["endpoints:write"])),
    request_body = requests::NewEndpoint,
    responses((status = 201, description = "Made, with its signing secret.", body = EndpointView)),
    extensions(("x-problems" = json!(["already_exists", "limit_reached", "not_found", "conflict"])))
)]
pub(super) async fn create(asked: Asked, body: Posted) -> Answer {
    let mut fields = body.fields()?;
    let acting = asked.tenant_in(Scope::EndpointsWrite, &mut fields).await?;
    let uid = fields.optional("uid", read::parsed(limits::NAME_CHARS, endpoint_fields::uid));
    let secret = fields.optional("secret", read::parsed(limits::NAME_CHARS, SigningSecret::parse));
    let settings = endpoint_fields::of_new(&mut fields, &asked.edge);
    let settings = fields.finish(|| Some(settings))?.of_defaults()?;
    let new = NewEndpoint { tenant: acting.id(), uid, settings, secret };
    let endpoint = asked.edge.store.create_endpoint(new, asked.at).await?;
    audit::endpoint_made(&asked.caller, &acting.tenant, &endpoint);
    Ok(answer::created(&EndpointView::with_secret(&endpoint)))
}

/// Make an endpoint, or replace its settings
///
/// The path names its uid. A secret that is not given stays.
#[utoipa::path(
    put, path = "/endpoints/{endpoint}", operation_id = "putEndpoint", tag = "Endpoints",
    security(("key" = ["endpoints:write"])),
    request_body = requests::NewEndpoint,
    responses(
        (status = 201, description = "Made, with its signing secret.", body = EndpointView),
        (status = 200, description = "Replaced.", body = EndpointView)
    ),
    extensions(("x-problems" = json!(["limit_reached", "already_exists", "conflict"])))
)]
pub(super) async fn put(asked: Asked, body: Posted) -> Answer {
    let uid = endpoint_fields::uid(asked.param("endpoint").unwrap_or_default())
        .map_err(|why| Problem::invalid(vec![Fault::of_parameter("uid", why)]))?;
    let mut fields = body.fields()?;
    let acting = asked.tenant_in(Scope::EndpointsWrite, &mut fields).await?;
    if fields.optional("uid", read::any_text).is_some_and(|given| given != uid) {
        fields.refuse("uid", "is another one than the path's");
    }
    let secret = fields.optional("secret", read::parsed(limits::NAME_CHARS, SigningSecret::parse));
    let settings = endpoint_fields::of_new(&mut fields, &asked.edge);
    let set = fields.names();
    let settings = fields.finish(|| Some(settings))?.of_defaults()?;
    let new = NewEndpoint { tenant: acting.id(), uid: Some(uid), settings, secret };
    let (endpoint, made) = asked.edge.store.put_endpoint(new, asked.at).await?;
    if made {
        audit::endpoint_made(&asked.caller, &acting.tenant, &endpoint);
        return Ok(answer::created(&EndpointView::with_secret(&endpoint)));
    }
    audit::endpoint_changed(&asked.caller, &acting.tenant, &endpoint, &set);
    Ok(answer::ok(&EndpointView::of(&endpoint)))
}

/// List endpoints
#[utoipa::path(
    get, path = "/endpoints", operation_id = "listEndpoints", tag = "Endpoints",
    security(("key" = ["endpoints:read"])),
    params(requests::EndpointQuery, requests::Paging),
    responses((status = 200, description = "A page of them.", body = Listed<EndpointView>))
)]
pub(super) async fn list(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EndpointsRead).await?;
    let mut params = asked.params();
    let known = |name: &str| EndpointStatus::from_name(name).filter(|s| *s != EndpointStatus::Deleted);
    let statuses = params.list("status", |name| name_of(name, known, "active, paused, disabled"));
    let request = params.page();
    params.finish()?;
    let endpoints = asked.edge.store.list_endpoints(acting.id(), &statuses, &request).await?;
    Ok(page::answer(endpoints, |endpoint| EndpointView::of(&endpoint)))
}

/// Read an endpoint
#[utoipa::path(
    get, path = "/endpoints/{endpoint}", operation_id = "getEndpoint", tag = "Endpoints",
    security(("key" = ["endpoints:read"])),
    responses((status = 200, description = "The endpoint.", body = EndpointView))
)]
pub(super) async fn get(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EndpointsRead).await?;
    asked.params().finish()?;
    Ok(answer::ok(&EndpointView::of(&named(&asked, &acting).await?)))
}

/// Change an endpoint
///
/// What is named changes; `null` goes back to the default.
#[utoipa::path(
    patch, path = "/endpoints/{endpoint}", operation_id = "changeEndpoint", tag = "Endpoints",
    security(("key" = ["endpoints:write"])),
    request_body = requests::EndpointChanges,
    responses((status = 200, description = "Changed.", body = EndpointView)),
    extensions(("x-problems" = json!(["wrong_state", "conflict"])))
)]
pub(super) async fn change(asked: Asked, body: Posted) -> Answer {
    let mut fields = body.fields()?;
    let acting = asked.tenant_in(Scope::EndpointsWrite, &mut fields).await?;
    let settable = |name: &str| {
        let status = EndpointStatus::from_name(name);
        status.filter(|status| matches!(status, EndpointStatus::Active | EndpointStatus::Paused))
    };
    let status = fields.set("status", read::one_of(&["active", "paused"], settable));
    let settings = endpoint_fields::of_known(&mut fields, &asked.edge);
    let set = fields.names();
    let settings = fields.finish(|| Some(settings))?;
    for _ in 0..CHANGE_TRIES {
        let endpoint = named(&asked, &acting).await?;
        let id = endpoint.id;
        let changes = EndpointChanges {
            status: status.map(|to| change_of_status(&endpoint, to, &acting)).transpose()?,
            if_updated_at: Some(endpoint.updated_at),
            settings: Some(settings.of(endpoint.settings)?),
        };
        match asked.edge.store.update_endpoint(acting.id(), id, changes, asked.at).await {
            Err(ControlError::Conflict) => continue,
            changed => {
                let changed = changed?;
                audit::endpoint_changed(&asked.caller, &acting.tenant, &changed, &set);
                return Ok(answer::ok(&EndpointView::of(&changed)));
            }
        }
    }
    Err(ControlError::Conflict.into())
}

/// Delete an endpoint
///
/// Its unfinished deliveries are discarded.
#[utoipa::path(
    delete, path = "/endpoints/{endpoint}", operation_id = "deleteEndpoint", tag = "Endpoints",
    security(("key" = ["endpoints:write"])),
    responses((status = 204, description = "It is gone.")),
    extensions(("x-problems" = json!(["conflict"])))
)]
pub(super) async fn delete(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EndpointsWrite).await?;
    asked.params().finish()?;
    let endpoint = named(&asked, &acting).await?;
    match asked.edge.store.delete_endpoint(acting.id(), endpoint.id, asked.at).await? {
        true => {
            audit::endpoint_deleted(&asked.caller, &acting.tenant, &endpoint);
            Ok(answer::nothing())
        }
        false => Err(Problem::not_found("endpoint")),
    }
}

/// The endpoint in the path, by its id or its uid.
pub(super) async fn named(asked: &Asked, acting: &Acting) -> Result<Endpoint, Problem> {
    let text = asked.param("endpoint").unwrap_or_default();
    let named = match text.parse() {
        Ok(id) => EndpointRef::Id(id),
        Err(_) => EndpointRef::Uid(endpoint_fields::uid(text).map_err(|_| Problem::not_found("endpoint"))?),
    };
    let found = asked.edge.store.find_endpoint(acting.id(), &named).await?;
    found.ok_or_else(|| Problem::not_found("endpoint"))
}

/// What an operator has paused, its tenant does not set going again.
fn change_of_status(
    endpoint: &Endpoint,
    to: EndpointStatus,
    acting: &Acting,
) -> Result<(EndpointStatus, Option<StatusReason>), Problem> {
    if endpoint.status_reason == Some(StatusReason::Operator) && !acting.by_operator {
        return Err(Problem::new(Code::WrongState, "an operator has paused this endpoint"));
    }
    Ok(match to {
        EndpointStatus::Active => (to, None),
        _ => (to, Some(acting.pause_reason())),
    })
}
