//! The rows that an admission makes, inserted in batches over one connection: a transaction each, synced.

use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use url::Url;
use uuid::Uuid;

use crate::bench::BenchError;

const EVENTS: &str = "INSERT INTO events (id, tenant, type, payload, created_at, expires_at, next_ordinal) \
    SELECT id, tenant, 'load.event', $3, 0, 9223372036854775807, 1 FROM unnest($1::uuid[], $2::uuid[]) AS w (id, tenant)";
const DELIVERIES: &str = "INSERT INTO deliveries (event, ordinal, tenant, endpoint, state, expires_at) \
    SELECT id, 0, tenant, tenant, 'queued', 9223372036854775807 FROM unnest($1::uuid[], $2::uuid[]) AS w (id, tenant)";
const OUTBOX: &str = "INSERT INTO outbox (events, created_at) VALUES ($1, 0)";
const COUNTS: &str = "INSERT INTO delivery_counts AS c (tenant, part, accepted, backlog) \
    SELECT tenant, 1, count(*), count(*) FROM unnest($1::uuid[]) AS w (tenant) GROUP BY tenant ORDER BY tenant \
    ON CONFLICT (tenant, part) DO UPDATE SET accepted = c.accepted + excluded.accepted, backlog = c.backlog + excluded.backlog";

/// Batches of so many events, of tenants in turn, each with one delivery.
pub struct Inserts {
    /// Events in a transaction.
    pub rows: usize,
    /// Tenants.
    pub tenants: usize,
    /// Bytes of a payload.
    pub payload: usize,
}

impl Inserts {
    /// Inserts for `span`; how many events.
    pub async fn run(self, place: &Url, span: Duration) -> Result<u64, BenchError> {
        let mut connection = PgConnection::connect(place.as_str()).await?;
        let tenants: Vec<Uuid> = (0..self.tenants).map(|_| Uuid::new_v4()).collect();
        let payload = vec![b'x'; self.payload];
        let mut turns = tenants.iter().cycle().copied();
        let (began, mut done) = (Instant::now(), 0);
        while began.elapsed() < span {
            let events: Vec<Uuid> = (0..self.rows).map(|_| Uuid::now_v7()).collect();
            let of: Vec<Uuid> = turns.by_ref().take(self.rows).collect();
            let mut transaction = connection.begin().await?;
            sqlx::query(EVENTS).bind(&events).bind(&of).bind(&payload).execute(&mut *transaction).await?;
            sqlx::query(DELIVERIES).bind(&events).bind(&of).execute(&mut *transaction).await?;
            sqlx::query(OUTBOX).bind(&events).execute(&mut *transaction).await?;
            sqlx::query(COUNTS).bind(&of).execute(&mut *transaction).await?;
            transaction.commit().await?;
            done += self.rows as u64;
        }
        connection.close().await?;
        Ok(done)
    }
}
