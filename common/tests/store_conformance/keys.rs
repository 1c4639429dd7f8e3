//! API keys.

use std::time::Duration;

use fairhook_common::ids::TenantId;
use fairhook_common::key::{ApiKey, KeyText, Scope};
use fairhook_common::limits;
use fairhook_common::store::{Change, ControlError, KeyOwner};
use fairhook_common::time::Timestamp;

use super::given::first_page;
use super::harness::{START, World, at};

fn key(tenant: Option<TenantId>, now: Timestamp) -> ApiKey {
    let text = KeyText::generate();
    ApiKey {
        id: text.id,
        tenant,
        name: None,
        scopes: vec![Scope::EventsWrite, Scope::KeysWrite],
        secret_hash: text.hash(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    }
}

#[tokio::test]
async fn a_key_is_kept_with_all_it_says() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let mut changes = store.changes();
    for owner in [Some(acme), None] {
        let key = ApiKey {
            name: Some("CI".into()),
            scopes: Scope::ALL.map(|(scope, _)| scope).to_vec(),
            expires_at: Some(at(60)),
            ..key(owner, START)
        };
        store.add_key(key.clone()).await.expect("added");
        let told = if owner.is_some() { Change::Tenant(acme) } else { Change::OperatorKeys };
        assert_eq!(changes.try_recv(), Ok(told));
        let found = store.find_key(key.id).await.expect("read").expect("there is one");
        assert_eq!(format!("{found:?}"), format!("{key:?}"));
    }
    let stranger = store.add_key(key(Some(TenantId::generate()), START)).await;
    assert!(matches!(stranger, Err(ControlError::NotFound)), "{stranger:?}");
}

#[tokio::test]
async fn an_owner_has_a_bounded_number_of_keys_in_force() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let owner = KeyOwner::Tenant(acme);
    let mut ids = vec![];
    for i in 0..limits::KEYS_PER_TENANT {
        // The first one ends soon.
        let expires_at = (i == 0).then(|| at(10));
        let key = ApiKey { expires_at, ..key(Some(acme), START) };
        ids.push(key.id);
        store.add_key(key).await.expect("there is room");
    }
    let full = store.add_key(key(Some(acme), at(9))).await;
    assert!(matches!(full, Err(ControlError::LimitReached(limits::KEYS_PER_TENANT))), "{full:?}");
    store.add_key(key(Some(acme), at(10))).await.expect("one has expired");
    assert!(store.add_key(key(Some(acme), at(10))).await.is_err());
    assert!(store.revoke_key(owner, ids[1], at(11)).await.expect("revoked"));
    store.add_key(key(Some(acme), at(11))).await.expect("one was revoked");
    store.add_key(key(None, START)).await.expect("the operator's are counted apart");

    let long_after = at(12).after(limits::RETENTION).after(Duration::from_secs(1));
    store.revoke_key(owner, ids[2], at(12)).await.expect("revoked");
    store.add_key(key(Some(acme), long_after)).await.expect("there is room");
    assert!(store.find_key(ids[1]).await.expect("read").is_none(), "what ended long ago is forgotten");
    assert!(store.find_key(ids[3]).await.expect("read").is_some());
}

#[tokio::test]
async fn a_revoked_key_is_found_but_not_listed() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let owner = KeyOwner::Tenant(acme);
    let (kept, revoked) = (key(Some(acme), START), key(Some(acme), START));
    for key in [&kept, &revoked] {
        store.add_key(key.clone()).await.expect("added");
    }
    for at in [at(1), at(2)] {
        assert!(store.revoke_key(owner, revoked.id, at).await.expect("revoked"), "as often as you like");
    }
    let found = store.find_key(revoked.id).await.expect("read").expect("there is one");
    assert_eq!(found.revoked_at, Some(at(1)), "since the first time");
    let listed = store.list_keys(owner, &first_page()).await.expect("a list");
    assert_eq!(listed.items.iter().map(|key| key.id).collect::<Vec<_>>(), [kept.id]);
}

#[tokio::test]
async fn nobody_revokes_another_owners_key() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let other = world.tenant("other").await;
    let key = key(Some(acme), START);
    store.add_key(key.clone()).await.expect("added");
    for owner in [KeyOwner::Tenant(other), KeyOwner::Operator] {
        assert!(!store.revoke_key(owner, key.id, START).await.expect("asked"));
        assert!(store.list_keys(owner, &first_page()).await.expect("a list").items.is_empty());
    }
    assert_eq!(store.find_key(key.id).await.expect("read").expect("there").revoked_at, None);
}
