//! One endpoint's gate, step by step.

use fairhook_common::endpoint::Circuit;

use super::*;

/// A scheduler with one tenant of this cap.
pub(super) fn with_cap(cap: u32) -> Scheduler<u32> {
    let mut scheduler = Scheduler::new(Settings::with_slots(1_000));
    scheduler.set_tenant(tenant(1), 1, cap);
    scheduler
}

/// Starts all that may start now; fails on anything to be parked.
pub(super) fn starts(scheduler: &mut Scheduler<u32>, now: Moment) -> Vec<SlotId> {
    let step = |step| match step {
        Step::Start { slot, .. } => slot,
        Step::Park(_) => panic!("nothing is to be parked"),
    };
    std::iter::from_fn(|| next_loaded(scheduler, now)).map(step).collect()
}

/// Finishes all that is next, as not attempted; returns how many were starts and how many parks.
pub(super) fn run_off(scheduler: &mut Scheduler<u32>, now: Moment) -> (usize, usize) {
    let (mut started, mut parked) = (0, 0);
    while let Some(step) = scheduler.next(now) {
        match step {
            Step::Start { slot, .. } => {
                started += 1;
                scheduler.finish(now, slot, SlotEnd::NotAttempted);
            }
            Step::Park(_) => parked += 1,
        }
    }
    (started, parked)
}

pub(super) fn offer(scheduler: &mut Scheduler<u32>, now: Moment, e: usize, how_many: usize) {
    (0..how_many).for_each(|_| offer_known(scheduler, now, waiting(1, e, 0)));
}

#[test]
fn a_new_endpoint_gets_one_attempt_until_its_rate_limit_is_known() {
    let mut scheduler = with_cap(50);
    for _ in 0..3 {
        assert!(scheduler.offer(ms(0), waiting(1, 1, 0)).is_ok());
    }
    assert_eq!(starts(&mut scheduler, ms(0)).len(), 1);
    let facts = EndpointFacts { rate_per_minute: Some(5 * 60), timeout: Duration::from_secs(1) };
    scheduler.endpoint_known(ms(1), endpoint(1, 1), facts);
    let mut started = Vec::new();
    let mut now = ms(1);
    while now < ms(10_001) {
        started.extend(starts(&mut scheduler, now).iter().map(|_| now));
        now = scheduler.next_wakeup().filter(|at| *at > now).unwrap_or(now.after(Duration::from_millis(1)));
        // What was started answers at once, and more comes than may start.
        run_answers(&mut scheduler, now);
        if scheduler.endpoint_room(endpoint(1, 1)) > 0 {
            assert!(scheduler.offer(now, waiting(1, 1, 0)).is_ok());
        }
    }
    assert!((39..=51).contains(&started.len()), "{} in 10 s at 5 per second", started.len());
}

#[test]
fn what_started_before_its_endpoints_rate_was_lowered_counts_in_the_new_one() {
    let mut scheduler = with_cap(50);
    offer(&mut scheduler, ms(0), 1, 20);
    let mut slots = Vec::new();
    while let Some(Step::Start { slot, .. }) = scheduler.next(ms(0)) {
        slots.push(slot);
    }
    assert_eq!(slots.len(), 20);
    let facts = EndpointFacts { rate_per_minute: Some(2 * 60), timeout: Duration::from_secs(1) };
    scheduler.endpoint_known(ms(10), endpoint(1, 1), facts);
    let (go, stay): (Vec<_>, Vec<_>) = slots.into_iter().partition(|slot| scheduler.may_go_on(ms(10), slot));
    assert_eq!((go.len(), stay.len()), (1, 19));
    stay.into_iter().for_each(|slot| scheduler.finish(ms(10), slot, SlotEnd::NotAttempted));
    assert!(scheduler.offer(ms(11), waiting(1, 1, 0)).is_ok());
    assert!(starts(&mut scheduler, ms(400)).is_empty(), "what never counted is not given back");
    let Some(Step::Start { slot, .. }) = scheduler.next(ms(520)) else { panic!("one may start") };
    assert!(scheduler.next(ms(520)).is_none());
    assert!(scheduler.may_go_on(ms(521), &slot), "it has counted when it started");
}

