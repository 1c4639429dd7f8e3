//! [`Deliveries`] over SQLite: each verb is a function in the file of its kind.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::payloads::{self, Outside};
use super::writer::Class;
use super::{
    BoxFuture, SqliteStore, admit, claim, jobs, lifecycle, load, matching, record, recover, roster, sweep,
};
use crate::delivery::{DeliveryState, Outcome};
use crate::event::NewEvent;
use crate::ids::{DeliveryId, JobId, TenantId};
use crate::limits;
use crate::store::shared::jobs::normal;
use crate::store::{
    Admission, Admitted, Change, Claim, Claimed, ControlError, Deliveries, DueWork, Job, JobFilter, JobKind,
    Load, Recorded, Recovery, Replayed, Report, Roster, Settled, StoreError, Sweep, Ticket,
};
use crate::tenant::DeliveryCounts;
use crate::time::Timestamp;

#[async_trait]
impl Deliveries for SqliteStore {
    async fn admit(&self, events: Vec<NewEvent>, now: Timestamp) -> Result<Admitted, StoreError> {
        let outside = self.payloads.write(&events).await?;
        let (ids, recent, known) = (Arc::clone(&self.event_ids), Arc::clone(&self.recent), outside.clone());
        let admitted = self.writer.admit(events.len(), move |c| {
            Box::pin(async move {
                let era = recent.era();
                let admitted = admit::admit(c, (&events, &known), &ids, &recent, now).await?;
                Ok((era, events, admitted))
            })
        });
        let admitted = admitted.await;
        self.payloads.remove(unwanted(&outside, &admitted)).await;
        let (era, events, admitted) = admitted?;
        self.recent.keep(era, &events, &admitted.results);
        Ok(admitted)
    }

    async fn settle_outbox(&self, settled: &[Settled], now: Timestamp) -> Result<(), StoreError> {
        // The rows go last, so that a crash in between leaves them and nothing is forgotten.
        let unpublished: Vec<_> = settled.iter().flat_map(|row| &row.unpublished).copied().collect();
        self.make_due(&unpublished, now).await?;
        let rows: Vec<_> = settled.iter().map(|row| row.outbox).collect();
        self.step(move |c| Box::pin(async move { admit::settle_outbox(c, &rows).await })).await
    }

    async fn make_due(&self, deliveries: &[DeliveryId], now: Timestamp) -> Result<u64, StoreError> {
        let mut due = 0;
        for part in deliveries.chunks(limits::WRITER_ROWS as usize) {
            let part: Vec<_> = part.iter().map(|&id| (id, now)).collect();
            let recent = Arc::clone(&self.recent);
            let made = self.step(move |c| {
                recent.forget(part.iter().map(|(id, _)| *id));
                Box::pin(async move { admit::make_due(c, &part).await })
            });
            due += made.await?;
        }
        Ok(due)
    }

    async fn recover(&self, what: Recovery, now: Timestamp) -> Result<u64, StoreError> {
        let mut recovered = 0;
        loop {
            let (changed, more) =
                self.write(move |c| Box::pin(recover::recover(c, what, limits::WRITER_LOOKS, now))).await?;
            recovered += changed;
            if !more {
                return Ok(recovered);
            }
        }
    }

    async fn load(&self, tickets: &[Ticket], now: Timestamp) -> Result<Vec<Load>, StoreError> {
        let (tickets, era, payloads) = (tickets.to_vec(), self.recent.era(), Arc::clone(&self.payloads));
        let read = self
            .loaders
            .read(move |c| Box::pin(async move { load::load(c, &tickets, &payloads, now).await }));
        let loads = read.await?;
        let endpoints = loads.iter().filter_map(|load| match load {
            Load::Attempt(loaded) => Some(&loaded.endpoint),
            _ => None,
        });
        self.recent.learn(era, endpoints);
        Ok(loads)
    }

    fn at_hand(&self, tickets: &[Ticket], now: Timestamp) -> Vec<Option<Load>> {
        self.recent.take(tickets, now)
    }

