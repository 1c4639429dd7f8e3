//! What the SQL backends decide alike: pages, replays, jobs and changes of the control plane as plain values, without a
//! database. Each backend only has the statements around them.

pub(in crate::store) mod endpoints;
pub(in crate::store) mod jobs;
pub(in crate::store) mod matching;
pub(in crate::store) mod overrides;
pub(in crate::store) mod paging;
pub(in crate::store) mod replays;
pub(in crate::store) mod sources;
pub(in crate::store) mod surveys;
pub(in crate::store) mod tenants;
pub(in crate::store) mod values;

use super::ControlError;

/// A verb that may refuse: the outer error is the store's, the inner one the refusal, with nothing written.
pub(in crate::store) type Answer<T> = Result<Result<T, ControlError>, sqlx::Error>;
