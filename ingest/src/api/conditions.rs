//! `GET /conditions`: what is the matter with tenants now.

use fairhook_common::key::Scope;

use super::answer::Answer;
use super::page;
use super::tenant::Asked;

/// An operator sees those of all tenants, or of the one that it names; a tenant's key its own.
pub(super) async fn list(asked: Asked) -> Answer {
    let acting = asked.tenant_or_any(Scope::EventsRead).await?;
    let mut params = asked.params();
    let wanted = params.page();
    params.finish()?;
    let found = asked.edge.store.conditions(acting.map(|acting| acting.id()), &wanted).await?;
    Ok(page::answer(found, |condition| condition.to_json()))
}
