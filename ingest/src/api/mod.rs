//! The HTTP API. This file is its table of contents; what a call means is in the handlers' files.

mod analytics;
pub mod answer;
mod audit;
pub mod auth;
pub mod body;
mod checks;
pub mod client;
mod conditions;
mod dead_letters;
mod deliveries;
mod endpoint_fields;
mod endpoint_secrets;
mod endpoint_test;
mod endpoints;
mod event_batch;
mod events;
mod gate;
mod health;
mod jobs;
pub mod json;
mod keys;
mod limit_fields;
mod limiting;
mod memory;
mod observe;
mod overrides;
pub mod page;
mod plans;
mod posted_event;
pub mod problem;
mod quotas;
pub mod read;
pub mod show;
mod stats;
pub mod tenant;
mod tenants;
mod unread;
pub mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post, put};
use fairhook_common::egress::EgressPolicy;
use fairhook_common::health::Health;
use fairhook_common::policy::Policy;
use fairhook_common::store::SharedStore;

use crate::admission::AdmissionHandle;
use crate::analytics::Recorder;
use crate::limiter::Limiter;
use crate::{IngestSettings, Parts};
use limiting::{Guard, UnderWay, guarded, identify};
use memory::Memory;
use observe::{Observed, observe};
use problem::{Code, Problem};
use uploads::Uploads;

/// What every handler may use.
pub struct Edge {
    /// The truth.
    pub store: SharedStore,
    /// Where endpoints may be.
    pub egress: EgressPolicy,
    /// The way of an event into the store.
    pub admission: AdmissionHandle,
    /// What can be configured.
    pub settings: IngestSettings,
    limiter: Limiter,
    under_way: UnderWay,
    memory: Memory,
    uploads: Uploads,
    health: Health,
    recorder: Arc<Recorder>,
}

/// The whole API.
pub(crate) fn router(
    parts: Parts,
    admission: AdmissionHandle,
    limiter: Limiter,
    recorder: Arc<Recorder>,
) -> Router {
    let Parts { store, egress, settings, families, health, .. } = parts;
    let observed = Arc::new(Observed::new(&families, recorder.clone()));
    let memory = Memory::new(store.clone());
    let (uploads, under_way) = (Uploads::default(), UnderWay::default());
    let edge = Arc::new(Edge {
        store,
        egress,
        admission,
        settings,
        limiter,
        under_way,
        memory,
        uploads,
        health,
        recorder,
    });
    Router::new()
        .nest("/v1", routes(&edge))
        .merge(routes(&edge))
        .fallback(async || Problem::not_found("path"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                Code::MethodNotAllowed,
                "the path does not take this method; `allow` lists those it takes",
            )
        })
        .layer(from_fn_with_state(observed, observe))
        .layer(from_fn(unread::settle))
        .with_state(edge)
}

/// Open to anybody, and all the rest.
fn routes(edge: &Arc<Edge>) -> Router<Arc<Edge>> {
    Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .merge(calls(edge).route_layer(from_fn_with_state(Arc::clone(edge), identify)))
}

/// What needs a key. Sending events is limited by the event (`gate`), everything else by the call.
fn calls(edge: &Arc<Edge>) -> Router<Arc<Edge>> {
    let guard = Guard::new(edge, &[Policy::ApiRequests, Policy::Tier]);
    let others = Router::new()
        .merge(of_operators())
        .nest("/tenants/{tenant}", of_a_tenant())
        .merge(of_a_tenant())
        .route_layer(from_fn_with_state(guard, guarded));
    others.nest("/tenants/{tenant}", sending()).merge(sending())
}

fn of_operators() -> Router<Arc<Edge>> {
    Router::new()
        .route("/tenants", post(tenants::create).get(tenants::list))
        .route(
            "/tenants/{tenant}",
            get(tenants::get).put(tenants::put).patch(tenants::change).delete(tenants::delete),
        )
        .route("/quotas/{tenant}", get(quotas::get).patch(quotas::change))
        .route("/quotas/{tenant}/overrides", get(overrides::list))
        .route("/quotas/{tenant}/overrides/{policy}", put(overrides::put).delete(overrides::delete))
        .route("/analytics/limits", get(analytics::limits))
        .route("/plans", get(plans::list))
        .route("/plans/{plan}", get(plans::get).put(plans::put))
        .route("/top", get(stats::top))
        .route("/operator-keys", post(keys::create_operators).get(keys::list_operators))
        .route("/operator-keys/{key}", delete(keys::revoke_operators))
        .route("/limits/{policy}/check", post(checks::check))
}

/// Events that are sent, under `/tenants/{tenant}` too.
fn sending() -> Router<Arc<Edge>> {
    Router::new().route("/events", post(events::post)).route("/events/batch", post(event_batch::post_batch))
}

/// What belongs to a tenant, under `/tenants/{tenant}` too.
fn of_a_tenant() -> Router<Arc<Edge>> {
    Router::new()
        .route("/events", get(events::list))
        .route("/events/{event}", get(events::find))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/{delivery}", get(deliveries::find))
        .route("/deliveries/{delivery}/cancel", post(deliveries::cancel))
        .route("/deliveries/{delivery}/replay", post(deliveries::replay))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/replay", post(dead_letters::replay))
        .route("/dead-letters/purge", post(dead_letters::purge))
        .route("/stats", get(stats::one))
        .route("/conditions", get(conditions::list))
        .route("/replays", post(jobs::replay))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{job}", get(jobs::find))
        .route("/jobs/{job}/cancel", post(jobs::cancel))
        .route("/keys", post(keys::create).get(keys::list))
        .route("/keys/{key}", delete(keys::revoke))
        .route("/endpoints", post(endpoints::create).get(endpoints::list))
        .route(
            "/endpoints/{endpoint}",
            get(endpoints::get).put(endpoints::put).patch(endpoints::change).delete(endpoints::delete),
        )
        .route("/endpoints/{endpoint}/secret", get(endpoint_secrets::get))
        .route("/endpoints/{endpoint}/secret/rotate", post(endpoint_secrets::rotate))
        .route("/endpoints/{endpoint}/test", post(endpoint_test::send))
}
