//! The dispatcher's metrics. Every label's value is out of a closed list, and looked up once.

use std::time::Duration;

use fairhook_common::delivery::{AttemptErrorCode, Lane};
use fairhook_common::metrics::Families;
use fairhook_common::store::Sweep;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

const CODES: [AttemptErrorCode; 8] = [
    AttemptErrorCode::Dns,
    AttemptErrorCode::Connect,
    AttemptErrorCode::Tls,
    AttemptErrorCode::Timeout,
    AttemptErrorCode::HttpStatus,
    AttemptErrorCode::BlockedAddress,
    AttemptErrorCode::TooLarge,
    AttemptErrorCode::HandshakeRefused,
];
const LANES: [&str; 3] = ["first", "retry", "replay"];

/// A batched verb of the store: how large its batches are and how long it takes.
#[derive(Debug, Clone)]
pub struct Batches {
    rows: Histogram,
    seconds: Histogram,
}

impl Batches {
    fn new(families: &Families, verb: &str) -> Self {
        let rows = format!("fairhook_{verb}_rows");
        let seconds = format!("fairhook_{verb}_seconds");
        Self {
            rows: families.sizes(&rows, &format!("Deliveries in one {verb} of the store.")),
            seconds: families.seconds(&seconds, &format!("How long a {verb} of the store takes.")),
        }
    }

    /// One batch was done.
    pub fn done(&self, rows: usize, took: Duration) {
        self.rows.observe(rows as f64);
        self.seconds.observe(took.as_secs_f64());
    }
}

/// All of them.
#[derive(Debug, Clone)]
pub struct Metrics {
    successes: IntCounter,
    failures: [IntCounter; CODES.len()],
    pub attempt_seconds: Histogram,
    pub arrival_seconds: Histogram,
    pub in_flight: IntGauge,
    pub slots_effective: IntGauge,
    pub slots_total: IntGauge,
    waiting: [IntGauge; LANES.len()],
    /// What is to be parked, of all lanes.
    pub parking: IntGauge,
    pub load: Batches,
    pub record: Batches,
    pub claim: Batches,
    pub unrecorded: IntGauge,
    pub unrecorded_age: IntGauge,
    pub delivered: IntCounter,
    pub dead: IntCounter,
    pub discarded: IntCounter,
    pub parked: IntCounter,
    pub held: IntCounter,
    pub stale: IntCounter,
    pub overdue: IntCounter,
    pub twins: IntCounter,
    pub endpoints_stopped: IntCounter,
    pub circuits_open: IntGauge,
    pub jobs_open: IntGauge,
    pub job_rows: IntCounter,
    pub released: IntCounter,
    pub recovered: IntCounter,
    pub lost: IntCounter,
    pub unrouted: IntCounter,
    swept: IntCounterVec,
}

