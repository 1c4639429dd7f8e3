//! What `record` reads before it decides.

use std::collections::{HashMap, HashSet};

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::bulk::Text;
use super::claim::{delivery_id, lane};
use super::record::Changed;
use super::values::{blob, damaged, named, uuid};
use crate::delivery::{DeliveryState, DiscardReason, Outcome, Verdict};
use crate::endpoint::{EndpointStatus, StatusReason};
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::store::standing::{EndpointFacts, Standing, TenantFacts, Wait, Waits};
use crate::tenant::{DlqOverflow, QuotaChanges};
use crate::time::Timestamp;

/// The deliveries of a batch as they stand.
pub(super) async fn read_standings(
    connection: &mut SqliteConnection,
    outcomes: &[Outcome],
) -> Result<HashMap<DeliveryId, Changed>, sqlx::Error> {
    // A delivery may come more than once in a batch; each of its rows may add a repeated attempt.
    const STANDINGS: Text = Text {
        before: "WITH wanted (event, ordinal, attempt) AS (VALUES ",
        row: "(?,?,?)",
        after: ") SELECT d.event, d.ordinal, d.tenant, d.endpoint, d.state, d.generation, d.attempts, d.schedule_position, \
                d.expires_at, d.finished_at, s.lane, s.wait, s.due_at, \
                CASE WHEN d.attempts > 0 AND EXISTS (SELECT 1 FROM attempts a WHERE a.event = d.event \
                    AND a.ordinal = d.ordinal AND a.id = w.attempt) THEN w.attempt END, d.discarded_reason \
                FROM wanted w CROSS JOIN deliveries d ON d.event = w.event AND d.ordinal = w.ordinal \
                LEFT JOIN schedule s ON s.event = d.event AND s.ordinal = d.ordinal",
    };
    let rows = STANDINGS.fetch(connection, outcomes, |query, outcome| {
        let id = outcome.delivery;
        let attempt = outcome.attempt.as_ref().map(|attempt| blob(attempt.id));
        query.bind(blob(id.event.uuid())).bind(id.ordinal).bind(attempt)
    });
    let mut standings: HashMap<_, Changed> = HashMap::with_capacity(outcomes.len());
    for row in rows.await? {
        let standing = standing(&row)?;
        let changed = standings.entry(standing.delivery).or_insert_with(|| Changed {
            before: standing.clone(),
            after: standing,
            repeated: HashSet::new(),
        });
        changed.repeated.extend(super::values::optional_uuid(&row, 13)?);
    }
    Ok(standings)
}

fn standing(row: &SqliteRow) -> Result<Standing, sqlx::Error> {
    let waits = match row.try_get::<Option<i64>, _>(12)? {
        Some(due_at) => Some(Waits {
            lane: lane(row, 10)?,
            wait: named(row, 11, Wait::from_name)?,
            due_at: Timestamp(due_at),
        }),
        None => None,
    };
    Ok(Standing {
        delivery: delivery_id(row)?,
        tenant: TenantId::from_uuid(uuid(row, 2)?),
        endpoint: EndpointId::from_uuid(uuid(row, 3)?),
        state: named(row, 4, DeliveryState::from_name)?,
        generation: row.try_get(5)?,
        attempts: row.try_get(6)?,
        position: row.try_get(7)?,
        expires_at: Timestamp(row.try_get(8)?),
        finished_at: row.try_get::<Option<i64>, _>(9)?.map(Timestamp),
        reason: row.try_get::<Option<&str>, _>(14)?.and_then(DiscardReason::from_name),
        waits,
    })
}

/// The endpoints and tenants of a batch, before and after it.
pub(super) struct Facts {
    endpoints: HashMap<EndpointId, (EndpointFacts, EndpointFacts)>,
    tenants: HashMap<TenantId, TenantFacts>,
}

impl Facts {
    pub(super) async fn read(
        connection: &mut SqliteConnection,
        outcomes: &[Outcome],
    ) -> Result<Self, sqlx::Error> {
        let mut tenants = HashMap::new();
        // A delivery that arrived asks for nothing of its tenant's.
        let asking = outcomes.iter().filter(|outcome| outcome.verdict != Verdict::Delivered);
        for (id, facts) in read_tenants(connection, distinct(asking.map(|outcome| outcome.tenant))).await? {
            tenants.insert(id, facts);
        }
        let endpoints = distinct(outcomes.iter().map(|outcome| outcome.endpoint));
        let endpoints = read_endpoints(connection, endpoints).await?;
        Ok(Self { endpoints: endpoints.into_iter().map(|(id, f)| (id, (f, f))).collect(), tenants })
    }

