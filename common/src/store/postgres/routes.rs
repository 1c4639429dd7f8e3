//! What a batch has to know before it is admitted: where its events go.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::rows::named;
use crate::endpoint::EndpointStatus;
use crate::event::NewEvent;
use crate::ids::{EndpointId, TenantId};
use crate::store::Admission;

type Targets = Vec<(EndpointId, EndpointStatus)>;

/// The endpoints of each tenant and type of a batch, read within its transaction.
pub(super) struct Routes {
    /// `None`: the tenant is unknown or being deleted.
    targets: Vec<Option<Targets>>,
    /// Which of them an event has.
    of: HashMap<Aim, usize>,
}

/// Events with the same aim go to the same endpoints.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Aim {
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

    fn tenant(&self) -> Uuid {
        match self {
            Self::Type(tenant, _) | Self::Endpoint(tenant, _) => tenant.uuid(),
        }
    }

    /// All the patterns that match, with spaces between; `None`: the endpoint is named.
    fn patterns(&self) -> Option<String> {
        match self {
            Self::Type(_, name) => Some(patterns(name)),
            Self::Endpoint(..) => None,
        }
    }

    fn endpoint(&self) -> Option<Uuid> {
        match self {
            Self::Type(..) => None,
            Self::Endpoint(_, endpoint) => Some(endpoint.uuid()),
        }
    }
}

/// The patterns that match a type are few: itself, everything, and each of its beginnings.
fn patterns(event_type: &str) -> String {
    let mut patterns = format!("* {event_type}");
    for (dot, _) in event_type.match_indices('.') {
        patterns.push(' ');
        patterns.push_str(&event_type[..dot]);
        patterns.push_str(".*");
    }
    patterns
}

impl Routes {
    pub(super) async fn read(
        connection: &mut PgConnection,
        events: &[NewEvent],
    ) -> Result<Self, sqlx::Error> {
        const MATCHING: &str = "SELECT w.n, e.id, e.status \
            FROM unnest($1::integer[], $2::uuid[], $3::text[], $4::uuid[]) AS w (n, tenant, patterns, endpoint) \
            JOIN tenants t ON t.id = w.tenant AND t.status = 'active' \
            LEFT JOIN endpoints e ON e.tenant = w.tenant AND e.status <> 'deleted' AND (e.id = w.endpoint \
                OR w.endpoint IS NULL AND e.patterns ?| string_to_array(w.patterns, ' ')) \
            ORDER BY w.n, e.id";
        let mut of = HashMap::new();
        let mut aims = Vec::new();
        for event in events {
            let n = of.len();
            of.entry(Aim::of(event)).or_insert_with_key(|aim| {
                aims.push(aim.clone());
                n
            });
        }
        let rows = sqlx::query(MATCHING)
            .bind((0..).take(aims.len()).collect::<Vec<i32>>())
            .bind(aims.iter().map(Aim::tenant).collect::<Vec<_>>())
            .bind(aims.iter().map(Aim::patterns).collect::<Vec<_>>())
            .bind(aims.iter().map(Aim::endpoint).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        let mut targets: Vec<Option<Targets>> = vec![None; aims.len()];
        for row in rows {
            let n: i32 = row.try_get(0)?;
            let endpoints = targets[n as usize].get_or_insert_default();
            if let Some(id) = row.try_get::<Option<Uuid>, _>(1)? {
                endpoints.push((EndpointId::from_uuid(id), named(&row, 2, EndpointStatus::from_name)?));
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventPattern, EventType};

    #[test]
    fn the_patterns_of_a_type_are_those_that_match_it() {
        assert_eq!(patterns("ping"), "* ping");
        assert_eq!(patterns("a.b.c"), "* a.b.c a.* a.b.*");
        let event_type = EventType::parse("a.b.c").expect("a type");
        for pattern in patterns("a.b.c").split(' ') {
            assert!(EventPattern::parse(pattern).expect("a pattern").matches(&event_type), "{pattern}");
        }
    }
}
