//! The HTTP API as a caller sees it, over a real store.

mod access;
mod endpoints;
mod plumbing;
mod quotas;
mod rig;
mod strictness;
mod tenants;
