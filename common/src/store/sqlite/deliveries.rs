//! [`Deliveries`] over SQLite: each verb is a function in the file of its kind.

use std::time::Duration;

use async_trait::async_trait;

use super::SqliteStore;
use crate::delivery::{DeliveryState, Outcome};
use crate::event::NewEvent;
use crate::ids::{DeliveryId, JobId, TenantId};
use crate::store::{
    Admitted, Claim, Claimed, Deliveries, DueWork, Job, JobFilter, JobKind, Load, Recorded, Recovery,
    Replayed, Report, Roster, Settled, StoreError, Sweep, Ticket,
};
use crate::tenant::DeliveryCounts;
use crate::time::Timestamp;

/// The verbs that are not there.
fn missing<T>() -> Result<T, StoreError> {
    Err(StoreError::Internal("this verb is not there".into()))
}

#[async_trait]
impl Deliveries for SqliteStore {
    async fn admit(&self, _events: Vec<NewEvent>, _now: Timestamp) -> Result<Admitted, StoreError> {
        missing()
    }

    async fn settle_outbox(&self, _settled: &[Settled], _now: Timestamp) -> Result<(), StoreError> {
        missing()
    }

    async fn recover(&self, _what: Recovery, _now: Timestamp) -> Result<u64, StoreError> {
        missing()
    }

    async fn load(&self, _tickets: &[Ticket], _now: Timestamp) -> Result<Vec<Load>, StoreError> {
        missing()
    }

    async fn record(
        &self,
        _outcomes: Vec<Outcome>,
        _disable_after: Duration,
    ) -> Result<Vec<Recorded>, StoreError> {
        missing()
    }

    async fn due_work(&self, _now: Timestamp) -> Result<DueWork, StoreError> {
        missing()
    }

    async fn claim(
        &self,
        _wants: &[Claim],
        _lease: Duration,
        _now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        missing()
    }

    async fn release_held(&self, _limit: u32, _now: Timestamp) -> Result<u64, StoreError> {
        missing()
    }

    async fn sweep(&self, _what: Sweep, _limit: u32, _now: Timestamp) -> Result<u64, StoreError> {
        missing()
    }

    async fn cancel(
        &self,
        _tenant: TenantId,
        _delivery: DeliveryId,
        _now: Timestamp,
    ) -> Result<Option<DeliveryState>, StoreError> {
        missing()
    }

    async fn replay(
        &self,
        _tenant: TenantId,
        _delivery: DeliveryId,
        _now: Timestamp,
    ) -> Result<Option<Replayed>, StoreError> {
        missing()
    }

    async fn count_matching(
        &self,
        _tenant: TenantId,
        _filter: &JobFilter,
        _limit: u64,
    ) -> Result<u64, StoreError> {
        missing()
    }

    async fn create_job(
        &self,
        _tenant: TenantId,
        _kind: JobKind,
        _filter: JobFilter,
        _now: Timestamp,
    ) -> Result<Job, StoreError> {
        missing()
    }

    async fn open_jobs(&self) -> Result<Vec<Job>, StoreError> {
        missing()
    }

    async fn advance_job(&self, _job: JobId, _limit: u32, _now: Timestamp) -> Result<Job, StoreError> {
        missing()
    }

    async fn cancel_job(
        &self,
        _tenant: TenantId,
        _job: JobId,
        _now: Timestamp,
    ) -> Result<Option<Job>, StoreError> {
        missing()
    }

    async fn report(&self, _node: &str, _report: Report, _now: Timestamp) -> Result<(), StoreError> {
        missing()
    }

    async fn roster(&self, _since: u64) -> Result<Roster, StoreError> {
        missing()
    }

    async fn totals(&self) -> Result<DeliveryCounts, StoreError> {
        missing()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        missing()
    }
}
