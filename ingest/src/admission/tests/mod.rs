//! Admission over a ledger and a queue that the test answers for, so that nothing is left to chance.

mod admitting;
mod backlog;
mod publishing;
mod scripted;
mod usages;
