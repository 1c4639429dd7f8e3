//! One at a time for each tenant, of reads and of changes: however many it asks for at once, the store is there for the
//! others too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Mutex as Line, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

use super::locked;
use crate::ids::TenantId;
use crate::store::StoreError;

/// The tenants whose turn it is, or who wait for it.
#[derive(Default, Clone)]
pub(super) struct Turns(Arc<Mutex<HashMap<TenantId, Arc<Line<()>>>>>);

/// A tenant's turn, until dropped.
pub(super) struct Turn {
    turns: Turns,
    tenant: TenantId,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the tenant's turn until `deadline`.
    pub(super) async fn take(&self, tenant: TenantId, deadline: Instant) -> Result<Turn, StoreError> {
        // It is there before the wait, so that a wait that is given up is cleaned up after as well.
        let mut turn = Turn { turns: self.clone(), tenant, held: None };
        let line = Arc::clone(locked(&self.0).entry(tenant).or_default());
        let held = timeout_at(deadline, line.lock_owned()).await.map_err(|_| StoreError::TooSlow)?;
        turn.held = Some(held);
        Ok(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut lines = locked(&self.turns.0);
        if lines.get(&self.tenant).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_tenant_waits_for_itself_only_and_leaves_nothing_behind() {
        let turns = Turns::default();
        let soon = || Instant::now() + Duration::from_millis(20);
        let (a, b) = (TenantId::generate(), TenantId::generate());
        let first = turns.take(a, soon()).await.expect("free");
        assert!(matches!(turns.take(a, soon()).await, Err(StoreError::TooSlow)));
        drop(turns.take(b, soon()).await.expect("another's"));
        drop(first);
        drop(turns.take(a, soon()).await.expect("free again"));
        assert!(locked(&turns.0).is_empty());
    }
}
