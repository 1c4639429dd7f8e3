//! What Postgres' SQLSTATEs mean to us.

use crate::store::StoreError;

/// Why a statement failed, as far as it decides what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// This item's data cannot be stored: another's can.
    Data,
    /// It took too long and was ended.
    Slow,
    /// Somebody else was in the way (a deadlock, a change underneath): at once again.
    Conflict,
    /// The database cannot be reached or used now.
    Unavailable,
    /// A mistake of ours, or a damaged database.
    Internal,
}

/// Reads the SQLSTATE; <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn failure(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::AnyDriverError(e) if e.is::<ChangedUnderneath>() => Failure::Conflict,
        sqlx::Error::Database(e) => by_state(e.code().as_deref().unwrap_or_default()),
        sqlx::Error::Encode(_) => Failure::Data,
        sqlx::Error::Io(e) if e.kind() == std::io::ErrorKind::TimedOut => Failure::Slow,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Failure::Unavailable
        }
        _ => Failure::Internal,
    }
}

fn by_state(state: &str) -> Failure {
    match state {
        // Cancelled by its timeout, or a lock that was not to be had in time.
        "57014" | "55P03" => Failure::Slow,
        "40P01" | "40001" => Failure::Conflict,
        // A standby, or a transaction that was left alone for too long.
        "25006" | "25P03" => Failure::Unavailable,
        _ if state.starts_with("22") || state.starts_with("23") || state.starts_with("54") => Failure::Data,
        _ if state.starts_with("08") || state.starts_with("53") || state.starts_with("57") => {
            Failure::Unavailable
        }
        _ => Failure::Internal,
    }
}

/// What was read has changed before it was written.
#[derive(Debug, thiserror::Error)]
#[error("changed underneath")]
struct ChangedUnderneath;

/// The error of a transaction that has to begin anew, for what it has read is not so any more.
pub(super) fn changed_underneath() -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(ChangedUnderneath))
}

/// The store's error for a statement's.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    match failure(&error) {
        Failure::Slow => StoreError::TooSlow,
        Failure::Unavailable | Failure::Conflict => StoreError::Unavailable(error.to_string()),
        Failure::Data | Failure::Internal => StoreError::Internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_says_what_to_do_next() {
        assert_eq!(by_state("22021"), Failure::Data);
        assert_eq!(by_state("23505"), Failure::Data);
        assert_eq!(by_state("57014"), Failure::Slow);
        assert_eq!(by_state("40P01"), Failure::Conflict);
        for state in ["08006", "57P01", "57P03", "53300", "25006"] {
            assert_eq!(by_state(state), Failure::Unavailable, "{state}");
        }
        assert_eq!(by_state("42P01"), Failure::Internal);
    }
}
