//! The list of dead letters, kept exactly as long as its tenant's bound says.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::bulk::Text;
use super::claim::delivery_id;
use super::counts::Moves;
use super::values::blob;
use crate::delivery::DeliveryState;
use crate::ids::{DeliveryId, TenantId};
use crate::limits;
use crate::time::Timestamp;

/// Lists new dead letters.
pub(super) async fn bury(
    connection: &mut SqliteConnection,
    died: &[(DeliveryId, TenantId, Timestamp)],
) -> Result<(), sqlx::Error> {
    const BURY: Text = Text {
        before: "INSERT INTO dead_letters (event, ordinal, tenant, died_at) VALUES ",
        row: "(?,?,?,?)",
        after: "",
    };
    let bury = BURY.execute(connection, died, |query, (id, tenant, at)| {
        query.bind(blob(id.event.uuid())).bind(id.ordinal).bind(blob(tenant.uuid())).bind(at.0)
    });
    bury.await.map(drop)
}

/// Takes the tenant's `surplus` oldest dead letters off the list (a bounded number at a time, should the bound have been
/// lowered a lot), and returns them. Those that the caller `knows` are its own to end; the others end here.
pub(super) async fn make_room(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    surplus: u64,
    knows: impl Fn(&DeliveryId) -> bool,
    moves: &mut Moves,
) -> Result<Vec<DeliveryId>, sqlx::Error> {
    const OVERFLOW: Text = Text {
        before: "UPDATE deliveries SET state = 'discarded', discarded_reason = 'dlq_overflow' WHERE (event, ordinal) IN (VALUES ",
        row: "(?,?)",
        after: ") AND state = 'dead' RETURNING attempts",
    };
    const FORGET: Text = Text {
        before: "DELETE FROM dead_letters WHERE (tenant, event, ordinal) IN (VALUES ",
        row: "(?,?,?)",
        after: ")",
    };
    let bound = u64::from(limits::SWEEP_ROWS) + limits::RECORD_BATCH as u64;
    let oldest =
        "SELECT event, ordinal FROM dead_letters WHERE tenant = ? ORDER BY died_at, event, ordinal LIMIT ?";
    let oldest = sqlx::query(oldest).bind(blob(tenant.uuid())).bind(surplus.min(bound) as i64);
    let rows = oldest.fetch_all(&mut *connection).await?;
    let ids = rows.iter().map(delivery_id).collect::<Result<Vec<_>, _>>()?;
    let others: Vec<_> = ids.iter().copied().filter(|id| !knows(id)).collect();
    let overflowed =
        OVERFLOW.fetch(connection, &others, |query, id| query.bind(blob(id.event.uuid())).bind(id.ordinal));
    for row in overflowed.await? {
        let attempts = row.try_get(0)?;
        moves.moved(tenant, (DeliveryState::Dead, attempts), (DeliveryState::Discarded, attempts));
    }
    let keys: Vec<_> = ids.iter().map(|id| (tenant, *id)).collect();
    let forget = FORGET.execute(connection, &keys, |query, (tenant, id)| {
        query.bind(blob(tenant.uuid())).bind(blob(id.event.uuid())).bind(id.ordinal)
    });
    forget.await?;
    Ok(ids)
}
