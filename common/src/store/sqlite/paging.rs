//! Pages as SQLite asks for them.

use sqlx::{QueryBuilder, Sqlite};

use super::columns::blob;
use crate::store::PageRequest;
pub(super) use crate::store::shared::paging::{Stretch, beyond, direction, fit, items, page};

/// The part of a query that makes it a page: `AND … ORDER BY … LIMIT`, one row more than asked for.
pub(super) struct Keyset<'a> {
    request: &'a PageRequest,
}

impl<'a> Keyset<'a> {
    /// For tables with an `id` and a `created_at`, small enough per owner that `from` and `to` need no index.
    pub(super) fn by_id(request: &'a PageRequest) -> Self {
        Self { request }
    }

    /// Appends it to a query that ends within a `WHERE`.
    pub(super) fn push(&self, query: &mut QueryBuilder<Sqlite>) {
        let request = self.request;
        if let Some(from) = request.from {
            query.push(" AND created_at >= ").push_bind(from.0);
        }
        if let Some(to) = request.to {
            query.push(" AND created_at < ").push_bind(to.0);
        }
        if let Some(after) = request.after {
            query.push(" AND id ").push(beyond(request.order)).push_bind(blob(after.uuid));
        }
        query.push(" ORDER BY id ").push(direction(request.order));
        query.push(" LIMIT ").push_bind(i64::from(items(request)) + 1);
    }
}

/// Appends a stretch as `AND (event, ordinal) …` with the columns of `table`.
pub(super) fn push_keys(stretch: Stretch, query: &mut QueryBuilder<Sqlite>, table: &str) {
    for (bound, sign) in stretch.bounds() {
        query.push(format!(" AND ({table}.event, {table}.ordinal) {sign} (")).push_bind(blob(bound.uuid));
        query.push(", ").push_bind(bound.ordinal).push(")");
    }
}

/// Appends a stretch as `AND id …`.
pub(super) fn push_ids(stretch: Stretch, query: &mut QueryBuilder<Sqlite>, column: &str) {
    for (bound, sign) in stretch.bounds() {
        query.push(format!(" AND {column} {sign} ")).push_bind(blob(bound.uuid));
    }
}
