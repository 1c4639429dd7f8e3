//! Endpoints as their tenants set them.

use std::time::Duration;

use fairhook_common::endpoint::{
    BodyForm, Circuit, CustomHeader, Endpoint, EndpointSettings, EndpointStatus, StatusReason,
};
use fairhook_common::event::EventPattern;
use fairhook_common::ids::TenantId;
use fairhook_common::retry::RetrySchedule;
use fairhook_common::signature::SigningSecret;
use fairhook_common::store::{
    Change, ControlError, EndpointChanges, EndpointRef, NewEndpoint, TenantChanges,
};
use fairhook_common::tenant::QuotaPatch;

use super::given::{first_page, make_endpoint, new_endpoint, settings};
use super::harness::{START, World, at};

async fn find(world: &World, endpoint: &Endpoint) -> Endpoint {
    world.find_endpoint(endpoint.tenant, endpoint.id).await
}

/// All that an endpoint says; what hides itself in `Debug` is compared on its own.
fn text(endpoint: &Endpoint) -> (String, Vec<CustomHeader>, Vec<String>) {
    let previous = endpoint.secrets.previous.iter().map(|(secret, _)| secret.reveal());
    let secrets = std::iter::once(endpoint.secrets.current.reveal()).chain(previous).collect();
    (format!("{endpoint:?}"), endpoint.settings.headers.clone(), secrets)
}

#[tokio::test]
async fn an_endpoint_is_kept_with_all_it_says() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let settings = EndpointSettings {
        url: "https://example.com/ü?x='; DROP TABLE endpoints".into(),
        event_types: ["order.*", "a"].map(|text| EventPattern::parse(text).expect("a pattern")).to_vec(),
        description: Some("a \"quoted\" one".into()),
        metadata: Some(r#"{"a":[1]}"#.into()),
        headers: vec![CustomHeader { name: "x-key".into(), value: "höchst geheim".into() }],
        rate_limit_per_s: Some(5),
        timeout: Duration::from_millis(35_000),
        retry: RetrySchedule { schedule_s: vec![1, 2], jitter: 0.125 },
        body: BodyForm::CloudEventsBinary,
        handshake: true,
    };
    let secret = SigningSecret::generate();
    let new = NewEndpoint { tenant: acme, uid: Some("main".into()), settings, secret: Some(secret.clone()) };
    let made = store.create_endpoint(new, START).await.expect("made");
    assert_eq!(made.secrets.current, secret);
    assert_eq!((made.status, made.circuit), (EndpointStatus::Active, Circuit::Closed));
    assert_eq!(text(&find(&world, &made).await), text(&made));
    let by_uid = store.find_endpoint(acme, &EndpointRef::Uid("main".into())).await.expect("read");
    assert_eq!(text(&by_uid.expect("there is one")), text(&made));
}

#[tokio::test]
async fn a_uid_is_unique_until_its_endpoint_is_deleted() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let other = world.tenant("other").await;
    let made = store.create_endpoint(new_endpoint(acme, Some("main")), START).await.expect("made");
    let twin = store.create_endpoint(new_endpoint(acme, Some("main")), START).await;
    assert!(matches!(twin, Err(ControlError::UidTaken)), "{twin:?}");
    store
        .create_endpoint(new_endpoint(other, Some("main")), START)
        .await
        .expect("another tenant's is another");
    assert!(store.delete_endpoint(acme, made.id, at(1)).await.expect("deleted"));
    assert!(!store.delete_endpoint(acme, made.id, at(1)).await.expect("asked"), "it is gone");
    let again = store.create_endpoint(new_endpoint(acme, Some("main")), at(2)).await.expect("made");
    assert_ne!(again.id, made.id);
    assert!(store.find_endpoint(acme, &EndpointRef::Id(made.id)).await.expect("read").is_none());
    let listed = store.list_endpoints(acme, &[], &first_page()).await.expect("a list");
    assert_eq!(listed.items.iter().map(|e| e.id).collect::<Vec<_>>(), [again.id]);
}

#[tokio::test]
async fn a_tenant_has_a_bounded_number_of_endpoints() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let quota = QuotaPatch { max_endpoints: Some(Some(2)), ..QuotaPatch::default() };
    let changes = TenantChanges { quota, ..TenantChanges::default() };
    store.update_tenant(acme, changes, START).await.expect("changed");
    let first = make_endpoint(&world, acme).await;
    store.put_endpoint(new_endpoint(acme, Some("b")), START).await.expect("made");
    for result in [
        store.create_endpoint(new_endpoint(acme, None), START).await.err(),
        store.put_endpoint(new_endpoint(acme, Some("c")), START).await.err(),
    ] {
        assert!(matches!(result, Some(ControlError::LimitReached(2))), "{result:?}");
    }
    let (_, made) =
        store.put_endpoint(new_endpoint(acme, Some("b")), START).await.expect("one that is there");
    assert!(!made);
    assert_eq!(store.usage(acme).await.expect("usage").endpoints, 2);
    store.delete_endpoint(acme, first.id, START).await.expect("deleted");
    make_endpoint(&world, acme).await;
    let nobody = store.create_endpoint(new_endpoint(TenantId::generate(), None), START).await;
    assert!(matches!(nobody, Err(ControlError::NotFound)), "{nobody:?}");
}

