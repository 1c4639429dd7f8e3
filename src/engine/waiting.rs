//! Waiting for a store that is not there yet: the containers of a deployment start in any order.

use std::future::Future;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use fairhook_common::config::ServerUrl;
use fairhook_common::store::StoreError;

/// The first pause between two tries.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest: how late a store's arrival may be noticed.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Opens the store, again and again for `deadline` while it cannot be reached, and says so. What waiting cannot mend, such
/// as a wrong password, ends it at once.
pub async fn for_store<T, O, F>(place: &ServerUrl, deadline: Duration, open: O) -> Result<T, StoreError>
where
    O: FnMut() -> F,
    F: Future<Output = Result<T, StoreError>>,
{
    let pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .without_max_times()
        .with_total_delay(Some(deadline));
    open.retry(pauses)
        .when(StoreError::is_retryable)
        .notify(|error, pause| {
            tracing::warn!(
                store = %place,
                error.detail = %error,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                "the store is not there yet; trying again"
            );
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use fairhook_common::config::{Backends, Config, Environment};

    use super::*;

    fn place() -> ServerUrl {
        let given = [("FAIRHOOK_STORE_URL", "postgres://db/x"), ("FAIRHOOK_QUEUE_URL", "amqp://mq")];
        let pairs = given.into_iter().map(|(name, value)| (name.into(), value.into()));
        let told = Config::load(&[], &Environment::from_pairs(pairs)).expect("read");
        let Backends::Distributed { store, .. } = told.config.backends() else {
            unreachable!("it was told so")
        };
        store.clone()
    }

    async fn tried(answers: &[Result<(), StoreError>]) -> (Result<(), StoreError>, usize) {
        let tries = Cell::new(0);
        let open = || {
            let answer = answers[tries.get().min(answers.len() - 1)].clone();
            tries.set(tries.get() + 1);
            async move { answer }
        };
        let ended = for_store(&place(), Duration::from_secs(60), open).await;
        (ended, tries.get())
    }

    fn away() -> Result<(), StoreError> {
        Err(StoreError::Unavailable("connection refused".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_comes_late_is_waited_for() {
        let (ended, tries) = tried(&[away(), away(), Ok(())]).await;
        assert!(ended.is_ok() && tries == 3, "{ended:?} after {tries}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_comes_is_not_waited_for_beyond_the_deadline() {
        let began = tokio::time::Instant::now();
        let (ended, _) = tried(&[away()]).await;
        assert!(ended.is_err());
        let waited = began.elapsed();
        assert!((Duration::from_secs(50)..=Duration::from_secs(62)).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_waiting_cannot_mend_is_told_at_once() {
        let (ended, tries) = tried(&[Err(StoreError::Internal("wrong password".to_owned()))]).await;
        assert!(ended.is_err() && tries == 1);
    }
}
