//! Pages by keyset: a page begins behind the key of the last item of the page before, so that every item is seen exactly
//! once whatever is added meanwhile.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::columns::blob;
use crate::limits;
use crate::store::{Order, Page, PageRequest, Position};

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

/// How many items a page holds at most.
pub(super) fn items(request: &PageRequest) -> u32 {
    request.limit.clamp(1, limits::PAGE_ITEMS)
}

/// `ASC` or `DESC`.
pub(super) fn direction(order: Order) -> &'static str {
    match order {
        Order::Ascending => "ASC",
        Order::Descending => "DESC",
    }
}

/// The comparison that leads on from a position.
pub(super) fn beyond(order: Order) -> &'static str {
    match order {
        Order::Ascending => "> ",
        Order::Descending => "< ",
    }
}

/// Makes a page of rows, of which there is one too many if more follow.
pub(super) fn page<T>(
    request: &PageRequest,
    rows: &[SqliteRow],
    read: impl Fn(&SqliteRow) -> Result<T, sqlx::Error>,
    id: impl Fn(&T) -> Uuid,
) -> Result<Page<T>, sqlx::Error> {
    let limit = items(request) as usize;
    let items = rows.iter().take(limit).map(read).collect::<Result<Vec<_>, _>>()?;
    let more = rows.len() > limit;
    let next = items.last().filter(|_| more).map(|item| Position { uuid: id(item), ordinal: 0 });
    Ok(Page { items, next })
}
