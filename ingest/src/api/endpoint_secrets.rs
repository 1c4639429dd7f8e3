//! An endpoint's signing secret: shown to whoever may see it, and rotated.

use std::time::Duration;

use fairhook_common::endpoint::Endpoint;
use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::signature::SigningSecret;
use fairhook_common::time::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{self, Answer};
use super::audit;
use super::body::Posted;
use super::endpoints::named;
use super::openapi::requests;
use super::read;
use super::tenant::Asked;

/// Read an endpoint's signing secret
#[utoipa::path(
    get, path = "/endpoints/{endpoint}/secret", operation_id = "getEndpointSecret", tag = "Endpoints",
    security(("key" = ["secrets:read"])),
    responses((status = 200, description = "The secret, and the one before while it still signs.", body = Secrets))
)]
pub(super) async fn get(asked: Asked) -> Answer {
    let acting = asked.tenant(Scope::SecretsRead).await?;
    asked.params().finish()?;
    let endpoint = named(&asked, &acting).await?;
    Ok(answer::ok(&secrets(&endpoint, asked.at)))
}

/// Rotate an endpoint's signing secret
///
/// During the grace period both secrets sign.
#[utoipa::path(
    post, path = "/endpoints/{endpoint}/secret/rotate", operation_id = "rotateEndpointSecret", tag = "Endpoints",
    security(("key" = ["secrets:read"])),
    request_body = Option<requests::Rotation>,
    responses((status = 200, description = "The new secret, and the one before.", body = Secrets)),
    extensions(("x-problems" = json!(["conflict"])))
)]
pub(super) async fn rotate(asked: Asked, body: Posted) -> Answer {
    let mut fields = body.fields_or_none()?;
    let acting = asked.tenant_in(Scope::SecretsRead, &mut fields).await?;
    let longest = limits::ROTATION_GRACE_MAX.as_secs();
    let grace = fields.optional("grace_period_s", read::integer(0..=longest));
    let grace = fields.finish(|| Some(grace.map_or(limits::ROTATION_GRACE, Duration::from_secs)))?;
    let endpoint = named(&asked, &acting).await?;
    let secret = SigningSecret::generate();
    let rotated = asked.edge.store.rotate_secret(acting.id(), endpoint.id, secret, grace, asked.at).await?;
    audit::secret_rotated(&asked.caller, &acting.tenant, &rotated);
    Ok(answer::ok(&secrets(&rotated, asked.at)))
}

/// The current secret and, while it still signs, the one before.
fn secrets(endpoint: &Endpoint, now: Timestamp) -> Secrets {
    let previous = endpoint.secrets.previous.as_ref().filter(|(_, until)| now < *until);
    let previous =
        previous.map(|(secret, until)| PreviousSecret { secret: secret.reveal(), expires_at: *until });
    Secrets { secret: endpoint.secrets.current.reveal(), previous }
}

/// What signs.
#[derive(Serialize, ToSchema)]
#[schema(as = EndpointSecrets, example = json!({
    "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "previous": {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "expires_at": "2026-02-01T12:00:00.000Z"}
}))]
struct Secrets {
    /// `whsec_…`
    secret: String,
    /// The one before, while it still signs.
    previous: Option<PreviousSecret>,
}

/// A secret that was rotated.
#[derive(Serialize, ToSchema)]
struct PreviousSecret {
    secret: String,
    /// From then on it signs no more.
    expires_at: Timestamp,
}
