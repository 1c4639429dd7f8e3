//! [`Deliveries`] over Postgres: each verb is a function in the file of its kind.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::admit::{Admitting, settle_outbox};
use super::notices::announce;
use super::record::Recording;
use super::teardown::BEGIN_ADMISSION;
use super::{PostgresStore, claim, due, jobs, lifecycle, load, matching, recover, roster, sweep, waiting};
use crate::delivery::{DeliveryState, Outcome};
use crate::event::NewEvent;
use crate::ids::{DeliveryId, JobId, TenantId};
use crate::limits;
use crate::store::shared::jobs::normal;
use crate::store::{
    Admitted, Change, Claim, Claimed, ControlError, Deliveries, DueWork, Job, JobFilter, JobKind, Load,
    Recorded, Recovery, Replayed, Report, Roster, Settled, StoreError, Sweep, Ticket, locked,
};
use crate::tenant::DeliveryCounts;
use crate::time::Timestamp;

const BEGIN: &str = "BEGIN";
/// Begins what a crash of the server may take back, for it is then done again: claims, settled outbox rows. Everything else is
/// durable when it is answered, outcomes too: a message is acked because of it, and what is neither acked nor recorded would
/// wait until its message counts as lost.
const BEGIN_REPEATABLE: &str = "BEGIN; SET LOCAL synchronous_commit = off";

#[async_trait]
impl Deliveries for PostgresStore {
    async fn admit(&self, events: Vec<NewEvent>, now: Timestamp) -> Result<Admitted, StoreError> {
        let batch = Admitting { events: &events, ids: &self.event_ids, now };
        self.admit.run_batch(BEGIN_ADMISSION, &batch).await
    }

    async fn settle_outbox(&self, settled: &[Settled], now: Timestamp) -> Result<(), StoreError> {
        let settled: Arc<[Settled]> = settled.into();
        self.outcome
            .run_again(BEGIN_REPEATABLE, move |db| {
                let settled = Arc::clone(&settled);
                Box::pin(async move { settle_outbox(db, &settled, now).await })
            })
            .await
    }

    async fn make_due(&self, deliveries: &[DeliveryId], now: Timestamp) -> Result<u64, StoreError> {
        let deliveries: Arc<[DeliveryId]> = deliveries.into();
        self.outcome
            .run_again(BEGIN, move |db| {
                let deliveries = Arc::clone(&deliveries);
                Box::pin(async move { due::make_due(db, &deliveries, 0, now).await })
            })
            .await
    }

    async fn recover(&self, what: Recovery, now: Timestamp) -> Result<u64, StoreError> {
        let (mut recovered, mut next) = (0, Some(recover::START));
        while let Some(from) = next {
            let step = self.api.run_again(BEGIN, move |db| Box::pin(recover::step(db, what, from, now)));
            let step = step.await?;
            recovered += step.made_due;
            next = step.next;
        }
        Ok(recovered)
    }

    async fn load(&self, tickets: &[Ticket], now: Timestamp) -> Result<Vec<Load>, StoreError> {
        let tickets: Arc<[Ticket]> = tickets.into();
        self.outcome
            .ask(move |db| {
                let tickets = Arc::clone(&tickets);
                Box::pin(async move { load::load(db, &tickets, now).await })
            })
            .await
    }

    async fn record(
        &self,
        outcomes: Vec<Outcome>,
        disable_after: Duration,
    ) -> Result<Vec<Recorded>, StoreError> {
        let batch = Recording { outcomes: &outcomes, disable_after };
        let (recorded, stopped) = self.outcome.run_batch(BEGIN, &batch).await?;
        if !stopped.is_empty() {
            self.tell_stopped(stopped).await;
        }
        Ok(recorded)
    }

    async fn due_work(&self, now: Timestamp) -> Result<DueWork, StoreError> {
        self.outcome.ask(move |db| Box::pin(waiting::due_work(db, now))).await
    }

