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
pub(super) struct Call<T, F, G> {
    events: usize,
    job: Option<F>,
    value: Option<T>,
    tell: G,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F, G> Call<T, F, G> {
    pub(super) fn new(
        events: usize,
        job: F,
        tell: G,
        answer: oneshot::Sender<Result<T, StoreError>>,
    ) -> Self {
        Self { events, job: Some(job), value: None, tell, answer }
    }
}

impl<T, F, G> Job for Call<T, F, G>
where
    T: Send,
    G: FnOnce(&T) + Send,
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
        let Self { value, tell, answer, .. } = *self;
        let result = committed.map(|()| value.expect("a committed job has its value"));
        // Whoever is to know of it knows before its caller, who may have left, does.
        if let Ok(value) = &result {
            tell(value);
        }
        // A caller who has left misses nothing: it may call again.
        let _ = answer.send(result);
    }
}
