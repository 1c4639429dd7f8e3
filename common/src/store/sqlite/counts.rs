//! `delivery_counts`: how each tenant's deliveries stand, moved in the transaction that moves them.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteConnection;

use super::bulk::Text;
use super::values::blob;
use crate::delivery::DeliveryState;
use crate::ids::TenantId;

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

    /// Writes the moves: one row per tenant.
    pub(super) async fn write(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        const ADD: Text = Text {
            before: "INSERT INTO delivery_counts (tenant, accepted, delivered, dead, discarded, backlog, retrying) VALUES ",
            row: "(?,?,?,?,?,?,?)",
            after: " ON CONFLICT (tenant) DO UPDATE SET accepted = accepted + excluded.accepted, \
                    delivered = delivered + excluded.delivered, dead = dead + excluded.dead, \
                    discarded = discarded + excluded.discarded, backlog = backlog + excluded.backlog, \
                    retrying = retrying + excluded.retrying",
        };
        let rows: Vec<_> = self.0.into_iter().filter(|(_, moved)| *moved != Move::default()).collect();
        let bind = |query: super::bulk::Bound, (tenant, moved): &(TenantId, Move)| {
            let query = query.bind(blob(tenant.uuid())).bind(moved.accepted).bind(moved.delivered);
            query.bind(moved.dead).bind(moved.discarded).bind(moved.backlog).bind(moved.retrying)
        };
        ADD.execute(connection, &rows, bind).await.map(drop)
    }
}
