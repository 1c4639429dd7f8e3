//! What has to be parked: when it is, and what it does not keep from starting.

use super::gates::{offer, run_off, starts, with_cap};
use super::*;

#[test]
fn what_finds_no_room_at_a_slow_endpoint_is_parked_and_comes_back_before_what_is_new() {
    let mut scheduler = with_cap(8);
    let id = endpoint(1, 1);
    offer(&mut scheduler, ms(0), 1, 8);
    let slots = starts(&mut scheduler, ms(0));
    assert_eq!(slots.len(), 7);
    assert!(scheduler.next_wakeup().is_some(), "it has to be looked at when the endpoint turns out slow");
    assert_eq!(run_off(&mut scheduler, ms(1_000)), (0, 1));
    let mut slots = slots.into_iter();
    scheduler.finish(ms(5_000), slots.next().unwrap(), attempted(Class::Success));
    assert_eq!(scheduler.endpoint_room(id), 1);
    offer(&mut scheduler, ms(5_000), 1, 1);
    assert_eq!(run_off(&mut scheduler, ms(5_000)), (0, 1), "the room is for the one that is parked");
    let released = Waiting { released: true, ..waiting(1, 1, 77) };
    assert!(scheduler.offer(ms(5_000), released).is_ok());
    offer(&mut scheduler, ms(5_000), 1, 1);
    let Some(Step::Start { waiting, .. }) = scheduler.next(ms(5_000)) else { panic!("there is room") };
    assert_eq!(waiting.item, 77);
    assert_eq!(run_off(&mut scheduler, ms(5_000)), (0, 1), "the new one is parked");
}

#[test]
fn what_is_new_does_not_wait_before_what_is_parked() {
    let mut scheduler = with_cap(50);
    offer(&mut scheduler, ms(0), 1, 10);
    for slot in starts(&mut scheduler, ms(0)) {
        scheduler.finish(ms(1), slot, attempted(Class::Overload));
    }
    offer(&mut scheduler, ms(1), 1, 2);
    assert_eq!(run_off(&mut scheduler, ms(1)), (0, 2), "the circuit is open");
    let now = scheduler.openings.first().unwrap();
    offer(&mut scheduler, now, 1, 1);
    for slot in starts(&mut scheduler, now) {
        scheduler.finish(now, slot, attempted(Class::Success));
    }
    // It is closed again, quick, and takes two at once, which it has; so there are places in the line.
    offer(&mut scheduler, now, 1, 2);
    assert_eq!(starts(&mut scheduler, now).len(), 2);
    offer(&mut scheduler, now, 1, 1);
    assert_eq!(scheduler.waiting(tenant(1)).parking, 1, "two are parked, it goes behind them");
    for _ in 0..3 {
        assert!(scheduler.offer(now, Waiting { released: true, ..waiting(1, 1, 0) }).is_ok());
    }
    assert_eq!(scheduler.waiting(tenant(1)).first, 3, "what was released has a place");
    offer(&mut scheduler, now, 1, 1);
    assert_eq!(scheduler.waiting(tenant(1)).first, 4, "nothing is parked any more");
}

#[test]
fn what_has_to_be_parked_is_at_once_though_its_tenant_is_at_its_cap_and_no_slot_is_free() {
    let mut scheduler = with_cap(2);
    scheduler.set_slots(2);
    offer(&mut scheduler, ms(0), 1, 5);
    offer(&mut scheduler, ms(0), 2, 5);
    assert_eq!(starts(&mut scheduler, ms(0)).len(), 2, "at its cap, and no slot is left");
    assert_eq!(run_off(&mut scheduler, ms(2_000)), (0, 8), "nothing has a place at slow endpoints");
}

#[test]
fn what_may_start_waits_for_no_more_than_one_of_what_has_to_be_parked() {
    let mut scheduler = with_cap(50);
    scheduler.set_tenant(tenant(2), 1, 50);
    offer(&mut scheduler, ms(0), 1, 60);
    starts(&mut scheduler, ms(0));
    // These have a second of virtual time less than who is to start beside them.
    offer_known(&mut scheduler, ms(2_000), waiting(2, 1, 0));
    let Some(Step::Park(_)) = next_loaded(&mut scheduler, ms(2_000)) else { panic!("one is to be parked") };
    let Some(Step::Start { waiting, .. }) = next_loaded(&mut scheduler, ms(2_000)) else {
        panic!("it starts")
    };
    assert_eq!(waiting.tenant, tenant(2));
    assert_eq!(run_off(&mut scheduler, ms(2_000)), (0, 15), "and the rest is parked");
}

#[test]
fn parking_takes_no_turn_from_any_lane() {
    let mut scheduler = with_cap(2);
    let lane = |lane, e| Waiting { lane, ..waiting(1, e, 0) };
    // The first endpoint hangs: whatever comes for it has to be parked.
    offer(&mut scheduler, ms(0), 1, 1);
    starts(&mut scheduler, ms(0));
    let mut started = [0; Lane::ALL.len()];
    for turn in 0..30 {
        let now = ms(2_000 + turn);
        offer(&mut scheduler, now, 1, 1);
        Lane::ALL.into_iter().for_each(|each| offer_known(&mut scheduler, now, lane(each, 2)));
        let Some(Step::Park(_)) = scheduler.next(now) else { panic!("one is to be parked") };
        let Some(Step::Start { slot, waiting }) = scheduler.next(now) else { panic!("one starts") };
        started[waiting.lane as usize] += 1;
        scheduler.finish(now, slot, attempted(Class::Success));
    }
    assert_eq!(started, [10; 3]);
}

#[test]
fn what_waits_to_be_parked_is_taken_out_when_it_is_overdue_too() {
    let mut scheduler = with_cap(2);
    offer(&mut scheduler, ms(0), 1, 5);
    offer(&mut scheduler, ms(0), 2, 5);
    assert_eq!(starts(&mut scheduler, ms(0)).len(), 2, "at its cap");
    scheduler.look_at(ms(2_000));
    scheduler.set_tenant(tenant(1), 1, 0);
    assert!(scheduler.next(ms(2_000)).is_none(), "nothing moves with a cap of zero");
    let waiting = scheduler.waiting(tenant(1));
    assert!(waiting.parking > 0, "nothing has a place at a slow endpoint: {waiting:?}");
    assert_eq!(scheduler.take_overdue(ms(2_000), |_| true).len() as u32, waiting.total());
    assert_eq!(scheduler.waiting(tenant(1)).total(), 0);
}

#[test]
fn who_only_waits_to_park_is_held_back_by_the_endpoint_that_has_no_room() {
    let mut scheduler = with_cap(50);
    offer(&mut scheduler, ms(0), 1, 60);
    starts(&mut scheduler, ms(0));
    scheduler.let_park(false);
    assert!(scheduler.next(ms(2_000)).is_none(), "nothing may be parked");
    assert!(scheduler.waiting(tenant(1)).parking > 0);
    assert_eq!(scheduler.snapshot(ms(2_000)).tenants[0].held_back, Some(HeldBack::EndpointsFull));
    scheduler.let_park(true);
    assert_eq!(run_off(&mut scheduler, ms(2_000)), (0, 16));
}
