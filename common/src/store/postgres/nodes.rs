//! The register of processes: read under one lock, changed by the rules that all stores share, and written back.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::{PostgresStore, columns};
use crate::ids::{NodeId, TenantId};
use crate::store::book::{Book, Entry, Hold};
use crate::store::{Heartbeat, Membership, Nodes, Roles, Standing, StoreError};
use crate::time::Timestamp;

#[async_trait]
impl Nodes for PostgresStore {
    async fn heartbeat(&self, beat: &Heartbeat) -> Result<Membership, StoreError> {
        let beat = beat.clone();
        self.change_book(move |book, now| book.beat(&beat, now)).await
    }

    async fn leave(&self, node: NodeId) -> Result<(), StoreError> {
        self.change_book(move |book, _| book.leave(node)).await
    }

    async fn take_lease(&self, name: &str, node: NodeId, lease: Duration) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.change_book(move |book, now| book.take_lease(&name, node, lease, now)).await
    }

    async fn queue_epoch(&self) -> Result<Option<Uuid>, StoreError> {
        self.look_up(|db| {
            Box::pin(sqlx::query_scalar::<_, Option<Uuid>>("SELECT queue_epoch FROM cluster").fetch_one(db))
        })
        .await
    }

    async fn replace_queue_epoch(&self, expected: Option<Uuid>, new: Uuid) -> Result<bool, StoreError> {
        let sql = "UPDATE cluster SET queue_epoch = $2 WHERE queue_epoch IS NOT DISTINCT FROM $1";
        let replaced = self.beside_lists(move |db| {
            Box::pin(async move { sqlx::query(sql).bind(expected).bind(new).execute(db).await })
        });
        Ok(replaced.await?.rows_affected() > 0)
    }
}

impl PostgresStore {
    /// Changes the register, one process at a time, by the database's clock.
    async fn change_book<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut Book, Timestamp) -> T + Clone + Send + Sync + 'static,
    {
        self.beside_lists(move |db| {
            let change = change.clone();
            Box::pin(async move {
                let before = hold(db).await?;
                // Only now: the time is that of the change, not that of the beginning of the wait.
                let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
                let now = Timestamp(sqlx::query_scalar(now).fetch_one(&mut *db).await?);
                let mut after = before.clone();
                let answer = change(&mut after, now);
                write(db, &before, &after).await?;
                Ok(answer)
            })
        })
        .await
    }
}

/// The register as it stands, which nobody else reads or changes before the end of the transaction.
async fn hold(db: &mut PgConnection) -> Result<Book, sqlx::Error> {
    // Named, for a connection that knows "all columns" refuses to go on when a newer version of ours has added one.
    const NODES: &str = "SELECT node, name, ingest, dispatcher, state, joined, applied, behind, admitted, lease_until FROM nodes";
    const LEASES: &str = "SELECT name, node, lease_until FROM leases";
    let version: i64 =
        sqlx::query_scalar("SELECT version FROM cluster FOR UPDATE").fetch_one(&mut *db).await?;
    let nodes = sqlx::query(NODES).fetch_all(&mut *db).await?;
    let leases = sqlx::query(LEASES).fetch_all(db).await?;
    Ok(Book {
        version: version.unsigned_abs(),
        entries: nodes.iter().map(read_entry).collect::<Result<_, _>>()?,
        leases: leases.iter().map(read_hold).collect::<Result<_, _>>()?,
    })
}

fn node(row: &PgRow) -> Result<NodeId, sqlx::Error> {
    columns::uuid(row, "node").map(NodeId::from_uuid)
}

fn read_entry(row: &PgRow) -> Result<(NodeId, Entry), sqlx::Error> {
    let entry = Entry {
        name: row.try_get("name")?,
        roles: Roles { ingest: row.try_get("ingest")?, dispatcher: row.try_get("dispatcher")? },
        state: columns::named(row, "state", Standing::from_name)?,
        joined: columns::number(row, "joined")?,
        applied: columns::number(row, "applied")?,
        behind: row.try_get::<Vec<Uuid>, _>("behind")?.into_iter().map(TenantId::from_uuid).collect(),
        admitted: row.try_get("admitted")?,
        ends_at: columns::time(row, "lease_until")?,
    };
    Ok((node(row)?, entry))
}

fn read_hold(row: &PgRow) -> Result<(String, Hold), sqlx::Error> {
    Ok((row.try_get("name")?, Hold { node: node(row)?, ends_at: columns::time(row, "lease_until")? }))
}

/// Writes what differs.
async fn write(db: &mut PgConnection, before: &Book, after: &Book) -> Result<(), sqlx::Error> {
    if after.version != before.version {
        let version = sqlx::query("UPDATE cluster SET version = $1").bind(after.version as i64);
        version.execute(&mut *db).await?;
    }
    for gone in before.entries.keys().filter(|node| !after.entries.contains_key(node)) {
        sqlx::query("DELETE FROM nodes WHERE node = $1").bind(gone.uuid()).execute(&mut *db).await?;
    }
    for gone in before.leases.keys().filter(|name| !after.leases.contains_key(*name)) {
        sqlx::query("DELETE FROM leases WHERE name = $1").bind(gone).execute(&mut *db).await?;
    }
    for (node, entry) in after.entries.iter().filter(|(node, entry)| before.entries.get(node) != Some(entry))
    {
        write_entry(db, *node, entry).await?;
    }
    for (name, hold) in after.leases.iter().filter(|(name, hold)| before.leases.get(*name) != Some(hold)) {
        sqlx::query(
            "INSERT INTO leases (name, node, lease_until) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET node = excluded.node, lease_until = excluded.lease_until",
        )
        .bind(name)
        .bind(hold.node.uuid())
        .bind(hold.ends_at.0)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

async fn write_entry(db: &mut PgConnection, node: NodeId, entry: &Entry) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO nodes (node, name, ingest, dispatcher, state, joined, applied, behind, admitted, \
         lease_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (node) DO UPDATE SET name = excluded.name, \
         ingest = excluded.ingest, dispatcher = excluded.dispatcher, state = excluded.state, joined = excluded.joined, \
         applied = excluded.applied, behind = excluded.behind, admitted = excluded.admitted, lease_until = excluded.lease_until",
    )
    .bind(node.uuid())
    .bind(&entry.name)
    .bind(entry.roles.ingest)
    .bind(entry.roles.dispatcher)
    .bind(entry.state.name())
    .bind(entry.joined as i64)
    .bind(entry.applied as i64)
    .bind(entry.behind.iter().map(|tenant| tenant.uuid()).collect::<Vec<_>>())
    .bind(entry.admitted)
    .bind(entry.ends_at.0)
    .execute(db)
    .await?;
    Ok(())
}
