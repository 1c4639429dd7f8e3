use std::sync::Arc;

use async_trait::async_trait;
use fairhook_common::event::NewEvent;
use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::store::{Admitted, Settled, StoreError, Usage};
use fairhook_common::time::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::Ledger;
use super::super::usages::Usages;
use super::scripted::tenant;

type Answer = Result<Vec<Usage>, StoreError>;

/// A read of these tenants, which the test answers.
type Read = (Vec<TenantId>, oneshot::Sender<Answer>);

struct Asking(mpsc::UnboundedSender<Read>);

#[async_trait]
impl Ledger for Asking {
    async fn admit(&self, _: Vec<NewEvent>, _: Timestamp) -> Result<Admitted, StoreError> {
        Err(StoreError::TooSlow)
    }

    async fn settle_outbox(&self, _: &[Settled], _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn usages(&self, tenants: &[TenantId]) -> Result<Vec<Usage>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.0.send((tenants.to_vec(), answer)).expect("the test looks");
        answered.await.expect("the test answers, or this panics")
    }
}

fn asking() -> (mpsc::UnboundedReceiver<Read>, Usages) {
    let (reads, asked) = mpsc::unbounded_channel();
    (asked, Usages::new(Arc::new(Asking(reads))))
}

/// What says of a tenant's usage which it is.
fn of(n: u32) -> Usage {
    Usage { endpoints: n, ..Usage::default() }
}

/// Asks for these tenants, each by a task of its own, one after the other.
async fn ask(
    usages: &Usages,
    tenants: impl Iterator<Item = u32>,
) -> Vec<JoinHandle<Result<Usage, StoreError>>> {
    let mut tasks = Vec::new();
    for n in tenants {
        let usages = usages.clone();
        let until = Instant::now() + limits::READ_DEADLINE;
        tasks.push(tokio::spawn(async move { usages.read(tenant(n), until).await }));
        tokio::task::yield_now().await;
    }
    tasks
}

const READERS: u32 = limits::USAGE_READERS as u32;
const TENANTS: u32 = limits::USAGE_TENANTS as u32;

#[tokio::test]
async fn the_first_are_read_for_at_once_and_those_that_come_meanwhile_together() {
    let (mut reads, usages) = asking();
    let first = ask(&usages, 0..READERS).await;
    let mut under_way = vec![];
    for n in 0..READERS {
        let (tenants, answer) = reads.recv().await.expect("reads");
        assert_eq!(tenants, [tenant(n)], "alone");
        under_way.push(answer);
    }
    let later = ask(&usages, 100..100 + TENANTS + 3).await;
    assert!(reads.try_recv().is_err(), "no further one begins");
    // One ends: the next one is for as many as there may be, in their order.
    under_way.pop().expect("one").send(Ok(vec![of(READERS - 1)])).expect("it is waited for");
    let (tenants, answer) = reads.recv().await.expect("reads");
    assert_eq!(tenants, (100..100 + TENANTS).map(tenant).collect::<Vec<_>>());
    answer.send(Ok((100..100 + TENANTS).map(of).collect())).expect("it is waited for");
    let (tenants, answer) = reads.recv().await.expect("reads");
    assert_eq!(tenants.len(), 3);
    answer.send(Ok((100 + TENANTS..100 + TENANTS + 3).map(of).collect())).expect("it is waited for");
    for (n, task) in (100..).zip(later) {
        assert_eq!(task.await.expect("no panic").expect("read"), of(n), "its own");
    }
    for (n, answer) in (0..).zip(under_way) {
        answer.send(Ok(vec![of(n)])).expect("it is waited for");
    }
    for (n, task) in (0..).zip(first) {
        assert_eq!(task.await.expect("no panic").expect("read"), of(n));
    }
}

#[tokio::test]
async fn a_read_that_fails_or_panics_fails_its_own_tenants_and_others_are_read() {
    let (mut reads, usages) = asking();
    for _ in 0..=READERS {
        for fails in [true, false] {
            let asked = ask(&usages, 1..2).await;
            let (_, answer) = reads.recv().await.expect("reads");
            if fails {
                answer.send(Err(StoreError::TooSlow)).expect("it is waited for");
            } else {
                drop(answer);
            }
            for task in asked {
                assert!(task.await.expect("no panic here").is_err());
            }
        }
    }
    let asked = ask(&usages, 7..8).await;
    reads.recv().await.expect("reads").1.send(Ok(vec![of(7)])).expect("it is waited for");
    for task in asked {
        assert_eq!(task.await.expect("no panic").expect("read"), of(7));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_a_read_may_take_and_who_has_left_is_not_read_for() {
    let (mut reads, usages) = asking();
    let began = Instant::now();
    let hanging = ask(&usages, 0..READERS + 3).await;
    let mut under_way = vec![];
    for _ in 0..READERS {
        under_way.push(reads.recv().await.expect("reads"));
    }
    for task in hanging {
        assert!(matches!(task.await.expect("no panic"), Err(StoreError::TooSlow)));
    }
    assert_eq!(began.elapsed().as_secs(), limits::READ_DEADLINE.as_secs());
    let later = ask(&usages, 50..51).await;
    under_way.pop().expect("one").1.send(Err(StoreError::TooSlow)).expect("it hangs until now");
    let (tenants, answer) = reads.recv().await.expect("reads");
    assert_eq!(tenants, [tenant(50)]);
    answer.send(Ok(vec![of(50)])).expect("it is waited for");
    for task in later {
        assert_eq!(task.await.expect("no panic").expect("read"), of(50));
    }
}
