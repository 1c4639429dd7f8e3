//! `delivery_counts`: how each tenant's deliveries stand, moved in the transaction that moves them.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::delivery::DeliveryState;
use crate::ids::{EndpointId, TenantId};

/// Locks the counts that hold the number of dead letters, before anything else is locked: whoever moves that number does
/// this first, so that it is exact.
pub(super) async fn lock(
    connection: &mut PgConnection,
    tenants: &BTreeSet<TenantId>,
) -> Result<(), sqlx::Error> {
    const LOCK: &str =
        "SELECT 1 FROM delivery_counts WHERE tenant = ANY($1) AND part = 0 ORDER BY tenant FOR UPDATE";
    if tenants.is_empty() {
        return Ok(());
    }
    let tenants: Vec<_> = tenants.iter().map(TenantId::uuid).collect();
    sqlx::query(LOCK).bind(tenants).execute(connection).await.map(drop)
}

/// Moves of counts, per tenant.
#[derive(Debug, Default)]
pub(super) struct Moves(BTreeMap<TenantId, Move>);

/// In the order of the columns.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Move {
    accepted: i64,
    delivered: i64,
    dead: i64,
    discarded: i64,
    backlog: i64,
    retrying: i64,
}

impl Move {
    /// Where a delivery of this state and so many attempts is counted.
    fn place(&mut self, state: DeliveryState, attempts: u32) -> &mut i64 {
        match state {
            DeliveryState::Delivered => &mut self.delivered,
            DeliveryState::Dead => &mut self.dead,
            DeliveryState::Discarded => &mut self.discarded,
            DeliveryState::Queued | DeliveryState::Scheduled | DeliveryState::Held => match attempts {
                0 => &mut self.backlog,
                _ => &mut self.retrying,
            },
        }
    }
}

impl Moves {
    /// So many deliveries are new, unfinished and without an attempt.
    pub(super) fn accepted(&mut self, tenant: TenantId, deliveries: usize) {
        if deliveries > 0 {
            let moved = self.0.entry(tenant).or_default();
            moved.accepted += deliveries as i64;
            moved.backlog += deliveries as i64;
        }
    }

    /// A delivery went from one state and number of attempts to another.
    pub(super) fn moved(&mut self, tenant: TenantId, from: (DeliveryState, u32), to: (DeliveryState, u32)) {
        let moved = self.0.entry(tenant).or_default();
        *moved.place(from.0, from.1) -= 1;
        *moved.place(to.0, to.1) += 1;
    }

    /// Writes the moves, as the last thing of a transaction, for others wait for these rows until its commit. Those of
    /// `locked` tenants go to the part that they have locked. On the way, `cleared` endpoints learn that they do not fail.
    pub(super) async fn write(
        self,
        connection: &mut PgConnection,
        locked: &BTreeSet<TenantId>,
        cleared: &BTreeSet<EndpointId>,
    ) -> Result<(), sqlx::Error> {
        // The endpoints come first, in their order: the rows are counted before one is inserted.
        const ADD: &str = "WITH cleared AS (UPDATE endpoints SET failing_since = NULL \
                WHERE id IN (SELECT id FROM endpoints WHERE id = ANY($9) AND failing_since IS NOT NULL \
                    ORDER BY id FOR NO KEY UPDATE) RETURNING id) \
            INSERT INTO delivery_counts AS c (tenant, part, accepted, delivered, dead, discarded, backlog, retrying) \
            SELECT w.tenant, CASE WHEN w.locked THEN 0 ELSE 1 + pg_backend_pid() % 7 END AS part, \
                w.accepted, w.delivered, w.dead, w.discarded, w.backlog, w.retrying \
            FROM unnest($1::uuid[], $2::boolean[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], \
                $8::bigint[]) AS w (tenant, locked, accepted, delivered, dead, discarded, backlog, retrying) \
            WHERE (SELECT count(*) FROM cleared) >= 0 ORDER BY 1, 2 \
            ON CONFLICT (tenant, part) DO UPDATE SET accepted = c.accepted + excluded.accepted, \
                delivered = c.delivered + excluded.delivered, dead = c.dead + excluded.dead, \
                discarded = c.discarded + excluded.discarded, backlog = c.backlog + excluded.backlog, \
                retrying = c.retrying + excluded.retrying";
        let rows: Vec<_> = self.0.into_iter().filter(|(_, moved)| *moved != Move::default()).collect();
        if rows.is_empty() && cleared.is_empty() {
            return Ok(());
        }
        let column = |read: fn(&Move) -> i64| rows.iter().map(|(_, m)| read(m)).collect::<Vec<_>>();
        sqlx::query(ADD)
            .bind(rows.iter().map(|(tenant, _)| tenant.uuid()).collect::<Vec<Uuid>>())
            .bind(rows.iter().map(|(tenant, _)| locked.contains(tenant)).collect::<Vec<bool>>())
            .bind(column(|m| m.accepted))
            .bind(column(|m| m.delivered))
            .bind(column(|m| m.dead))
            .bind(column(|m| m.discarded))
            .bind(column(|m| m.backlog))
            .bind(column(|m| m.retrying))
            .bind(cleared.iter().map(EndpointId::uuid).collect::<Vec<_>>())
            .execute(connection)
            .await
            .map(drop)
    }
}