    async fn record(
        &self,
        outcomes: Vec<Outcome>,
        disable_after: Duration,
    ) -> Result<Vec<Recorded>, StoreError> {
        let parts = outcomes.chunks(limits::WRITER_ROWS as usize);
        let recorded = parts.map(|part| self.record_part(part.to_vec(), disable_after));
        // All of them wait at once, in their order, so that a transaction takes as many as it has time for.
        let recorded = join_all(recorded).await.into_iter().collect::<Result<Vec<_>, _>>();
        Ok(recorded?.concat())
    }

    async fn due_work(&self, now: Timestamp) -> Result<DueWork, StoreError> {
        self.watcher.read(move |c| Box::pin(claim::due_work(c, now))).await
    }

    async fn claim(
        &self,
        wants: &[Claim],
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let (mut pieces, mut claimed) = (claim::Pieces::of(wants), Vec::new());
        while let Some(piece) = pieces.next() {
            let asked: u32 = piece.iter().map(|want| want.limit).sum();
            let got = self.step(move |c| Box::pin(async move { claim::claim(c, &piece, lease, now).await }));
            match got.await {
                Ok(got) => {
                    if got.len() < asked as usize {
                        pieces.came_short();
                    }
                    claimed.extend(got);
                }
                // What was claimed is the caller's, or it would wait for the end of its lease.
                Err(_) if !claimed.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(claimed)
    }

    async fn release_held(&self, limit: u32, now: Timestamp) -> Result<u64, StoreError> {
        // Asked continually, and mostly for nothing: the writer is only troubled when there is something.
        let of = self.watcher.read(|c| Box::pin(claim::releasable(c))).await?;
        if of.is_empty() {
            return Ok(0);
        }
        let (of, mut released) = (Arc::new(of), 0);
        while released < u64::from(limit) {
            let (of, part) = (Arc::clone(&of), limits::WRITER_ROWS.min(limit - released as u32));
            // Where the last part ended the next one begins, so that every tenant has its turn.
            let first = now.0.unsigned_abs() + released;
            let step = self.step(move |c| {
                Box::pin(async move { claim::release_held(c, of.to_vec(), first as usize, part, now).await })
            });
            match step.await {
                Ok(more) => {
                    released += more;
                    if more < u64::from(part) {
                        break;
                    }
                }
                // What was released is told.
                Err(_) if released > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(released)
    }

    async fn sweep(&self, what: Sweep, limit: u32, now: Timestamp) -> Result<u64, StoreError> {
        let recent = Arc::clone(&self.recent);
        let swept = self.step(move |db| {
            Box::pin(async move {
                let mut freed = Vec::new();
                let rows = sweep::step(db, what, limit, &mut freed, now).await?;
                let touches_deliveries = !matches!(
                    what,
                    Sweep::IdempotencyKeys | Sweep::EndedJobs { .. } | Sweep::LimitMinutes { .. }
                );
                if rows > 0 && touches_deliveries {
                    recent.disturb();
                }
                Ok((rows, freed))
            })
        });
        let (rows, freed) = swept.await?;
        self.payloads.remove(freed).await;
        Ok(rows)
    }

    async fn cancel(
        &self,
        tenant: TenantId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<DeliveryState>, StoreError> {
        self.write_of(tenant, move |db| Box::pin(lifecycle::cancel(db, tenant, delivery, now))).await
    }

    async fn replay(
        &self,
        tenant: TenantId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<Replayed>, StoreError> {
        let replayed =
            self.write_of(tenant, move |db| Box::pin(lifecycle::replay(db, tenant, delivery, now))).await?;
        if let Some(Replayed::Due(_)) = replayed {
            self.announce(Change::Due(tenant));
        }
        Ok(replayed)
    }

    async fn count_matching(
        &self,
        tenant: TenantId,
        filter: &JobFilter,
        limit: u64,
    ) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.read_of(tenant, move |db| {
            Box::pin(async move { matching::count(db, tenant, &filter, limit).await })
        })
        .await
    }

    async fn create_job(
        &self,
        tenant: TenantId,
        kind: JobKind,
        filter: JobFilter,
        now: Timestamp,
    ) -> Result<Job, ControlError> {
        let filter = normal(kind, filter);
        let total = self.count_matching(tenant, &filter, limits::JOB_TOTAL).await?;
        self.write_of(tenant, move |db| Box::pin(jobs::create(db, tenant, kind, filter, total, now))).await?
    }

    async fn open_jobs(&self) -> Result<Vec<Job>, StoreError> {
        self.look_up(move |db| Box::pin(jobs::open(db))).await
    }

    async fn advance_job(&self, job: JobId, limit: u32, now: Timestamp) -> Result<Job, StoreError> {
        let recent = Arc::clone(&self.recent);
        let advanced = self.step(move |db| {
            Box::pin(async move {
                let mut freed = Vec::new();
                let advanced = jobs::advance(db, job, limit, &mut freed, now).await?;
                // What other jobs change has been attempted, so that nobody remembers it from its admission.
                if advanced.as_ref().is_some_and(|(job, _)| job.kind == JobKind::DeleteTenant) {
                    recent.disturb();
                }
                Ok((advanced, freed))
            })
        });
        let (advanced, freed) = advanced.await?;
        self.payloads.remove(freed).await;
        let Some((job, due)) = advanced else {
            return Err(StoreError::Internal(format!("there is no {job}")));
        };
        if due {
            self.announce(Change::Due(job.tenant));
        }
        if job.kind == JobKind::DeleteTenant && job.ended_at.is_some() {
            self.announce(Change::Tenant(job.tenant));
        }
        Ok(job)
    }

    async fn cancel_job(
        &self,
        tenant: TenantId,
        job: JobId,
        now: Timestamp,
    ) -> Result<Option<Job>, StoreError> {
        self.write_of(tenant, move |db| Box::pin(jobs::cancel(db, tenant, job, now))).await
    }

    async fn report(&self, node: &str, report: Report, now: Timestamp) -> Result<(), StoreError> {
        let empty = report.in_flight.is_empty() && report.circuits.is_empty();
        if empty && !self.look_up(|db| Box::pin(roster::anything_reported(db))).await? {
            return Ok(());
        }
        let node = node.to_owned();
        self.write(move |db| Box::pin(roster::report(db, node, report, now))).await
    }

    async fn roster(&self, since: u64) -> Result<Roster, StoreError> {
        self.look_up(move |db| Box::pin(roster::roster(db, since))).await
    }

    async fn totals(&self) -> Result<DeliveryCounts, StoreError> {
        self.look_up(|db| Box::pin(roster::totals(db))).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.write(|db| Box::pin(roster::ping(db))).await
    }
}

/// The files of what did not become an event. Whether it did is not known when the writer has failed by itself: then they are left
/// to the next start.
fn unwanted<E>(
    outside: &[Option<Outside>],
    admitted: &Result<(E, Vec<NewEvent>, Admitted), StoreError>,
) -> Vec<Uuid> {
    match admitted {
        Ok((_, _, admitted)) => {
            let refused = outside.iter().zip(&admitted.results);
            let refused = refused.filter(|(_, admission)| !matches!(admission, Admission::Accepted(_)));
            refused.filter_map(|(outside, _)| Some((*outside)?.file)).collect()
        }
        Err(error) if error.is_retryable() => payloads::files(outside),
        Err(_) => Vec::new(),
    }
}

impl SqliteStore {
    /// A step of what nobody waits for. A power failure may undo it, for it is then done again. Whoever changes what loads
    /// depend on says so ([`super::recent::Recent::disturb`]).
    async fn step<T, F>(&self, step: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + 'static,
    {
        self.writer.write(Class::Outcome, step).await
    }

    async fn record_part(
        &self,
        outcomes: Vec<Outcome>,
        disable_after: Duration,
    ) -> Result<Vec<Recorded>, StoreError> {
        let recent = Arc::clone(&self.recent);
        let recorded = self.step(move |c| {
            Box::pin(async move {
                recent.forget(outcomes.iter().map(|outcome| outcome.delivery));
                let (recorded, stopped) = record::record(c, &outcomes, disable_after).await?;
                if !stopped.is_empty() {
                    recent.disturb();
                }
                Ok((recorded, stopped))
            })
        });
        let (recorded, stopped) = recorded.await?;
        stopped.into_iter().for_each(|tenant| self.announce(Change::Tenant(tenant)));
        Ok(recorded)
    }
}
