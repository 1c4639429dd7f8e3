//! Reads of what tenants use, asked together: the first begins at once, and those that come while `limits::USAGE_READERS` are
//! under way go with the next one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::store::{StoreError, Usage};
use fairhook_common::unwound::unwound;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Ledger;

/// Reads what tenants use.
#[derive(Clone)]
pub struct Usages {
    ledger: Arc<dyn Ledger>,
    desk: Arc<Mutex<Desk>>,
}

#[derive(Default)]
struct Desk {
    /// Whoever asks waits for a bounded time, and asks of a tenant once.
    waiting: VecDeque<Asked>,
    /// Reads under way.
    readers: usize,
}

struct Asked {
    tenant: TenantId,
    answer: oneshot::Sender<Result<Usage, StoreError>>,
}

impl Usages {
    pub fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger, desk: Arc::default() }
    }

    /// What `tenant` uses, read after this was called; it is waited for until then.
    pub async fn read(&self, tenant: TenantId, until: Instant) -> Result<Usage, StoreError> {
        let (answer, answered) = oneshot::channel();
        if self.desk().ask(Asked { tenant, answer }) {
            tokio::spawn(self.clone().read_waiting());
        }
        let answer = timeout_at(until, answered).await.map_err(|_| StoreError::TooSlow)?;
        answer.unwrap_or_else(|_| Err(panicked()))
    }

    /// Reads until nobody waits.
    async fn read_waiting(self) {
        loop {
            let asked = self.desk().next();
            if asked.is_empty() {
                return;
            }
            let tenants: Vec<_> = asked.iter().map(|asked| asked.tenant).collect();
            let usages = unwound(self.ledger.usages(&tenants)).await.unwrap_or_else(|| Err(panicked()));
            for (n, Asked { answer, .. }) in asked.into_iter().enumerate() {
                let usage = usages.as_ref().map(|usages| usages.get(n).copied().unwrap_or_default());
                // Who asked may have left.
                let _ = answer.send(usage.map_err(StoreError::clone));
            }
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panicked() -> StoreError {
    StoreError::Internal("a read of what tenants use panicked".into())
}

impl Desk {
    /// Whether another reader is to begin.
    fn ask(&mut self, asked: Asked) -> bool {
        self.waiting.push_back(asked);
        let begins = self.readers < limits::USAGE_READERS;
        self.readers += usize::from(begins);
        begins
    }

    /// Whom a reader reads for next, those who have waited longest; with nobody it ends.
    fn next(&mut self) -> Vec<Asked> {
        let still = |asked: &Asked| !asked.answer.is_closed();
        let mut next = Vec::new();
        while next.len() < limits::USAGE_TENANTS
            && let Some(asked) = self.waiting.pop_front()
        {
            next.extend(Some(asked).filter(still));
        }
        self.readers -= usize::from(next.is_empty());
        next
    }
}
