//! Sources as their tenants set them, and as they are found by whoever sends there.

use std::time::Duration;

use fairhook_common::ids::{SourceId, TenantId};
use fairhook_common::limits;
use fairhook_common::source::{
    HmacAlgorithm, HmacEncoding, HmacRule, Place, Source, SourceSecret, SourceSecrets, SourceSettings,
    SourceStatus, SourceToken, TypeRule, Verification,
};
use fairhook_common::store::{Change, ControlError, NewSource, Order, SourceChanges};

use super::given::{all_pages, first_page};
use super::harness::{START, World, at};

pub fn new_source(tenant: TenantId) -> NewSource {
    let settings = SourceSettings {
        name: None,
        metadata: None,
        verification: Verification::None,
        secrets: None,
        event_type: Some(TypeRule::Fixed { fixed: "a.b".into() }),
        delivery_id: None,
    };
    NewSource {
        tenant,
        token_hash: SourceToken::generate().hash(),
        settings,
        status: SourceStatus::Active,
    }
}

async fn make(world: &World, tenant: TenantId) -> Source {
    world.store.create_source(new_source(tenant), START).await.expect("a source")
}

async fn find(world: &World, source: &Source) -> Option<Source> {
    world.store.find_source(source.tenant, source.id).await.expect("read")
}

#[tokio::test]
async fn a_source_is_kept_with_all_it_says() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let secret = |text: &str| SourceSecret::new(text.into());
    let settings = SourceSettings {
        name: Some("a \"quoted\" ü'; DROP TABLE sources".into()),
        metadata: Some(r#"{"a":[1]}"#.into()),
        verification: Verification::Hmac(HmacRule {
            header: "x-signature".into(),
            algorithm: HmacAlgorithm::Sha512,
            encoding: HmacEncoding::Base64,
            prefix: Some("v0=".into()),
        }),
        secrets: Some(SourceSecrets { current: secret("höchst"), previous: Some((secret("geheim"), at(60))) }),
        event_type: Some(TypeRule::Found { place: Place::Pointer("/a~1b".into()), prefix: Some("x.".into()) }),
        delivery_id: Some(Place::Header("x-id".into())),
    };
    let mut changes = store.changes();
    let new = NewSource { settings: settings.clone(), status: SourceStatus::Paused, ..new_source(acme) };
    let made = store.create_source(new.clone(), START).await.expect("made");
    assert_eq!(changes.try_recv(), Ok(Change::Tenant(acme)));
    assert_eq!((&made.settings, made.status, made.token_hash), (&settings, new.status, new.token_hash));
    assert_eq!(find(&world, &made).await.as_ref(), Some(&made));
    let by_token = store.find_source_by_token(made.token_hash).await.expect("read");
    assert_eq!(by_token.as_ref(), Some(&made));
    let plain = make(&world, acme).await;
    assert_eq!(find(&world, &plain).await, Some(plain), "and with all it does not say");
    for verification in
        [Verification::StandardWebhooks { tolerance_s: 5 }, Verification::Stripe { tolerance_s: 7 }]
    {
        let settings = SourceSettings { verification, ..settings.clone() };
        let changes = SourceChanges { settings: Some(settings.clone()), ..SourceChanges::default() };
        store.update_source(acme, made.id, changes, at(1)).await.expect("changed");
        assert_eq!(find(&world, &made).await.expect("there").settings, settings);
    }
}

#[tokio::test]
async fn a_tenant_has_a_bounded_number_of_sources() {
    let world = World::new().await;
    let store = &world.store;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let mut made = vec![];
    for _ in 0..limits::SOURCES_PER_TENANT {
        made.push(make(&world, acme).await);
    }
    let full = store.create_source(new_source(acme), START).await;
    assert!(matches!(full, Err(ControlError::LimitReached(limits::SOURCES_PER_TENANT))), "{full:?}");
    let theirs = make(&world, other).await;
    let listed = all_pages(7, Order::Ascending, |page| {
        let store = store.clone();
        async move { store.list_sources(acme, &page).await }
    });
    assert_eq!(listed.await, made);
    assert_eq!(store.list_sources(other, &first_page()).await.expect("a list").items, [theirs]);
    assert!(store.delete_source(acme, made[0].id).await.expect("deleted"));
    make(&world, acme).await;
    let nobody = store.create_source(new_source(TenantId::generate()), START).await;
    assert!(matches!(nobody, Err(ControlError::NotFound)), "{nobody:?}");
}

