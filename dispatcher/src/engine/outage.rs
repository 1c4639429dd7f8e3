//! Trouble with the store is logged once when it begins and once when it ends, however many calls fail in between.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use fairhook_common::limits;
use tokio::time::Instant;

/// Whether one of our peers (the store, the queue) is down, for all tasks that use it.
#[derive(Debug)]
pub struct Outage {
    peer: &'static str,
    down: AtomicBool,
    since: Mutex<Option<Instant>>,
}

impl Outage {
    /// `peer` is up until a call fails.
    pub fn new(peer: &'static str) -> Self {
        Self { peer, down: AtomicBool::new(false), since: Mutex::new(None) }
    }

    /// A call failed. Logs the first of an outage.
    pub fn failed(&self, doing: &'static str, error: &dyn Display) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_none() {
            *since = Some(Instant::now());
            self.down.store(true, Ordering::Relaxed);
            tracing::warn!(peer = self.peer, doing, error = %error, "not available; trying again until it is");
        }
    }

    /// A call went well. Costs one load of an atomic when there is no outage.
    pub fn worked(&self) {
        if !self.down.load(Ordering::Relaxed) {
            return;
        }
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.down.store(false, Ordering::Relaxed);
        if let Some(since) = since {
            let down_ms = since.elapsed().as_millis() as u64;
            tracing::info!(peer = self.peer, down_ms, "available again");
        }
    }

    /// Calls until it works, with growing waits between. Ends only with an answer, or by being dropped: nothing accepted may
    /// be lost because a peer was away, and what waits here holds back new work by itself.
    pub async fn persist<T, E, F>(&self, doing: &'static str, call: impl FnMut() -> F) -> T
    where
        E: Display,
        F: Future<Output = Result<T, E>>,
    {
        let mut call = call;
        loop {
            // The outer loop is there for the type only: `without_max_times` never gives up.
            let answer =
                (&mut call).retry(backoff()).notify(|e: &E, _: Duration| self.failed(doing, e)).await;
            match answer {
                Ok(answer) => {
                    self.worked();
                    return answer;
                }
                Err(error) => self.failed(doing, &error),
            }
        }
    }
}

fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(limits::STORE_RETRY_MIN)
        .with_max_delay(limits::STORE_RETRY_MAX)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_repeated_until_it_works_and_the_outage_ends() {
        let outage = Outage::new("store");
        let mut left = 3;
        let answer = outage
            .persist("testing", || {
                left -= 1;
                let answer = if left > 0 { Err("locked") } else { Ok(left) };
                async move { answer }
            })
            .await;
        assert_eq!(answer, 0);
        assert!(!outage.down.load(Ordering::Relaxed));
        outage.failed("testing", &"again");
        assert!(outage.down.load(Ordering::Relaxed));
        outage.worked();
        assert!(outage.since.lock().expect("whole").is_none());
    }
}
