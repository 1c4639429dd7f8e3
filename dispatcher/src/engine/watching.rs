//! Looks at all tenants every few seconds, by one of the dispatchers at a time: which are in a condition, and what their
//! figures are. The conditions are kept in the store, so that whoever has the lease next goes on where the last one stopped.

use std::collections::BTreeMap;

use fairhook_common::activity::{Board, Figures, Seen};
use fairhook_common::condition::{Condition, ConditionKey};
use fairhook_common::ids::{ConditionId, TenantId};
use fairhook_common::limits;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::store::{PageRequest, SharedStore, StoreError, Surveyed, Which};
use fairhook_common::time::Timestamp;
use tokio::time::{Instant, sleep};

use super::housekeeping::{rest, until_drained};
use super::keeper::Keeper;
use super::outage::Outage;
use super::roster::Pokes;
use super::telling;
use super::tenant_gauges::TenantGauges;
use crate::conditions::{Changes, Detector, samples};

/// What the watch works with.
pub struct Watching {
    pub store: SharedStore,
    pub keeper: Keeper,
    pub outage: std::sync::Arc<Outage>,
    pub pokes: std::sync::Arc<Pokes>,
    pub gauges: TenantGauges,
}

/// What one look at all tenants has found.
struct Look {
    samples: Vec<crate::conditions::Sample>,
    slugs: BTreeMap<TenantId, String>,
    board: Board,
    /// Who has metrics of its own.
    busiest: Vec<TenantId>,
    /// The figures of these, in no order, and of the others together.
    named: Vec<(String, Figures)>,
    others: Figures,
}

impl Watching {
    /// Watches while this process has the lease, until the drain begins.
    pub async fn run(mut self, shutdown: Shutdown) {
        until_drained(self.watch(), &shutdown).await;
    }

    async fn watch(&mut self) {
        loop {
            self.keeper.is_ours().await;
            let mut detector = None;
            while self.keeper.has() {
                match self.round(detector.take()).await {
                    Ok(next) => {
                        self.outage.worked();
                        detector = Some(next);
                    }
                    // What was decided and not kept is decided again, from what is kept.
                    Err(error) => self.outage.failed("watching the tenants", &error),
                }
                sleep(limits::WATCH_INTERVAL).await;
            }
            // Somebody else shows them from now on.
            self.gauges.clear();
        }
    }

    /// One look at all tenants, with all that follows from it.
    async fn round(&mut self, detector: Option<Detector>) -> Result<Detector, StoreError> {
        let mut detector = match detector {
            Some(detector) => detector,
            None => Detector::resume(self.held().await?),
        };
        let look = Look::at_all(&self.store, limits::SURVEY_TENANTS).await?;
        let now = Timestamp::now();
        let changes = detector.round(now, look.samples.iter().copied());
        self.keep(&changes, &look, now).await?;
        self.gauges.show(&look.named, &look.others, &detector.tenants_in_condition());
        telling::tell(&self.store, &self.pokes, now).await?;
        Ok(detector)
    }

    async fn held(&self) -> Result<Vec<ConditionKey>, StoreError> {
        let mut request = PageRequest { limit: limits::PAGE_ITEMS, ..PageRequest::default() };
        let mut held = Vec::new();
        while held.len() < limits::CONDITIONS {
            let page = self.store.conditions(None, &request).await?;
            held.extend(page.items.iter().map(|condition| condition.key));
            if page.next.is_none() {
                break;
            }
            request.after = page.next;
        }
        Ok(held)
    }

    async fn keep(&self, changes: &Changes, look: &Look, now: Timestamp) -> Result<(), StoreError> {
        if changes.left_out > 0 {
            tracing::warn!(conditions = changes.left_out, "more conditions than are told of");
        }
        if changes.raised.is_empty() && changes.cleared.is_empty() {
            return Ok(());
        }
        let raised = changes.raised.iter().map(|(key, evidence)| Condition {
            id: ConditionId::generate(),
            key: *key,
            slug: look.slug(key.tenant),
            evidence: *evidence,
            raised_at: now,
            cleared_at: None,
        });
        let raised: Vec<_> = raised.collect();
        self.store.change_conditions(&raised, &changes.cleared, now).await?;
        for condition in &raised {
            tracing::warn!(
                condition = condition.key.kind.name(),
                tenant.slug = condition.slug,
                tenant.id = %condition.key.tenant,
                subject = condition.key.subject.text(),
                value = condition.evidence.value,
                limit = condition.evidence.limit,
                "condition raised: {}",
                condition.sentence()
            );
        }
        for key in &changes.cleared {
            tracing::info!(
                condition = key.kind.name(),
                tenant.slug = look.slug(key.tenant),
                tenant.id = %key.tenant,
                subject = key.subject.text(),
                "condition cleared"
            );
        }
        Ok(())
    }
}

impl Look {
    /// Walks over all tenants, so many at a time, with pauses: it takes a quarter of a connection at most.
    async fn at_all(store: &SharedStore, at_a_time: u32) -> Result<Self, StoreError> {
        let mut look = Self::beginning(Board::of(&store.activities(Timestamp::now()).await?));
        let mut after = None;
        loop {
            let began = Instant::now();
            let page = store.survey(Which::Behind(after, at_a_time)).await?;
            let now = Timestamp::now();
            page.iter().for_each(|stored| look.take_in(stored, now));
            match page.last() {
                Some(last) if page.len() >= at_a_time as usize => after = Some(last.tenant),
                _ => return Ok(look),
            }
            sleep(rest(began.elapsed())).await;
        }
    }

    /// Nobody is looked at yet; what is told of nobody by name is there already.
    fn beginning(board: Board) -> Self {
        let busiest = board.busiest(limits::METRIC_TENANTS).into_iter().map(|(tenant, _)| tenant).collect();
        let others = Figures::of_rest(&board);
        Self { samples: vec![], slugs: BTreeMap::new(), board, busiest, named: vec![], others }
    }

    fn take_in(&mut self, stored: &Surveyed, now: Timestamp) {
        let before = self.samples.len();
        // What is far from any limit is as good as not measured.
        self.samples.extend(samples(stored, &self.board).filter(|sample| sample.pressure >= f64::EPSILON));
        if self.samples.len() > before {
            self.slugs.insert(stored.tenant, stored.slug.clone());
        }
        let mut figures = Figures::of(stored, &self.board, now);
        if figures.hurt {
            // What others keep from beginning has no delay yet, and is late all the same. (Not so what its own endpoints keep
            // parked.)
            let held = self.board.tenant(stored.tenant).map_or(0, |seen| seen.standing.oldest_ms);
            let waits_ms = held as f64;
            figures.dispatch_delay_ms =
                Some(figures.dispatch_delay_ms.map_or(waits_ms, |ms| ms.max(waits_ms)));
        }
        if self.busiest.contains(&stored.tenant) {
            self.named.push((stored.slug.clone(), figures));
            return;
        }
        // Who is idle takes no part, whatever it would be entitled to if it did: all parts together are the whole.
        if !self.board.tenant(stored.tenant).is_some_and(Seen::is_active) {
            figures.fair_share = 0.0;
        }
        self.others.add(&figures);
    }

    fn slug(&self, tenant: TenantId) -> String {
        self.slugs.get(&tenant).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "watching_tests.rs"]
mod tests;
