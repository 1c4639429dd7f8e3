//! The live table: how every tenant with work stands, for people who watch.

use std::sync::Arc;
use std::time::Duration;

use fairhook_common::ids::TenantId;
use tokio::sync::watch;

use super::core::Core;
use crate::schedule::{HeldBack, LaneCounts, Moment};

/// How a dispatcher stands.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Slots that may be used now.
    pub slots: usize,
    /// Slots in use.
    pub in_flight: usize,
    /// Outcomes that are not in the store yet.
    pub unrecorded: usize,
    /// Every tenant that has or had work here, by its slug.
    pub tenants: Vec<TenantSnapshot>,
}

/// How a tenant stands in a dispatcher.
#[derive(Debug, Clone)]
pub struct TenantSnapshot {
    /// Its id.
    pub id: TenantId,
    /// Its slug.
    pub slug: Arc<str>,
    /// What waits in memory; much more may wait in the store.
    pub waiting: LaneCounts,
    /// Slots it holds.
    pub in_flight: u32,
    /// Deliveries that ended well since the start.
    pub delivered: u64,
    /// Deliveries that died since the start.
    pub dead: u64,
    /// Slot time it has used.
    pub slot_time: Duration,
    /// Why nothing of what waits starts.
    pub held_back: Option<HeldBack>,
}

/// A running dispatcher, for those who watch it.
#[derive(Debug, Clone)]
pub struct Handle(pub(super) Arc<watch::Sender<Arc<Snapshot>>>);

impl Handle {
    /// The live table, refreshed every `limits::SNAPSHOT_INTERVAL` as long as somebody has it.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.subscribe()
    }
}

impl Core {
    /// How things stand.
    pub fn snapshot(&self, now: Moment) -> Snapshot {
        let schedule = self.scheduler.snapshot(now);
        let mut tenants: Vec<_> = schedule
            .tenants
            .iter()
            .filter_map(|standing| {
                let known = self.tenants.get(standing.tenant)?;
                Some(TenantSnapshot {
                    id: standing.tenant,
                    slug: Arc::clone(&known.slug),
                    waiting: standing.waiting,
                    in_flight: standing.in_flight,
                    delivered: known.delivered,
                    dead: known.dead,
                    slot_time: standing.slot_time,
                    held_back: standing.held_back,
                })
            })
            .collect();
        tenants.sort_by(|a, b| a.slug.cmp(&b.slug));
        Snapshot {
            slots: schedule.slots,
            in_flight: schedule.in_flight,
            unrecorded: self.outbound.len(),
            tenants,
        }
    }
}
