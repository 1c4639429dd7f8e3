//! How late this process is: the lateness of a tick that should come every `limits::LAG_TICK`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fairhook_common::limits;
use fairhook_common::shutdown::Shutdown;
use tokio::time::{Instant, sleep_until};

/// The greatest lateness since it was last taken.
#[derive(Debug, Clone, Default)]
pub struct Lag(Arc<AtomicU64>);

impl Lag {
    /// Takes it.
    pub fn take(&self) -> Duration {
        Duration::from_micros(self.0.swap(0, Ordering::Relaxed))
    }

    /// Measures until nothing more is waited for.
    pub async fn measure(self, shutdown: Shutdown) {
        let measuring = async {
            loop {
                let due = Instant::now() + limits::LAG_TICK;
                sleep_until(due).await;
                self.0.fetch_max(due.elapsed().as_micros() as u64, Ordering::Relaxed);
            }
        };
        tokio::select! {
            () = measuring => {}
            () = shutdown.draining() => {}
        }
    }
}
