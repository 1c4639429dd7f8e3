//! What `record` reads before it decides: deliveries, which it locks, and what counts of their endpoints and tenants.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::record::Changed;
use super::rows::{Keys, damaged, delivery_id, lane, named, number, same_day};
use crate::delivery::{DeliveryState, DiscardReason, Outcome, Verdict};
use crate::endpoint::{EndpointStatus, StatusReason};
use crate::ids::{DeliveryId, EndpointId, TenantId};
use crate::store::standing::{EndpointFacts, Standing, TenantFacts, Wait, Waits};
use crate::tenant::{DlqOverflow, QuotaChanges};
use crate::time::Timestamp;

/// The deliveries of a batch as they stand, locked: first all of them, then, in a statement of its own that sees what was
/// waited for, what they are now.
pub(super) async fn read_standings(
    connection: &mut PgConnection,
    outcomes: &[&Outcome],
) -> Result<HashMap<DeliveryId, Changed>, sqlx::Error> {
    const LOCK: &str = "SELECT 1 FROM unnest($1::uuid[], $2::integer[]) AS w (event, ordinal) \
        JOIN deliveries d ON d.event = w.event AND d.ordinal = w.ordinal AND d.event >= $3 \
        ORDER BY d.event, d.ordinal FOR UPDATE OF d";
    // A delivery may come more than once in a batch; each of its rows may add a repeated attempt.
    const STANDINGS: &str = "SELECT d.event, d.ordinal, d.tenant, d.endpoint, d.state, d.generation, d.attempts, \
            d.schedule_position, d.expires_at, d.finished_at, s.lane, s.wait, s.due_at, \
            CASE WHEN d.attempts > 0 AND EXISTS (SELECT 1 FROM attempts a WHERE a.event = w.event \
                AND a.ordinal = w.ordinal AND a.event >= $3 AND a.id = w.attempt) THEN w.attempt END, \
            d.discarded_reason \
        FROM unnest($1::uuid[], $2::integer[], $4::uuid[]) AS w (event, ordinal, attempt) \
        JOIN deliveries d ON d.event = w.event AND d.ordinal = w.ordinal AND d.event >= $3 \
        LEFT JOIN schedule s ON s.event = d.event AND s.ordinal = d.ordinal";
    let mut sorted = outcomes.to_vec();
    sorted.sort_unstable_by_key(|outcome| outcome.delivery);
    let mut rows = Vec::with_capacity(sorted.len());
    for day in sorted.chunk_by(|a, b| same_day(a.delivery, b.delivery)) {
        let keys = Keys::of(day.iter().map(|outcome| outcome.delivery));
        let attempts: Vec<Option<Uuid>> =
            day.iter().map(|outcome| outcome.attempt.as_ref().map(|attempt| attempt.id)).collect();
        let lock = sqlx::query(LOCK).bind(&keys.events).bind(&keys.ordinals);
        lock.bind(keys.least).execute(&mut *connection).await?;
        let found = sqlx::query(STANDINGS).bind(keys.events).bind(keys.ordinals).bind(keys.least);
        rows.extend(found.bind(attempts).fetch_all(&mut *connection).await?);
    }
    let mut standings: HashMap<_, Changed> = HashMap::with_capacity(outcomes.len());
    for row in rows {
        let standing = standing(&row)?;
        let changed = standings.entry(standing.delivery).or_insert_with(|| Changed {
            before: standing.clone(),
            after: standing,
            repeated: HashSet::new(),
        });
        changed.repeated.extend(row.try_get::<Option<Uuid>, _>(13)?);
    }
    Ok(standings)
}

fn standing(row: &PgRow) -> Result<Standing, sqlx::Error> {
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
        tenant: TenantId::from_uuid(row.try_get(2)?),
        endpoint: EndpointId::from_uuid(row.try_get(3)?),
        state: named(row, 4, DeliveryState::from_name)?,
        generation: number(row, 5)?,
        attempts: number(row, 6)?,
        position: number(row, 7)?,
        expires_at: Timestamp(row.try_get(8)?),
        finished_at: row.try_get::<Option<i64>, _>(9)?.map(Timestamp),
        reason: row.try_get::<Option<&str>, _>(14)?.and_then(DiscardReason::from_name),
        waits,
    })
}

/// The endpoints and tenants of a batch, before and after it.
#[derive(Clone)]
pub(super) struct Facts {
    endpoints: HashMap<EndpointId, (EndpointFacts, EndpointFacts)>,
    tenants: HashMap<TenantId, TenantFacts>,
}

/// An endpoint that a batch changes, as it was read and as it is to be.
pub(super) struct Learnt {
    pub id: EndpointId,
    pub before: EndpointFacts,
    pub after: EndpointFacts,
}

impl Learnt {
    pub(super) fn stopped(&self) -> bool {
        self.before.status != self.after.status
    }
}

