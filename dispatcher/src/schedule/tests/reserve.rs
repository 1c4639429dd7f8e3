//! Who gets the last slots.

use super::super::share::Occupancy;
use super::*;

/// 40 slots, of which tenant 0 holds the 36 outside of the reserve for long; tenant 1 is known to be quick.
fn with_reserve_left() -> Scheduler<u32> {
    let mut scheduler = Scheduler::new(Settings::with_slots(40));
    (0..5).for_each(|n| scheduler.set_tenant(tenant(n), 1, 40));
    offer_known(&mut scheduler, ms(0), waiting(1, 0, 0));
    let Some(Step::Start { slot, .. }) = scheduler.next(ms(0)) else { panic!("a slot is free") };
    scheduler.finish(ms(10), slot, attempted(Class::Success));
    for n in 0..120 {
        offer_known(&mut scheduler, ms(10), waiting(0, n, 0));
    }
    let held = starts(&mut scheduler, ms(10));
    assert_eq!(held, [0; 36], "anyone may go beyond its share while there is more than the reserve");
    let snapshot = scheduler.snapshot(ms(10));
    assert_eq!(snapshot.tenants[0].held_back, Some(HeldBack::AtShare));
    scheduler
}

/// Starts all that may start now; whose they are.
fn starts(scheduler: &mut Scheduler<u32>, now: Moment) -> Vec<usize> {
    let whose = |id| (0..5).find(|n| tenant(*n) == id).unwrap();
    let mut started = Vec::new();
    while let Some(Step::Start { waiting, .. }) = next_loaded(scheduler, now) {
        scheduler.endpoint_known(now, waiting.endpoint, EndpointFacts::default());
        started.push(whose(waiting.tenant));
    }
    started
}

#[test]
fn an_endpoint_without_history_holds_one_slot_of_it_and_all_of_them_half() {
    let mut scheduler = with_reserve_left();
    (0..3).for_each(|_| offer_known(&mut scheduler, ms(20), waiting(2, 0, 0)));
    assert_eq!(starts(&mut scheduler, ms(20)), [2]);
    offer_known(&mut scheduler, ms(20), waiting(2, 1, 0));
    let second = starts(&mut scheduler, ms(20));
    assert_eq!(second, [0; 0], "the second quarter is for tenants that hold nothing");
    offer_known(&mut scheduler, ms(20), waiting(3, 0, 0));
    assert_eq!(starts(&mut scheduler, ms(20)), [3]);
    offer_known(&mut scheduler, ms(20), waiting(4, 0, 0));
    assert_eq!(
        starts(&mut scheduler, ms(20)),
        [0; 0],
        "half of the reserve is for what is known to be quick"
    );
    let held_back = scheduler.snapshot(ms(20)).tenants.last().unwrap().held_back;
    assert_eq!(held_back, Some(HeldBack::TooSlowForReserve));
    offer_known(&mut scheduler, ms(20), waiting(1, 0, 0));
    assert_eq!(starts(&mut scheduler, ms(20)), [1]);
}

#[test]
fn what_a_tenant_may_hold_of_it_beyond_its_share_does_not_depend_on_the_scale_of_weights() {
    for weight in [1, 100] {
        let mut shares = Shares::new(2_000, 0.1);
        (0..1_000).for_each(|_| shares.activate(weight));
        let bound = shares.reserve_bound(200);
        let within = |slots| Occupancy::with_one_more(slots, weight) <= bound;
        assert!(within(11) && !within(12), "a sixteenth of 200 at weights of {weight}");
    }
}

#[test]
fn an_endpoint_whose_attempt_hangs_is_not_served_from_it_any_more() {
    let mut scheduler = with_reserve_left();
    offer_known(&mut scheduler, ms(20), waiting(1, 0, 0));
    assert_eq!(starts(&mut scheduler, ms(20)), [1]);
    offer_known(&mut scheduler, ms(1_019), waiting(1, 0, 0));
    assert_eq!(starts(&mut scheduler, ms(1_019)), [1], "quick so far");
    offer_known(&mut scheduler, ms(1_019), waiting(1, 1, 0));
    assert_eq!(starts(&mut scheduler, ms(1_020)), [1], "another endpoint, without history");
    offer_known(&mut scheduler, ms(1_020), waiting(1, 0, 0));
    assert_eq!(starts(&mut scheduler, ms(1_020)), [0; 0], "the oldest attempt has taken a second");
    let held_back = scheduler.snapshot(ms(1_020)).tenants[1].held_back;
    assert_eq!(held_back, Some(HeldBack::TooSlowForReserve));
}

#[test]
fn who_is_beyond_twice_its_share_starts_nothing_before_others_even_with_less_virtual_time() {
    let mut scheduler = Scheduler::new(Settings { reserve: 0.0, ..Settings::with_slots(20) });
    (0..5).for_each(|n| scheduler.set_tenant(tenant(n), 1, 20));
    offer_known(&mut scheduler, ms(0), waiting(1, 0, 0));
    let Some(Step::Start { slot, .. }) = scheduler.next(ms(0)) else { panic!("a slot is free") };
    scheduler.finish(ms(50_000), slot, attempted(Class::Success));
    let offer = |scheduler: &mut Scheduler<u32>, t, endpoints: std::ops::Range<usize>| {
        endpoints.for_each(|e| offer_known(scheduler, ms(50_000), waiting(t, e, 0)));
    };
    // Endpoints of which nobody knows yet that they hang: what they hold is charged when it ends.
    offer(&mut scheduler, 0, 0..12);
    assert_eq!(starts(&mut scheduler, ms(50_000)), [0; 12]);
    offer(&mut scheduler, 0, 12..20);
    (2..5).for_each(|t| offer(&mut scheduler, t, 0..1));
    offer(&mut scheduler, 1, 1..5);
    let debtor = scheduler.snapshot(ms(50_000)).tenants[1].virtual_time;
    assert!(debtor >= Duration::from_secs(50), "it used more, and holds nothing");
    assert_eq!(starts(&mut scheduler, ms(50_000)), [2, 3, 4, 1, 1, 1, 1, 0]);
}

