//! How a job is made, how far a step of it may go, and which deliveries it touches.

use std::collections::HashSet;
use std::str::FromStr;
use std::time::Duration;

use super::matching;
use super::replays::Candidate;
use super::values::damaged;
use crate::delivery::DeliveryState;
use crate::ids::{JobId, TenantId};
use crate::store::{Job, JobFilter, JobKind, JobStatus};
use crate::time::Timestamp;

/// A job with the place where its next step goes on.
#[derive(Debug)]
pub(in crate::store) struct Standing {
    pub(in crate::store) job: Job,
    pub(in crate::store) cursor: Option<String>,
}

/// A new job. A purge only ever touches dead letters; a delivery named twice is touched once.
pub(in crate::store) fn made(
    tenant: TenantId,
    kind: JobKind,
    filter: JobFilter,
    total: u64,
    now: Timestamp,
) -> Job {
    Job {
        id: JobId::generate(),
        tenant,
        kind,
        filter: normal(kind, filter),
        status: JobStatus::Queued,
        total,
        done: 0,
        skipped: 0,
        failed: 0,
        created_at: now,
        updated_at: now,
        ended_at: None,
    }
}

/// The filter that a job of this kind is kept with.
pub(in crate::store) fn normal(kind: JobKind, mut filter: JobFilter) -> JobFilter {
    if kind == JobKind::Purge {
        filter.states = vec![DeliveryState::Dead];
    }
    let mut seen = HashSet::new();
    filter.deliveries.retain(|id| seen.insert(id.clone()));
    filter
}

/// How many deliveries a step may change now: what the rate has left since the last step, at most a second's worth.
pub(in crate::store) fn allowance(job: &Job, limit: u32, now: Timestamp) -> u32 {
    let Some(rate) = job.filter.rate_per_s else { return limit };
    let rate = rate.max(1);
    if job.status == JobStatus::Queued {
        return limit.min(rate);
    }
    let since = now.since(job.updated_at).min(Duration::from_secs(1)).as_millis() as u64;
    let earned = u64::from(rate) * since / 1_000;
    limit.min(u32::try_from(earned).unwrap_or(u32::MAX))
}

/// The job has come to this end.
pub(in crate::store) fn end(job: &mut Job, status: JobStatus, now: Timestamp) {
    job.status = status;
    job.updated_at = now;
    job.ended_at = Some(now);
}

/// A delivery's id, or for deliveries named one by one how many of them are done.
pub(in crate::store) fn read_cursor<T: FromStr>(cursor: &Option<String>) -> Result<Option<T>, sqlx::Error> {
    cursor.as_deref().map(str::parse).transpose().map_err(|_| damaged("cursor"))
}

/// Says of each delivery whether the job means it, up to the one that would be too many; and whether there was one.
pub(in crate::store) fn choose(
    looked: Vec<Candidate>,
    job: &Job,
    allowed: u32,
) -> (Vec<(Candidate, bool)>, bool) {
    let mut chosen = Vec::with_capacity(looked.len());
    let mut wanted = 0;
    for candidate in looked {
        let matches = matching::matches(&candidate, &job.filter, job.created_at);
        if matches && wanted == allowed {
            return (chosen, true);
        }
        wanted += u32::from(matches);
        chosen.push((candidate, matches));
    }
    (chosen, false)
}
