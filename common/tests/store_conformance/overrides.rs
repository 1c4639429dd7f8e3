//! Overrides of limits: set, read with their tenant, ended.

use std::time::Duration;

use fairhook_common::ids::TenantId;
use fairhook_common::policy::{Override, Policy};
use fairhook_common::store::{Change, ControlError, TenantRef};
use fairhook_common::tenant::Tenant;

use super::given::{first_page, made, new_tenant};
use super::harness::{START, World, at};

/// One of `rate` from `from` on, for so many seconds.
pub fn an_override(policy: Policy, rate: &str, from: u64, seconds: u64) -> Override {
    let ends_at = at(from).after(Duration::from_secs(seconds));
    Override { policy, rate: rate.parse().expect("a rate"), created_at: at(from), ends_at }
}

async fn found(world: &World, tenant: TenantId) -> Tenant {
    world.store.find_tenant(&TenantRef::Id(tenant)).await.expect("read").expect("there")
}

#[tokio::test]
async fn an_override_comes_with_its_tenant_until_it_ends() {
    let world = World::new().await;
    let (acme, other) = (made(&world, "acme").await, made(&world, "other").await.id);
    assert_eq!(acme.overrides, []);
    let tier = an_override(Policy::Tier, "4294967295 / 24 h", 1, 60);
    let events = an_override(Policy::Events, "5 / 1500 ms", 1, 120);
    for new in [tier, events] {
        assert!(world.store.put_override(acme.id, new, at(1)).await.expect("set"), "there was none");
    }
    let tenant = found(&world, acme.id).await;
    assert_eq!(tenant.overrides, [events, tier], "in the order of the policies");
    assert_eq!(tenant.updated_at, acme.updated_at, "nothing else of the tenant is changed");
    assert_eq!(tenant.override_of(Policy::Tier, at(60)), Some(tier.rate));
    assert_eq!(tenant.override_of(Policy::Tier, at(61)), None, "from its end on it counts no more");
    assert_eq!(tenant.override_of(Policy::Events, at(61)), Some(events.rate));
    assert_eq!(tenant.override_of(Policy::ApiRequests, at(1)), None);
    assert_eq!(found(&world, other).await.overrides, []);
    let listed = world.store.list_tenants(&first_page()).await.expect("a list").items;
    assert_eq!(listed.iter().map(|tenant| tenant.overrides.len()).collect::<Vec<_>>(), [0, 2]);
    // A change of the tenant leaves them.
    let (put, _) = world.store.put_tenant(new_tenant("acme"), at(2)).await.expect("put");
    assert_eq!(put.overrides, [events, tier]);
    let world = world.reopen().await;
    assert_eq!(found(&world, acme.id).await.overrides, [events, tier]);
}

#[tokio::test]
async fn an_override_is_replaced_and_ended() {
    let world = World::new().await;
    let acme = made(&world, "acme").await.id;
    let store = &world.store;
    let first = an_override(Policy::Tier, "50 / 10 s", 1, 60);
    let second = an_override(Policy::Tier, "70 / 20 s", 2, 10);
    let other = an_override(Policy::ApiRequests, "9 / 1 s", 2, 60);
    store.put_override(acme, first, at(1)).await.expect("set");
    store.put_override(acme, other, at(2)).await.expect("set");
    assert!(!store.put_override(acme, second, at(2)).await.expect("set"), "in place of the first");
    assert_eq!(found(&world, acme).await.overrides, [second, other]);
    assert!(!store.delete_override(acme, Policy::Tier, at(12)).await.expect("asked"), "it has ended");
    assert!(store.put_override(acme, an_override(Policy::Events, "1 / 1 s", 12, 1), at(12)).await.expect("set"));
    let left: Vec<_> = found(&world, acme).await.overrides.iter().map(|one| one.policy).collect();
    assert_eq!(left, [Policy::Events, Policy::ApiRequests], "what has ended is gone with the next one that is set");
    assert!(store.put_override(acme, first, at(13)).await.expect("set"), "one that has ended is none");
    assert!(store.delete_override(acme, Policy::Tier, at(14)).await.expect("ended"));
    assert!(!store.delete_override(acme, Policy::Tier, at(14)).await.expect("asked"), "idempotent");
    assert!(!store.delete_override(TenantId::generate(), Policy::ApiRequests, at(14)).await.expect("asked"));
    assert_eq!(found(&world, acme).await.override_of(Policy::ApiRequests, at(14)), Some(other.rate));
}

#[tokio::test]
async fn a_change_of_overrides_is_told_and_nobody_has_one_that_is_not_there() {
    let world = World::new().await;
    let acme = made(&world, "acme").await.id;
    let store = &world.store;
    let version = store.roster(0).await.expect("a roster").version;
    let mut changes = store.changes();
    let new = an_override(Policy::Tier, "50 / 10 s", 1, 60);
    store.put_override(acme, new, at(1)).await.expect("set");
    assert_eq!(changes.try_recv(), Ok(Change::Tenant(acme)));
    assert!(store.delete_override(acme, Policy::Tier, at(1)).await.expect("ended"));
    assert_eq!(changes.try_recv(), Ok(Change::Tenant(acme)));
    assert!(!store.delete_override(acme, Policy::Tier, at(1)).await.expect("asked"));
    let nobody = store.put_override(TenantId::generate(), new, at(1)).await;
    assert!(matches!(nobody, Err(ControlError::NotFound)), "{nobody:?}");
    assert!(changes.try_recv().is_err(), "a refusal changes nothing");
    assert_eq!(store.roster(0).await.expect("a roster").version, version, "dispatchers need not hear of it");
    store.put_override(acme, new, at(1)).await.expect("set");
    store.delete_tenant(acme, at(2)).await.expect("begun");
    let late = store.put_override(acme, new, at(2)).await;
    assert!(matches!(late, Err(ControlError::NotFound)), "{late:?}");
    let job = store.delete_tenant(acme, at(2)).await.expect("asked");
    while store.advance_job(job.id, 100, at(3)).await.expect("a step").ended_at.is_none() {}
    assert_eq!(store.find_tenant(&TenantRef::Id(acme)).await.expect("read"), None);
    assert!(!store.delete_override(acme, Policy::Tier, START).await.expect("asked"), "they went with it");
}
