//! What is counted of the broker.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use crate::metrics::Families;

/// The families of the RabbitMQ queue.
pub struct Metrics {
    /// From the publish to its confirm.
    pub confirm_seconds: Histogram,
    /// 1 while the broker takes no messages.
    pub blocked: IntGauge,
    /// 1 for each connection that is up, by its purpose.
    pub connected: IntGaugeVec,
    /// Connections lost, by their purpose.
    pub lost: IntCounterVec,
    /// Messages not published, by the reason.
    pub refused: IntCounterVec,
    /// Messages that had no queue to go to.
    pub unrouted: IntCounter,
    /// Messages that nobody can read.
    pub poison: IntCounter,
    /// Queues that could not be consumed when that was tried.
    pub unserved: IntCounter,
}

impl Metrics {
    /// In a registry of their own if nobody looks at them.
    pub fn new(families: Option<&Families>) -> Self {
        let unseen = Families::new(Registry::new());
        let families = families.unwrap_or(&unseen);
        Self {
            confirm_seconds: families.seconds(
                "fairhook_amqp_confirm_seconds",
                "From the publish of a message to the broker's confirm",
            ),
            blocked: families.gauge(
                "fairhook_amqp_blocked",
                "1 while the broker takes no messages because it is short of memory or disk",
            ),
            connected: families.gauges(
                "fairhook_amqp_connected",
                "1 while the connection to the broker is up",
                &["connection"],
            ),
            lost: families.counters(
                "fairhook_amqp_connections_lost_total",
                "Connections to the broker that were lost",
                &["connection"],
            ),
            refused: families.counters(
                "fairhook_amqp_refused_total",
                "Messages that were not published, and whose deliveries became due instead",
                &["reason"],
            ),
            unrouted: families.counter(
                "fairhook_amqp_unrouted_total",
                "Messages received that had found no queue of their tenant",
            ),
            poison: families
                .counter("fairhook_amqp_poison_total", "Messages put aside because they cannot be read"),
            unserved: families.counter(
                "fairhook_amqp_consume_failures_total",
                "Subscriptions to a tenant's queue that failed and are tried again",
            ),
        }
    }

    /// So many messages were refused.
    pub fn refuse(&self, reason: &str, messages: usize) {
        if messages > 0 {
            self.refused.with_label_values(&[reason]).inc_by(messages as u64);
        }
    }
}
