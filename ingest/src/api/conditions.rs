//! `GET /conditions`: what is the matter with tenants now.

use fairhook_common::condition::ShownCondition;
use fairhook_common::key::Scope;

use super::answer::Answer;
use super::openapi::requests;
use super::page::{self, Listed};
use super::tenant::Asked;

/// List what is the matter now
///
/// An operator sees the conditions of all tenants, or of the one that it names; a tenant's key its own.
#[utoipa::path(
    get, path = "/conditions", operation_id = "listConditions", tag = "Health of tenants",
    security(("key" = ["events:read"])),
    params(requests::Paging),
    responses((status = 200, description = "A page of them.", body = Listed<ShownCondition>))
)]
pub(super) async fn list(asked: Asked) -> Answer {
    let acting = asked.tenant_or_any(Scope::EventsRead).await?;
    let mut params = asked.params();
    let wanted = params.page();
    params.finish()?;
    let found = asked.edge.store.conditions(acting.map(|acting| acting.id()), &wanted).await?;
    Ok(page::answer(found, |condition| condition.shown()))
}