#[tokio::test]
async fn another_token_takes_the_place_of_the_one_before() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let made = make(&world, acme).await;
    let token = SourceToken::generate();
    let mut told = store.changes();
    let changes = SourceChanges { token_hash: Some(token.hash()), ..SourceChanges::default() };
    let changed = store.update_source(acme, made.id, changes, at(1)).await.expect("changed");
    assert_eq!(told.try_recv(), Ok(Change::Tenant(acme)));
    assert_eq!((changed.token_hash, &changed.settings), (token.hash(), &made.settings));
    assert_eq!(store.find_source_by_token(made.token_hash).await.expect("read"), None);
    assert_eq!(store.find_source_by_token(token.hash()).await.expect("read"), Some(changed));
}

#[tokio::test]
async fn of_two_who_read_the_same_source_only_one_writes() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let read = make(&world, acme).await;
    let change = |status| SourceChanges {
        status: Some(status),
        if_updated_at: Some(read.updated_at),
        ..SourceChanges::default()
    };
    let paused = store.update_source(acme, read.id, change(SourceStatus::Paused), START).await;
    assert_eq!(paused.expect("the first").status, SourceStatus::Paused);
    let second = store.update_source(acme, read.id, change(SourceStatus::Active), START).await;
    assert!(matches!(second, Err(ControlError::Conflict)), "{second:?}");
    assert_eq!(find(&world, &read).await.expect("there").status, SourceStatus::Paused);
}

#[tokio::test]
async fn a_deleted_source_is_found_by_nobody() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let made = make(&world, acme).await;
    let mut told = store.changes();
    assert!(store.delete_source(acme, made.id).await.expect("deleted"));
    assert_eq!(told.try_recv(), Ok(Change::Tenant(acme)));
    assert!(!store.delete_source(acme, made.id).await.expect("asked"), "it is gone");
    assert_eq!(find(&world, &made).await, None);
    assert_eq!(store.find_source_by_token(made.token_hash).await.expect("read"), None);
    let gone = store.update_source(acme, made.id, SourceChanges::default(), START).await;
    assert!(matches!(gone, Err(ControlError::NotFound)), "{gone:?}");
}

#[tokio::test]
async fn another_tenants_source_is_not_there() {
    let world = World::new().await;
    let store = &world.store;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let made = make(&world, acme).await;
    assert_eq!(store.find_source(other, made.id).await.expect("read"), None);
    assert_eq!(store.find_source(acme, SourceId::generate()).await.expect("read"), None);
    let changed = store.update_source(other, made.id, SourceChanges::default(), START).await;
    assert!(matches!(changed, Err(ControlError::NotFound)), "{changed:?}");
    assert!(!store.delete_source(other, made.id).await.expect("asked"));
    assert_eq!(find(&world, &made).await, Some(made));
}

#[tokio::test]
async fn a_tenants_end_is_that_of_its_sources_at_once() {
    let world = World::new().await;
    let store = &world.store;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let (made, theirs) = (make(&world, acme).await, make(&world, other).await);
    store.delete_tenant(acme, at(1)).await.expect("begun");
    assert_eq!(store.find_source_by_token(made.token_hash).await.expect("read"), None);
    assert_eq!(store.find_source_by_token(theirs.token_hash).await.expect("read"), Some(theirs));
    let late = store.create_source(new_source(acme), at(2)).await;
    assert!(matches!(late, Err(ControlError::NotFound)), "{late:?}");
}

#[tokio::test]
async fn a_source_that_outlived_the_beginning_of_its_tenants_end_goes_with_the_rest() {
    let world = World::new().await;
    let store = &world.store;
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let made = make(&world, other).await;
    let job = store.delete_tenant(acme, at(1)).await.expect("begun");
    // As an ingest leaves it that knows of no sources.
    world.home.run("UPDATE sources SET tenant = (SELECT id FROM tenants WHERE slug = 'acme')").await;
    let left = store.find_source_by_token(made.token_hash).await.expect("read").expect("it is there");
    assert_eq!(left.tenant, acme);
    while store.advance_job(job.id, 100, at(2)).await.expect("a step").ended_at.is_none() {}
    assert_eq!(store.find_source_by_token(made.token_hash).await.expect("read"), None);
}

#[tokio::test]
async fn a_secret_that_is_rotated_is_kept_beside_the_new_one() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let secret = |text: &str| SourceSecret::new(text.into());
    let with = |secrets| SourceSettings {
        verification: Verification::Github,
        secrets: Some(secrets),
        ..new_source(acme).settings
    };
    let secrets = SourceSecrets { current: secret("a"), previous: None };
    let new = NewSource { settings: with(secrets.clone()), ..new_source(acme) };
    let made = store.create_source(new, START).await.expect("made");
    let rotated = secrets.rotated(secret("b"), Duration::from_secs(60), START);
    let changes = SourceChanges { settings: Some(with(rotated.clone())), ..SourceChanges::default() };
    store.update_source(acme, made.id, changes, START).await.expect("changed");
    assert_eq!(find(&world, &made).await.expect("there").settings.secrets, Some(rotated));
}
