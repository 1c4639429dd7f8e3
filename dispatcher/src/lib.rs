//! The way out: intake, fair scheduling, attempts, verdicts, and what is due later.
//!
//! `schedule`, `verdict`, `conditions` and the plans in `engine` decide and never wait; `engine` waits and never decides. This crate
//! knows nothing of the ingest: they meet in the store and the queue.

pub mod assignment;
pub mod attempt;
pub mod conditions;
pub mod engine;
pub mod permits;
pub mod schedule;
pub mod verdict;

pub use engine::{DispatchSettings, Handle, Parts, Snapshot, TenantSnapshot, start};
