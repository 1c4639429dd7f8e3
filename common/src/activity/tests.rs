use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::limits;
use crate::store::Surveyed;
use crate::tenant::{DeliveryCounts, Dispatch, DlqOverflow, QuotaLimits};
use crate::time::Timestamp;

fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

const TICK: Duration = limits::ACTIVITY_INTERVAL;

#[test]
fn a_steady_rate_is_told_soon_and_forgotten_soon() {
    let mut meters = Meters::default();
    let mut told = ProcessActivity::default();
    for _ in 0..10 {
        meters.of(tenant(1)).events += 20.0;
        told = meters.tick(TICK, HashMap::new());
    }
    let rate = told.tenants[0].rates.events;
    assert!((9.0..=10.0).contains(&rate), "{rate} of 10 a second");
    let mut ticks = 0;
    while !told.is_idle() {
        told = meters.tick(TICK, HashMap::new());
        ticks += 1;
        assert!(ticks < 60, "who does nothing is forgotten");
    }
    assert!(ticks > 2, "not at once: a gap is no end");
}

#[test]
fn the_busiest_are_told_by_name_and_all_others_together() {
    let mut meters = Meters::default();
    let all = limits::ACTIVITY_TENANTS as u128 + 20;
    let mut standing = HashMap::new();
    for number in 0..all {
        meters.of(tenant(number)).slots += number as f64;
        standing.insert(tenant(number), Standing { weight: 2, waiting: 1, ..Standing::default() });
    }
    let told = meters.tick(TICK, standing);
    assert_eq!(told.tenants.len(), limits::ACTIVITY_TENANTS);
    assert_eq!(told.tenants[0].tenant, tenant(all - 1));
    let Rest { active, weight, waiting, rates, .. } = told.rest;
    assert_eq!((active, weight, waiting), (20, 40, 20));
    let named: f64 = told.tenants.iter().map(|one| one.rates.slots).sum();
    assert!(rates.slots > 0.0 && named > rates.slots, "the least busy");
    let board = Board::of([&told]);
    assert_eq!(board.active(), all as u64);
    assert!((board.used() - named - rates.slots).abs() < 1e-6);
    let others = Figures::of_rest(&board);
    assert_eq!((others.slot_seconds_per_s, others.in_flight, others.waiting), (rates.slots, 0, 0));
    assert!((others.fair_share - 20.0 / all as f64).abs() < 1e-9);
    assert!((others.slot_share - rates.slots / board.used()).abs() < 1e-9);
}

#[test]
fn tenants_beyond_those_that_are_counted_apart_are_counted_together() {
    let mut meters = Meters::default();
    for number in 0..limits::ACTIVITY_METERED as u128 + 3 {
        meters.of(tenant(number)).events += 1.0;
    }
    let told = meters.tick(TICK, HashMap::new());
    let named: f64 = told.tenants.iter().map(|one| one.rates.events).sum();
    let per_tenant = told.tenants[0].rates.events;
    let all = (named + told.rest.rates.events) / per_tenant;
    assert!((all - (limits::ACTIVITY_METERED as f64 + 3.0)).abs() < 1e-3, "{all}");
}

#[test]
fn a_tenant_is_seen_over_all_processes() {
    let process = |weight, in_flight, waiting, held_back| ProcessActivity {
        slots: 10,
        tenants: vec![TenantActivity {
            tenant: tenant(1),
            rates: Counted {
                slots: 1.0,
                attempts: 4.0,
                failures: 1.0,
                begun: 2.0,
                delay: 0.5,
                ..Counted::default()
            },
            standing: Standing { weight, in_flight, waiting, held_back, oldest_ms: u64::from(waiting) },
        }],
        rest: Rest::default(),
    };
    let told = [
        process(3, 1, 7, Some(HeldBack::CircuitOpen)),
        process(3, 2, 9, Some(HeldBack::NoSlot)),
        process(0, 0, 0, None),
    ];
    let board = Board::of(&told);
    let seen = board.tenant(tenant(1)).expect("it is told of");
    let Standing { weight, in_flight, waiting, oldest_ms, held_back } = seen.standing.clone();
    assert_eq!((weight, in_flight, waiting, oldest_ms), (3, 3, 16, 9));
    assert_eq!(held_back, Some(HeldBack::NoSlot), "that of whoever has most of what waits");
    assert!(seen.is_hurt());
    assert_eq!(seen.error_rate(), 0.25);
    assert_eq!(seen.dispatch_delay(), Some(Duration::from_millis(250)));
    assert_eq!((board.slots, board.slot_share(seen), board.fair_share(seen)), (30, 1.0, 1.0));
}

