//! What dispatchers hear and say, and what all tenants have together.

use std::sync::Arc;

use fairhook_common::endpoint::Circuit;
use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::plan::PlanName;
use fairhook_common::store::{Report, TenantChanges, Usage};
use fairhook_common::tenant::{DeliveryCounts, Dispatch, Ingest, QuotaPatch};

use super::given::made;
use super::harness::{START, World, at};

#[tokio::test]
async fn the_roster_tells_what_changed_since() {
    let world = World::new().await;
    let store = &world.store;
    assert!(store.roster(0).await.expect("a roster").tenants.is_empty());
    let (acme, other) = (made(&world, "acme").await, made(&world, "other").await);
    let all = store.roster(0).await.expect("a roster");
    let first = &all.tenants[0];
    assert_eq!(
        (first.id, &first.slug, &first.queue),
        (acme.id, &Arc::from("acme"), &Arc::from(&*acme.queue))
    );
    assert_eq!((first.weight, first.max_concurrent), (1, 50));
    assert_eq!((first.dispatch, first.deleted), (Dispatch::Open, false));
    assert_eq!(all.tenants[1].id, other.id);

    let mut version = all.version;
    let no_change = store.roster(version).await.expect("a roster");
    assert_eq!((no_change.version, no_change.tenants.len()), (version, 0));
    let change = TenantChanges::default;
    let quota = QuotaPatch { max_concurrent_deliveries: Some(Some(3)), ..QuotaPatch::default() };
    for (changes, expected) in [
        (TenantChanges { weight: Some(Some(5)), ..change() }, (5, 50, Dispatch::Open)),
        (TenantChanges { quota, ..change() }, (5, 3, Dispatch::Open)),
        (TenantChanges { dispatch: Some(Dispatch::Paused), ..change() }, (5, 3, Dispatch::Paused)),
        (
            TenantChanges { weight: Some(None), plan: Some(PlanName::ENTERPRISE), ..change() },
            (4, 3, Dispatch::Paused),
        ),
    ] {
        store.update_tenant(acme.id, changes.clone(), at(1)).await.expect("changed");
        let roster = store.roster(version).await.expect("a roster");
        assert!(roster.version > version);
        version = roster.version;
        let told: Vec<_> =
            roster.tenants.iter().map(|t| (t.id, (t.weight, t.max_concurrent, t.dispatch))).collect();
        assert_eq!(told, [(acme.id, expected)], "{changes:?}");
    }
    let changes = TenantChanges { ingest: Some(Ingest::Blocked), name: Some("New".into()), ..change() };
    store.update_tenant(acme.id, changes, at(2)).await.expect("changed");
    let roster = store.roster(version).await.expect("a roster");
    assert_eq!(roster.version, version, "what no dispatcher needs to know is not told");

    store
        .update_tenant(other.id, TenantChanges { weight: Some(Some(2)), ..change() }, at(3))
        .await
        .expect("changed");
    let world = world.reopen().await;
    let roster = world.store.roster(version).await.expect("a roster");
    assert_eq!(roster.tenants.iter().map(|t| t.id).collect::<Vec<_>>(), [other.id]);
}

#[tokio::test]
async fn a_report_replaces_the_one_before() {
    let world = World::new().await;
    let store = &world.store;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let endpoint = world.endpoint(acme).await;
    let before = world.find_endpoint(acme, endpoint).await;
    let report = |in_flight: &[_]| Report { in_flight: in_flight.to_vec(), ..Report::default() };
    let in_flight = || async {
        let usage = |tenant| async move { store.usage(tenant).await.expect("usage").in_flight };
        (usage(acme).await, usage(other).await)
    };
    store.report("a", Report::default(), START).await.expect("reported");
    assert_eq!(in_flight().await, (0, 0));
    let circuits = vec![(endpoint, Circuit::Open)];
    let said = Report { circuits, ..report(&[(acme, 3), (other, 1)]) };
    store.report("a", said, START).await.expect("reported");
    store.report("b", report(&[(acme, 4)]), START).await.expect("reported");
    assert_eq!(in_flight().await, (7, 1), "over all dispatchers");
    let after = world.find_endpoint(acme, endpoint).await;
    assert_eq!(after.circuit, Circuit::Open);
    assert_eq!(after.updated_at, before.updated_at, "nobody has changed it");
    store.report("a", report(&[(acme, 1)]), at(1)).await.expect("reported");
    assert_eq!(in_flight().await, (5, 0));
    store.report("a", Report::default(), at(2)).await.expect("reported");
    assert_eq!(in_flight().await, (4, 0));
    // The other one has fallen silent.
    let much_later = at(2).after(limits::REPORT_TTL);
    store.report("a", Report::default(), much_later).await.expect("reported");
    assert_eq!(in_flight().await, (0, 0));
}

#[tokio::test]
async fn what_many_use_is_read_together_in_their_order() {
    let world = World::new().await;
    let mut tenants = vec![];
    for n in 0..4 {
        let tenant = world.tenant(&format!("tenant-{n}")).await;
        for _ in 0..n {
            world.endpoint(tenant).await;
        }
        world.deliveries(tenant, n).await;
        let in_flight = vec![(tenant, n as u32)];
        let report = Report { in_flight, ..Report::default() };
        world.store.report(&format!("node-{n}"), report, START).await.expect("reported");
        tenants.push(tenant);
    }
    let stranger = TenantId::generate();
    let asked = [tenants[3], stranger, tenants[0], tenants[2], tenants[3], tenants[1]];
    let usages = world.store.usages(&asked).await.expect("usages");
    for (tenant, usage) in asked.into_iter().zip(&usages) {
        assert_eq!(*usage, world.store.usage(tenant).await.expect("usage"), "as each by itself");
    }
    let shown = |usage: &Usage| (usage.endpoints, usage.counts.backlog, usage.in_flight);
    let expected = [(3, 9, 3), (0, 0, 0), (0, 0, 0), (2, 4, 2), (3, 9, 3), (1, 1, 1)];
    assert_eq!(usages.iter().map(shown).collect::<Vec<_>>(), expected);
    assert_eq!(world.store.usages(&[]).await.expect("usages"), []);
}

#[tokio::test]
async fn totals_are_the_sum_over_tenants() {
    let world = World::new().await;
    assert_eq!(world.store.totals().await.expect("totals"), DeliveryCounts::default());
    for slug in ["acme", "other"] {
        let tenant = world.tenant(slug).await;
        world.endpoint(tenant).await;
        let sent = world.deliveries(tenant, 6).await;
        world.record(vec![sent[0].delivered(at(1)), sent[1].dead(at(1)), sent[2].retry(at(9), at(1))]).await;
        world.store.cancel(tenant, sent[3].id, at(1)).await.expect("cancelled");
    }
    let expected =
        DeliveryCounts { accepted: 12, delivered: 2, dead: 2, discarded: 2, backlog: 4, retrying: 2 };
    assert_eq!(world.store.totals().await.expect("totals"), expected);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_ping_writes_and_leaves_nothing() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    world.store.ping().await.expect("it can be written");
    assert_eq!(world.store.usage(acme).await.expect("usage").in_flight, 0);
}
