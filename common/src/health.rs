//! Whether this process is ready: the parts say so themselves, by name. Shown by `/readyz` on every listener.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::limits::{HEALTH_AGE_MAX, READ_DEADLINE};

/// A future that owns or borrows what it needs for `'a`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

type Detail = Arc<dyn Fn() -> Value + Send + Sync>;
type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The checks of a process. Clones share them; parts add theirs as they start.
#[derive(Clone, Default)]
pub struct Health(Arc<Parts>);

#[derive(Default)]
struct Parts {
    checks: RwLock<Vec<(Part, Check)>>,
    /// What is shown beside the parts.
    details: RwLock<Vec<(&'static str, Detail)>>,
    /// What was last answered, and when. Locked while the parts are asked: who comes meanwhile shares the answer.
    last: Mutex<Option<(Instant, Vec<Standing>)>>,
}

/// A part of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    name: &'static str,
    /// Without it the process does nothing of use; else it only works less well.
    needed: bool,
}

/// How a part stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    part: Part,
    /// What is wrong, in one sentence.
    pub wrong: Option<String>,
}

impl Standing {
    /// The part's name.
    pub fn name(&self) -> &'static str {
        self.part.name
    }

    /// In a word. `degraded` makes nobody turn away from this process: it can do without the part.
    pub fn word(&self) -> &'static str {
        match (&self.wrong, self.part.needed) {
            (None, _) => "ready",
            (Some(_), true) => "not_ready",
            (Some(_), false) => "degraded",
        }
    }

    /// Whether the process may be used, as far as this part goes.
    pub fn is_usable(&self) -> bool {
        self.wrong.is_none() || !self.part.needed
    }
}

impl Health {
    /// Adds a part's check. It says in one sentence what is wrong, without secrets.
    pub fn add(
        &self,
        name: &'static str,
        check: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    ) {
        self.put(Part { name, needed: true }, Arc::new(check));
    }

    /// Adds the check of a part without which this process works, if less well.
    pub fn add_helper(
        &self,
        name: &'static str,
        check: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    ) {
        self.put(Part { name, needed: false }, Arc::new(check));
    }

    /// Shows what `say` says beside the parts, without secrets and without asking anybody: it is said to whoever asks.
    pub fn show(&self, name: &'static str, say: impl Fn() -> Value + Send + Sync + 'static) {
        self.0.details.write().unwrap_or_else(|e| e.into_inner()).push((name, Arc::new(say)));
    }

    /// What is shown beside the parts.
    pub fn details(&self) -> Map<String, Value> {
        let details = self.0.details.read().unwrap_or_else(|e| e.into_inner());
        details.iter().map(|(name, say)| ((*name).to_owned(), say())).collect()
    }

    fn put(&self, part: Part, check: Check) {
        self.0.checks.write().unwrap_or_else(|e| e.into_inner()).push((part, check));
    }

    /// Asks every part at once and answers in the order in which they were added. A part that does not answer within
    /// `limits::READ_DEADLINE`, or panics, has something wrong. An answer may be `limits::HEALTH_AGE_MAX` old.
    pub async fn standings(&self) -> Vec<Standing> {
        let mut last = self.0.last.lock().await;
        let parts = self.0.checks.read().unwrap_or_else(|e| e.into_inner()).len();
        let holds = |(at, standings): &&(Instant, Vec<Standing>)| {
            at.elapsed() < HEALTH_AGE_MAX && standings.len() == parts
        };
        if let Some((_, standings)) = last.as_ref().filter(holds) {
            return standings.clone();
        }
        let standings = self.standings_within(READ_DEADLINE).await;
        *last = Some((Instant::now(), standings.clone()));
        standings
    }

    async fn standings_within(&self, deadline: Duration) -> Vec<Standing> {
        let checks = self.0.checks.read().unwrap_or_else(|e| e.into_inner()).clone();
        let unknown = |part| Standing { part, wrong: Some("its check did not end".to_owned()) };
        let mut standings: Vec<_> = checks.iter().map(|(part, _)| unknown(*part)).collect();
        let mut asked = JoinSet::new();
        for (index, (_, check)) in checks.into_iter().enumerate() {
            asked.spawn(async move {
                let answer = timeout(deadline, check()).await;
                (index, answer.unwrap_or_else(|_| Err("does not answer in time".to_owned())))
            });
        }
        while let Some(ended) = asked.join_next().await {
            if let Ok((index, answer)) = ended {
                standings[index].wrong = answer.err();
            }
        }
        standings
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = self.0.checks.read().unwrap_or_else(|e| e.into_inner());
        f.debug_list().entries(checks.iter().map(|(part, _)| part.name)).finish()
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
            callers.spawn(async move { health.standings().await });
        }
        assert!(callers.join_all().await.iter().all(|states| states.iter().all(|one| one.word() == "ready")));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn every_part_answers_for_itself_and_none_holds_up_the_others() {
        let health = Health::default();
        health.add("store", || Box::pin(async { Ok(()) }));
        health.add("queue", || Box::pin(async { Err("gone".to_owned()) }));
        health.add("hanging", || Box::pin(std::future::pending()));
        health.add("broken", || Box::pin(async { panic!("a check's own mistake") }));
        health.add_helper("helping", || Box::pin(async { Err("away".to_owned()) }));
        let standings = health.standings_within(Duration::from_millis(50)).await;
        let told: Vec<_> =
            standings.iter().map(|one| (one.name(), one.word(), one.wrong.as_deref())).collect();
        let expected = [
            ("store", "ready", None),
            ("queue", "not_ready", Some("gone")),
            ("hanging", "not_ready", Some("does not answer in time")),
            ("broken", "not_ready", Some("its check did not end")),
            ("helping", "degraded", Some("away")),
        ];
        assert_eq!(told, expected);
        let usable: Vec<_> = standings.iter().map(Standing::is_usable).collect();
        assert_eq!(usable, [true, false, false, false, true]);
    }
}
