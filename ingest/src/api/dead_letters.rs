//! `GET /dead-letters`, and their `replay` and `purge`, which are jobs.

use fairhook_common::delivery::DeliveryState;
use fairhook_common::ids::DeliveryId;
use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::store::{JobFilter, JobKind};

use super::answer::{self, Answer};
use super::audit;
use super::body::Posted;
use super::deliveries::{Shown, filter};
use super::jobs::{self, FilterFields, Span};
use super::openapi::requests;
use super::page::Listed;
use super::tenant::Asked;
use super::{page, read};

/// List dead letters
#[utoipa::path(
    get, path = "/dead-letters", operation_id = "listDeadLetters", tag = "Dead letters",
    security(("key" = ["events:read"])),
    params(requests::DeliveryQuery, requests::Paging),
    responses((status = 200, description = "A page of them.", body = Listed<Shown>))
)]
pub(super) async fn list(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::EventsRead).await?;
    let mut params = asked.params();
    let wanted = params.page();
    let filter = filter(&mut params);
    params.finish()?;
    let found = asked.edge.store.list_dead_letters(acting.id(), &filter, &wanted).await?;
    Ok(page::answer(found, Shown::without_attempts))
}

/// Replay dead letters
///
/// At least one criterion is needed, or `all: true`.
#[utoipa::path(
    post, path = "/dead-letters/replay", operation_id = "replayDeadLetters", tag = "Dead letters",
    security(("key" = ["replays:write"])),
    request_body = Option<requests::DeadLettersToReplay>,
    responses((status = 202, description = "The job that does it.", body = jobs::Shown)),
    extensions(("x-problems" = json!(["limit_reached", "not_found"])))
)]
pub(super) async fn replay(asked: Asked, body: Posted) -> Answer {
    start(asked, body, JobKind::Replay).await
}

/// Purge dead letters
///
/// They are discarded: `purged`. At least one criterion is needed, or `all: true`.
#[utoipa::path(
    post, path = "/dead-letters/purge", operation_id = "purgeDeadLetters", tag = "Dead letters",
    security(("key" = ["replays:write"])),
    request_body = Option<requests::DeadLettersToPurge>,
    responses((status = 202, description = "The job that does it.", body = jobs::Shown)),
    extensions(("x-problems" = json!(["limit_reached", "not_found"])))
)]
pub(super) async fn purge(asked: Asked, body: Posted) -> Answer {
    start(asked, body, JobKind::Purge).await
}

/// A slip must not touch every dead letter: at least one criterion is needed, or `all: true` in so many words.
async fn start(asked: Asked, body: Posted, kind: JobKind) -> Answer {
    let mut fields = body.fields_or_none()?;
    let acting = asked.tenant_in(Scope::ReplaysWrite, &mut fields).await?;
    let named = FilterFields::read(&mut fields, Span::Optional);
    let ids = fields.optional("ids", read::list(limits::JOB_DELIVERIES, read::id::<DeliveryId>));
    let all = fields.optional("all", read::flag).unwrap_or(false);
    let rate_per_s = match kind {
        JobKind::Replay => fields.optional("rate_per_s", jobs::rate),
        _ => None,
    };
    if ids.as_ref().is_some_and(Vec::is_empty) {
        fields.refuse("ids", "must hold at least one id");
    }
    let criteria = named.any() || ids.is_some();
    if fields.is_sound() && criteria == all {
        fields.refuse(
            "all",
            match all {
                true => "`all: true` stands alone, without endpoint_id, type, from, to or ids",
                false => "say which: one of endpoint_id, type, from, to and ids is needed, or `all: true`",
            },
        );
    }
    let filter = fields.finish(|| {
        let deliveries = ids.unwrap_or_default().iter().map(DeliveryId::to_string).collect();
        let states = vec![DeliveryState::Dead];
        Some(JobFilter { states, deliveries, rate_per_s, ..named.into_filter() })
    })?;
    let job = asked.edge.store.create_job(acting.id(), kind, filter, asked.at).await?;
    audit::job_begun(&asked.caller, &acting.tenant, &job);
    Ok(answer::accepted(&jobs::Shown::of(&job)))
}
