//! What SQLite's result codes mean to us.

use crate::store::StoreError;

/// Why a statement failed, as far as it decides what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// This item's data cannot be stored: another's can.
    Data,
    /// It took too long and was interrupted.
    Slow,
    /// The file cannot be read or written now: locked, disk full, out of reach.
    Unavailable,
    /// A mistake of ours, or a damaged file.
    Internal,
}

/// Reads the primary result code; <https://www.sqlite.org/rescode.html>.
pub(super) fn failure(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(e) => {
            match e.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
                // TOOBIG, CONSTRAINT, MISMATCH.
                Some(18..=20) => Failure::Data,
                Some(9) => Failure::Slow,
                // BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL.
                Some(5 | 6 | 7 | 8 | 10 | 13 | 14 | 15) => Failure::Unavailable,
                _ => Failure::Internal,
            }
        }
        sqlx::Error::Encode(_) => Failure::Data,
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => Failure::Unavailable,
        _ => Failure::Internal,
    }
}

/// The store's error for a statement's.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    match failure(&error) {
        Failure::Slow => StoreError::TooSlow,
        Failure::Unavailable => StoreError::Unavailable(error.to_string()),
        Failure::Data | Failure::Internal => StoreError::Internal(error.to_string()),
    }
}