    async fn claim(
        &self,
        wants: &[Claim],
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let wants: Arc<[Claim]> = wants.into();
        self.outcome
            .run_again(BEGIN_REPEATABLE, move |db| {
                let wants = Arc::clone(&wants);
                Box::pin(async move { claim::claim(db, &wants, lease, now).await })
            })
            .await
    }

    async fn release_held(&self, limit: u32, now: Timestamp) -> Result<u64, StoreError> {
        self.api.run_again(BEGIN, move |db| Box::pin(waiting::release_held(db, limit, now))).await
    }

    async fn sweep(&self, what: Sweep, limit: u32, now: Timestamp) -> Result<u64, StoreError> {
        // Retention is asked for continually, and there are days of time to try again.
        if let Sweep::Retention { .. } = what
            && let Err(error) = self.make_partitions(now).await
        {
            tracing::warn!(%error, "the partitions of the days to come could not be made");
        }
        let walk = *locked(&self.expiring);
        let step = self.write(move |db| Box::pin(sweep::step(db, what, walk, limit, now)));
        let (rows, walk) = step.await?;
        if let Sweep::Retention { .. } = what {
            *locked(&self.expiring) = walk;
        }
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
        self.write_of(tenant, move |db| Box::pin(jobs::create(db, tenant, kind, filter.clone(), total, now)))
            .await?
    }

    async fn open_jobs(&self) -> Result<Vec<Job>, StoreError> {
        self.look_up(move |db| Box::pin(jobs::open(db))).await
    }

    async fn advance_job(&self, job: JobId, limit: u32, now: Timestamp) -> Result<Job, StoreError> {
        let voice = Arc::clone(&self.voice);
        let advanced = self.write(move |db| {
            let voice = Arc::clone(&voice);
            Box::pin(async move {
                let Some((job, due)) = jobs::advance(&mut *db, job, limit, now).await? else {
                    return Ok(None);
                };
                let gone = job.kind == JobKind::DeleteTenant && job.ended_at.is_some();
                let due = due.then_some(Change::Due(job.tenant));
                let notices = voice.notices(due.or(gone.then_some(Change::Tenant(job.tenant))));
                announce(db, &notices).await?;
                Ok(Some((job, notices)))
            })
        });
        let Some((job, notices)) = advanced.await? else {
            return Err(StoreError::Internal(format!("there is no {job}")));
        };
        notices.into_iter().for_each(|notice| self.voice.tell(notice));
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
        if empty && !self.reported(node.to_owned(), now).await? {
            return Ok(());
        }
        let said: Arc<(String, Report)> = Arc::new((node.to_owned(), report));
        self.write(move |db| {
            let said = Arc::clone(&said);
            Box::pin(async move { roster::report(db, &said.0, &said.1, now).await })
        })
        .await
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

impl PostgresStore {
    /// Tells everybody of tenants whose endpoints an outcome has stopped. Others are told in a transaction of its own, for
    /// whoever commits a notice waits for all who do; if that goes wrong, they see it within moments by themselves.
    async fn tell_stopped(&self, tenants: Vec<TenantId>) {
        let notices: Arc<[_]> = self.voice.notices(tenants.into_iter().map(Change::Tenant)).into();
        notices.iter().for_each(|notice| self.voice.tell(*notice));
        let told = self.outcome.run_again(BEGIN_REPEATABLE, move |db| {
            let notices = Arc::clone(&notices);
            Box::pin(async move { announce(db, &notices).await })
        });
        if let Err(error) = told.await {
            tracing::debug!(%error, "others were not told of a stopped endpoint");
        }
    }

    /// Whether an empty report of this node changes anything.
    async fn reported(&self, node: String, now: Timestamp) -> Result<bool, StoreError> {
        self.look_up(move |db| {
            let node = node.clone();
            Box::pin(async move { roster::anything_reported(db, &node, now).await })
        })
        .await
    }
}
