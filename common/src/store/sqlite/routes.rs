//! What a batch has to know before it is admitted: where its events go, and which idempotency keys were used.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::bulk::Text;
use super::recent::Recent;
use super::values::{blob, named, optional_uuid, uuid};
use crate::endpoint::EndpointStatus;
use crate::event::{Idempotency, NewEvent};
use crate::ids::{EndpointId, EventId, TenantId};
use crate::store::Admission;
use crate::time::Timestamp;

/// Endpoints, and how each stands.
pub(super) type Targets = Arc<[(EndpointId, EndpointStatus)]>;

/// The endpoints of each tenant and type of a batch, as they stand in its transaction.
pub(super) struct Routes {
    /// `None`: the tenant is unknown or being deleted.
    targets: Vec<Option<Targets>>,
    /// Which of them an event has.
    of: HashMap<Aim, usize>,
}

/// Events with the same aim go to the same endpoints.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Aim {
    Type(TenantId, String),
    Endpoint(TenantId, EndpointId),
}

impl Aim {
    fn of(event: &NewEvent) -> Self {
        match event.only_endpoint {
            Some(endpoint) => Self::Endpoint(event.tenant, endpoint),
            None => Self::Type(event.tenant, event.event_type.as_str().to_owned()),
        }
    }
}

impl Routes {
    pub(super) async fn read(
        connection: &mut SqliteConnection,
        events: &[NewEvent],
        recent: &Recent,
    ) -> Result<Self, sqlx::Error> {
        const MATCHING: Text = Text {
            before: "WITH wanted (n, tenant, type, only_endpoint) AS (VALUES ",
            row: "(?,?,?,?)",
            after: ") SELECT w.n, e.id, e.status FROM wanted w \
                    CROSS JOIN tenants t ON t.id = w.tenant AND t.status = 'active' \
                    LEFT JOIN endpoints e ON e.tenant = w.tenant AND e.status <> 'deleted' AND CASE \
                        WHEN w.only_endpoint IS NOT NULL THEN e.id = w.only_endpoint \
                        ELSE EXISTS (SELECT 1 FROM json_each(e.event_types) p WHERE w.type GLOB p.value) END \
                    ORDER BY w.n, e.id",
        };
        let mut of = HashMap::new();
        let mut aims = Vec::new();
        for event in events {
            let n = of.len();
            of.entry(Aim::of(event)).or_insert_with_key(|aim| {
                aims.push(aim.clone());
                n
            });
        }
        let mut targets = recent.routes(&aims);
        let unknown: Vec<_> = aims.iter().enumerate().filter(|(n, _)| targets[*n].is_none()).collect();
        let rows = MATCHING.fetch(connection, &unknown, |query, (n, aim)| {
            let query = query.bind(*n as i64);
            match aim {
                Aim::Type(tenant, name) => {
                    query.bind(blob(tenant.uuid())).bind(name.clone()).bind(None::<Vec<u8>>)
                }
                Aim::Endpoint(tenant, id) => {
                    query.bind(blob(tenant.uuid())).bind(None::<String>).bind(blob(id.uuid()))
                }
            }
        });
        let mut found: Vec<Option<Vec<_>>> = vec![None; aims.len()];
        for row in rows.await? {
            let n: u32 = row.try_get(0)?;
            let endpoints = found[n as usize].get_or_insert_default();
            if let Some(id) = optional_uuid(&row, 1)? {
                endpoints.push((EndpointId::from_uuid(id), named(&row, 2, EndpointStatus::from_name)?));
            }
        }
        for (n, found) in found.into_iter().enumerate() {
            let Some(found) = found else { continue };
            let found: Targets = found.into();
            recent.learn_route(&aims[n], &found);
            targets[n] = Some(found);
        }
        Ok(Self { targets, of })
    }

    /// Where an event of the batch goes, or what is said instead.
    pub(super) fn of(&self, event: &NewEvent) -> Result<&[(EndpointId, EndpointStatus)], Admission> {
        match &self.targets[self.of[&Aim::of(event)]] {
            None => Err(Admission::NoSuchTenant),
            Some(targets) if targets.is_empty() && event.only_endpoint.is_some() => {
                Err(Admission::NoSuchEndpoint)
            }
            Some(targets) => Ok(targets),
        }
    }
}

/// What an idempotency key was used for.
pub(super) struct Known {
    fingerprint: Vec<u8>,
    event: EventId,
    created_at: Timestamp,
    deliveries: u32,
}

impl Known {
    /// What is said to whoever uses the key again.
    pub(super) fn answer(&self, again: &Idempotency) -> Admission {
        if self.fingerprint != again.fingerprint {
            return Admission::IdempotencyConflict;
        }
        Admission::Replayed { id: self.event, created_at: self.created_at, deliveries: self.deliveries }
    }
}

/// Those of the batch's keys that were used and are still remembered.
pub(super) async fn known_keys(
    connection: &mut SqliteConnection,
    events: &[NewEvent],
    now: Timestamp,
) -> Result<HashMap<(TenantId, String), Known>, sqlx::Error> {
    const USED: Text = Text {
        before: "WITH wanted (tenant, key, now) AS (VALUES ",
        row: "(?,?,?)",
        after: ") SELECT k.tenant, k.key, k.fingerprint, k.event, k.created_at, k.deliveries FROM wanted w \
                CROSS JOIN idempotency_keys k ON k.tenant = w.tenant AND k.key = w.key AND k.expires_at > w.now",
    };
    let keyed = events.iter().filter_map(|event| Some((event.tenant, &event.idempotency.as_ref()?.key, now)));
    let keyed: Vec<_> = keyed.collect();
    let rows = USED.fetch(connection, &keyed, |query, (tenant, key, now)| {
        query.bind(blob(tenant.uuid())).bind((*key).clone()).bind(now.0)
    });
    let rows = rows.await?;
    let known = rows.iter().map(|row| {
        let known = Known {
            fingerprint: row.try_get(2)?,
            event: EventId::from_uuid(uuid(row, 3)?),
            created_at: Timestamp(row.try_get(4)?),
            deliveries: row.try_get(5)?,
        };
        Ok(((TenantId::from_uuid(uuid(row, 0)?), row.try_get(1)?), known))
    });
    known.collect()
}
