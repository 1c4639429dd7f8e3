//! What waits: who has something due, claims, the release of what is held.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::bulk::Text;
use super::values::{blob, damaged, uuid};
use crate::delivery::Lane;
use crate::ids::{DeliveryId, EndpointId, EventId, TenantId};
use crate::limits;
use crate::store::{Claim, ClaimFrom, Claimed, DueWork};
use crate::time::Timestamp;

/// See [`crate::store::Deliveries::due_work`]. Each step of the recursions is one look into an index.
pub(super) async fn due_work(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<DueWork, sqlx::Error> {
    const LANES: &str = "WITH RECURSIVE tenants (tenant) AS ( \
            SELECT min(tenant) FROM schedule WHERE wait = 'time' \
            UNION ALL SELECT (SELECT min(s.tenant) FROM schedule s WHERE s.wait = 'time' AND s.tenant > t.tenant) \
            FROM tenants t WHERE t.tenant IS NOT NULL), \
        lanes (lane) AS (VALUES (0), (1), (2)) \
        SELECT t.tenant, l.lane, \
            (SELECT min(s.due_at) FROM schedule s WHERE s.wait = 'time' AND s.tenant = t.tenant AND s.lane = l.lane), \
            (SELECT min(s.due_at) FROM schedule s WHERE s.wait = 'time' AND s.tenant = t.tenant AND s.lane = l.lane \
                AND s.due_at > ?1) \
        FROM tenants t CROSS JOIN lanes l WHERE t.tenant IS NOT NULL";
    let mut work = DueWork::default();
    for row in sqlx::query(LANES).bind(now.0).fetch_all(&mut *connection).await? {
        if row.try_get::<Option<i64>, _>(2)?.is_some_and(|first| first <= now.0) {
            work.due.push((TenantId::from_uuid(uuid(&row, 0)?), lane(&row, 1)?));
        }
        let later = row.try_get::<Option<i64>, _>(3)?.map(Timestamp);
        work.next_due_at = work.next_due_at.into_iter().chain(later).min();
    }
    for row in sqlx::query(PARKED).fetch_all(connection).await? {
        work.parked.push((TenantId::from_uuid(uuid(&row, 0)?), EndpointId::from_uuid(uuid(&row, 1)?)));
    }
    Ok(work)
}

/// The endpoints with anything that waits, one look each.
macro_rules! waiting_endpoints {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE waiting (tenant, endpoint) AS ( \
                SELECT * FROM (SELECT tenant, endpoint FROM schedule ORDER BY tenant, endpoint LIMIT 1) \
                UNION ALL SELECT s.tenant, s.endpoint FROM waiting w CROSS JOIN schedule s \
                ON s.event = (SELECT n.event FROM schedule n WHERE (n.tenant, n.endpoint) > (w.tenant, w.endpoint) \
                    ORDER BY n.tenant, n.endpoint LIMIT 1) \
                AND s.ordinal = (SELECT n.ordinal FROM schedule n WHERE (n.tenant, n.endpoint) > (w.tenant, w.endpoint) \
                    ORDER BY n.tenant, n.endpoint LIMIT 1)) ",
            $rest
        )
    };
}

const PARKED: &str = waiting_endpoints!(
    "SELECT w.tenant, w.endpoint FROM waiting w WHERE EXISTS (SELECT 1 FROM schedule p \
        WHERE p.tenant = w.tenant AND p.endpoint = w.endpoint AND p.wait = 'parked')"
);

const RELEASABLE: &str = waiting_endpoints!(
    "SELECT w.tenant, w.endpoint FROM waiting w \
        CROSS JOIN endpoints e ON e.id = w.endpoint AND e.status = 'active' \
        CROSS JOIN tenants t ON t.id = w.tenant AND t.status = 'active' AND t.dispatch = 'open' \
        WHERE EXISTS (SELECT 1 FROM schedule h \
            WHERE h.tenant = w.tenant AND h.endpoint = w.endpoint AND h.wait = 'held')"
);

/// Wants in pieces of what one job of the writer claims: small ones together, a large one on its own and cut.
pub(super) struct Pieces {
    left: VecDeque<Claim>,
    cut: bool,
}

impl Pieces {
    pub(super) fn of(wants: &[Claim]) -> Self {
        Self { left: wants.iter().copied().collect(), cut: false }
    }

    pub(super) fn next(&mut self) -> Option<Vec<Claim>> {
        let first = self.left.front_mut()?;
        self.cut = first.limit > limits::WRITER_ROWS;
        if self.cut {
            first.limit -= limits::WRITER_ROWS;
            return Some(vec![Claim { limit: limits::WRITER_ROWS, ..*first }]);
        }
        let mut rows = 0;
        let within = |want: &&Claim| {
            rows += want.limit;
            rows <= limits::WRITER_ROWS
        };
        let count = self.left.iter().take_while(within).count();
        Some(self.left.drain(..count).collect())
    }

