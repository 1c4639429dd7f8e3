//! The way out: intake, fair scheduling, attempts, verdicts, and what is due later.

pub mod attempt;
pub mod engine;
pub mod schedule;
pub mod verdict;