    /// A delivery's endpoint and tenant; what is not there is deleted.
    pub(super) fn of(&mut self, standing: &Standing) -> (&mut EndpointFacts, &mut TenantFacts) {
        let gone = EndpointFacts {
            tenant: standing.tenant,
            status: EndpointStatus::Deleted,
            reason: None,
            failing_since: None,
        };
        let endpoint = self.endpoints.entry(standing.endpoint).or_insert((gone, gone));
        (&mut endpoint.1, self.tenants.entry(standing.tenant).or_insert(TenantFacts::GONE))
    }

    /// Tenants whose oldest dead letters have to go, and how many.
    pub(super) fn surplus(&self) -> impl Iterator<Item = (TenantId, u64)> {
        self.tenants.iter().filter_map(|(id, facts)| {
            let drops = facts.dlq_overflow == DlqOverflow::DropOldest;
            let surplus = facts.dead.saturating_sub(facts.max_dlq_size.into());
            (drops && surplus > 0).then_some((*id, surplus))
        })
    }

    /// Endpoints that changed, and whether their status did.
    pub(super) fn changed_endpoints(&self) -> Vec<(EndpointId, EndpointFacts, bool)> {
        let changed = self.endpoints.iter().filter(|(_, (before, after))| before != after);
        changed.map(|(id, (before, after))| (*id, *after, before.status != after.status)).collect()
    }
}

fn distinct<T: Ord>(ids: impl Iterator<Item = T>) -> Vec<T> {
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

async fn read_endpoints(
    connection: &mut SqliteConnection,
    ids: Vec<EndpointId>,
) -> Result<Vec<(EndpointId, EndpointFacts)>, sqlx::Error> {
    const ENDPOINTS: Text = Text {
        before: "SELECT id, tenant, status, status_reason, failing_since FROM endpoints WHERE id IN (",
        row: "?",
        after: ")",
    };
    let rows = ENDPOINTS.fetch(connection, &ids, |query, id| query.bind(blob(id.uuid()))).await?;
    let facts = rows.iter().map(|row| {
        let facts = EndpointFacts {
            tenant: TenantId::from_uuid(uuid(row, 1)?),
            status: named(row, 2, EndpointStatus::from_name)?,
            reason: row.try_get::<Option<&str>, _>(3)?.and_then(StatusReason::from_name),
            failing_since: row.try_get::<Option<i64>, _>(4)?.map(Timestamp),
        };
        Ok((EndpointId::from_uuid(uuid(row, 0)?), facts))
    });
    facts.collect()
}

async fn read_tenants(
    connection: &mut SqliteConnection,
    ids: Vec<TenantId>,
) -> Result<Vec<(TenantId, TenantFacts)>, sqlx::Error> {
    const TENANTS: Text = Text {
        before: "SELECT t.id, t.status = 'active', t.dispatch = 'open', t.quota, coalesce(c.dead, 0), \
                p.max_dlq_size, p.dlq_overflow \
                 FROM tenants t CROSS JOIN plans p ON p.name = t.plan LEFT JOIN delivery_counts c ON c.tenant = t.id WHERE t.id IN (",
        row: "?",
        after: ")",
    };
    let rows = TENANTS.fetch(connection, &ids, |query, id| query.bind(blob(id.uuid()))).await?;
    let facts = rows.iter().map(|row| {
        let quota: QuotaChanges = serde_json::from_str(row.try_get(3)?).map_err(|e| damaged(3, e))?;
        let facts = TenantFacts {
            lives: row.try_get(1)?,
            dispatch_open: row.try_get(2)?,
            max_dlq_size: quota.max_dlq_size.unwrap_or(row.try_get(5)?),
            dlq_overflow: quota.dlq_overflow.unwrap_or(named(row, 6, DlqOverflow::from_name)?),
            dead: row.try_get::<i64, _>(4)?.max(0) as u64,
        };
        Ok((TenantId::from_uuid(uuid(row, 0)?), facts))
    });
    facts.collect()
}
