//! One attempt as the engine sees it: made, judged, counted, told about in one event.

use std::sync::Arc;
use std::time::Duration;

use fairhook_common::delivery::{Lane, Outcome, Verdict};
use fairhook_common::store::Loaded;
use fairhook_common::time::Timestamp;
use fairhook_common::unwound::unwound;
use tokio::time::Instant;

use super::clock::Clock;
use super::held::{Ended, Started, Unrecorded};
use super::metrics::Metrics;
use crate::attempt::{Attempted, Attempter};
use crate::verdict::{self, Decision};

/// What every attempt uses.
pub struct Tools {
    pub attempter: Attempter,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
}

/// Makes one attempt. Bounded in time by the attempter's deadline.
pub async fn attempt(tools: Arc<Tools>, started: Started, loaded: Box<Loaded>, slug: Arc<str>) -> Ended {
    let started_at = Timestamp::now();
    let attempted = shielded(tools.attempter.attempt(&loaded, started_at), started_at).await;
    let decided_at = Timestamp::now();
    let decision = verdict::decide(&loaded, &attempted, rand::random(), decided_at);
    count(&tools.metrics, &started, &loaded, &attempted, &decision, decided_at);
    tell(&started, &loaded, &attempted, &decision, &slug);
    let outcome = Outcome {
        delivery: started.held.ticket.delivery,
        tenant: started.tenant,
        endpoint: started.endpoint,
        generation: started.held.ticket.generation,
        attempt: Some(attempted.record),
        verdict: decision.verdict,
        disable: decision.disable,
        decided_at,
    };
    Ended {
        slot: started.slot,
        class: decision.class,
        new_connection: attempted.new_connection,
        unrecorded: Unrecorded { outcome, receipt: started.held.receipt, since: tools.clock.now() },
    }
}

/// A panic within an attempt is that attempt's failure. It would come again with the delivery after a restart, and one
/// tenant's delivery must not end the process for all of them again and again.
async fn shielded(attempt: impl Future<Output = Attempted>, started_at: Timestamp) -> Attempted {
    let began = Instant::now();
    unwound(attempt).await.unwrap_or_else(|| {
        tracing::error!("an attempt panicked; it counts as failed");
        Attempted::panicked(started_at, began.elapsed())
    })
}

fn count(
    metrics: &Metrics,
    started: &Started,
    loaded: &Loaded,
    attempted: &Attempted,
    decision: &Decision,
    now: Timestamp,
) {
    metrics.attempted(attempted.record.error.as_ref().map(|error| error.code), attempted.elapsed);
    let is_first = loaded.attempts == 0 && started.lane == Lane::First && started.held.receipt.is_some();
    if is_first && decision.verdict == Verdict::Delivered {
        metrics.arrival_seconds.observe(now.since(loaded.created_at).as_secs_f64());
    }
}

/// One wide event per attempt: failures are news, successes are for those who ask.
fn tell(started: &Started, loaded: &Loaded, attempted: &Attempted, decision: &Decision, slug: &str) {
    macro_rules! event {
        ($level:ident, $text:literal) => {
            tracing::event!(
                target: "fairhook::attempt",
                tracing::Level::$level,
                tenant.slug = slug,
                event.id = %started.held.ticket.delivery.event,
                event.type = &*loaded.event_type,
                delivery.id = %started.held.ticket.delivery,
                endpoint.id = %started.endpoint,
                attempt.n = loaded.attempts + 1,
                http.status = attempted.record.status_code,
                error.code = attempted.record.error.as_ref().map(|error| error.code.name()),
                error.detail = attempted.record.error.as_ref().map(|error| error.detail.as_str()),
                duration_ms = attempted.record.duration_ms,
                verdict = verdict_name(decision.verdict),
                retry_in_ms = retry_in(decision.verdict, attempted).map(|wait| wait.as_millis() as u64),
                $text
            )
        };
    }
    match decision.verdict {
        Verdict::Delivered => event!(DEBUG, "delivered"),
        _ => event!(INFO, "not delivered"),
    }
}

fn retry_in(verdict: Verdict, attempted: &Attempted) -> Option<Duration> {
    match verdict {
        Verdict::Retry { due_at } => Some(due_at.since(attempted.record.started_at.after(attempted.elapsed))),
        _ => None,
    }
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Delivered => "delivered",
        Verdict::Retry { .. } => "retry",
        Verdict::Dead => "dead",
        Verdict::Park => "park",
        Verdict::Hold => "hold",
        Verdict::Discard(_) => "discard",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_that_panics_has_failed_and_nothing_else() {
        let attempted = shielded(async { panic!("as intended") }, Timestamp(5)).await;
        assert_eq!(attempted.record.started_at, Timestamp(5));
        assert!(attempted.record.error.is_some() && attempted.record.status_code.is_none());
    }
}
