//! Which processes there are. The rules are those of the book, which has tests of its own; here: that the backend keeps
//! it, whole, on its own clock, whoever asks at once.

use std::time::Duration;

use fairhook_common::ids::{NodeId, TenantId};
use fairhook_common::store::{Heartbeat, Roles, Standing};
use uuid::Uuid;

use super::harness::World;

/// Longer than any test takes.
const LEASE: Duration = Duration::from_secs(600);

fn beat(node: NodeId, name: &str) -> Heartbeat {
    Heartbeat {
        node,
        name: name.into(),
        roles: Roles { ingest: true, dispatcher: true },
        lease: LEASE,
        applied: 0,
        behind: Vec::new(),
        admitted: false,
        leaving: false,
        may_bury: true,
    }
}

#[tokio::test]
async fn nodes_are_listed_as_they_say_they_are() {
    let world = World::new().await;
    let (a, b) = (NodeId::generate(), NodeId::generate());
    let first = world.store.heartbeat(&beat(a, "one")).await.expect("beats");
    assert_eq!(first.members.len(), 1);
    let ingest = Roles { ingest: true, dispatcher: false };
    let second = world.store.heartbeat(&Heartbeat { roles: ingest, ..beat(b, "two") }).await.expect("beats");
    assert_eq!(second.version, first.version, "no dispatcher joined");
    let behind = vec![TenantId::generate(), TenantId::generate()];
    let said = Heartbeat { applied: first.version, behind: behind.clone(), admitted: true, ..beat(a, "ONE") };
    let told = world.store.heartbeat(&said).await.expect("beats");
    assert!(told.now >= second.now && second.now >= first.now);
    let (one, two) = (&told.members[0], &told.members[1]);
    assert_eq!((one.node, one.name.as_str(), one.roles), (a, "ONE", said.roles));
    assert_eq!(
        (one.state, one.joined, one.applied, one.admitted),
        (Standing::Live, first.version, first.version, true)
    );
    assert_eq!((&one.behind, two.behind.is_empty()), (&behind, true));
    assert_eq!((two.node, two.name.as_str(), two.roles, two.admitted), (b, "two", ingest, false));
    assert_eq!((one.ended_for, two.ended_for), (Duration::ZERO, Duration::ZERO));

    let leaving = Heartbeat { leaving: true, ..said };
    let told = world.store.heartbeat(&leaving).await.expect("beats");
    assert_eq!((told.version, told.members[0].state), (first.version + 1, Standing::Leaving));
    world.store.leave(a).await.expect("left");
    world.store.leave(a).await.expect("left");
    let told = world.store.heartbeat(&beat(b, "two")).await.expect("beats");
    assert_eq!(told.members.iter().map(|member| member.node).collect::<Vec<_>>(), [b]);
}

#[tokio::test]
async fn a_node_that_falls_silent_is_buried_and_may_come_back() {
    let world = World::new().await;
    let (a, b) = (NodeId::generate(), NodeId::generate());
    let short = Heartbeat { lease: Duration::ZERO, ..beat(a, "a") };
    let mut told = world.store.heartbeat(&short).await.expect("beats");
    // The store's clock has to tick once until the lease is over.
    let mut version = told.version + 1;
    while told.members[0].state != Standing::Dead {
        told = world.store.heartbeat(&beat(b, "b")).await.expect("beats");
    }
    version += 1;
    assert_eq!(told.version, version);
    let back = world.store.heartbeat(&beat(a, "a")).await.expect("beats");
    assert_eq!(
        (back.version, back.members[0].joined, back.members[0].state),
        (version + 1, version + 1, Standing::Live)
    );
}

#[tokio::test]
async fn beats_at_the_same_time_are_all_counted() {
    let world = World::new().await;
    let joined = (0..20).map(|_| {
        let store = world.store.clone();
        tokio::spawn(async move { store.heartbeat(&beat(NodeId::generate(), "many")).await.expect("beats") })
    });
    let mut versions = Vec::new();
    for told in joined.collect::<Vec<_>>() {
        versions.push(told.await.expect("ends").version);
    }
    versions.sort_unstable();
    assert_eq!(versions, (versions[0]..versions[0] + 20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_named_lease_has_one_holder() {
    let world = World::new().await;
    let (store, a, b) = (&world.store, NodeId::generate(), NodeId::generate());
    for node in [a, b] {
        store.heartbeat(&beat(node, "holder")).await.expect("beats");
    }
    let take = |name: &'static str, node, lease| async move {
        store.take_lease(name, node, lease).await.expect("answers")
    };
    assert!(take("x", a, LEASE).await);
    assert!(!take("x", b, LEASE).await);
    assert!(take("y", b, LEASE).await);
    assert!(take("x", a, Duration::ZERO).await, "kept, but not for long");
    while !take("x", b, LEASE).await {}
    assert!(!take("x", a, LEASE).await);
    store.leave(b).await.expect("left");
    assert!(take("x", a, LEASE).await && take("y", a, LEASE).await);
}

#[tokio::test]
async fn the_queues_mark_is_replaced_by_one_only() {
    let world = World::new().await;
    let store = &world.store;
    assert_eq!(store.queue_epoch().await.expect("answers"), None);
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    assert!(store.replace_queue_epoch(None, first).await.expect("answers"));
    assert!(!store.replace_queue_epoch(None, second).await.expect("answers"));
    assert_eq!(store.queue_epoch().await.expect("answers"), Some(first));
    assert!(store.replace_queue_epoch(Some(first), second).await.expect("answers"));
    assert!(!store.replace_queue_epoch(Some(first), first).await.expect("answers"));
    assert_eq!(store.queue_epoch().await.expect("answers"), Some(second));
}