#[tokio::test]
async fn putting_an_endpoint_keeps_its_secret() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let (made, new) = store.put_endpoint(new_endpoint(acme, Some("main")), START).await.expect("made");
    assert!(new);
    let settings = EndpointSettings { url: "https://example.org/".into(), ..settings() };
    let replacing = NewEndpoint { settings, ..new_endpoint(acme, Some("main")) };
    let (put, new) = store.put_endpoint(replacing.clone(), at(1)).await.expect("put");
    assert!(!new);
    assert_eq!((put.id, put.created_at), (made.id, START));
    assert_eq!(put.settings.url, "https://example.org/");
    assert_eq!(put.secrets.current, made.secrets.current);
    let secret = SigningSecret::generate();
    let replacing = NewEndpoint { secret: Some(secret.clone()), ..replacing };
    store.put_endpoint(replacing, at(2)).await.expect("put");
    assert_eq!(find(&world, &made).await.secrets.current, secret);
}

#[tokio::test]
async fn of_two_who_read_the_same_only_one_writes() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let read = make_endpoint(&world, acme).await;
    // Both at the time at which it was made.
    let change = |url: &str| EndpointChanges {
        settings: Some(EndpointSettings { url: url.into(), ..settings() }),
        if_updated_at: Some(read.updated_at),
        ..EndpointChanges::default()
    };
    store.update_endpoint(acme, read.id, change("https://first.example/"), START).await.expect("the first");
    let second = store.update_endpoint(acme, read.id, change("https://second.example/"), START).await;
    assert!(matches!(second, Err(ControlError::Conflict)), "{second:?}");
    assert_eq!(find(&world, &read).await.settings.url, "https://first.example/");
}

#[tokio::test]
async fn activating_forgets_why_it_was_stopped() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let made = make_endpoint(&world, acme).await;
    let status =
        |status, reason| EndpointChanges { status: Some((status, reason)), ..EndpointChanges::default() };
    let pause = status(EndpointStatus::Paused, Some(StatusReason::User));
    let paused = store.update_endpoint(acme, made.id, pause, at(1)).await.expect("paused");
    assert_eq!((paused.status, paused.status_reason), (EndpointStatus::Paused, Some(StatusReason::User)));
    let listed = |statuses| {
        let store = store.clone();
        async move { store.list_endpoints(acme, statuses, &first_page()).await.expect("a list").items.len() }
    };
    assert_eq!(listed(&[EndpointStatus::Paused, EndpointStatus::Disabled][..]).await, 1);
    assert_eq!(listed(&[EndpointStatus::Active][..]).await, 0);
    let mut changes = store.changes();
    let activate = status(EndpointStatus::Active, Some(StatusReason::User));
    let active = store.update_endpoint(acme, made.id, activate, at(2)).await.expect("activated");
    assert_eq!((active.status, active.status_reason), (EndpointStatus::Active, None));
    assert_eq!(active.failing_since, None);
    assert_eq!(changes.try_recv(), Ok(Change::Tenant(acme)));
    assert_eq!(changes.try_recv(), Ok(Change::Due(acme)));
}

#[tokio::test]
async fn a_rotated_secret_signs_for_its_grace() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let made = make_endpoint(&world, acme).await;
    let new = SigningSecret::generate();
    let grace = Duration::from_secs(60);
    store.rotate_secret(acme, made.id, new.clone(), grace, START).await.expect("rotated");
    let secrets = find(&world, &made).await.secrets;
    let old = made.secrets.current;
    assert_eq!(secrets.in_force(at(59)).collect::<Vec<_>>(), [&new, &old]);
    assert_eq!(secrets.in_force(at(60)).collect::<Vec<_>>(), [&new]);
    let newest = SigningSecret::generate();
    let at_once =
        store.rotate_secret(acme, made.id, newest.clone(), Duration::ZERO, START).await.expect("rotated");
    assert_eq!(at_once.secrets.in_force(START).collect::<Vec<_>>(), [&newest], "without grace, at once");
}

#[tokio::test]
async fn another_tenants_endpoint_is_not_there() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let other = world.tenant("other").await;
    let made = store.create_endpoint(new_endpoint(acme, Some("main")), START).await.expect("made");
    for name in [EndpointRef::Id(made.id), EndpointRef::Uid("main".into())] {
        assert!(store.find_endpoint(other, &name).await.expect("read").is_none());
    }
    let changed = store.update_endpoint(other, made.id, EndpointChanges::default(), START).await;
    assert!(matches!(changed, Err(ControlError::NotFound)), "{changed:?}");
    let secret = SigningSecret::generate();
    let rotated = store.rotate_secret(other, made.id, secret, Duration::ZERO, START).await;
    assert!(matches!(rotated, Err(ControlError::NotFound)), "{rotated:?}");
    assert!(!store.delete_endpoint(other, made.id, START).await.expect("asked"));
    assert_eq!(text(&find(&world, &made).await), text(&made));
}
