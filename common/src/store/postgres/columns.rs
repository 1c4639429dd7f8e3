//! Our own values in columns and back. What does not read back is a damaged store, never a caller's mistake.

use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{Row, TypeInfo, ValueRef};
use uuid::Uuid;

use crate::ids::{DeliveryId, EventId, TenantId};
pub(super) use crate::store::shared::values::{damaged, first_uuid_at, to_json};
use crate::time::Timestamp;

pub(super) fn uuid(row: &PgRow, column: &str) -> Result<Uuid, sqlx::Error> {
    row.try_get(column)
}

pub(super) fn tenant(row: &PgRow) -> Result<TenantId, sqlx::Error> {
    uuid(row, "tenant").map(TenantId::from_uuid)
}

/// A delivery's key, in the columns `event` and `ordinal`.
pub(super) fn delivery(row: &PgRow) -> Result<DeliveryId, sqlx::Error> {
    Ok(DeliveryId { event: EventId::from_uuid(uuid(row, "event")?), ordinal: number(row, "ordinal")? })
}

pub(super) fn time(row: &PgRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    row.try_get(column).map(Timestamp)
}

pub(super) fn maybe_time(row: &PgRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp))
}

/// An integer of whatever width the column has.
pub(super) fn number<T: TryFrom<i64>>(row: &PgRow, column: &str) -> Result<T, sqlx::Error> {
    maybe_number(row, column)?.ok_or_else(|| damaged(column))
}

pub(super) fn maybe_number<T: TryFrom<i64>>(row: &PgRow, column: &str) -> Result<Option<T>, sqlx::Error> {
    let wide: Option<i64> = match row.try_get_raw(column)?.type_info().name() {
        "INT2" => row.try_get::<Option<i16>, _>(column)?.map(i64::from),
        "INT4" => row.try_get::<Option<i32>, _>(column)?.map(i64::from),
        _ => row.try_get(column)?,
    };
    wide.map(T::try_from).transpose().map_err(|_| damaged(column))
}

/// A name out of a closed list.
pub(super) fn named<T>(row: &PgRow, column: &str, read: fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    read(row.try_get(column)?).ok_or_else(|| damaged(column))
}

pub(super) fn maybe_named<T>(
    row: &PgRow,
    column: &str,
    read: fn(&str) -> Option<T>,
) -> Result<Option<T>, sqlx::Error> {
    let name: Option<&str> = row.try_get(column)?;
    name.map(|name| read(name).ok_or_else(|| damaged(column))).transpose()
}

pub(super) fn json<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(row.try_get(column)?).map_err(|_| damaged(column))
}

pub(super) fn maybe_json<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<Option<T>, sqlx::Error> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(serde_json::from_str).transpose().map_err(|_| damaged(column))
}
