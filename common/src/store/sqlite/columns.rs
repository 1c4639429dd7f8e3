//! Our own values in columns and back. What does not read back is a damaged store, never a caller's mistake.

use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

pub(super) use super::values::blob;
use crate::ids::{DeliveryId, EventId, TenantId};
use crate::time::Timestamp;

/// The error of a value that we cannot have written.
pub(super) fn damaged(what: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::Decode(format!("a stored value does not read back: {what}").into())
}

pub(super) fn uuid(row: &SqliteRow, column: &str) -> Result<Uuid, sqlx::Error> {
    let bytes: &[u8] = row.try_get(column)?;
    Uuid::from_slice(bytes).map_err(|_| damaged(column))
}

pub(super) fn tenant(row: &SqliteRow) -> Result<TenantId, sqlx::Error> {
    uuid(row, "tenant").map(TenantId::from_uuid)
}

/// A delivery's key, in the columns `event` and `ordinal`.
pub(super) fn delivery(row: &SqliteRow) -> Result<DeliveryId, sqlx::Error> {
    Ok(DeliveryId { event: EventId::from_uuid(uuid(row, "event")?), ordinal: number(row, "ordinal")? })
}

pub(super) fn text(row: &SqliteRow, column: &str) -> Result<String, sqlx::Error> {
    row.try_get(column)
}

pub(super) fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    row.try_get(column).map(Timestamp)
}

pub(super) fn maybe_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp))
}

pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error> {
    T::try_from(row.try_get(column)?).map_err(|_| damaged(column))
}

pub(super) fn maybe_number<T: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Result<Option<T>, sqlx::Error> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(T::try_from).transpose().map_err(|_| damaged(column))
}

/// A name out of a closed list.
pub(super) fn named<T>(row: &SqliteRow, column: &str, read: fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    read(row.try_get(column)?).ok_or_else(|| damaged(column))
}

pub(super) fn maybe_named<T>(
    row: &SqliteRow,
    column: &str,
    read: fn(&str) -> Option<T>,
) -> Result<Option<T>, sqlx::Error> {
    let name: Option<&str> = row.try_get(column)?;
    name.map(|name| read(name).ok_or_else(|| damaged(column))).transpose()
}

pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(row.try_get(column)?).map_err(|_| damaged(column))
}

/// What is kept as JSON; our own types always have a JSON form.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// The least UUIDv7 of a millisecond: what was made before it has a smaller id, what was made in or after it a greater.
pub(super) fn first_uuid_at(at: Timestamp) -> Uuid {
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
