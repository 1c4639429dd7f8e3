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
pub(in crate::store) mod told;
pub(in crate::store) mod values;

use super::{ControlError, StoreError};

/// A verb that may refuse: the outer error is the store's, the inner one the refusal, with nothing written.
pub(in crate::store) type Answer<T> = Result<Result<T, ControlError>, sqlx::Error>;

/// A change that refuses nothing, as an answer.
pub(in crate::store) async fn sure<T>(found: impl Future<Output = Result<T, sqlx::Error>>) -> Answer<T> {
    found.await.map(Ok)
}

/// The error of a verb that refuses nothing.
pub(in crate::store) fn store_failed(error: ControlError) -> StoreError {
    match error {
        ControlError::Store(error) => error,
        refusal => StoreError::Internal(format!("refused: {refusal}")),
    }
}
