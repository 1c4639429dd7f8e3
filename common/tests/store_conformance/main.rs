//! What every store must do, verb by verb. Written against the seam only: a backend is named in `backend` and nowhere
//! else.

#![allow(clippy::unwrap_used)]

mod backend;
mod harness;

mod admit;
mod load;
