//! Tenants: made, found, changed.

use fairhook_common::ids::{TenantId, base32};
use fairhook_common::key::{ApiKey, KeyText, Scope};
use fairhook_common::plan::PlanName;
use fairhook_common::store::{Change, ControlError, NewTenant, TenantChanges, TenantRef};
use fairhook_common::tenant::{Dispatch, Ingest, QuotaChanges, QuotaPatch, TenantStatus};

use super::given::{made, new_tenant};
use super::harness::{START, World, at};

#[tokio::test]
async fn a_tenant_is_found_by_its_id_and_by_its_slug() {
    let world = World::new().await;
    let store = &world.store;
    let text = KeyText::generate();
    let key = ApiKey {
        id: text.id,
        tenant: None,
        name: Some("first".into()),
        scopes: vec![Scope::EventsWrite],
        secret_hash: text.hash(),
        created_at: START,
        expires_at: None,
        revoked_at: None,
    };
    let new = NewTenant { weight: Some(7), metadata: r#"{"a":1}"#.into(), ..new_tenant("acme") };
    let made = store.create_tenant(new, Some(key), START).await.expect("made");
    assert_eq!(
        (made.status, made.ingest, made.dispatch),
        (TenantStatus::Active, Ingest::Open, Dispatch::Open)
    );
    let id = base32(made.id.uuid());
    assert_eq!(made.queue, format!("fairhook.tenant.acme.{}", &id[id.len() - 8..]));
    for name in [TenantRef::Id(made.id), TenantRef::Slug("acme".into())] {
        assert_eq!(store.find_tenant(&name).await.expect("read"), Some(made.clone()));
    }
    let key = store.find_key(text.id).await.expect("read").expect("its first key");
    assert_eq!(key.tenant, Some(made.id), "the key is the tenant's");
    for name in [TenantRef::Id(TenantId::generate()), TenantRef::Slug("acme2".into())] {
        assert_eq!(store.find_tenant(&name).await.expect("read"), None);
    }
}

#[tokio::test]
async fn a_slug_names_one_tenant() {
    let world = World::new().await;
    let store = &world.store;
    let first = made(&world, "acme").await;
    let second = store.create_tenant(new_tenant("acme"), None, START).await;
    assert!(matches!(second, Err(ControlError::SlugTaken)), "{second:?}");
    let other = made(&world, "acme-2").await;
    assert_ne!(first.queue, other.queue);
}

#[tokio::test]
async fn putting_a_tenant_twice_changes_nothing() {
    let world = World::new().await;
    let store = &world.store;
    let (made, new) = store.put_tenant(new_tenant("acme"), START).await.expect("made");
    assert!(new);
    let version = store.roster(0).await.expect("a roster").version;
    let (same, new) = store.put_tenant(new_tenant("acme"), at(5)).await.expect("put");
    assert!(!new);
    assert_eq!(same, made, "not even the time of its last change");
    let changed = NewTenant { plan: "pro".parse().expect("a plan"), ..new_tenant("acme") };
    let (changed, new) = store.put_tenant(changed, at(6)).await.expect("put");
    assert!(!new);
    assert_eq!((changed.id, changed.queue), (made.id, made.queue), "it is the same one");
    assert_eq!((changed.plan.name, changed.updated_at), (PlanName::PROFESSIONAL, at(6)));
    assert!(store.roster(version).await.expect("a roster").version > version);
}

#[tokio::test]
async fn a_change_touches_what_it_names_and_nothing_else() {
    let world = World::new().await;
    let store = &world.store;
    let mut expected = made(&world, "acme").await;
    let changes = TenantChanges {
        ingest: Some(Ingest::Blocked),
        reason: Some(Some("spam".into())),
        weight: Some(Some(9)),
        ..TenantChanges::default()
    };
    let changed = store.update_tenant(expected.id, changes, at(1)).await.expect("changed");
    expected.ingest = Ingest::Blocked;
    expected.reason = Some("spam".into());
    expected.weight = Some(9);
    expected.updated_at = at(1);
    assert_eq!(changed, expected);
    let changes = TenantChanges { weight: Some(None), reason: Some(None), ..TenantChanges::default() };
    store.update_tenant(expected.id, changes, at(2)).await.expect("changed");
    let found = store.find_tenant(&TenantRef::Id(expected.id)).await.expect("read").expect("there");
    assert_eq!((found.weight, found.reason, found.ingest), (None, None, Ingest::Blocked));
    let nobody = store.update_tenant(TenantId::generate(), TenantChanges::default(), START).await;
    assert!(matches!(nobody, Err(ControlError::NotFound)), "{nobody:?}");
}

#[tokio::test]
async fn the_reason_goes_when_both_switches_are_open_again() {
    let world = World::new().await;
    let store = &world.store;
    let id = made(&world, "acme").await.id;
    let reason = Some(Some("floods us".to_owned()));
    let none = TenantChanges::default;
    let stopped = TenantChanges {
        ingest: Some(Ingest::Blocked),
        dispatch: Some(Dispatch::Paused),
        reason: reason.clone(),
        ..none()
    };
    let steps = [
        (stopped, Some("floods us")),
        (TenantChanges { dispatch: Some(Dispatch::Open), ..none() }, Some("floods us")),
        (TenantChanges { ingest: Some(Ingest::Open), ..none() }, None),
        (TenantChanges { ingest: Some(Ingest::Open), reason, ..none() }, Some("floods us")),
        (TenantChanges { weight: Some(Some(2)), ..none() }, Some("floods us")),
        (TenantChanges { dispatch: Some(Dispatch::Open), ..none() }, None),
    ];
    for (number, (changes, expected)) in steps.into_iter().enumerate() {
        let tenant = store.update_tenant(id, changes, at(1)).await.expect("changed");
        assert_eq!(tenant.reason.as_deref(), expected, "step {number}");
    }
}

#[tokio::test]
async fn limits_come_from_the_plan_unless_set() {
    let world = World::new().await;
    let store = &world.store;
    let made = made(&world, "acme").await;
    let quota = QuotaPatch {
        max_endpoints: Some(Some(1)),
        max_dlq_size: Some(Some(3)),
        ..QuotaPatch::default()
    };
    let changes =
        TenantChanges { quota, plan: Some(PlanName::ENTERPRISE), ..TenantChanges::default() };
    store.update_tenant(made.id, changes, START).await.expect("changed");
    let found = store.find_tenant(&TenantRef::Id(made.id)).await.expect("read").expect("there");
    assert_eq!(found.quota, quota.over(QuotaChanges::default()));
    assert_eq!((found.limits().max_endpoints, found.limits().max_dlq_size), (1, 3));
    assert_eq!(found.limits().max_backlog, 10_000_000);
}

#[tokio::test]
async fn who_changes_one_limit_leaves_another_to_somebody_else() {
    let world = World::new().await;
    let id = made(&world, "acme").await.id;
    let change = |quota| world.store.update_tenant(id, TenantChanges { quota, ..TenantChanges::default() }, at(1));
    let none = QuotaPatch::default();
    let (one, two) = tokio::join!(
        change(QuotaPatch { max_endpoints: Some(Some(1)), ..none }),
        change(QuotaPatch { burst: Some(Some(7)), max_backlog: Some(Some(9)), ..none }),
    );
    one.and(two).expect("changed");
    let both = QuotaChanges {
        max_endpoints: Some(1),
        burst: Some(7),
        max_backlog: Some(9),
        ..QuotaChanges::default()
    };
    assert_eq!(change(none).await.expect("changed").quota, both);
    let back = change(QuotaPatch { burst: Some(None), ..none }).await.expect("changed");
    assert_eq!(back.quota, QuotaChanges { burst: None, ..both }, "the plan's again");
}

#[tokio::test]
async fn changes_are_told() {
    let world = World::new().await;
    let store = &world.store;
    let mut changes = store.changes();
    let made = made(&world, "acme").await;
    assert_eq!(changes.try_recv(), Ok(Change::Tenant(made.id)));
    world.endpoint(made.id).await;
    assert_eq!(changes.try_recv(), Ok(Change::Tenant(made.id)));
    let open = TenantChanges { dispatch: Some(Dispatch::Open), ..TenantChanges::default() };
    store.update_tenant(made.id, open, START).await.expect("changed");
    assert_eq!(changes.try_recv(), Ok(Change::Tenant(made.id)));
    assert_eq!(changes.try_recv(), Ok(Change::Due(made.id)), "what was held may go on");
    assert!(store.create_tenant(new_tenant("acme"), None, START).await.is_err());
    assert!(changes.try_recv().is_err(), "a refusal changes nothing");
}
