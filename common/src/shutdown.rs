//! Stopping in order: take nothing new, drain what is under way, then stop hard.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tells every part when to stop. Clones are the same signal.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    hard: CancellationToken,
}

impl Shutdown {
    /// A signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on nothing new is taken.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// From now on nothing is waited for either.
    pub fn stop_now(&self) {
        self.drain.cancel();
        self.hard.cancel();
    }

    /// Whether nothing new is to be taken.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Waits until nothing new is to be taken.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Waits until nothing is to be waited for any more.
    pub async fn stopping_now(&self) {
        self.hard.cancelled().await;
    }

    /// Gives the tasks `deadline` to end by themselves after [`Shutdown::drain`], then stops hard and aborts what is
    /// left. Returns whether all ended in time.
    pub async fn join(&self, tasks: &mut JoinSet<()>, deadline: Duration) -> bool {
        let drained = async { while tasks.join_next().await.is_some() {} };
        let in_time = tokio::select! {
            // First: tasks that end because of a hard stop have not come to their end.
            biased;
            () = self.stopping_now() => false,
            ended = tokio::time::timeout(deadline, drained) => ended.is_ok(),
        };
        self.stop_now();
        tasks.shutdown().await;
        in_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_that_drain_end_in_time() {
        let (shutdown, mut tasks) = (Shutdown::new(), JoinSet::new());
        let told = shutdown.clone();
        tasks.spawn(async move { told.draining().await });
        shutdown.drain();
        assert!(shutdown.join(&mut tasks, Duration::from_secs(60)).await);
    }

    /// When the tasks are joined both have happened: the signal, and the end that it made.
    #[tokio::test]
    async fn tasks_that_a_hard_stop_ended_did_not_end_in_time() {
        for _ in 0..20 {
            let (shutdown, mut tasks) = (Shutdown::new(), JoinSet::new());
            let told = shutdown.clone();
            let task = tasks.spawn(async move { told.stopping_now().await });
            shutdown.stop_now();
            while !task.is_finished() {
                tokio::task::yield_now().await;
            }
            assert!(!shutdown.join(&mut tasks, Duration::from_secs(60)).await);
        }
    }
}
