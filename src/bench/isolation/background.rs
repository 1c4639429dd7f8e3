//! Threads of low priority for the bad tenants' clients and receivers. In life those are on other people's machines; here
//! they share the cores with the engine, and what they take of these must not count as what the engine lets through.

use std::io;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Handle, Runtime};

/// How much nicer than the rest of this process: a tenth of its processor time, while both want some.
const NICENESS: i32 = 10;
/// Enough for two cores' worth of load when nobody else wants them.
const THREADS: usize = 2;

/// A runtime of such threads. Whatever runs in it ends when it is dropped.
pub struct Background(Option<Runtime>);

impl Background {
    /// Starts the threads.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            // On Linux this is of the calling thread. Where it is refused the load is only a little unfair to the engine.
            .on_thread_start(|| {
                let own = getpriority_process(None).unwrap_or(0);
                let _ = setpriority_process(None, own + NICENESS);
            })
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where to spawn.
    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is only taken when this is dropped").handle()
    }

    /// Runs `task` in these threads and waits for it.
    pub async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        self.handle().spawn(task).await.map_err(io::Error::other)?
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
