//! How ids, names and numbers lie in columns, and how a batch is bound: an array per column.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use crate::delivery::Lane;
use crate::ids::{DeliveryId, EventId};

/// The keys of a batch of deliveries, with the bounds that keep the database from looking into every partition.
pub(super) struct Keys {
    pub events: Vec<Uuid>,
    pub ordinals: Vec<i32>,
    pub least: Uuid,
    pub greatest: Uuid,
}

impl Keys {
    pub(super) fn of(deliveries: impl Iterator<Item = DeliveryId>) -> Self {
        let (events, ordinals): (Vec<_>, Vec<_>) =
            deliveries.map(|id| (id.event.uuid(), i32::from(id.ordinal))).unzip();
        let least = events.iter().min().copied().unwrap_or_default();
        let greatest = events.iter().max().copied().unwrap_or_default();
        Self { events, ordinals, least, greatest }
    }

    /// The same, in parts that lie within a day each, in the order of keys.
    pub(super) fn by_day(deliveries: impl Iterator<Item = DeliveryId>) -> Vec<Self> {
        let mut deliveries: Vec<_> = deliveries.collect();
        deliveries.sort_unstable();
        let days = deliveries.chunk_by(|a, b| same_day(*a, *b));
        days.map(|day| Self::of(day.iter().copied())).collect()
    }
}

/// Whether two deliveries lie in the same partition. A batch is split where its sorted keys go from one day to another: of one
/// that spans many days the planner sees that it lies between the first and the last, and may rather read all of them from
/// end to end than look up a few keys in each.
pub(super) fn same_day(a: DeliveryId, b: DeliveryId) -> bool {
    const DAY_MS: u128 = 24 * 3600 * 1000;
    let day = |id: DeliveryId| (id.event.uuid().as_u128() >> 80) / DAY_MS;
    day(a) == day(b)
}

/// Lets the planner look up, in this transaction, what is joined: of a few deliveries, found elsewhere, that may be of any
/// day. It would rather read all days once than ask each day's index for each of them, which is not what is done.
pub(super) async fn look_up_joined(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(LOOK_UP_JOINED).execute(connection).await.map(drop)
}

/// See [`look_up_joined`].
pub(super) const LOOK_UP_JOINED: &str = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// Lets the planner make one plan, in this transaction, that looks up what belongs to each of a batch, however large that and the
/// tables are: it outlives a table that is small.
pub(super) async fn look_up_each(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const EACH: &str = "SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan";
    sqlx::raw_sql(EACH).execute(connection).await.map(drop)
}

/// A row that begins with a delivery's key.
pub(super) fn delivery_id(row: &PgRow) -> Result<DeliveryId, sqlx::Error> {
    Ok(DeliveryId { event: EventId::from_uuid(row.try_get(0)?), ordinal: number(row, 1)? })
}

/// A number that is not negative with us.
pub(super) fn number<T: TryFrom<i32>>(row: &PgRow, column: usize) -> Result<T, sqlx::Error> {
    T::try_from(row.try_get(column)?).map_err(|_| damaged(column, "a number out of its bounds"))
}

/// A number as it is bound; ours stay far below two thousand millions.
pub(super) fn bound(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(super) fn lane(row: &PgRow, column: usize) -> Result<Lane, sqlx::Error> {
    let index = u8::try_from(row.try_get::<i16, _>(column)?).ok();
    index.and_then(Lane::from_index).ok_or_else(|| damaged(column, "no such lane"))
}

/// Reads a stored name with the type's `from_name`.
pub(super) fn named<T>(
    row: &PgRow,
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