    /// The last piece was not had in full: what is left of the want that it was cut from would find nothing.
    pub(super) fn came_short(&mut self) {
        if self.cut {
            self.left.pop_front();
        }
    }
}

/// See [`crate::store::Deliveries::claim`].
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    wants: &[Claim],
    lease: Duration,
    now: Timestamp,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let mut found = Vec::new();
    let mut places = HashMap::new();
    for want in wants {
        for row in waiting(connection, want, now).await? {
            let delivery = delivery_id(&row)?;
            // Two wants may name the same place.
            places.entry(delivery).or_insert_with(|| found.len());
            if places[&delivery] == found.len() {
                let endpoint = EndpointId::from_uuid(uuid(&row, 2)?);
                found.push(Claimed {
                    delivery,
                    tenant: want.tenant,
                    endpoint,
                    lane: lane(&row, 3)?,
                    generation: 0,
                });
            }
        }
    }
    take(connection, &found, now.after(lease)).await
}

async fn waiting(
    connection: &mut SqliteConnection,
    want: &Claim,
    now: Timestamp,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    const DUE: &str = "SELECT event, ordinal, endpoint, lane FROM schedule WHERE wait = 'time' AND tenant = ? AND lane = ? \
        AND due_at <= ? ORDER BY due_at LIMIT ?";
    const PARKED: &str = "SELECT event, ordinal, endpoint, lane FROM schedule INDEXED BY schedule_parked \
        WHERE wait = 'parked' AND tenant = ? AND endpoint = ? AND lane = ? ORDER BY due_at LIMIT ?";
    let tenant = blob(want.tenant.uuid());
    match want.from {
        ClaimFrom::Due(lane) => {
            let query = sqlx::query(DUE).bind(tenant).bind(lane as u8).bind(now.0).bind(want.limit);
            query.fetch_all(connection).await
        }
        ClaimFrom::Parked { endpoint, lanes } => {
            let mut rows = Vec::new();
            for lane in lanes {
                let left = want.limit - rows.len() as u32;
                if left == 0 {
                    break;
                }
                let query =
                    sqlx::query(PARKED).bind(tenant.clone()).bind(blob(endpoint.uuid())).bind(lane as u8);
                rows.extend(query.bind(left).fetch_all(&mut *connection).await?);
            }
            Ok(rows)
        }
    }
}

/// Raises the generations and sets the leases; answers in the order of `found`.
async fn take(
    connection: &mut SqliteConnection,
    found: &[Claimed],
    until: Timestamp,
) -> Result<Vec<Claimed>, sqlx::Error> {
    const RAISE: Text = Text {
        before: "UPDATE deliveries SET state = 'queued', generation = generation + 1 WHERE (event, ordinal) IN (VALUES ",
        row: "(?,?)",
        after: ") AND state IN ('scheduled', 'queued') RETURNING event, ordinal, generation",
    };
    let raised = RAISE.fetch(connection, found, |query, claimed| {
        query.bind(blob(claimed.delivery.event.uuid())).bind(claimed.delivery.ordinal)
    });
    let raised = raised.await?;
    let raised = raised.iter().map(|row| Ok((delivery_id(row)?, row.try_get(2)?)));
    let raised = raised.collect::<Result<HashMap<DeliveryId, u32>, sqlx::Error>>()?;
    let leased: Vec<_> = found.iter().map(|claimed| (claimed.delivery, until)).collect();
    DUE_AT.execute(connection, &leased, bind_place).await?;
    let claimed = found
        .iter()
        .filter_map(|claimed| Some(Claimed { generation: *raised.get(&claimed.delivery)?, ..*claimed }));
    Ok(claimed.collect())
}

/// A tenant and its endpoints, by their stored ids.
type Releasable = (Vec<u8>, Vec<Vec<u8>>);

/// Whom [`release_held`] would release something for, by tenant. Walks all that waits, so it is not for the writer.
pub(super) async fn releasable(connection: &mut SqliteConnection) -> Result<Vec<Releasable>, sqlx::Error> {
    let mut tenants: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in sqlx::query(RELEASABLE).fetch_all(connection).await? {
        tenants.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
    }
    Ok(tenants.into_iter().collect())
}

