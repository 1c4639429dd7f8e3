//! What limits did, minute by minute.

use std::time::Duration;

use fairhook_common::limits;
use fairhook_common::store::{CountedBy, LimitCount, Sweep, Tally};

use super::harness::{START, World};

const MINUTE: Duration = Duration::from_secs(60);

fn count(by: CountedBy, name: &str, total: u64, blocked: u64) -> LimitCount {
    LimitCount { by, name: name.into(), tally: Tally { total, blocked } }
}

#[tokio::test]
async fn counts_of_a_minute_add_up_and_those_of_a_span_are_summed() {
    use CountedBy::{Policy, Route, Tenant};
    let world = World::new().await;
    let store = &world.store;
    let events = count(Route, "POST /v1/events", 10, 2);
    let (one, two) = (START, START.after(MINUTE));
    let first = [events.clone(), count(Policy, "tier", 2, 2), count(Tenant, "ten_a", 10, 2)];
    let second = [count(Route, "GET /v1/events", 5, 0), count(Tenant, "tier", 70, 0)];
    // Two processes add to the same minute at the same time.
    let (a, b) = tokio::join!(store.add_limit_counts(one, &first), store.add_limit_counts(one, &first));
    a.and(b).expect("added");
    store.add_limit_counts(two, &second).await.expect("added");
    store.add_limit_counts(two, std::slice::from_ref(&events)).await.expect("added");
    store.add_limit_counts(two, &[]).await.expect("nothing is fine");
    let sums = store.limit_counts(one, two.after(MINUTE)).await.expect("sums");
    let all = [
        count(Route, "POST /v1/events", 30, 6),
        count(Route, "GET /v1/events", 5, 0),
        count(Policy, "tier", 4, 4),
        count(Tenant, "tier", 70, 0),
        count(Tenant, "ten_a", 20, 4),
    ];
    assert_eq!(sums, all, "the largest first, each kind by itself");
    let later = [count(Route, "POST /v1/events", 10, 2), count(Route, "GET /v1/events", 5, 0), count(Tenant, "tier", 70, 0)];
    assert_eq!(store.limit_counts(two, two.after(MINUTE)).await.expect("sums"), later, "from is inclusive");
    assert_eq!(store.limit_counts(one, two).await.expect("sums").len(), 3, "to is exclusive");
    let world = world.reopen().await;
    assert_eq!(world.store.limit_counts(one, two.after(MINUTE)).await.expect("sums"), all);
}

#[tokio::test]
async fn no_more_names_are_summed_than_are_looked_at() {
    let world = World::new().await;
    let most = u64::from(limits::LIMIT_SUMS);
    let tenant = |n: u64| count(CountedBy::Tenant, &format!("tenant {n}"), n, 0);
    let many: Vec<_> = (1..=most + 3).map(tenant).collect();
    for part in many.chunks(limits::LIMIT_ROWS_SAVED) {
        world.store.add_limit_counts(START, part).await.expect("added");
    }
    let sums = world.store.limit_counts(START, START.after(MINUTE)).await.expect("sums");
    assert_eq!((sums.len() as u64, &sums[0]), (most, &tenant(most + 3)));
}

#[tokio::test]
async fn old_minutes_go_in_bounded_steps() {
    let world = World::new().await;
    let store = &world.store;
    for minute in 0..5 {
        let counts = [count(CountedBy::Route, "a", 1, 0), count(CountedBy::Route, "b", 1, 0)];
        store.add_limit_counts(START.after(MINUTE * minute), &counts).await.expect("added");
    }
    let before = START.after(MINUTE * 4);
    let mut steps = vec![];
    while let rows @ 1.. = store.sweep(Sweep::LimitMinutes { before }, 3, before).await.expect("a step") {
        steps.push(rows);
    }
    assert_eq!(steps, [3, 3, 2]);
    let left = store.limit_counts(START, START.after(MINUTE * 9)).await.expect("sums");
    assert_eq!(left, [count(CountedBy::Route, "a", 1, 0), count(CountedBy::Route, "b", 1, 0)]);
}
