//! What is to be seen of the membership from outside.

use prometheus::{IntGauge, IntGaugeVec};
use tokio::time::Instant;

use crate::metrics::Families;
use crate::store::{Member, Membership, Standing};

/// All of them.
#[derive(Debug)]
pub struct Gauges {
    nodes: IntGaugeVec,
    version: IntGauge,
    lease_seconds: IntGauge,
    skew: IntGauge,
}

impl Gauges {
    /// Registers them.
    pub fn new(families: &Families) -> Self {
        Self {
            nodes: families.gauges(
                "fairhook_nodes",
                "Processes as the store lists them; one with both roles counts in each.",
                &["role", "state"],
            ),
            version: families.gauge("fairhook_membership_version", "How often the dispatchers have changed."),
            lease_seconds: families.gauge(
                "fairhook_node_lease_seconds",
                "How long this process may still start deliveries without hearing from the store.",
            ),
            skew: families.gauge(
                "fairhook_clock_skew_milliseconds",
                "How far the store's clock is ahead of this machine's.",
            ),
        }
    }

    /// The store has answered.
    pub fn members(&self, membership: &Membership) {
        for state in [Standing::Live, Standing::Leaving, Standing::Dead] {
            let count = |is: fn(&Member) -> bool| {
                membership.members.iter().filter(|member| member.state == state && is(member)).count() as i64
            };
            let ingests = count(|member| member.roles.ingest);
            let dispatchers = count(|member| member.roles.dispatcher);
            self.nodes.with_label_values(&["ingest", state.name()]).set(ingests);
            self.nodes.with_label_values(&["dispatcher", state.name()]).set(dispatchers);
        }
        self.version.set(i64::try_from(membership.version).unwrap_or(i64::MAX));
    }

    /// How long the lease still lasts.
    pub fn lease(&self, until: Option<Instant>) {
        let left = until.map_or(0, |until| until.saturating_duration_since(Instant::now()).as_secs());
        self.lease_seconds.set(left as i64);
    }

    /// How far the clocks are apart.
    pub fn skew(&self, ahead_ms: i64) {
        self.skew.set(ahead_ms);
    }
}