impl Facts {
    pub(super) async fn read(
        connection: &mut PgConnection,
        outcomes: &[&Outcome],
    ) -> Result<Self, sqlx::Error> {
        // A delivery that arrived asks for nothing of its tenant's.
        let asking = outcomes.iter().filter(|outcome| outcome.verdict != Verdict::Delivered);
        let tenants = read_tenants(connection, asking.map(|outcome| outcome.tenant).collect()).await?;
        let endpoints = outcomes.iter().map(|outcome| outcome.endpoint).collect();
        let endpoints = read_endpoints(connection, endpoints).await?;
        Ok(Self { endpoints: endpoints.into_iter().map(|(id, f)| (id, (f, f))).collect(), tenants })
    }

    /// Holds the endpoints `ids`, of which the batch changes something, and reads them again as they stand then. Those of
    /// `cleared` that it will change as well are held with them, for whoever holds several takes them in one order.
    pub(super) async fn hold(
        &mut self,
        connection: &mut PgConnection,
        ids: &BTreeSet<EndpointId>,
        cleared: &BTreeSet<EndpointId>,
    ) -> Result<(), sqlx::Error> {
        const HELD: &str = "SELECT id, tenant, status, status_reason, failing_since FROM endpoints \
            WHERE id = ANY($1) OR id = ANY($2) AND failing_since IS NOT NULL ORDER BY id FOR NO KEY UPDATE";
        let uuids = |ids: &BTreeSet<EndpointId>| ids.iter().map(EndpointId::uuid).collect::<Vec<Uuid>>();
        let rows = sqlx::query(HELD).bind(uuids(ids)).bind(uuids(cleared)).fetch_all(connection).await?;
        self.endpoints.retain(|id, _| !ids.contains(id));
        for row in &rows {
            let (id, facts) = endpoint(row)?;
            if ids.contains(&id) {
                self.endpoints.insert(id, (facts, facts));
            }
        }
        Ok(())
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
    pub(super) fn surplus(&self) -> Vec<(TenantId, u64)> {
        let surplus = self.tenants.iter().filter_map(|(id, facts)| {
            let drops = facts.dlq_overflow == DlqOverflow::DropOldest;
            let surplus = facts.dead.saturating_sub(facts.max_dlq_size.into());
            (drops && surplus > 0).then_some((*id, surplus))
        });
        surplus.collect()
    }

    pub(super) fn learnt(&self) -> Vec<Learnt> {
        let changed = self.endpoints.iter().filter(|(_, (before, after))| before != after);
        changed.map(|(&id, &(before, after))| Learnt { id, before, after }).collect()
    }
}

async fn read_endpoints(
    connection: &mut PgConnection,
    ids: BTreeSet<EndpointId>,
) -> Result<Vec<(EndpointId, EndpointFacts)>, sqlx::Error> {
    const ENDPOINTS: &str =
        "SELECT id, tenant, status, status_reason, failing_since FROM endpoints WHERE id = ANY($1)";
    let ids: Vec<Uuid> = ids.iter().map(EndpointId::uuid).collect();
    let rows = sqlx::query(ENDPOINTS).bind(ids).fetch_all(connection).await?;
    rows.iter().map(endpoint).collect()
}

fn endpoint(row: &PgRow) -> Result<(EndpointId, EndpointFacts), sqlx::Error> {
    let facts = EndpointFacts {
        tenant: TenantId::from_uuid(row.try_get(1)?),
        status: named(row, 2, EndpointStatus::from_name)?,
        reason: row.try_get::<Option<&str>, _>(3)?.and_then(StatusReason::from_name),
        failing_since: row.try_get::<Option<i64>, _>(4)?.map(Timestamp),
    };
    Ok((EndpointId::from_uuid(row.try_get(0)?), facts))
}

async fn read_tenants(
    connection: &mut PgConnection,
    ids: BTreeSet<TenantId>,
) -> Result<HashMap<TenantId, TenantFacts>, sqlx::Error> {
    const TENANTS: &str = "SELECT t.id, t.status = 'active', t.dispatch = 'open', t.quota, coalesce(c.dead, 0), \
                p.max_dlq_size, p.dlq_overflow \
        FROM tenants t JOIN plans p ON p.name = t.plan LEFT JOIN delivery_counts c ON c.tenant = t.id AND c.part = 0 WHERE t.id = ANY($1)";
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = ids.iter().map(TenantId::uuid).collect();
    let rows = sqlx::query(TENANTS).bind(ids).fetch_all(connection).await?;
    let facts = rows.iter().map(|row| {
        let quota: QuotaChanges = serde_json::from_str(row.try_get(3)?).map_err(|e| damaged(3, e))?;
        let max_dlq_size = u32::try_from(row.try_get::<i64, _>(5)?).map_err(|e| damaged(5, e))?;
        let facts = TenantFacts {
            lives: row.try_get(1)?,
            dispatch_open: row.try_get(2)?,
            max_dlq_size: quota.max_dlq_size.unwrap_or(max_dlq_size),
            dlq_overflow: quota.dlq_overflow.unwrap_or(named(row, 6, DlqOverflow::from_name)?),
            dead: row.try_get::<i64, _>(4)?.max(0) as u64,
        };
        Ok((TenantId::from_uuid(row.try_get(0)?), facts))
    });
    facts.collect()
}
