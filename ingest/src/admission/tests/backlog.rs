use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use fairhook_common::event::NewEvent;
use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::store::{Admitted, Settled, StoreError, Usage};
use fairhook_common::tenant::DeliveryCounts;
use fairhook_common::time::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::super::Ledger;
use super::super::backlog::Backlog;
use super::scripted::tenant;

/// Answers with the number of the read as the backlog, once it may.
struct Counting {
    reads: AtomicU64,
    may_answer: Semaphore,
    fails: bool,
}

#[async_trait]
impl Ledger for Arc<Counting> {
    async fn admit(&self, _: Vec<NewEvent>, _: Timestamp) -> Result<Admitted, StoreError> {
        Err(StoreError::TooSlow)
    }

    async fn settle_outbox(&self, _: &[Settled], _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn usages(&self, tenants: &[TenantId]) -> Result<Vec<Usage>, StoreError> {
        assert_eq!(tenants, [tenant(1)]);
        let read = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        self.may_answer.acquire().await.expect("open").forget();
        if self.fails && read > 1 {
            return Err(StoreError::TooSlow);
        }
        let counts = DeliveryCounts { backlog: read, ..DeliveryCounts::default() };
        Ok(vec![Usage { counts, ..Usage::default() }])
    }
}

fn counting(fails: bool) -> (Arc<Counting>, Backlog) {
    let ledger = Arc::new(Counting { reads: AtomicU64::new(0), may_answer: Semaphore::new(0), fails });
    (ledger.clone(), Backlog::new(Arc::new(ledger)))
}

#[tokio::test]
async fn one_reads_for_all_and_nothing_older_than_a_second_counts() {
    let (ledger, backlog) = counting(false);
    let start = Instant::now();
    let of = |at: Instant| {
        let backlog = backlog.clone();
        async move { backlog.usage(tenant(1), at).await.expect("known").counts.backlog }
    };
    let together = async { tokio::join!(of(start), of(start), of(start)) };
    let (answers, ()) = tokio::join!(together, async { ledger.may_answer.add_permits(1) });
    assert_eq!(answers, (1, 1, 1));
    assert_eq!(of(start + limits::BACKLOG_AGE_REFRESH / 2).await, 1);
    assert_eq!(ledger.reads.load(Ordering::SeqCst), 1);
    ledger.may_answer.add_permits(1);
    assert_eq!(of(start + limits::BACKLOG_AGE_MAX).await, 2);
}

#[tokio::test]
async fn a_value_that_grows_old_is_read_again_beside_the_requests() {
    let (ledger, backlog) = counting(false);
    let start = Instant::now();
    ledger.may_answer.add_permits(1);
    backlog.usage(tenant(1), start).await.expect("known");
    // The store does not answer, and nobody waits for it.
    let later = start + limits::BACKLOG_AGE_REFRESH;
    for _ in 0..3 {
        assert_eq!(backlog.usage(tenant(1), later).await.expect("known").counts.backlog, 1);
        tokio::task::yield_now().await;
    }
    assert_eq!(ledger.reads.load(Ordering::SeqCst), 2);
    ledger.may_answer.add_permits(1);
    while backlog.usage(tenant(1), later).await.expect("known").counts.backlog == 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reader_that_is_late_does_not_close_the_way_in_at_once() {
    let (ledger, backlog) = counting(true);
    let start = Instant::now();
    ledger.may_answer.add_permits(10);
    backlog.usage(tenant(1), start).await.expect("known");
    assert!(backlog.usage(tenant(1), start + limits::BACKLOG_AGE_MAX).await.is_ok());
    assert!(backlog.usage(tenant(1), start + limits::BACKLOG_AGE_STALE).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_read_that_does_not_end_is_waited_for_once_and_not_in_turn() {
    let (_ledger, backlog) = counting(false);
    let reads = backlog.clone();
    let hanging = tokio::spawn(async move { reads.usage(tenant(1), Instant::now()).await });
    tokio::task::yield_now().await;
    let began = Instant::now();
    let waiting = (0..20).map(|_| {
        let backlog = backlog.clone();
        tokio::spawn(async move { backlog.usage(tenant(1), Instant::now()).await })
    });
    for waiting in waiting.collect::<Vec<_>>() {
        let answer = tokio::time::timeout(limits::READ_DEADLINE * 2, waiting).await.expect("answered");
        assert!(matches!(answer.expect("no panic"), Err(StoreError::TooSlow)));
    }
    assert!(began.elapsed() < limits::READ_DEADLINE * 2);
    hanging.abort();
}
