//! Pages by keyset: a page begins behind the key of the last item of the page before, so that every item is seen exactly
//! once whatever is added meanwhile.

use uuid::Uuid;

use super::values::first_uuid_at;
use crate::ids::{DeliveryId, EventId};
use crate::limits;
use crate::store::{Order, Page, PageRequest, Position};
use crate::time::Timestamp;

/// A stretch of keys `(event, ordinal)` or, with ordinal 0, of ids. Each side has one bound only, the strictest: of two,
/// a database would look one up in the index and try the other on row after row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Stretch {
    /// Whether the key itself belongs to it.
    lower: Option<(Position, bool)>,
    upper: Option<(Position, bool)>,
}

impl Stretch {
    /// What was made from `from` on and before `to`: ids hold the time at which they were made.
    pub(in crate::store) fn made(from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        let first = |at| Position { uuid: first_uuid_at(at), ordinal: 0 };
        Self { lower: from.map(|at| (first(at), true)), upper: to.map(|at| (first(at), false)) }
    }

    /// What the request asks for, without its limit.
    pub(in crate::store) fn asked(request: &PageRequest) -> Self {
        Self::made(request.from, request.to).behind(request.after, request.order)
    }

    /// The part of it behind `after` in this order.
    pub(in crate::store) fn behind(self, after: Option<Position>, order: Order) -> Self {
        match (after, order) {
            (None, _) => self,
            (Some(after), Order::Ascending) => self.above(after, false),
            (Some(after), Order::Descending) => self.below(after, false),
        }
    }

    /// The part of it that ends with `last` in this order.
    pub(in crate::store) fn up_to(self, last: Option<Position>, order: Order) -> Self {
        match (last, order) {
            (None, _) => self,
            (Some(last), Order::Ascending) => self.below(last, true),
            (Some(last), Order::Descending) => self.above(last, true),
        }
    }

    /// The part of it that belongs to one event.
    pub(in crate::store) fn of_event(self, event: Option<EventId>) -> Self {
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

    /// Whether this delivery belongs to it.
    pub(in crate::store) fn holds(&self, id: DeliveryId) -> bool {
        let key = Position { uuid: id.event.uuid(), ordinal: id.ordinal };
        self.lower.is_none_or(|(bound, itself)| rank(key, true) > rank(bound, !itself))
            && self.upper.is_none_or(|(bound, itself)| rank(key, true) <= rank(bound, itself))
    }

    /// Its ends with the comparisons that keep to them.
    pub(in crate::store) fn bounds(&self) -> impl Iterator<Item = (Position, &'static str)> + use<> {
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
pub(in crate::store) fn items(request: &PageRequest) -> u32 {
    request.limit.clamp(1, limits::PAGE_ITEMS)
}

/// `ASC` or `DESC`.
pub(in crate::store) fn direction(order: Order) -> &'static str {
    match order {
        Order::Ascending => "ASC",
        Order::Descending => "DESC",
    }
}

/// The comparison that leads on from a position.
pub(in crate::store) fn beyond(order: Order) -> &'static str {
    match order {
        Order::Ascending => "> ",
        Order::Descending => "< ",
    }
}

/// Makes a page of rows, of which there is one too many if more follow.
pub(in crate::store) fn page<R, T>(
    request: &PageRequest,
    rows: &[R],
    read: impl Fn(&R) -> Result<T, sqlx::Error>,
    id: impl Fn(&T) -> Uuid,
) -> Result<Page<T>, sqlx::Error> {
    let limit = items(request) as usize;
    let items = rows.iter().take(limit).map(read).collect::<Result<Vec<_>, _>>()?;
    let more = rows.len() > limit;
    let next = items.last().filter(|_| more).map(|item| Position { uuid: id(item), ordinal: 0 });
    Ok(Page { items, next })
}

/// How many of the events fit on a page: at least one, then as many as stay within its bytes.
pub(in crate::store) fn fit(found: &[(Uuid, usize)], wanted: usize) -> usize {
    let mut bytes = 0;
    let within = found.iter().take(wanted).take_while(|(_, size)| {
        bytes += size;
        bytes <= limits::PAGE_BYTES
    });
    within.count().max(1).min(found.len())
}

/// The last of the rows that weigh at most `limit` together; the first one in any case.
pub(in crate::store) fn last_within<R>(
    rows: &[R],
    limit: u64,
    weight: impl Fn(&R) -> Result<u64, sqlx::Error>,
) -> Result<Option<&R>, sqlx::Error> {
    let mut sum = 0u64;
    let mut last = rows.first();
    for row in rows {
        sum = sum.saturating_add(weight(row)?);
        if sum > limit {
            break;
        }
        last = Some(row);
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> Position {
        Position { uuid: Uuid::from_u128(u128::from(n / 4)), ordinal: u16::from(n % 4) }
    }

    /// As a database takes it.
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
