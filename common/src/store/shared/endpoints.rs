//! What a change makes of an endpoint.

use std::time::Duration;

use crate::endpoint::{Circuit, Endpoint, EndpointSettings, EndpointStatus, Secrets};
use crate::ids::EndpointId;
use crate::signature::SigningSecret;
use crate::store::{ControlError, EndpointChanges, NewEndpoint};
use crate::time::Timestamp;

/// A new endpoint.
pub(in crate::store) fn made(id: EndpointId, new: NewEndpoint, now: Timestamp) -> Endpoint {
    let current = new.secret.unwrap_or_else(SigningSecret::generate);
    Endpoint {
        id,
        tenant: new.tenant,
        uid: new.uid,
        settings: new.settings,
        secrets: Secrets { current, previous: None },
        status: EndpointStatus::Active,
        status_reason: None,
        circuit: Circuit::Closed,
        failing_since: None,
        created_at: now,
        updated_at: now,
    }
}

/// Replaces the settings; the secret too, if there is a new one.
pub(in crate::store) fn replace(
    endpoint: &mut Endpoint,
    settings: EndpointSettings,
    secret: Option<SigningSecret>,
    now: Timestamp,
) {
    endpoint.settings = settings;
    if let Some(secret) = secret.filter(|secret| *secret != endpoint.secrets.current) {
        endpoint.secrets = Secrets { current: secret, previous: None };
    }
    touch(endpoint, now);
}

/// Makes the changes, unless somebody has changed it since the caller read it.
pub(in crate::store) fn change(
    endpoint: &mut Endpoint,
    changes: EndpointChanges,
    now: Timestamp,
) -> Result<Result<(), ControlError>, sqlx::Error> {
    if changes.if_updated_at.is_some_and(|read_at| read_at != endpoint.updated_at) {
        return Ok(Err(ControlError::Conflict));
    }
    if let Some(settings) = changes.settings {
        endpoint.settings = settings;
    }
    match changes.status {
        Some((EndpointStatus::Deleted, _)) => {
            return Err(sqlx::Error::Protocol("an endpoint is deleted by its own verb".into()));
        }
        Some((EndpointStatus::Active, _)) => {
            endpoint.status = EndpointStatus::Active;
            endpoint.status_reason = None;
            endpoint.failing_since = None;
        }
        Some((status, reason)) => {
            endpoint.status = status;
            endpoint.status_reason = reason;
        }
        None => {}
    }
    touch(endpoint, now);
    Ok(Ok(()))
}

/// Makes `secret` the current one; the one before signs as well for `grace`.
pub(in crate::store) fn rotate(
    endpoint: &mut Endpoint,
    secret: SigningSecret,
    grace: Duration,
    now: Timestamp,
) {
    let before = std::mem::replace(&mut endpoint.secrets.current, secret);
    endpoint.secrets.previous = (!grace.is_zero()).then(|| (before, now.after(grace)));
    touch(endpoint, now);
}

/// `updated_at` differs after every change, or somebody who read in the same millisecond could not tell.
fn touch(endpoint: &mut Endpoint, now: Timestamp) {
    endpoint.updated_at = now.max(Timestamp(endpoint.updated_at.0.saturating_add(1)));
}
