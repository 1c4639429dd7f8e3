//! What nobody waits for: release of held deliveries, jobs, sweeps; by one of the dispatchers at a time. Small steps with pauses, so that the store stays free for
//! the hot path; a step that fails is tried again in the next round.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::ids::JobId;
use fairhook_common::limits;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{Job, Recovery, SharedStore, StoreError, Sweep, TenantRef};
use fairhook_common::time::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::clock::Clock;
use super::keeper::Keeper;
use super::metrics::Metrics;
use super::outage::Outage;
use super::pace::Pace;
use super::roster::Pokes;

/// What housekeeping works with.
#[derive(Clone)]
pub struct Housekeeping {
    pub store: SharedStore,
    pub pokes: Arc<Pokes>,
    pub metrics: Arc<Metrics>,
    pub outage: Arc<Outage>,
    pub keeper: Keeper,
    pub retention: Duration,
}

impl Housekeeping {
    /// Releases what is held although its endpoint is active, continually.
    pub async fn release_held(self, shutdown: Shutdown) {
        let releasing = async {
            loop {
                self.keeper.is_ours().await;
                let began = Instant::now();
                let released = self.store.release_held(limits::RELEASE_ROWS, Timestamp::now()).await;
                let released = self.heard("releasing held deliveries", released).unwrap_or(0);
                self.metrics.released.inc_by(released);
                if released > 0 {
                    self.pokes.due.notify_one();
                }
                if released > 0 {
                    sleep(rest(began.elapsed())).await;
                } else {
                    let _ = timeout(limits::DUE_POLL, self.pokes.held.notified()).await;
                }
            }
        };
        until_drained(releasing, &shutdown).await;
    }

    /// Advances open jobs, a step of each in turn.
    pub async fn jobs(self, shutdown: Shutdown) {
        let advancing = async {
            let clock = Clock::start();
            let mut paces = HashMap::new();
            loop {
                self.keeper.is_ours().await;
                let open = self.store.open_jobs().await;
                let open = self.heard("looking for jobs", open).unwrap_or_default();
                self.metrics.jobs_open.set(open.len() as i64);
                paces.retain(|id: &JobId, _| open.iter().any(|job| job.id == *id));
                let (mut wait, mut worked) = (limits::DUE_POLL, false);
                for job in &open {
                    let pace =
                        paces.entry(job.id).or_insert_with(|| Pace::new(job.filter.rate_per_s, clock.now()));
                    let began = Instant::now();
                    if self.advance(job, pace, &clock).await {
                        sleep(rest(began.elapsed())).await;
                        worked = true;
                    }
                    wait = wait.min(pace.wait().max(limits::CLAIM_PAUSE));
                }
                if !worked {
                    sleep(wait).await;
                }
            }
        };
        until_drained(advancing, &shutdown).await;
    }

    /// One step of a job, if it may do one now; returns whether the store was asked for one.
    async fn advance(&self, job: &Job, pace: &mut Pace, clock: &Clock) -> bool {
        let limit = pace.allowance(clock.now(), limits::SWEEP_ROWS);
        if limit == 0 {
            return false;
        }
        let advanced = self.store.advance_job(job.id, limit, Timestamp::now()).await;
        let Some(now) = self.heard("advancing a job", advanced) else { return true };
        pace.spend(now.done.saturating_sub(job.done));
        self.metrics.job_rows.inc_by(touched(&now).saturating_sub(touched(job)));
        if now.done > job.done {
            self.pokes.due.notify_one();
        }
        if now.ended_at.is_some() {
            let (done, skipped, failed) = (now.done, now.skipped, now.failed);
            // A tenant that is gone by now has no name any more.
            let tenant = self.store.find_tenant(&TenantRef::Id(job.tenant)).await.ok().flatten();
            let slug = tenant.as_ref().map(|tenant| tenant.slug.as_str());
            tracing::info!(
                job.id = %job.id, tenant.slug = slug, tenant.id = %job.tenant, status = now.status.name(), done, skipped, failed,
                "job ended"
            );
        }
        true
    }

    /// Sweeps, in turn, every `limits::SWEEP_INTERVAL`; without a pause while one of them is not done.
    pub async fn sweeps(self, shutdown: Shutdown) {
        let sweeping = async {
            loop {
                self.keeper.is_ours().await;
                let now = Timestamp::now();
                let sweeps = [
                    Sweep::Expired,
                    Sweep::DeletedEndpoints,
                    Sweep::Retention { before: now.before(self.retention) },
                    Sweep::IdempotencyKeys,
                    Sweep::EndedJobs { before: now.before(limits::JOBS_KEPT) },
                    Sweep::LimitMinutes { before: now.before(limits::LIMIT_MINUTES_KEPT) },
                ];
                let mut more = false;
                for sweep in sweeps {
                    more |= self.sweep(sweep).await;
                }
                self.recover_outbox(now).await;
                if !more {
                    sleep(limits::SWEEP_INTERVAL).await;
                }
            }
        };
        until_drained(sweeping, &shutdown).await;
    }

    /// Returns whether there is more.
    async fn sweep(&self, sweep: Sweep) -> bool {
        let until = Instant::now() + limits::SWEEP_TURN;
        loop {
            let began = Instant::now();
            let swept = self.store.sweep(sweep, limits::SWEEP_ROWS, Timestamp::now()).await;
            let Some(rows) = self.heard("sweeping", swept).filter(|rows| *rows > 0) else { return false };
            self.metrics.swept(sweep, rows);
            sleep(rest(began.elapsed())).await;
            if Instant::now() >= until {
                return true;
            }
        }
    }

    /// What an ingest admitted and never settled, because it died or could not reach the store. (It may also still be about to:
    /// then the message it publishes is seen to be stale.)
    async fn recover_outbox(&self, now: Timestamp) {
        let left_behind = Recovery::Outbox { before: now.before(limits::OUTBOX_GRACE) };
        let recovered = self.store.recover(left_behind, now).await;
        let Some(count) = self.heard("recovering unsettled batches", recovered).filter(|n| *n > 0) else {
            return;
        };
        self.metrics.recovered.inc_by(count);
        self.pokes.due.notify_one();
        tracing::warn!(deliveries = count, "recovered what an ingest had not settled");
    }

    fn heard<T>(&self, doing: &'static str, answer: Result<T, StoreError>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.outage.worked();
                Some(answer)
            }
            Err(error) => {
                self.outage.failed(doing, &error);
                None
            }
        }
    }
}

/// The pause after a step that took so long: most of the time the store is there for what somebody waits for.
pub(super) fn rest(took: Duration) -> Duration {
    (took * limits::SWEEP_REST).clamp(limits::SWEEP_PAUSE, limits::SWEEP_PAUSE_MAX)
}

fn touched(job: &Job) -> u64 {
    job.done + job.skipped + job.failed
}

pub(super) async fn until_drained(work: impl Future<Output = ()>, shutdown: &Shutdown) {
    tokio::select! {
        () = work => {}
        () = shutdown.draining() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_step_is_followed_by_a_long_rest() {
        let ms = Duration::from_millis;
        assert_eq!([rest(ms(1)), rest(ms(100)), rest(ms(10_000))], [ms(5), ms(300), ms(2_000)]);
    }
}
