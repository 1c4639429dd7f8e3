//! Whether this process is ready: the parts say so themselves, by name. Shown by `/readyz` on every listener.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::limits::{HEALTH_AGE_MAX, READ_DEADLINE};

/// A future that owns or borrows what it needs for `'a`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

type Standing = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The checks of a process. Clones share them; parts add theirs as they start.
#[derive(Clone, Default)]
pub struct Health(Arc<Parts>);

#[derive(Default)]
struct Parts {
    checks: RwLock<Vec<(&'static str, Check)>>,
    helpers: RwLock<Vec<(&'static str, Standing)>>,
    /// What was last answered, and when. Locked while the parts are asked: who comes meanwhile shares the answer.
    last: Mutex<Option<(Instant, States)>>,
}

/// Each part by its name, with what is wrong.
type States = Vec<(&'static str, Result<(), String>)>;

impl Health {
    /// Adds a part's check. It says in one sentence what is wrong, without secrets.
    pub fn add(
        &self,
        name: &'static str,
        check: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    ) {
        self.0.checks.write().unwrap_or_else(|e| e.into_inner()).push((name, Arc::new(check)));
    }

    /// Adds a part without which this process works, if less well. It says in one sentence what is less well, without
    /// secrets, and at once; `None`: nothing is.
    pub fn add_helper(
        &self,
        name: &'static str,
        standing: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) {
        self.0.helpers.write().unwrap_or_else(|e| e.into_inner()).push((name, Arc::new(standing)));
    }

    /// How the parts stand that readiness does not hang on, with what is less well.
    pub fn helpers(&self) -> Vec<(&'static str, Option<String>)> {
        let helpers = self.0.helpers.read().unwrap_or_else(|e| e.into_inner());
        helpers.iter().map(|(name, standing)| (*name, standing())).collect()
    }

    /// Asks every part at once and answers in the order in which they were added. A part that does not answer within
    /// `limits::READ_DEADLINE`, or panics, is not ready. An answer may be `limits::HEALTH_AGE_MAX` old.
    pub async fn ready(&self) -> States {
        let mut last = self.0.last.lock().await;
        let parts = self.0.checks.read().unwrap_or_else(|e| e.into_inner()).len();
        let holds =
            |(at, states): &&(Instant, States)| at.elapsed() < HEALTH_AGE_MAX && states.len() == parts;
        if let Some((_, states)) = last.as_ref().filter(holds) {
            return states.clone();
        }
        let states = self.ready_within(READ_DEADLINE).await;
        *last = Some((Instant::now(), states.clone()));
        states
    }

    async fn ready_within(&self, deadline: Duration) -> States {
        let checks = self.0.checks.read().unwrap_or_else(|e| e.into_inner()).clone();
        let mut states: Vec<_> =
            checks.iter().map(|(name, _)| (*name, Err("its check did not end".to_owned()))).collect();
        let mut asked = JoinSet::new();
        for (index, (_, check)) in checks.into_iter().enumerate() {
            asked.spawn(async move {
                let answer = timeout(deadline, check()).await;
                (index, answer.unwrap_or_else(|_| Err("does not answer in time".to_owned())))
            });
        }
        while let Some(ended) = asked.join_next().await {
            if let Ok((index, state)) = ended {
                states[index].1 = state;
            }
        }
        states
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = self.0.checks.read().unwrap_or_else(|e| e.into_inner());
        f.debug_list().entries(checks.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Strangers may ask, and an answer costs a commit.
    #[tokio::test]
    async fn many_who_ask_at_once_share_an_answer() {
        let (health, asked) = (Health::default(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&asked);
        health.add("store", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(()) })
        });
        let mut callers = JoinSet::new();
        for _ in 0..50 {
            let health = health.clone();
            callers.spawn(async move { health.ready().await });
        }
        assert!(callers.join_all().await.iter().all(|states| *states == [("store", Ok(()))]));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn every_part_answers_for_itself_and_none_holds_up_the_others() {
        let health = Health::default();
        health.add("store", || Box::pin(async { Ok(()) }));
        health.add("queue", || Box::pin(async { Err("gone".to_owned()) }));
        health.add("hanging", || Box::pin(std::future::pending()));
        health.add("broken", || Box::pin(async { panic!("a check's own mistake") }));
        let states = health.ready_within(Duration::from_millis(50)).await;
        assert_eq!(states[0], ("store", Ok(())));
        assert_eq!(states[1], ("queue", Err("gone".to_owned())));
        assert_eq!(states[2], ("hanging", Err("does not answer in time".to_owned())));
        assert_eq!(states[3], ("broken", Err("its check did not end".to_owned())));
    }
}
