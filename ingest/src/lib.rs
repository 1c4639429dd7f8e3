//! The way in: the HTTP API, quotas, admission and publishing.

pub mod admission;
pub mod api;
