//! A cap that is lowered to what its tenant holds, or below.

use super::*;

/// A tenant of cap 50 whose first endpoint was quick, takes what it may and answers nothing; returns its slots.
fn hanging() -> (Scheduler<u32>, Vec<SlotId>) {
    let mut scheduler = Scheduler::new(Settings::with_slots(1_000));
    scheduler.set_tenant(tenant(1), 1, 50);
    (1..=2).for_each(|e| offer(&mut scheduler, ms(0), e, 1));
    let known: Vec<_> = starts(&mut scheduler, ms(0)).map(|(slot, _)| slot).collect();
    known.into_iter().for_each(|slot| scheduler.finish(ms(1), slot, attempted(Class::Success)));
    offer(&mut scheduler, ms(2), 1, 100);
    let held: Vec<_> = starts(&mut scheduler, ms(2)).map(|(slot, _)| slot).collect();
    assert!((40..50).contains(&held.len()), "{}", held.len());
    (scheduler, held)
}

fn offer(scheduler: &mut Scheduler<u32>, now: Moment, e: usize, how_many: usize) {
    (0..how_many).for_each(|_| offer_known(scheduler, now, waiting(1, e, e as u32)));
}

/// What starts now, with its endpoint; what is to be parked is.
fn starts(scheduler: &mut Scheduler<u32>, now: Moment) -> impl Iterator<Item = (SlotId, u32)> {
    std::iter::from_fn(move || {
        loop {
            if let Step::Start { slot, waiting } = next_loaded(scheduler, now)? {
                return Some((slot, waiting.item));
            }
        }
    })
}

#[test]
fn endpoints_that_answer_go_on_while_one_that_hangs_holds_more_than_the_new_cap() {
    for cap in [1, 8, 25, 43] {
        let (mut scheduler, held) = hanging();
        scheduler.set_tenant(tenant(1), 1, cap);
        let hold = held.len() as u32;
        let (mut now, mut delivered) = (ms(3), 0);
        for _ in 0..100 {
            offer(&mut scheduler, now, 1, 1);
            offer(&mut scheduler, now, 2, 5);
            let begun: Vec<_> = starts(&mut scheduler, now).collect();
            assert!(scheduler.in_flight(tenant(1)) <= (hold + (cap / 8).max(1)).min(50), "cap {cap}");
            now = now.after(Duration::from_millis(5));
            for (slot, e) in begun {
                assert_eq!(e, 2, "cap {cap}: nothing of it is for the one that hangs");
                delivered += 1;
                scheduler.finish(now, slot, attempted(Class::Success));
            }
        }
        assert!(delivered >= 100, "cap {cap}: {delivered} in 100 rounds");

        // They time out: the new cap is in force.
        held.into_iter().for_each(|slot| scheduler.finish(now, slot, attempted(Class::Overload)));
        offer(&mut scheduler, now, 2, 100);
        starts(&mut scheduler, now).for_each(drop);
        assert!(scheduler.in_flight(tenant(1)) <= cap, "cap {cap}");
    }
}

#[test]
fn a_tenant_of_many_slow_endpoints_comes_below_its_new_cap() {
    let (mut scheduler, held) = hanging();
    scheduler.set_tenant(tenant(1), 1, 8);
    let mut begun = Vec::new();
    for (n, slot) in held.into_iter().enumerate() {
        offer(&mut scheduler, ms(10), 2 + n, 3);
        begun.extend(starts(&mut scheduler, ms(10)));
        scheduler.finish(ms(10), slot, attempted(Class::Overload));
    }
    begun.extend(starts(&mut scheduler, ms(10)));
    assert_eq!((begun.len(), scheduler.in_flight(tenant(1))), (8, 8));
}

#[test]
fn with_a_cap_of_zero_nothing_starts_whatever_it_was_and_then_it_is_forgotten() {
    let (mut scheduler, held) = hanging();
    scheduler.set_tenant(tenant(1), 1, 0);
    offer(&mut scheduler, ms(3), 2, 5);
    assert!(scheduler.next(ms(3)).is_none());
    scheduler.set_tenant(tenant(1), 1, 10);
    assert!(scheduler.next(ms(3)).is_none(), "others may have been given what it was");
    scheduler.set_tenant(tenant(1), 1, 100);
    let more = starts(&mut scheduler, ms(3)).count();
    assert!(more > 1, "{more} beside {}", held.len());
}
