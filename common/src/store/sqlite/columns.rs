//! Our own values in columns and back. What does not read back is a damaged store, never a caller's mistake.

use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

pub(super) use super::values::blob;
use crate::ids::{DeliveryId, EventId, TenantId};
pub(super) use crate::store::shared::values::{damaged, first_uuid_at, to_json};
use crate::time::Timestamp;

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

pub(super) fn maybe_json<T: DeserializeOwned>(
    row: &SqliteRow,
    column: &str,
) -> Result<Option<T>, sqlx::Error> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(serde_json::from_str).transpose().map_err(|_| damaged(column))
}
