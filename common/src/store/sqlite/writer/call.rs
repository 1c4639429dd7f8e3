//! Jobs as the writer's thread runs them.

use sqlx::sqlite::SqliteConnection;
use tokio::sync::oneshot;

use crate::store::{BoxFuture, StoreError};

/// A job without its types.
pub(super) trait Job: Send {
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
    /// How many events it admits.
    fn events(&self) -> usize;
    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, Result<(), sqlx::Error>>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A job with its types.
pub(super) struct Call<T, F> {
    events: usize,
    job: Option<F>,
    value: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Call<T, F> {
    pub(super) fn new(events: usize, job: F, answer: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { events, job: Some(job), value: None, answer }
    }
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn events(&self) -> usize {
        self.events
    }

    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let job = self.job.take().expect("a job runs once");
            self.value = Some(job(connection).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let value = self.value;
        // A caller who has left misses nothing: it may call again.
        let _ = self.answer.send(committed.map(|()| value.expect("a committed job has its value")));
    }
}
