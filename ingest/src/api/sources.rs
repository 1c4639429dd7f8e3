//! Sources: a tenant's doors for the webhooks of others. (What comes in is taken by `source_ingest`.)

use fairhook_common::ids::SourceId;
use fairhook_common::key::Scope;
use fairhook_common::source::{Source, SourceStatus, SourceToken};
use fairhook_common::store::{ControlError, NewSource, SourceChanges};

use super::answer::{self, Answer};
use super::audit;
use super::body::Posted;
use super::endpoints::CHANGE_TRIES;
use super::openapi::requests;
use super::page::{self, Listed};
use super::problem::Problem;
use super::source_fields;
use super::source_view::SourceView;
use super::tenant::{Acting, Asked};

/// Make a source
///
/// Its URL is shown this once: whoever has it may send there, and what comes is verified as the source says.
#[utoipa::path(
    post, path = "/sources", operation_id = "createSource", tag = "Sources",
    security(("key" = ["endpoints:write"])),
    request_body = requests::NewSource,
    responses((status = 201, description = "Made, with its URL.", body = SourceView)),
    extensions(("x-problems" = json!(["limit_reached", "not_found"])))
)]
pub(super) async fn create(asked: Asked, body: Posted) -> Answer {
    let mut fields = body.fields()?;
    let acting = asked.tenant_in(Scope::EndpointsWrite, &mut fields).await?;
    let status = fields.optional("status", source_fields::status);
    let settings = source_fields::of_new(&mut fields);
    let settings = fields.finish(|| Some(settings))?.of(None, asked.at)?;
    let token = SourceToken::generate();
    let status = status.unwrap_or(SourceStatus::Active);
    let new = NewSource { tenant: acting.id(), token_hash: token.hash(), settings, status };
    let source = asked.edge.store.create_source(new, asked.at).await?;
    audit::source_made(&asked.caller, &acting.tenant, &source);
    Ok(answer::created(&SourceView::with_token(&source, asked.at, &token)))
}

/// List sources
#[utoipa::path(
    get, path = "/sources", operation_id = "listSources", tag = "Sources",
    security(("key" = ["endpoints:read"])),
    params(requests::Paging),
    responses((status = 200, description = "A page of them.", body = Listed<SourceView>))
)]
pub(super) async fn list(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EndpointsRead).await?;
    let mut params = asked.params();
    let request = params.page();
    params.finish()?;
    let sources = asked.edge.store.list_sources(acting.id(), &request).await?;
    Ok(page::answer(sources, |source| SourceView::of(&source, asked.at)))
}

/// Read a source
#[utoipa::path(
    get, path = "/sources/{source}", operation_id = "getSource", tag = "Sources",
    security(("key" = ["endpoints:read"])),
    responses((status = 200, description = "The source.", body = SourceView))
)]
pub(super) async fn get(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EndpointsRead).await?;
    asked.params().finish()?;
    Ok(answer::ok(&SourceView::of(&named(&asked, &acting).await?, asked.at)))
}

/// Change a source
///
/// What is named changes; `null` goes back to the default. The secret before goes on to count for its grace.
#[utoipa::path(
    patch, path = "/sources/{source}", operation_id = "changeSource", tag = "Sources",
    security(("key" = ["endpoints:write"])),
    request_body = requests::SourceChanges,
    responses((status = 200, description = "Changed.", body = SourceView)),
    extensions(("x-problems" = json!(["conflict"])))
)]
pub(super) async fn change(asked: Asked, body: Posted) -> Answer {
    let mut fields = body.fields()?;
    let acting = asked.tenant_in(Scope::EndpointsWrite, &mut fields).await?;
    let status = fields.set("status", source_fields::status);
    let settings = source_fields::of_known(&mut fields);
    let set = fields.names();
    let settings = fields.finish(|| Some(settings))?;
    for _ in 0..CHANGE_TRIES {
        let source = named(&asked, &acting).await?;
        let changes = SourceChanges {
            settings: Some(settings.of(Some(&source.settings), asked.at)?),
            status,
            token_hash: None,
            if_updated_at: Some(source.updated_at),
        };
        match asked.edge.store.update_source(acting.id(), source.id, changes, asked.at).await {
            Err(ControlError::Conflict) => continue,
            changed => {
                let changed = changed?;
                audit::source_changed(&asked.caller, &acting.tenant, &changed, &set);
                return Ok(answer::ok(&SourceView::of(&changed, asked.at)));
            }
        }
    }
    Err(ControlError::Conflict.into())
}

/// Give a source another URL
///
/// In place of the one that it has, which ends at once.
#[utoipa::path(
    post, path = "/sources/{source}/token/rotate", operation_id = "rotateSourceToken", tag = "Sources",
    security(("key" = ["endpoints:write"])),
    request_body = Option<requests::TenantOnly>,
    responses((status = 200, description = "The source, with its URL.", body = SourceView))
)]
pub(super) async fn rotate(asked: Asked, body: Posted) -> Answer {
    let mut fields = body.fields_or_none()?;
    let acting = asked.tenant_in(Scope::EndpointsWrite, &mut fields).await?;
    fields.finish(|| Some(()))?;
    let (id, token) = (id(&asked)?, SourceToken::generate());
    let changes = SourceChanges { token_hash: Some(token.hash()), ..SourceChanges::default() };
    let source = asked.edge.store.update_source(acting.id(), id, changes, asked.at).await?;
    audit::source_token_rotated(&asked.caller, &acting.tenant, &source);
    Ok(answer::ok(&SourceView::with_token(&source, asked.at, &token)))
}

/// Delete a source
///
/// Its events stay.
#[utoipa::path(
    delete, path = "/sources/{source}", operation_id = "deleteSource", tag = "Sources",
    security(("key" = ["endpoints:write"])),
    responses((status = 204, description = "It is gone."))
)]
pub(super) async fn delete(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EndpointsWrite).await?;
    asked.params().finish()?;
    let id = id(&asked)?;
    match asked.edge.store.delete_source(acting.id(), id).await? {
        true => {
            audit::source_deleted(&asked.caller, &acting.tenant, id);
            Ok(answer::nothing())
        }
        false => Err(Problem::not_found("source")),
    }
}

fn id(asked: &Asked) -> Result<SourceId, Problem> {
    asked.id("source")
}

async fn named(asked: &Asked, acting: &Acting) -> Result<Source, Problem> {
    let found = asked.edge.store.find_source(acting.id(), id(asked)?).await?;
    found.ok_or_else(|| Problem::not_found("source"))
}
