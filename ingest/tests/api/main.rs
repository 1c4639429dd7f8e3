//! The HTTP API as a caller sees it, over a real store.

mod access;
mod analytics;
mod cloudevents;
mod deliveries;
mod documented;
mod endpoints;
mod event_batch;
mod events;
mod limits;
mod overrides;
mod plans;
mod plumbing;
mod quotas;
mod rig;
mod seen;
mod source_ingest;
mod sources;
mod strictness;
mod tenants;
mod uploads;