/// See [`crate::store::Deliveries::release_held`]. With more tenants than `limit` it begins at the one of index `first`.
pub(super) async fn release_held(
    connection: &mut SqliteConnection,
    of: Vec<Releasable>,
    first: usize,
    limit: u32,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    const STATE: Text = Text {
        before: "UPDATE deliveries SET state = 'scheduled' WHERE (event, ordinal) IN (VALUES ",
        row: "(?,?)",
        after: ") AND state = 'held'",
    };
    let held = in_equal_parts(connection, of, limit, first).await?;
    let held: Vec<_> = held.into_iter().map(|id| (id, now)).collect();
    DUE_AT.execute(connection, &held, bind_place).await?;
    let bind = |query: super::bulk::Bound, (id, _): &(DeliveryId, Timestamp)| {
        query.bind(blob(id.event.uuid())).bind(id.ordinal)
    };
    STATE.execute(connection, &held, bind).await
}

/// At most `limit` of what may be released, the oldest of each endpoint first. Every tenant gets an equal part, or a large
/// one would take step after step for itself; what that leaves goes to whoever has more. Which tenant is the first goes
/// around, for when there are more of them than `limit`.
async fn in_equal_parts(
    connection: &mut SqliteConnection,
    mut of: Vec<Releasable>,
    limit: u32,
    first: usize,
) -> Result<Vec<DeliveryId>, sqlx::Error> {
    let first = first % of.len().max(1);
    of.rotate_left(first);
    let part = (limit / u32::try_from(of.len().max(1)).unwrap_or(u32::MAX)).max(1);
    let mut taken: Vec<DeliveryId> = Vec::new();
    let mut by_endpoint = HashMap::new();
    for most in [part, limit] {
        for (tenant, endpoints) in &of {
            let mut left = most.min(limit - taken.len() as u32);
            for endpoint in endpoints {
                if left == 0 {
                    break;
                }
                let before = by_endpoint.entry(endpoint).or_insert(0);
                let rows = held(connection, tenant, endpoint, left, *before).await?;
                left -= rows.len() as u32;
                *before += rows.len() as u32;
                for row in &rows {
                    taken.push(delivery_id(row)?);
                }
            }
        }
    }
    Ok(taken)
}

/// What an endpoint has held, unless it or its tenant is not active any more.
async fn held(
    connection: &mut SqliteConnection,
    tenant: &[u8],
    endpoint: &[u8],
    limit: u32,
    offset: u32,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    const HELD: &str = "SELECT event, ordinal FROM schedule WHERE tenant = ?1 AND endpoint = ?2 AND wait = 'held' \
        AND EXISTS (SELECT 1 FROM endpoints e CROSS JOIN tenants t ON t.id = ?1 AND t.status = 'active' AND t.dispatch = 'open' \
            WHERE e.id = ?2 AND e.status = 'active') \
        ORDER BY due_at LIMIT ?3 OFFSET ?4";
    let query = sqlx::query(HELD).bind(tenant.to_vec()).bind(endpoint.to_vec()).bind(limit).bind(offset);
    query.fetch_all(connection).await
}

/// From now on these wait for a time: their turn, or the end of a claim's lease.
const DUE_AT: Text = Text {
    before: "WITH new (event, ordinal, due_at) AS (VALUES ",
    row: "(?,?,?)",
    after: ") UPDATE schedule SET wait = 'time', due_at = new.due_at FROM new \
            WHERE schedule.event = +new.event AND schedule.ordinal = +new.ordinal",
};

fn bind_place(query: super::bulk::Bound, (id, at): &(DeliveryId, Timestamp)) -> super::bulk::Bound {
    query.bind(blob(id.event.uuid())).bind(id.ordinal).bind(at.0)
}

/// A row that begins with a delivery's key.
pub(super) fn delivery_id(row: &SqliteRow) -> Result<DeliveryId, sqlx::Error> {
    Ok(DeliveryId { event: EventId::from_uuid(uuid(row, 0)?), ordinal: row.try_get(1)? })
}

pub(super) fn lane(row: &SqliteRow, column: usize) -> Result<Lane, sqlx::Error> {
    Lane::from_index(row.try_get(column)?).ok_or_else(|| damaged(column, "no such lane"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_wants_are_claimed_together_and_a_large_one_until_it_comes_short() {
        let want = |limit| Claim { tenant: TenantId::generate(), from: ClaimFrom::Due(Lane::First), limit };
        let rows = limits::WRITER_ROWS;
        let wants = [want(1), want(rows - 1), want(3 * rows), want(2 * rows), want(1)];
        let mut pieces = Pieces::of(&wants);
        let mut took = Vec::new();
        while let Some(piece) = pieces.next() {
            if piece[0].tenant == wants[2].tenant && took.len() == 2 {
                pieces.came_short();
            }
            took.push(piece.iter().map(|want| want.limit).collect::<Vec<_>>());
        }
        let cut = [rows, rows, rows, rows].map(|limit| vec![limit]);
        let [first, short, whole, rest] = cut;
        assert_eq!(took, [vec![1, rows - 1], first, short, whole, rest, vec![1]]);
    }
}
