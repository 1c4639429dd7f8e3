//! The end of a tenant.

use fairhook_common::delivery::{DeliveryState, DiscardReason, Verdict};
use fairhook_common::ids::TenantId;
use fairhook_common::key::{ApiKey, KeyText, Scope};
use fairhook_common::store::{
    Admission, Change, ControlError, DeliveryFilter, EventFilter, JobKind, JobStatus, Load, Report, Sweep,
    TenantChanges, TenantRef, Usage,
};
use fairhook_common::tenant::TenantStatus;

use super::given::{first_page, made, new_endpoint, new_tenant, states};
use super::harness::{START, World, at, event, event_at, keyed};

#[tokio::test]
async fn a_deleted_tenant_is_refused_at_once() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    world.endpoint(acme).await;
    let text = KeyText::generate();
    let key = ApiKey {
        id: text.id,
        tenant: Some(acme),
        name: None,
        scopes: vec![Scope::EventsWrite],
        secret_hash: text.hash(),
        created_at: START,
        expires_at: None,
        revoked_at: None,
    };
    store.add_key(key.clone()).await.expect("a key");
    let sent = world.deliveries(acme, 2).await;
    let replay = store.create_job(acme, JobKind::Replay, states(&[]), START).await.expect("a job");
    let version = store.roster(0).await.expect("a roster").version;
    let mut changes = store.changes();
    let job = store.delete_tenant(acme, at(1)).await.expect("begun");
    assert_eq!((job.kind, job.status, job.total), (JobKind::DeleteTenant, JobStatus::Queued, 2));
    assert_eq!(changes.try_recv(), Ok(Change::Tenant(acme)));
    assert_eq!(store.delete_tenant(acme, at(2)).await.expect("asked"), job, "the same job");

    let found = store.find_tenant(&TenantRef::Slug("acme".into())).await.expect("read").expect("still there");
    assert_eq!(found.status, TenantStatus::Deleting);
    assert_eq!(store.find_key(text.id).await.expect("read").expect("there").revoked_at, Some(at(1)));
    assert!(store.list_endpoints(acme, &[], &first_page()).await.expect("a list").items.is_empty());
    let refused = world.admit(vec![event(acme, "order.paid")], at(2)).await;
    assert!(matches!(refused[0], Admission::NoSuchTenant), "{refused:?}");
    assert!(matches!(world.load(&sent[0], at(2)).await, Load::Discard(DiscardReason::TenantDeleted)));
    assert!(store.roster(version).await.expect("a roster").version > version, "dispatchers hear of it");
    let ended = store.find_job(Some(acme), replay.id).await.expect("read").expect("there is one");
    assert_eq!(ended.status, JobStatus::Cancelled);
    assert_eq!(store.open_jobs().await.expect("jobs"), std::slice::from_ref(&job));
    let stopped = store.cancel_job(acme, job.id, at(3)).await.expect("asked").expect("there is one");
    assert_eq!(stopped.ended_at, None, "there is no way back");
    for refusal in [
        store.update_tenant(acme, TenantChanges::default(), at(3)).await.err(),
        store.create_endpoint(new_endpoint(acme, None), at(3)).await.err(),
        store.add_key(ApiKey { id: KeyText::generate().id, ..key }).await.err(),
    ] {
        assert!(matches!(refusal, Some(ControlError::NotFound)), "{refusal:?}");
    }
    let taken = store.put_tenant(new_tenant("acme"), at(3)).await;
    assert!(matches!(taken, Err(ControlError::SlugTaken)), "{taken:?}");
    let nobody = store.delete_tenant(TenantId::generate(), at(3)).await;
    assert!(matches!(nobody, Err(ControlError::NotFound)), "{nobody:?}");
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_deletion_goes_to_its_end_across_restarts() {
    let mut world = World::new().await;
    let acme = world.tenant("acme").await;
    let other = world.tenant("other").await;
    for tenant in [acme, other] {
        world.endpoint(tenant).await;
        let endpoint = world.endpoint(tenant).await;
        let sent = world.deliveries(tenant, 20).await;
        let outcomes = sent.iter().enumerate().filter_map(|(n, s)| match n % 5 {
            0 => Some(s.delivered(at(1))),
            1 => Some(s.dead(at(1))),
            2 => Some(s.retry(at(60), at(1))),
            3 => Some(s.verdict(Verdict::Park, at(1))),
            _ => None,
        });
        world.record(outcomes.collect()).await;
        world.pause(tenant, endpoint).await;
        world.deliveries_at(tenant, 5, at(2)).await;
        world.admit(vec![keyed(tenant, "key", 1), event_at(tenant, "a", at(2))], at(2)).await;
        world.store.create_job(tenant, JobKind::Replay, states(&[]), at(2)).await.expect("a job");
        let report = Report { in_flight: vec![(tenant, 2)], ..Report::default() };
        world.store.report(if tenant == acme { "a" } else { "b" }, report, at(2)).await.expect("reported");
    }
    let theirs = world.counts(other).await;
    let all = world.counts(acme).await.accepted;
    let version = world.store.roster(0).await.expect("a roster").version;
    let job = world.store.delete_tenant(acme, at(3)).await.expect("begun");
    assert_eq!(job.total, all);
    let (mut steps, mut ended) = (0, false);
    while !ended {
        let stands = world.store.advance_job(job.id, 7, at(4)).await.expect("a step");
        ended = stands.ended_at.is_some();
        steps += 1;
        assert!(steps < 1_000, "it never ends");
        if steps % 5 == 0 {
            world = world.reopen().await;
        }
        let counts = world.counts(acme).await;
        assert!(counts.balanced(), "whole at every step: {counts:?}");
    }
    assert!(steps > 20, "bounded steps: {steps}");
    let store = &world.store;
    let job = store.find_job(None, job.id).await.expect("read").expect("there is one");
    assert_eq!((job.status, job.done), (JobStatus::Succeeded, all));
    assert_eq!(store.find_tenant(&TenantRef::Id(acme)).await.expect("read"), None);
    assert_eq!(store.usage(acme).await.expect("usage"), Usage::default());
    assert!(world.all(acme).await.is_empty());
    assert!(
        store
            .list_events(acme, &EventFilter::default(), &first_page())
            .await
            .expect("a list")
            .items
            .is_empty()
    );
    let dead =
        store.list_dead_letters(acme, &DeliveryFilter::default(), &first_page()).await.expect("a list");
    assert!(dead.items.is_empty());
    assert_eq!(store.list_jobs(acme, &first_page()).await.expect("a list").items, [job]);
    let roster = store.roster(version).await.expect("a roster");
    let told: Vec<_> = roster.tenants.iter().map(|t| (t.id, t.deleted)).collect();
    assert_eq!(told, [(acme, true)], "dispatchers forget it");

    assert_eq!(world.counts(other).await, theirs, "nobody else's were touched");
    assert!(world.all(other).await.iter().all(|view| view.state != DeliveryState::Discarded));
    assert_eq!(store.sweep(Sweep::DeletedEndpoints, 10, at(5)).await.expect("a step"), 0);
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_slug_is_free_again_after_its_tenant_is_gone() {
    let world = World::new().await;
    let old = made(&world, "acme").await;
    let job = world.store.delete_tenant(old.id, at(1)).await.expect("begun");
    while world.store.advance_job(job.id, 100, at(2)).await.expect("a step").ended_at.is_none() {}
    let gone = world.store.delete_tenant(old.id, at(3)).await;
    assert!(matches!(gone, Err(ControlError::NotFound)), "{gone:?}");
    let new = made(&world, "acme").await;
    assert_ne!((new.id, &new.queue), (old.id, &old.queue), "another tenant, another queue");
    let roster = world.store.roster(0).await.expect("a roster");
    let told: Vec<_> = roster.tenants.iter().map(|t| (t.id, t.deleted)).collect();
    assert_eq!(told, [(old.id, true), (new.id, false)]);
}
