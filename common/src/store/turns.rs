//! One at a time for each tenant, of reads and of changes, and a part of the time in all: however many it asks for at once
//! and however long it goes on, the store and the machine are there for the others too.
//!
//! What a turn took counts as used and is forgiven at a rate of `limits::TURN_PART`; while more than
//! `limits::TURN_ALLOWANCE` is left of it, the tenant's next turn waits. So a tenant that asks now and then never waits, one that asks
//! without end has that part of the time, and where others need the machine, which makes each of its turns longer, it has fewer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Mutex as Line, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::locked;
use crate::ids::TenantId;
use crate::limits;
use crate::store::StoreError;

/// The tenants whose turn it is, who wait for it, or who have had more than their part of late.
#[derive(Default, Clone)]
pub(super) struct Turns(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    of: HashMap<TenantId, Arc<Line<Use>>>,
    /// With so many it is looked who may be forgotten.
    tidy_at: usize,
}

/// A tenant's turn, until dropped.
pub(super) struct Turn {
    used: OwnedMutexGuard<Use>,
    began: Instant,
}

/// When all that a tenant has used is forgiven, if that is still to come.
#[derive(Debug, Default, Clone, Copy)]
struct Use(Option<Instant>);

impl Use {
    /// When its next turn may begin.
    fn free_at(self) -> Option<Instant> {
        self.0?.checked_sub(limits::TURN_ALLOWANCE * limits::TURN_PART)
    }

    /// A turn has lasted from `began` until now.
    fn count(&mut self, began: Instant, now: Instant) {
        let forgiven = self.0.map_or(began, |at| at.max(began));
        self.0 = Some(forgiven + now.saturating_duration_since(began) * limits::TURN_PART);
    }

    fn is_forgiven(self, now: Instant) -> bool {
        self.0.is_none_or(|at| at <= now)
    }
}

impl Turns {
    /// Waits for the tenant's turn until `deadline`.
    pub(super) async fn take(&self, tenant: TenantId, deadline: Instant) -> Result<Turn, StoreError> {
        let line = locked(&self.0).line(tenant);
        let waiting = async {
            let used = line.lock_owned().await;
            if let Some(free_at) = used.free_at() {
                sleep_until(free_at).await;
            }
            used
        };
        let used = timeout_at(deadline, waiting).await.map_err(|_| StoreError::TooSlow)?;
        Ok(Turn { used, began: Instant::now() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.used.count(self.began, Instant::now());
    }
}

impl Lines {
    fn line(&mut self, tenant: TenantId) -> Arc<Line<Use>> {
        if self.of.len() >= self.tidy_at {
            let now = Instant::now();
            self.of.retain(|_, line| {
                // Whoever waits has it too.
                Arc::strong_count(line) > 1 || line.try_lock().is_ok_and(|used| !used.is_forgiven(now))
            });
            self.tidy_at = 2 * self.of.len() + 64;
        }
        Arc::clone(self.of.entry(tenant).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_millis(7);

    /// When a turn of a tenant that asks at `now` begins.
    fn begins(used: Use, now: Instant) -> Instant {
        used.free_at().map_or(now, |at| at.max(now))
    }

    #[test]
    fn who_asks_without_end_has_its_part_of_the_time() {
        let (mut used, start) = (Use::default(), Instant::now());
        let (mut now, mut turns) = (start, 0);
        while now < start + Duration::from_secs(60) {
            let began = begins(used, now);
            now = began + LONG;
            used.count(began, now);
            turns += 1;
        }
        let (part, took) = ((now - start) / limits::TURN_PART, turns * LONG);
        assert!(took + 2 * LONG > part && took < part + limits::TURN_ALLOWANCE + 2 * LONG, "{took:?}");
    }

    #[test]
    fn who_asks_now_and_then_never_waits_and_saves_nothing() {
        let (mut used, mut now) = (Use::default(), Instant::now());
        let seldom = LONG * limits::TURN_PART;
        for _ in 0..1_000 {
            assert_eq!(begins(used, now), now);
            used.count(now, now + LONG);
            now += seldom;
        }
        assert!(used.is_forgiven(now));
        now += Duration::from_secs(3_600);
        used.count(now, now + 2 * limits::TURN_ALLOWANCE);
        now += 2 * limits::TURN_ALLOWANCE;
        assert!(!used.is_forgiven(now) && begins(used, now) > now + limits::TURN_ALLOWANCE);
    }

    #[tokio::test]
    async fn a_tenant_waits_for_itself_only() {
        let turns = Turns::default();
        let soon = || Instant::now() + Duration::from_millis(20);
        let (a, b) = (TenantId::generate(), TenantId::generate());
        let first = turns.take(a, soon()).await.expect("free");
        assert!(matches!(turns.take(a, soon()).await, Err(StoreError::TooSlow)));
        drop(turns.take(b, soon()).await.expect("another's"));
        drop(first);
        drop(turns.take(a, Instant::now() + limits::READ_DEADLINE).await.expect("free again"));
    }

    #[tokio::test]
    async fn who_has_had_more_than_its_part_waits_until_it_is_forgiven() {
        let (turns, tenant) = (Turns::default(), TenantId::generate());
        let forgiven = Instant::now() + 2 * limits::TURN_ALLOWANCE * limits::TURN_PART;
        *locked(&turns.0).line(tenant).try_lock().expect("nobody has it") = Use(Some(forgiven));
        assert!(matches!(turns.take(tenant, Instant::now()).await, Err(StoreError::TooSlow)));
        let turn = turns.take(tenant, forgiven).await.expect("in time");
        assert!(Instant::now() >= forgiven - limits::TURN_ALLOWANCE * limits::TURN_PART);
        drop(turn);
        let line = locked(&turns.0).line(tenant);
        assert!(line.try_lock().expect("nobody has it").0 > Some(forgiven), "it counts");
    }

    #[tokio::test]
    async fn those_who_have_used_nothing_of_late_are_forgotten() {
        let (turns, now) = (Turns::default(), Instant::now());
        let busy = TenantId::generate();
        let held = turns.take(busy, now + limits::READ_DEADLINE).await.expect("free");
        let resting = TenantId::generate();
        let used = Use(Some(now + Duration::from_secs(3_600)));
        *locked(&turns.0).line(resting).try_lock().expect("nobody has it") = used;
        for _ in 0..1_000 {
            drop(locked(&turns.0).line(TenantId::generate()));
        }
        let lines = locked(&turns.0);
        assert!(lines.of.len() < 200, "{}", lines.of.len());
        assert!(lines.of.contains_key(&busy) && lines.of.contains_key(&resting));
        drop(held);
    }
}