/// Lets everything in flight succeed.
fn run_answers(scheduler: &mut Scheduler<u32>, now: Moment) {
    let slots: Vec<u64> = scheduler.flights.keys().copied().collect();
    slots.into_iter().for_each(|slot| scheduler.finish(now, SlotId(slot), attempted(Class::Success)));
}

#[test]
fn one_endpoint_takes_half_beside_others_and_all_if_it_is_quick_and_alone() {
    let mut scheduler = with_cap(50);
    offer(&mut scheduler, ms(0), 1, 60);
    assert_eq!(starts(&mut scheduler, ms(0)).len(), 44, "unknown: others must find a slot at once");
    run_answers(&mut scheduler, ms(10));
    offer(&mut scheduler, ms(10), 1, 60);
    assert_eq!(starts(&mut scheduler, ms(10)).len(), 50, "quick and alone");
    run_answers(&mut scheduler, ms(20));
    offer(&mut scheduler, ms(20), 2, 60);
    starts(&mut scheduler, ms(20));
    assert_eq!(scheduler.in_flight(tenant(1)), 50);
    let of_one = |s: &Scheduler<u32>| s.tenants[&tenant(1)].endpoints[&endpoint(1, 1)].gate.in_flight();
    assert_eq!(of_one(&scheduler), 25, "half while the other is busy");
}

#[test]
fn one_that_may_hang_leaves_half_to_another_that_was_used_lately() {
    let mut scheduler = with_cap(50);
    offer(&mut scheduler, ms(0), 1, 1);
    starts(&mut scheduler, ms(0));
    run_answers(&mut scheduler, ms(10));
    offer(&mut scheduler, ms(10), 2, 85);
    assert_eq!(starts(&mut scheduler, ms(10)).len(), 25, "nothing is known of it");
    run_answers(&mut scheduler, ms(20));
    assert_eq!(starts(&mut scheduler, ms(20)).len(), 44, "it is quick, and the only busy one");
}

#[test]
fn the_limit_halves_once_per_generation_and_grows_back() {
    let mut scheduler = with_cap(64);
    offer(&mut scheduler, ms(0), 1, 1);
    starts(&mut scheduler, ms(0));
    run_answers(&mut scheduler, ms(5));
    let endpoint = endpoint(1, 1);
    assert_eq!(scheduler.endpoint_room(endpoint), 64);
    offer(&mut scheduler, ms(5), 1, 9);
    for slot in starts(&mut scheduler, ms(5)) {
        scheduler.finish(ms(100), slot, attempted(Class::Overload));
    }
    assert_eq!(scheduler.endpoint_room(endpoint), 32, "nine overloads of one moment are one piece of news");
    for round in 0..2_000 {
        let now = ms(101 + round);
        offer(&mut scheduler, now, 1, 1);
        for slot in starts(&mut scheduler, now) {
            scheduler.finish(now, slot, attempted(Class::Success));
        }
    }
    assert_eq!(scheduler.endpoint_room(endpoint), 64, "it has grown back");
}