#[test]
fn who_holds_its_share_is_not_held_back_by_others() {
    let mut scheduler = with_reserve_left();
    scheduler.set_slots(36);
    offer_known(&mut scheduler, ms(20), waiting(1, 0, 0));
    let reasons = |scheduler: &Scheduler<u32>| {
        let shown = scheduler.snapshot(ms(20)).tenants;
        shown.into_iter().take(2).map(|shown| shown.held_back).collect::<Vec<_>>()
    };
    let (at_share, no_slot) = (Some(HeldBack::AtShare), Some(HeldBack::NoSlot));
    assert_eq!(reasons(&scheduler), [at_share, no_slot], "no slot is free");
    scheduler.set_slots(40);
    scheduler.settings.reserve = 0.0;
    scheduler.shares = Shares::new(40, 0.0);
    (0..5).for_each(|_| scheduler.shares.activate(1));
    assert_eq!(reasons(&scheduler), [at_share, None], "anyone may start, but the other goes first");
}

#[test]
fn what_has_to_be_parked_is_though_its_tenant_holds_more_than_its_share() {
    let mut scheduler = with_reserve_left();
    (0..30).for_each(|_| offer_known(&mut scheduler, ms(2_000), waiting(0, 0, 7)));
    let parks = scheduler.waiting(tenant(0)).parking;
    assert!(parks > 0, "the endpoint's attempt has taken two seconds");
    for _ in 0..parks {
        let Some(Step::Park(waiting)) = scheduler.next(ms(2_000)) else { panic!("it has to be parked") };
        assert_eq!(waiting.item, 7);
    }
    assert!(scheduler.next(ms(2_000)).is_none(), "nothing of it starts");
}

#[test]
fn fewer_slots_end_nothing_and_start_nothing_before_there_is_room() {
    let mut scheduler = with_reserve_left();
    scheduler.set_slots(20);
    offer_known(&mut scheduler, ms(20), waiting(1, 0, 0));
    assert_eq!(starts(&mut scheduler, ms(20)), [0; 0]);
    assert_eq!(scheduler.snapshot(ms(20)).tenants[1].held_back, Some(HeldBack::NoSlot));
    scheduler.set_slots(2_000);
    assert_eq!(scheduler.snapshot(ms(20)).slots, 40, "never more than configured");
    assert_eq!(starts(&mut scheduler, ms(20)), [1]);
}

#[test]
fn slots_that_only_wait_for_their_receivers_do_not_count_when_slots_are_taken_back() {
    let mut scheduler = Scheduler::new(Settings::with_slots(100));
    for t in 1..=4 {
        scheduler.set_tenant(tenant(t), 1, 25);
        for e in 0..3 {
            for _ in 0..20 {
                offer_known(&mut scheduler, ms(0), waiting(t, e, 0));
            }
        }
    }
    let mut hanging = 0;
    while let Some(Step::Start { .. }) = next_loaded(&mut scheduler, ms(0)) {
        hanging += 1;
    }
    assert!(hanging > 60, "{hanging} never answer");
    // The loop was late: an eighth of the slots, which is less than what hangs.
    scheduler.set_slots_beside_slow(ms(5_000), 12);
    assert_eq!(scheduler.snapshot(ms(5_000)).slots, (hanging + 12).min(100));
    scheduler.set_tenant(tenant(9), 1, 25);
    offer_known(&mut scheduler, ms(5_000), waiting(9, 1, 7));
    let started = std::iter::from_fn(|| scheduler.next(ms(5_000)))
        .any(|step| matches!(step, Step::Start { waiting, .. } if waiting.item == 7));
    assert!(started, "a good tenant finds a slot at once");
    scheduler.set_slots_beside_slow(ms(5_000), 0);
    assert_eq!(
        scheduler.snapshot(ms(5_000)).slots,
        0,
        "nothing at all may start while recording is far behind"
    );
}

#[test]
fn a_tenant_that_has_just_worked_is_shown_with_its_slot_time_until_it_is_long_ago() {
    let mut scheduler = Scheduler::new(Settings::with_slots(10));
    scheduler.set_tenant(tenant(1), 1, 5);
    scheduler.set_tenant(tenant(2), 1, 5);
    offer_known(&mut scheduler, ms(0), waiting(1, 1, 0));
    let Some(Step::Start { slot, .. }) = scheduler.next(ms(0)) else { panic!("it starts") };
    scheduler.finish(ms(30), slot, attempted(Class::Success));
    let shown = scheduler.snapshot(ms(1_000)).tenants;
    assert_eq!(shown.len(), 1, "who never worked is not shown");
    assert_eq!((shown[0].tenant, shown[0].slot_time), (tenant(1), Duration::from_millis(30)));
    let long_ago = ms(30).after(limits::SNAPSHOT_RECENT);
    assert!(scheduler.snapshot(long_ago).tenants.is_empty());
}
