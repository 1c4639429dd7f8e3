//! What every black-box test needs: an engine in a process of its own, a client of its API, receivers that do as they are
//! told, and the proof at the end that every accepted delivery is accounted for.

mod api;
mod contract;
mod engine;
mod ledger;
pub mod process;
mod receiver;

use std::future::Future;
use std::time::{Duration, Instant};

pub use api::{Answer, Api, client};
pub use engine::{Engine, Options, fairhook};
pub use ledger::Ledger;
pub use receiver::{Receiver, Reply};

/// Far longer than anything takes on a slow machine; a test that waits so long has failed.
pub const LONG: Duration = Duration::from_secs(60);

/// Asks until the answer is `Some`. For what only the API can tell; a receiver's arrivals are signals.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    until_within(LONG, what, ask).await
}

/// The same, for what takes longer (or less) by design.
pub async fn until_within<T, F: Future<Output = Option<T>>>(
    deadline: Duration,
    what: &str,
    ask: impl Fn() -> F,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        let elapsed = started.elapsed();
        assert!(elapsed < deadline, "did not come true within {deadline:?}: {what}");
        // What takes long is asked seldom: the answers cost the engine something too.
        tokio::time::sleep((elapsed / 10).clamp(Duration::from_millis(20), Duration::from_millis(250))).await;
    }
}