#[test]
fn a_circuit_opens_probes_with_growing_pauses_and_closes() {
    let mut scheduler = with_cap(50);
    let id = endpoint(1, 1);
    offer(&mut scheduler, ms(0), 1, 20);
    for slot in starts(&mut scheduler, ms(0)) {
        scheduler.finish(ms(1), slot, attempted(Class::Overload));
    }
    assert_eq!(scheduler.take_circuit_changes(), [(id, Circuit::Open)]);
    assert_eq!(scheduler.endpoint_room(id), 0);
    offer(&mut scheduler, ms(1), 1, 3);
    assert_eq!(run_off(&mut scheduler, ms(1)), (0, 3), "an open circuit parks what comes");
    assert_eq!(scheduler.take_circuit_changes(), []);

    let mut pauses = Vec::new();
    let mut early = Vec::new();
    let mut now = ms(1);
    for _ in 0..8 {
        let opens = scheduler.openings.first().unwrap();
        let pause = opens.since(now).as_secs_f64();
        // The next of the pauses that this one may be, a quarter of which may be missing.
        let whole = [2, 4, 8, 16, 32, 60].into_iter().find(|whole| pause <= f64::from(*whole)).unwrap();
        assert!(pause > 0.75 * f64::from(whole) - 1e-3, "{pause} s of {whole}");
        pauses.push(whole);
        early.push((pause / f64::from(whole) * 1e3) as u32);
        now = opens;
        assert!(scheduler.next(now).is_none());
        assert_eq!(scheduler.endpoint_room(id), 1, "one probe");
        offer(&mut scheduler, now, 1, 2);
        let Some(Step::Start { slot, .. }) = scheduler.next(now) else { panic!("a probe starts") };
        assert_eq!(run_off(&mut scheduler, now), (0, 1), "and nothing beside it");
        assert_eq!(scheduler.take_circuit_changes(), [(id, Circuit::HalfOpen)]);
        scheduler.finish(now, slot, attempted(Class::Overload));
        assert_eq!(scheduler.take_circuit_changes(), [(id, Circuit::Open)]);
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
    early.sort_unstable();
    early.dedup();
    assert!(early.len() > 4, "probes have no common rhythm: {early:?}");

    now = scheduler.openings.first().unwrap();
    offer(&mut scheduler, now, 1, 1);
    let Some(Step::Start { slot, .. }) = scheduler.next(now) else { panic!("a probe starts") };
    scheduler.finish(now, slot, attempted(Class::Answered));
    assert_eq!(scheduler.take_circuit_changes(), [(id, Circuit::Closed)]);
    assert_eq!(scheduler.endpoint_room(id), 2, "it begins anew with one, and one more after each answer");
}

#[test]
fn a_probe_that_was_not_attempted_is_probed_again_at_once() {
    let mut scheduler = with_cap(50);
    offer(&mut scheduler, ms(0), 1, 10);
    for slot in starts(&mut scheduler, ms(0)) {
        scheduler.finish(ms(0), slot, attempted(Class::Overload));
    }
    offer(&mut scheduler, ms(2_000), 1, 1);
    assert_eq!(run_off(&mut scheduler, ms(2_000)), (1, 0));
    assert_eq!(scheduler.endpoint_room(endpoint(1, 1)), 1);
}

#[test]
fn the_line_at_a_quick_endpoint_waits_in_place() {
    let mut scheduler = with_cap(10);
    offer(&mut scheduler, ms(0), 1, 1);
    starts(&mut scheduler, ms(0));
    run_answers(&mut scheduler, ms(10));
    offer(&mut scheduler, ms(10), 1, 500);
    assert_eq!(starts(&mut scheduler, ms(10)).len(), 10);
    assert_eq!(scheduler.waiting(tenant(1)).first, 490);
}

#[test]
fn lanes_take_turns_and_within_a_lane_the_oldest_goes_first() {
    let mut scheduler = with_cap(1);
    let lane = |lane, item| Waiting { lane, ..waiting(1, item as usize % 2, item) };
    for item in 0..4 {
        offer_known(&mut scheduler, ms(0), lane(Lane::First, item));
    }
    for item in 4..6 {
        offer_known(&mut scheduler, ms(0), lane(Lane::Retry, item));
    }
    offer_known(&mut scheduler, ms(0), lane(Lane::Replay, 6));
    let mut order = Vec::new();
    while let Some(Step::Start { slot, waiting }) = scheduler.next(ms(1)) {
        order.push(waiting.item);
        scheduler.finish(ms(1), slot, attempted(Class::Success));
    }
    assert_eq!(order, [0, 4, 6, 1, 5, 2, 3]);
}

#[test]
fn gates_not_used_for_long_are_forgotten_and_their_circuits_close() {
    let mut scheduler = with_cap(50);
    offer(&mut scheduler, ms(0), 1, 10);
    offer(&mut scheduler, ms(0), 2, 1);
    for slot in starts(&mut scheduler, ms(0)) {
        scheduler.finish(ms(1), slot, attempted(Class::Overload));
    }
    assert_eq!(scheduler.take_circuit_changes(), [(endpoint(1, 1), Circuit::Open)]);
    scheduler.forget_idle(ms(299_000));
    assert_eq!(scheduler.snapshot(ms(299_000)).gates, 2);
    scheduler.forget_idle(ms(301_000));
    assert_eq!(scheduler.snapshot(ms(301_000)).gates, 0);
    assert_eq!(scheduler.take_circuit_changes(), [(endpoint(1, 1), Circuit::Closed)]);
    assert_eq!(scheduler.next_wakeup(), None);
    assert_eq!(scheduler.endpoint_room(endpoint(1, 1)), limits::UNKNOWN_GATE_ROOM);
}

#[test]
fn a_removed_tenant_gives_back_what_waited_and_its_slots_later() {
    let mut scheduler = with_cap(2);
    offer(&mut scheduler, ms(0), 1, 5);
    let slots = starts(&mut scheduler, ms(0));
    assert_eq!(scheduler.remove_tenant(tenant(1)).len(), 5 - slots.len());
    assert!(scheduler.offer(ms(0), waiting(1, 1, 0)).is_err());
    assert_eq!(scheduler.in_flight(tenant(1)), slots.len() as u32);
    for slot in slots {
        scheduler.finish(ms(9), slot, attempted(Class::Success));
    }
    assert_eq!((scheduler.in_flight(tenant(1)), scheduler.snapshot(ms(9)).gates), (0, 0));
    assert!(scheduler.tenants.is_empty());
}

#[test]
fn what_is_overdue_is_taken_out_as_parked_and_what_is_not_waits_on() {
    let mut scheduler = with_cap(4);
    scheduler.set_tenant(tenant(2), 1, 4);
    scheduler.set_slots(0);
    for (n, t) in [(1, 1), (2, 2), (3, 1), (4, 1)] {
        offer_known(&mut scheduler, ms(n), waiting(t, 1, n as u32));
    }
    let mut taken: Vec<_> = scheduler.take_overdue(ms(9), |n| *n <= 3).into_iter().map(|w| w.item).collect();
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 3]);
    assert_eq!((scheduler.waiting(tenant(1)).total(), scheduler.waiting(tenant(2)).total()), (1, 0));
    assert!(scheduler.take_overdue(ms(9), |n| *n <= 3).is_empty());
    scheduler.set_slots(10);
    assert_eq!(starts(&mut scheduler, ms(10)).len(), 1, "the one that waited on");
}

