//! What every store must do, verb by verb. Written against the seam only: a backend is named in `backend` and nowhere
//! else.

#![allow(clippy::unwrap_used)]

mod backend;
mod harness;

mod admit;
mod claim;
mod dead_letters;
mod load;
mod record;
mod walk;

mod deletion;
mod endpoints;
mod given;
mod jobs;
mod keys;
mod lists;
mod nodes;
mod replays;
mod reports;
mod sweeps;
mod tenants;
