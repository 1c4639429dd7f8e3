//! What one process changes the others hear of, and what they may have missed they are told to forget.

use std::time::Duration;

use fairhook_common::store::{Change, SharedStore};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use super::backend::{Home, statement};
use super::given::new_tenant;
use super::harness::START;

/// Far more than it takes.
const SOON: Duration = Duration::from_secs(20);

async fn heard(changes: &mut Receiver<Change>) -> Change {
    timeout(SOON, changes.recv()).await.expect("heard in time").expect("listens")
}

async fn make(store: &SharedStore, slug: &str) -> Change {
    Change::Tenant(store.create_tenant(new_tenant(slug), None, START).await.expect("a tenant").id)
}

#[tokio::test]
async fn others_hear_of_a_change_and_who_made_it_hears_of_it_once() {
    let home = Home::new();
    let (one, two) = (home.open().await, home.open().await);
    let (mut at_one, mut at_two) = (one.changes(), two.changes());
    let first = make(&one, "first").await;
    assert_eq!(at_one.try_recv(), Ok(first), "at once here");
    assert_eq!(heard(&mut at_two).await, first);
    let refused = one.create_tenant(new_tenant("first"), None, START).await;
    assert!(refused.is_err());
    // What comes back to its origin would have come before this.
    let second = make(&two, "second").await;
    assert_eq!(heard(&mut at_one).await, second);
    assert_eq!(at_two.try_recv(), Ok(second));
}

#[tokio::test]
async fn after_a_lost_connection_everything_may_have_changed() {
    let home = Home::new();
    let (one, two) = (home.open().await, home.open().await);
    let mut changes = two.changes();
    let mut db = home.connect().await;
    statement(
        &mut db,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name = 'fairhook listen' AND datname = current_database()",
    )
    .await;
    assert_eq!(heard(&mut changes).await, Change::Everything);
    let made = make(&one, "later").await;
    assert_eq!(heard(&mut changes).await, made);
}