#[test]
fn an_endpoint_that_only_answers_500_after_an_outage_gets_more_than_one_at_a_time_again() {
    let mut scheduler = with_cap(16);
    offer(&mut scheduler, ms(0), 1, 10);
    for slot in starts(&mut scheduler, ms(0)) {
        scheduler.finish(ms(1), slot, attempted(Class::Overload));
    }
    let mut now = scheduler.openings.first().unwrap();
    for _ in 0..200 {
        offer(&mut scheduler, now, 1, 1);
        for slot in starts(&mut scheduler, now) {
            scheduler.finish(now, slot, attempted(Class::Answered));
        }
        now = now.after(Duration::from_millis(5));
    }
    assert_eq!(scheduler.endpoint_room(endpoint(1, 1)), 16);
}

#[test]
fn a_lane_that_could_not_be_served_goes_first_when_it_can() {
    let mut lanes = lanes::Lanes::default();
    let quick = |lane: usize| {
        let heads = [0, 1, 2].map(|n| (n == lane).then_some(n as u64));
        (gate::Speed::Quick, heads)
    };
    lanes.relist(endpoint(1, 0), None, Some(quick(0)));
    lanes.relist(endpoint(1, 2), None, Some(quick(2)));
    lanes.relist(endpoint(1, 1), None, Some((gate::Speed::Slow, [None, Some(1), None])));
    let mut turns = |serve| lanes.take_turn(serve).map(|(lane, _)| lane);
    let quick: Vec<_> = (0..4).filter_map(|_| turns(lanes::Serve::Quick)).collect();
    assert_eq!(quick, [0, 2, 0, 2], "neither waits for the one that is not served");
    assert_eq!(turns(lanes::Serve::Any), Some(1));
    assert_eq!(turns(lanes::Serve::Any), Some(0));
}