impl Metrics {
    /// Registers them.
    pub fn new(families: &Families) -> Self {
        let attempts =
            families.counters("fairhook_attempts_total", "Attempts, by what came of them.", &["outcome"]);
        let slots = families.gauges("fairhook_slots", "Slots: as configured, and in force now.", &["kind"]);
        let waiting = families.gauges(
            "fairhook_waiting_in_memory",
            "Deliveries that wait in this dispatcher's memory.",
            &["lane"],
        );
        let ended =
            families.counters("fairhook_deliveries_ended_total", "Deliveries that ended here.", &["state"]);
        let passed = families.counters(
            "fairhook_not_attempted_total",
            "Deliveries taken up and not attempted: parked, held, stale, held too long, or a message that came again (twin).",
            &["why"],
        );
        Self {
            successes: attempts.with_label_values(&["delivered"]),
            failures: CODES.map(|code| attempts.with_label_values(&[code.name()])),
            attempt_seconds: families.seconds("fairhook_attempt_seconds", "How long attempts take."),
            arrival_seconds: families.seconds(
                "fairhook_post_to_arrival_seconds",
                "From an event's admission to its 2xx, of first attempts that came through the queue.",
            ),
            in_flight: families.gauge("fairhook_in_flight", "Deliveries that hold a slot."),
            slots_effective: slots.with_label_values(&["effective"]),
            slots_total: slots.with_label_values(&["total"]),
            waiting: LANES.map(|lane| waiting.with_label_values(&[lane])),
            parking: waiting.with_label_values(&["parking"]),
            load: Batches::new(families, "load"),
            record: Batches::new(families, "record"),
            claim: Batches::new(families, "claim"),
            unrecorded: families.gauge("fairhook_unrecorded", "Outcomes that are not in the store yet."),
            unrecorded_age: families
                .gauge("fairhook_unrecorded_age_milliseconds", "The age of the oldest unrecorded outcome."),
            delivered: ended.with_label_values(&["delivered"]),
            dead: ended.with_label_values(&["dead"]),
            discarded: ended.with_label_values(&["discarded"]),
            parked: passed.with_label_values(&["parked"]),
            held: passed.with_label_values(&["held"]),
            stale: passed.with_label_values(&["stale"]),
            overdue: passed.with_label_values(&["overdue"]),
            twins: passed.with_label_values(&["twin"]),
            endpoints_stopped: families
                .counter("fairhook_endpoints_stopped_total", "Endpoints that were disabled or paused here."),
            circuits_open: families.gauge("fairhook_circuits_open", "Endpoints whose circuit is not closed."),
            jobs_open: families.gauge("fairhook_jobs_open", "Jobs that are not at their end."),
            job_rows: families.counter("fairhook_job_rows_total", "Deliveries that jobs came to."),
            released: families.counter("fairhook_released_total", "Held deliveries that were released."),
            recovered: families
                .counter("fairhook_recovered_total", "Deliveries made due from unsettled outbox rows."),
            lost: families.counter(
                "fairhook_lost_messages_total",
                "Deliveries made due because the queue had lost their messages.",
            ),
            unrouted: families.counter(
                "fairhook_unrouted_messages_total",
                "Deliveries made due because their messages found no queue.",
            ),
            swept: families.counters(
                "fairhook_swept_rows_total",
                "Rows that housekeeping changed.",
                &["sweep"],
            ),
        }
    }

    /// An attempt ended, with this error or well.
    pub fn attempted(&self, error: Option<AttemptErrorCode>, took: Duration) {
        let counter = match error.and_then(|code| CODES.iter().position(|known| *known == code)) {
            Some(index) => &self.failures[index],
            None => &self.successes,
        };
        counter.inc();
        self.attempt_seconds.observe(took.as_secs_f64());
    }

    /// The gauge of what waits in a lane.
    pub fn waiting(&self, lane: Lane) -> &IntGauge {
        &self.waiting[lane as usize]
    }

    /// A sweep changed `rows`.
    pub fn swept(&self, sweep: Sweep, rows: u64) {
        self.swept.with_label_values(&[sweep_name(sweep)]).inc_by(rows);
    }
}

fn sweep_name(sweep: Sweep) -> &'static str {
    match sweep {
        Sweep::Expired => "expired",
        Sweep::DeletedEndpoints => "deleted_endpoints",
        Sweep::Retention { .. } => "retention",
        Sweep::IdempotencyKeys => "idempotency_keys",
        Sweep::EndedJobs { .. } => "ended_jobs",
        Sweep::LimitMinutes { .. } => "limit_minutes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_has_a_counter_and_lanes_are_in_their_order() {
        let metrics = Metrics::new(&Families::new(prometheus::Registry::new()));
        for (index, code) in CODES.into_iter().enumerate() {
            metrics.attempted(Some(code), Duration::ZERO);
            assert_eq!(metrics.failures[index].get(), 1, "{code:?}");
        }
        metrics.attempted(None, Duration::ZERO);
        assert_eq!(metrics.successes.get(), 1);
        for lane in Lane::ALL {
            assert_eq!(format!("{lane:?}").to_lowercase(), LANES[lane as usize]);
        }
    }
}
