//! The list of dead letters, kept exactly as long as its tenant's bound says. Who comes here has locked the tenant's counts.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::counts::Moves;
use super::rows::{Keys, delivery_id, number};
use crate::delivery::DeliveryState;
use crate::ids::{DeliveryId, TenantId};
use crate::limits;
use crate::time::Timestamp;

/// Lists new dead letters.
pub(super) async fn bury(
    connection: &mut PgConnection,
    died: &[(DeliveryId, TenantId, Timestamp)],
) -> Result<(), sqlx::Error> {
    const BURY: &str = "INSERT INTO dead_letters (event, ordinal, tenant, died_at) \
        SELECT * FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::bigint[])";
    let keys = Keys::of(died.iter().map(|(id, ..)| *id));
    let bury = sqlx::query(BURY)
        .bind(keys.events)
        .bind(keys.ordinals)
        .bind(died.iter().map(|(_, tenant, _)| tenant.uuid()).collect::<Vec<_>>())
        .bind(died.iter().map(|(.., at)| at.0).collect::<Vec<_>>());
    bury.execute(connection).await.map(drop)
}

/// Takes the `surplus` oldest dead letters of each tenant off its list (a bounded number at a time, should the bound have
/// been lowered a lot), and returns them. Those that the caller `knows` are its own to end; the others end here.
pub(super) async fn make_room(
    connection: &mut PgConnection,
    surplus: &[(TenantId, u64)],
    knows: impl Fn(&DeliveryId) -> bool,
    moves: &mut Moves,
) -> Result<Vec<DeliveryId>, sqlx::Error> {
    const FORGET: &str = "DELETE FROM dead_letters l USING unnest($1::uuid[], $2::bigint[]) AS w (tenant, surplus) \
        CROSS JOIN LATERAL (SELECT event, ordinal FROM dead_letters WHERE tenant = w.tenant \
            ORDER BY died_at, event, ordinal LIMIT w.surplus) o \
        WHERE l.tenant = w.tenant AND l.event = o.event AND l.ordinal = o.ordinal RETURNING l.event, l.ordinal";
    const OVERFLOW: &str = "UPDATE deliveries d SET state = 'discarded', discarded_reason = 'dlq_overflow' \
        FROM unnest($1::uuid[], $2::integer[]) AS w (event, ordinal) \
        WHERE d.event = w.event AND d.ordinal = w.ordinal AND d.event >= $3 AND d.state = 'dead' \
        RETURNING d.tenant, d.attempts";
    let bound = u64::from(limits::SWEEP_ROWS) + limits::RECORD_BATCH as u64;
    let rows = sqlx::query(FORGET)
        .bind(surplus.iter().map(|(tenant, _)| tenant.uuid()).collect::<Vec<_>>())
        .bind(surplus.iter().map(|(_, surplus)| (*surplus).min(bound) as i64).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await?;
    let gone = rows.iter().map(delivery_id).collect::<Result<Vec<_>, _>>()?;
    for keys in Keys::by_day(gone.iter().copied().filter(|id| !knows(id))) {
        let overflow = sqlx::query(OVERFLOW).bind(keys.events).bind(keys.ordinals);
        let overflow = overflow.bind(keys.least).fetch_all(&mut *connection).await?;
        for row in overflow {
            let (tenant, attempts) = (TenantId::from_uuid(row.try_get(0)?), number(&row, 1)?);
            moves.moved(tenant, (DeliveryState::Dead, attempts), (DeliveryState::Discarded, attempts));
        }
    }
    Ok(gone)
}
