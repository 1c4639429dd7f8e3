use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fairhook_common::activity::{Counted, HeldBack, Meters, ProcessActivity, Standing, TenantActivity};
use fairhook_common::condition::ConditionKind;
use fairhook_common::delivery::{AttemptRecord, Outcome, Verdict};
use fairhook_common::endpoint::{BodyForm, EndpointSettings};
use fairhook_common::event::{EventPattern, EventType, NewEvent};
use fairhook_common::ids::{DeliveryId, EndpointId};
use fairhook_common::plan::PlanName;
use fairhook_common::retry::RetrySchedule;
use fairhook_common::store::sqlite::SqliteStore;
use fairhook_common::store::{Admission, NewEndpoint, NewTenant, TenantChanges};
use fairhook_common::tenant::{
    DISABLE_AFTER, DeliveryCounts, Dispatch, DlqOverflow, QuotaLimits, QuotaPatch, Tenant,
};
use uuid::Uuid;

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

/// A tenant with one delivery in flight.
fn surveyed(number: u128) -> Surveyed {
    Surveyed {
        tenant: tenant(number),
        slug: format!("tenant-{number}"),
        weight: 1,
        dispatch: Dispatch::Open,
        limits: QuotaLimits {
            max_events_per_sec: 100,
            burst: 1_000,
            max_concurrent_deliveries: 50,
            max_dlq_size: 100,
            max_backlog: 100_000,
            max_endpoints: 50,
            dlq_overflow: DlqOverflow::DropOldest,
        },
        counts: DeliveryCounts { accepted: 1, backlog: 1, ..DeliveryCounts::default() },
        in_flight: 1,
        endpoints: 1,
        circuits: 0,
        disabled: Vec::new(),
        waiting_since: None,
    }
}

/// What a dispatcher tells in which each of the tenants from 0 on holds more slots than the one before.
fn told(tenants: u128) -> ProcessActivity {
    let (mut meters, mut standing) = (Meters::default(), HashMap::new());
    for number in 0..tenants {
        meters.of(tenant(number)).slots += 1.0 + number as f64;
        standing.insert(tenant(number), Standing { weight: 1, in_flight: 1, ..Standing::default() });
    }
    meters.tick(limits::ACTIVITY_INTERVAL, standing)
}

/// What is seen of the tenants from 0 on.
fn look(told: &ProcessActivity, tenants: u128) -> Look {
    let mut look = Look::beginning(Board::of([told]));
    (0..tenants).for_each(|number| look.take_in(&surveyed(number), NOW));
    look
}

#[test]
fn the_twenty_that_use_most_slot_time_are_named() {
    let seen = look(&told(25), 25);
    let named: Vec<_> = seen.named.iter().map(|(slug, _)| slug.clone()).collect();
    assert_eq!(named, (5..25).map(|number| format!("tenant-{number}")).collect::<Vec<_>>());
    assert_eq!(seen.others.in_flight, 5);
}

#[test]
fn nobody_is_left_out_and_the_parts_are_a_whole() {
    let busy = limits::ACTIVITY_TENANTS as u128 + 100;
    // Ten times as many do nothing.
    let told = told(busy);
    let seen = look(&told, 10 * busy);
    let sum = |read: fn(&Figures) -> f64| {
        seen.named.iter().map(|(_, figures)| read(figures)).sum::<f64>() + read(&seen.others)
    };
    let (slots, used) = (sum(|figures| figures.slot_seconds_per_s), seen.board.used());
    assert!((slots - used).abs() < used * 1e-9, "{slots} of {used}");
    for whole in [sum(|figures| figures.slot_share), sum(|figures| figures.fair_share)] {
        assert!((whole - 1.0).abs() < 1e-9, "{whole}");
    }
    assert_eq!(sum(|figures| figures.in_flight as f64), 10.0 * busy as f64, "what the store has counts once");
}

#[test]
fn what_others_keep_from_beginning_is_late_for_as_long_as_it_waits() {
    let waiting = |number, held_back, delay: f64| TenantActivity {
        tenant: tenant(number),
        rates: Counted { begun: if delay > 0.0 { 1.0 } else { 0.0 }, delay, ..Counted::default() },
        standing: Standing { weight: 1, waiting: 1, oldest_ms: 9_000, held_back, ..Standing::default() },
    };
    let tenants = vec![
        waiting(0, Some(HeldBack::NoSlot), 0.0),
        waiting(1, Some(HeldBack::NoSlot), 2.0),
        waiting(2, Some(HeldBack::NoSlot), 12.0),
        waiting(3, Some(HeldBack::CircuitOpen), 0.0),
        waiting(4, Some(HeldBack::CircuitOpen), 2.0),
    ];
    let seen = look(&ProcessActivity { tenants, ..ProcessActivity::default() }, 5);
    let delays: Vec<_> = seen.named.iter().map(|(_, figures)| figures.dispatch_delay_ms).collect();
    let late = [9_000.0, 9_000.0, 12_000.0].map(Some);
    assert_eq!(delays[..3], late, "the longer of both");
    assert_eq!(delays[3..], [None, Some(2_000.0)], "its own endpoints keep it");
}

