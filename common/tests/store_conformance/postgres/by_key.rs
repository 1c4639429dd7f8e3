//! A batch finds its rows by key, also in tables that were made a moment ago, of which the database knows nothing yet: what
//! lies between two of its keys is not read.

use std::time::Duration;

use fairhook_common::store::Deliveries;
use fairhook_common::store::postgres::PostgresStore;
use fairhook_common::time::Timestamp;
use sqlx::postgres::PgConnection;
use tokio::time::{sleep, timeout};

use super::harness::World;

const BETWEEN: usize = 500;
const DISABLE_AFTER: Duration = Duration::from_secs(3_600);

/// Rows that were read of events and deliveries, as far as the server has been told.
async fn read(db: &mut PgConnection) -> i64 {
    let sum = "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint FROM pg_stat_user_tables \
        WHERE relname ~ '^(events|deliveries)_'";
    sqlx::query_scalar(sum).fetch_one(db).await.expect("reads")
}

#[tokio::test]
async fn what_lies_between_the_keys_of_a_batch_is_not_read() {
    let world = World::new().await;
    let mut db = world.home.connect().await;
    let now = Timestamp::now();
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let sent = world.deliveries_at(acme, BETWEEN, now).await;
    let before = read(&mut db).await;

    // Connections tell what they read at their end, if not sooner.
    let store = PostgresStore::open(&world.home.url()).await.expect("the store opens");
    let ends = [&sent[0], &sent[BETWEEN - 1]];
    let next = [&sent[1], &sent[BETWEEN - 2]];
    let later = now.after(Duration::from_secs(1));
    store.load(&ends.map(|sent| sent.ticket()), now).await.expect("loads");
    store.record(ends.map(|sent| sent.delivered(later)).to_vec(), DISABLE_AFTER).await.expect("records");
    let retries = next.map(|sent| sent.retry(later.after(DISABLE_AFTER), later));
    store.record(retries.to_vec(), DISABLE_AFTER).await.expect("records");
    store.close().await;

    let told = async {
        // At least the rows of the load, and each that was written.
        while read(&mut db).await - before < 8 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), told).await.expect("the server is told what was read");
    let read = read(&mut db).await - before;
    assert!(read < 50, "{read} rows were read for four");
}
