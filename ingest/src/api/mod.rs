//! The HTTP API. This file is its table of contents; what a call means is in the handlers' files.

mod analytics;
pub mod answer;
mod audit;
pub mod auth;
pub mod body;
mod checks;
pub mod client;
mod cloudevent;
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
mod guesses;
mod health;
mod jobs;
pub mod json;
mod keys;
mod limit_fields;
mod limiting;
mod memory;
mod observe;
pub mod openapi;
mod overrides;
pub mod page;
mod plans;
mod posted_event;
pub mod problem;
mod quotas;
pub mod read;
pub mod show;
mod source_fields;
mod source_ingest;
mod source_view;
mod sources;
mod stats;
pub mod tenant;
mod tenants;
mod unread;
pub mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use fairhook_common::egress::EgressPolicy;
use fairhook_common::health::Health;
use fairhook_common::policy::Policy;
use fairhook_common::store::SharedStore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admission::AdmissionHandle;
use crate::analytics::Recorder;
use crate::limiter::Limiter;
use crate::{IngestSettings, Parts};
use limiting::{Guard, UnderWay, guarded};
use memory::Memory;
use observe::{Observed, observe};
use problem::{Code, Problem};
use source_ingest::AtSources;
pub(crate) use source_ingest::ROUTE as SOURCE_ROUTE;
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
    at_sources: AtSources,
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
    let at_sources = AtSources::new(&families);
    let edge = Arc::new(Edge {
        store,
        egress,
        admission,
        settings,
        limiter,
        under_way: UnderWay::default(),
        memory,
        uploads: Uploads::of_callers(),
        health,
        recorder,
        at_sources,
    });
    Router::new()
        .nest("/v1", routes(&edge))
        .merge(routes(&edge))
        .merge(Router::from(doors()))
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
    Router::from(open()).merge(calls(edge))
}

/// What needs a key. Sending events is limited by the event (`gate`), everything else by the call.
fn calls(edge: &Arc<Edge>) -> Router<Arc<Edge>> {
    // The longest window last: what a short one refuses has cost nothing of it.
    let by_the_call = Guard::new(edge, &[Policy::Tier, Policy::ApiRequests]);
    let others = Router::from(of_operators())
        .nest("/tenants/{tenant}", of_a_tenant().into())
        .merge(Router::from(of_a_tenant()))
        .route_layer(from_fn_with_state(by_the_call, guarded));
    let sending = Router::new()
        .nest("/tenants/{tenant}", sending().into())
        .merge(Router::from(sending()))
        .route_layer(from_fn_with_state(Guard::new(edge, &[]), guarded));
    others.merge(sending)
}

/// The same routes as they are described.
fn described() -> openapi::Described {
    openapi::Described {
        open: open().merge(doors()).into_openapi(),
        behind_a_key: of_operators().into_openapi(),
        of_a_tenant: of_a_tenant().merge(sending()).into_openapi(),
    }
}

/// A group of routes, each with its description.
type Group = OpenApiRouter<Arc<Edge>>;

/// Open to anybody.
fn open() -> Group {
    Group::new()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::json))
        .routes(routes!(openapi::docs))
}

/// Open to whoever knows one's token; at the root only, for their URLs are others' to keep.
fn doors() -> Group {
    Group::new().routes(routes!(source_ingest::take))
}

fn of_operators() -> Group {
    Group::new()
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(tenants::get, tenants::put, tenants::change, tenants::delete))
        .routes(routes!(quotas::get, quotas::change))
        .routes(routes!(overrides::list))
        .routes(routes!(overrides::put, overrides::delete))
        .routes(routes!(analytics::limits))
        .routes(routes!(plans::list))
        .routes(routes!(plans::get, plans::put))
        .routes(routes!(stats::top))
        .routes(routes!(keys::create_operators, keys::list_operators))
        .routes(routes!(keys::revoke_operators))
        .routes(routes!(checks::check))
}

/// Events that are sent, under `/tenants/{tenant}` too.
fn sending() -> Group {
    Group::new().routes(routes!(events::post)).routes(routes!(event_batch::post_batch))
}

/// What belongs to a tenant, under `/tenants/{tenant}` too.
fn of_a_tenant() -> Group {
    Group::new()
        .routes(routes!(events::list))
        .routes(routes!(events::find))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::find))
        .routes(routes!(deliveries::cancel))
        .routes(routes!(deliveries::replay))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(dead_letters::purge))
        .routes(routes!(stats::one))
        .routes(routes!(conditions::list))
        .routes(routes!(jobs::replay))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::find))
        .routes(routes!(jobs::cancel))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::revoke))
        .routes(routes!(sources::create, sources::list))
        .routes(routes!(sources::get, sources::change, sources::delete))
        .routes(routes!(sources::rotate))
        .routes(routes!(endpoints::create, endpoints::list))
        .routes(routes!(endpoints::get, endpoints::put, endpoints::change, endpoints::delete))
        .routes(routes!(endpoint_secrets::get))
        .routes(routes!(endpoint_secrets::rotate))
        .routes(routes!(endpoint_test::send))
}
