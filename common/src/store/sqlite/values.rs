//! How ids and names lie in columns.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

/// An id as it is bound.
pub(super) fn blob(uuid: Uuid) -> Vec<u8> {
    uuid.as_bytes().to_vec()
}

/// Reads an id.
pub(super) fn uuid(row: &SqliteRow, column: usize) -> Result<Uuid, sqlx::Error> {
    let bytes: &[u8] = row.try_get(column)?;
    Uuid::from_slice(bytes).map_err(|e| damaged(column, e))
}

/// Reads an id or `NULL`.
pub(super) fn optional_uuid(row: &SqliteRow, column: usize) -> Result<Option<Uuid>, sqlx::Error> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    bytes.map(Uuid::from_slice).transpose().map_err(|e| damaged(column, e))
}

/// Reads a stored name with the type's `from_name`.
pub(super) fn named<T>(
    row: &SqliteRow,
    column: usize,
    from_name: fn(&str) -> Option<T>,
) -> Result<T, sqlx::Error> {
    let name: &str = row.try_get(column)?;
    from_name(name).ok_or_else(|| damaged(column, format!("unknown name {name:?}")))
}

/// A value that nothing of ours can have written.
pub(super) fn damaged(
    column: usize,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_string(), source: source.into() }
}
