//! Our own values as columns hold them, and back. What does not read back is a damaged store, never a caller's mistake.

use uuid::Uuid;

use crate::key::Scope;
use crate::time::Timestamp;

/// The error of a value that we cannot have written.
pub(in crate::store) fn damaged(what: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::Decode(format!("a stored value does not read back: {what}").into())
}

/// What is kept as JSON; our own types always have a JSON form.
pub(in crate::store) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// A key's scopes as they are kept: names, separated by spaces.
pub(in crate::store) fn scopes_text(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ")
}

/// Reads [`scopes_text`].
pub(in crate::store) fn read_scopes(text: &str) -> Result<Vec<Scope>, sqlx::Error> {
    let scope = |name: &str| Scope::ALL.iter().find(|(_, known)| *known == name).map(|(scope, _)| *scope);
    text.split_whitespace().map(scope).collect::<Option<_>>().ok_or_else(|| damaged("scopes"))
}

/// The least UUIDv7 of a millisecond: what was made before it has a smaller id, what was made in or after it a greater.
pub(in crate::store) fn first_uuid_at(at: Timestamp) -> Uuid {
    const LAST_MS: i64 = (1 << 48) - 1;
    let ms = at.0.clamp(0, LAST_MS) as u128;
    Uuid::from_u128(ms << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_millisecond_lie_between_its_bound_and_the_next() {
        let at = 1_700_000_000_123;
        let id = uuid::Builder::from_unix_timestamp_millis(at as u64, &[0; 10]).into_uuid();
        assert!(first_uuid_at(Timestamp(at)) <= id);
        assert!(id < first_uuid_at(Timestamp(at + 1)));
        assert!(first_uuid_at(Timestamp(-5)) <= id && id < first_uuid_at(Timestamp::MAX));
    }
}