#[test]
fn who_waits_long_though_nothing_of_its_own_is_in_the_way_is_hurt() {
    let hurt = |waiting, begun, delay| {
        let rates = Counted { begun, delay, ..Counted::default() };
        Seen { rates, standing: Standing { waiting, ..Standing::default() } }.is_hurt()
    };
    assert!(hurt(1, 2.0, 2.2), "1.1 s each");
    assert!(!hurt(1, 2.0, 2.0), "not over the limit");
    assert!(!hurt(0, 2.0, 2.2), "nothing waits any more");
}

#[test]
fn what_a_process_of_an_older_version_tells_is_read() {
    let old = r#"{"slots":0,"tenants":[],"rest":{"active":1,"rates":{"events":2.0,"throttled":1.0}}}"#;
    let told: ProcessActivity = serde_json::from_str(old).expect("read");
    let Counted { events, throttled, over_rate, .. } = told.rest.rates;
    assert_eq!((events, throttled, over_rate), (2.0, 1.0, 0.0));
}

#[test]
fn shares_are_of_one_telling_while_a_weight_changes() {
    let mut meters = Meters::default();
    let standing = Standing { weight: 1, in_flight: 1, ..Standing::default() };
    meters.of(tenant(1)).slots += 5.0;
    let told = meters.tick(TICK, HashMap::from([(tenant(1), standing)]));
    // Its plan was changed a moment ago: the store knows, the processes do not yet.
    let stored = Surveyed {
        tenant: tenant(1),
        slug: "acme".into(),
        weight: 4,
        dispatch: Dispatch::Open,
        limits: QuotaLimits {
            max_events_per_sec: 1,
            burst: 1,
            max_concurrent_deliveries: 1,
            max_dlq_size: 1,
            max_backlog: 1,
            max_endpoints: 1,
            dlq_overflow: DlqOverflow::DropOldest,
        },
        counts: DeliveryCounts::default(),
        in_flight: 1,
        endpoints: 1,
        circuits: 0,
        disabled: Vec::new(),
        waiting_since: None,
    };
    let figures = Figures::of(&stored, &Board::of(&[told]), Timestamp(1_700_000_000_000));
    assert_eq!((figures.slot_share, figures.fair_share), (1.0, 1.0));
}

#[test]
fn what_waits_drains_if_more_ends_than_comes() {
    assert_eq!(Drain::predict(100, 5.0).predicted_s, Some(20.0));
    assert_eq!(Drain::predict(0, -5.0).predicted_s, Some(0.0));
    assert_eq!(Drain::predict(100, 0.0).predicted_s, None, "it never will");
    assert_eq!(Drain::predict(100, -1.0).predicted_s, None, "it grows");
    assert_eq!(Drain::predict(u64::MAX, 0.1).predicted_s, None, "not in a year");
}

proptest! {
    /// However tenants are spread over names and others, shares are parts of a whole, and a report survives its JSON.
    #[test]
    fn shares_are_parts_of_a_whole(
        slots in prop::collection::vec((0.0f64..200.0, 1u32..9), 1..40),
        processes in 1usize..4,
    ) {
        let told: Vec<_> = (0..processes).map(|_| {
            let mut meters = Meters::default();
            let standing = slots.iter().enumerate().map(|(number, (slots, weight))| {
                meters.of(tenant(number as u128)).slots += slots;
                (tenant(number as u128), Standing { weight: *weight, in_flight: 1, ..Standing::default() })
            });
            let standing = standing.collect();
            meters.tick(TICK, standing)
        }).collect();
        let json = serde_json::to_string(&told).expect("JSON");
        let read: Vec<ProcessActivity> = serde_json::from_str(&json).expect("the same");
        let board = Board::of(&read);
        let shares = |of: fn(&Board, &Seen) -> f64| board.tenants().map(|(_, seen)| of(&board, seen)).sum::<f64>();
        prop_assert!((shares(Board::fair_share) - 1.0).abs() < 1e-6);
        let used = shares(Board::slot_share);
        prop_assert!((used - 1.0).abs() < 1e-6 || board.used() < 1e-9, "{used}");
        // Not everybody can be too loud.
        let loud = board.tenants().filter(|(_, seen)| board.loudness(seen) > 1.0).count();
        prop_assert!(loud < slots.len());
    }
}
