//! Pages as Postgres asks for them.

use sqlx::{Postgres, QueryBuilder};

use crate::store::PageRequest;
pub(super) use crate::store::shared::paging::{Stretch, beyond, direction, fit, items, last_within, page};

/// The part of a query that makes it a page: `AND … ORDER BY … LIMIT`, one row more than asked for. For tables with an `id`
/// and a `created_at`, small enough per owner that `from` and `to` need no index.
pub(super) fn push_page(request: &PageRequest, query: &mut QueryBuilder<Postgres>) {
    if let Some(from) = request.from {
        query.push(" AND created_at >= ").push_bind(from.0);
    }
    if let Some(to) = request.to {
        query.push(" AND created_at < ").push_bind(to.0);
    }
    if let Some(after) = request.after {
        query.push(" AND id ").push(beyond(request.order)).push_bind(after.uuid);
    }
    query.push(" ORDER BY id ").push(direction(request.order));
    query.push(" LIMIT ").push_bind(i64::from(items(request)) + 1);
}

/// Appends a stretch as `AND (event, ordinal) …` with the columns of `table`. The event alone is bounded as well: a
/// comparison of rows leaves out no partition.
pub(super) fn push_keys(stretch: Stretch, query: &mut QueryBuilder<Postgres>, table: &str) {
    for (bound, sign) in stretch.bounds() {
        query.push(format!(" AND ({table}.event, {table}.ordinal) {sign} (")).push_bind(bound.uuid);
        query.push(", ").push_bind(i32::from(bound.ordinal)).push(")");
        let outer = if sign.starts_with('>') { ">=" } else { "<=" };
        query.push(format!(" AND {table}.event {outer} ")).push_bind(bound.uuid);
    }
}

/// Appends a stretch as `AND id …`.
pub(super) fn push_ids(stretch: Stretch, query: &mut QueryBuilder<Postgres>, column: &str) {
    for (bound, sign) in stretch.bounds() {
        query.push(format!(" AND {column} {sign} ")).push_bind(bound.uuid);
    }
}
