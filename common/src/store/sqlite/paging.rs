//! Pages by keyset: a page begins behind the key of the last item of the page before, so that every item is seen exactly
//! once whatever is added meanwhile.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::columns::{blob, first_uuid_at};
use crate::ids::{DeliveryId, EventId};
use crate::limits;
use crate::store::{Order, Page, PageRequest, Position};
use crate::time::Timestamp;

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

/// A stretch of keys `(event, ordinal)` or, with ordinal 0, of ids. Each side has one bound only, the strictest: of two,
/// SQLite would look one up in the index and try the other on row after row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Whether the key itself belongs to it.
    lower: Option<(Position, bool)>,
    upper: Option<(Position, bool)>,
}

impl Stretch {
    /// What was made from `from` on and before `to`: ids hold the time at which they were made.
    pub(super) fn made(from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        let first = |at| Position { uuid: first_uuid_at(at), ordinal: 0 };
        Self { lower: from.map(|at| (first(at), true)), upper: to.map(|at| (first(at), false)) }
    }

    /// What the request asks for, without its limit.
    pub(super) fn asked(request: &PageRequest) -> Self {
        Self::made(request.from, request.to).behind(request.after, request.order)
    }

    /// The part of it behind `after` in this order.
    pub(super) fn behind(self, after: Option<Position>, order: Order) -> Self {
        match (after, order) {
            (None, _) => self,
            (Some(after), Order::Ascending) => self.above(after, false),
            (Some(after), Order::Descending) => self.below(after, false),
        }
    }

    /// The part of it that ends with `last` in this order.
    pub(super) fn up_to(self, last: Option<Position>, order: Order) -> Self {
        match (last, order) {
            (None, _) => self,
            (Some(last), Order::Ascending) => self.below(last, true),
            (Some(last), Order::Descending) => self.above(last, true),
        }
    }

    /// The part of it that belongs to one event.
    pub(super) fn of_event(self, event: Option<EventId>) -> Self {
        let Some(event) = event else { return self };
        let key = |ordinal| Position { uuid: event.uuid(), ordinal };
        self.above(key(0), true).below(key(u16::MAX), true)
    }

    fn above(self, key: Position, itself: bool) -> Self {
        let stricter = |(known, with): &(Position, bool)| rank(*known, !with) > rank(key, !itself);
        Self { lower: self.lower.filter(stricter).or(Some((key, itself))), ..self }
    }

    fn below(self, key: Position, itself: bool) -> Self {
        let stricter = |(known, with): &(Position, bool)| rank(*known, *with) < rank(key, itself);
        Self { upper: self.upper.filter(stricter).or(Some((key, itself))), ..self }
    }

    /// Appends it as `AND (event, ordinal) …` with the columns of `table`.
    pub(super) fn push_keys(&self, query: &mut QueryBuilder<Sqlite>, table: &str) {
        for (bound, sign) in self.bounds() {
            query.push(format!(" AND ({table}.event, {table}.ordinal) {sign} (")).push_bind(blob(bound.uuid));
            query.push(", ").push_bind(bound.ordinal).push(")");
        }
    }

    /// Appends it as `AND id …`.
    pub(super) fn push_ids(&self, query: &mut QueryBuilder<Sqlite>, column: &str) {
        for (bound, sign) in self.bounds() {
            query.push(format!(" AND {column} {sign} ")).push_bind(blob(bound.uuid));
        }
    }

    /// Whether this delivery belongs to it.
    pub(super) fn holds(&self, id: DeliveryId) -> bool {
        let key = Position { uuid: id.event.uuid(), ordinal: id.ordinal };
        self.lower.is_none_or(|(bound, itself)| rank(key, true) > rank(bound, !itself))
            && self.upper.is_none_or(|(bound, itself)| rank(key, true) <= rank(bound, itself))
    }

    fn bounds(&self) -> impl Iterator<Item = (Position, &'static str)> {
        let lower = self.lower.map(|(key, itself)| (key, if itself { ">=" } else { ">" }));
        let upper = self.upper.map(|(key, itself)| (key, if itself { "<=" } else { "<" }));
        lower.into_iter().chain(upper)
    }
}

/// Orders bounds; `behind`: just behind the key rather than just before it.
fn rank(key: Position, behind: bool) -> (Uuid, u16, bool) {
    (key.uuid, key.ordinal, behind)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> Position {
        Position { uuid: Uuid::from_u128(u128::from(n / 4)), ordinal: u16::from(n % 4) }
    }

    /// As SQLite takes it.
    fn selects(stretch: &Stretch, n: u8) -> bool {
        let at = |position: Position| (position.uuid, position.ordinal);
        stretch.bounds().all(|(bound, sign)| match sign {
            ">" => at(key(n)) > at(bound),
            ">=" => at(key(n)) >= at(bound),
            "<" => at(key(n)) < at(bound),
            _ => at(key(n)) <= at(bound),
        })
    }

    proptest! {
        #[test]
        fn a_stretch_is_the_intersection_of_what_was_asked(
            above in proptest::collection::vec((0u8..40, any::<bool>()), 0..4),
            below in proptest::collection::vec((0u8..40, any::<bool>()), 0..4),
        ) {
            let whole = Stretch { lower: None, upper: None };
            let stretch = above.iter().fold(whole, |s, &(n, itself)| s.above(key(n), itself));
            let stretch = below.iter().fold(stretch, |s, &(n, itself)| s.below(key(n), itself));
            for n in 0..40 {
                let expected = above.iter().all(|&(bound, itself)| n > bound || itself && n == bound)
                    && below.iter().all(|&(bound, itself)| n < bound || itself && n == bound);
                prop_assert_eq!(selects(&stretch, n), expected, "{} in {:?}", n, stretch);
                let id = DeliveryId { event: EventId::from_uuid(key(n).uuid), ordinal: key(n).ordinal };
                prop_assert_eq!(stretch.holds(id), expected, "{} in {:?}", n, stretch);
            }
        }
    }
}