#[test]
fn what_its_own_endpoints_keep_parked_is_no_delay_by_others() {
    let standing = Standing {
        weight: 1,
        waiting: 1,
        oldest_ms: 3_000,
        held_back: Some(HeldBack::NoSlot),
        ..Standing::default()
    };
    let told = TenantActivity { tenant: tenant(0), rates: Counted::default(), standing };
    let mut look =
        Look::beginning(Board::of([&ProcessActivity { tenants: vec![told], ..ProcessActivity::default() }]));
    look.take_in(&Surveyed { waiting_since: Some(NOW.before(limits::RETENTION)), ..surveyed(0) }, NOW);
    assert_eq!(look.named[0].1.dispatch_delay_ms, Some(3_000.0));
}

/// A tenant with an endpoint, and room for one dead letter.
async fn made(store: &SharedStore, slug: &str) -> Tenant {
    let new = NewTenant {
        slug: slug.into(),
        name: slug.into(),
        plan: PlanName::STARTER,
        weight: None,
        metadata: "{}".into(),
    };
    let tenant = store.create_tenant(new, None, NOW).await.expect("a tenant");
    let settings = EndpointSettings {
        url: "https://example.com/hook".into(),
        event_types: vec![EventPattern::parse("*").expect("a pattern")],
        description: None,
        metadata: None,
        headers: Vec::new(),
        rate_limit_per_s: None,
        timeout: limits::ATTEMPT_TIMEOUT,
        retry: RetrySchedule::default(),
        body: BodyForm::Raw,
        handshake: false,
    };
    let endpoint = NewEndpoint { tenant: tenant.id, uid: None, settings, secret: None };
    store.create_endpoint(endpoint, NOW).await.expect("an endpoint");
    let quota = QuotaPatch { max_dlq_size: Some(Some(1)), ..QuotaPatch::default() };
    let changes = TenantChanges { quota, ..TenantChanges::default() };
    store.update_tenant(tenant.id, changes, NOW).await.expect("a quota")
}

/// An event's delivery, and its endpoint.
async fn posted(store: &SharedStore, tenant: TenantId) -> (DeliveryId, EndpointId) {
    let event = NewEvent {
        tenant,
        event_type: EventType::parse("order.paid").expect("a type"),
        payload: Bytes::from_static(b"{}"),
        metadata: None,
        cloudevent: None,
        deliver_at: None,
        expires_at: NOW.after(limits::RETENTION),
        idempotency: None,
        only_endpoint: None,
    };
    let result = store.admit(vec![event], NOW).await.expect("admitted").results.remove(0);
    let Admission::Accepted(event) = result else { panic!("{result:?}") };
    (DeliveryId { event: event.id, ordinal: 0 }, event.deliveries[0].endpoint)
}

#[tokio::test]
async fn every_tenant_is_looked_at_page_by_page() {
    let directory = tempfile::tempdir().expect("a directory");
    let store: SharedStore = Arc::new(SqliteStore::open(directory.path()).await.expect("a store"));
    let mut tenants = Vec::new();
    for slug in ["first", "second", "third"] {
        let tenant = made(&store, slug).await;
        let sent = posted(&store, tenant.id).await;
        tenants.push((tenant, sent));
    }
    tenants.sort_by_key(|(tenant, _)| tenant.id);
    let (last, (delivery, endpoint)) = &tenants[2];
    let attempt = AttemptRecord {
        id: Uuid::now_v7(),
        started_at: NOW,
        duration_ms: 1,
        status_code: Some(500),
        error: None,
        response_snippet: Bytes::new(),
    };
    let died = Outcome {
        delivery: *delivery,
        tenant: last.id,
        endpoint: *endpoint,
        generation: 0,
        attempt: Some(attempt),
        verdict: Verdict::Dead,
        disable: None,
        decided_at: NOW,
    };
    store.record(vec![died], DISABLE_AFTER).await.expect("recorded");
    for at_a_time in [1, 2, 3, 4] {
        let look = Look::at_all(&store, at_a_time).await.expect("a look");
        assert_eq!((look.others.dead_letters, look.others.waiting), (1, 2), "{at_a_time} at a time");
        let raised = Detector::default().round(NOW, look.samples.iter().copied()).raised;
        let raised: Vec<_> = raised.iter().map(|(key, _)| (key.kind, look.slug(key.tenant))).collect();
        assert_eq!(raised, [(ConditionKind::DlqWarning, last.slug.clone())]);
    }
}
