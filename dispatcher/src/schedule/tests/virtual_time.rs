//! With one slot, virtual time alone decides.

use super::*;

/// Two tenants that always have something waiting, and one slot.
struct OneSlot {
    scheduler: Scheduler<usize>,
    now: u64,
}

impl OneSlot {
    fn new(weights: [u32; 2]) -> Self {
        let mut scheduler = Scheduler::new(Settings::with_slots(1));
        (0..2).for_each(|n| scheduler.set_tenant(tenant(n), weights[n], 5));
        Self { scheduler, now: 0 }
    }

    /// Serves the next one for so many seconds, by tenant; whose it was.
    fn serve(&mut self, waiters: &[usize], seconds: [u64; 2]) -> usize {
        for n in waiters {
            if self.scheduler.waiting(tenant(*n)).total() == 0 {
                offer_known(&mut self.scheduler, ms(self.now), waiting(*n, 0, *n));
            }
        }
        let Some(Step::Start { slot, waiting }) = self.scheduler.next(ms(self.now)) else {
            panic!("the slot is free")
        };
        self.now += seconds[waiting.item] * 1_000;
        self.scheduler.finish(ms(self.now), slot, attempted(Class::Success));
        waiting.item
    }

    fn starts_of_first(&mut self, turns: usize, seconds: [u64; 2]) -> usize {
        (0..turns).filter(|_| self.serve(&[0, 1], seconds) == 0).count()
    }
}

#[test]
fn time_is_shared_not_turns() {
    let first = OneSlot::new([1, 1]).starts_of_first(1_000, [1, 9]);
    assert!((895..=905).contains(&first), "{first} of 1,000 turns at a ninth of the time each");
    let first = OneSlot::new([3, 1]).starts_of_first(1_000, [1, 1]);
    assert!((745..=755).contains(&first), "{first} of 1,000 turns with three times the weight");
}

#[test]
fn idleness_saves_nothing() {
    let mut one = OneSlot::new([1, 1]);
    (0..500).for_each(|_| assert_eq!(one.serve(&[1], [1, 1]), 1));
    let first = one.starts_of_first(40, [1, 1]);
    assert!((19..=21).contains(&first), "{first} of 40 turns after a long sleep");
}

#[test]
fn idleness_erases_nothing() {
    let mut one = OneSlot::new([1, 1]);
    assert_eq!(one.serve(&[0, 1], [30, 30]), 0);
    // The first one owes 30 s to the second, which uses only ten of them before the first one comes back.
    assert_eq!((0..10).filter(|_| one.serve(&[1], [1, 1]) == 1).count(), 10);
    assert_eq!((0..15).filter(|_| one.serve(&[0, 1], [1, 1]) == 0).count(), 0);
}

#[test]
fn who_wakes_does_not_wait_for_what_another_was_charged_too_much() {
    let mut scheduler = Scheduler::new(Settings { reserve: 0.0, ..Settings::with_slots(10) });
    (0..2).for_each(|n| scheduler.set_tenant(tenant(n), 1, 20));
    let offer = |scheduler: &mut Scheduler<usize>, n: usize, how_many: usize, at| {
        (0..how_many).for_each(|_| offer_known(scheduler, ms(at), waiting(n, 0, n)));
    };
    let start = |scheduler: &mut Scheduler<usize>, at| {
        let Some(Step::Start { slot, waiting }) = scheduler.next(ms(at)) else { panic!("a slot is free") };
        (slot, waiting.item)
    };
    offer(&mut scheduler, 0, 1, 0);
    let (slot, _) = start(&mut scheduler, 0);
    scheduler.finish(ms(60_000), slot, attempted(Class::Success));
    // Its receiver took a minute until now, for which each start is charged, and answers at once from now on.
    offer(&mut scheduler, 0, 14, 60_000);
    let slots: Vec<_> = (0..10).map(|_| start(&mut scheduler, 60_000).0).collect();
    slots.into_iter().for_each(|slot| scheduler.finish(ms(60_010), slot, attempted(Class::Success)));
    offer(&mut scheduler, 1, 5, 60_010);
    let whose = [(); 2].map(|()| start(&mut scheduler, 60_010).1);
    assert!(whose.contains(&1), "the second starts behind nothing but a tie: {whose:?}");
}

#[test]
fn idleness_saves_nothing_while_one_with_less_may_start_nothing() {
    let mut scheduler = Scheduler::new(Settings { reserve: 0.0, ..Settings::with_slots(9) });
    [8, 8, 8, 1].into_iter().enumerate().for_each(|(n, cap)| scheduler.set_tenant(tenant(n), 1, cap));
    let offer = |scheduler: &mut Scheduler<usize>, now, n, e| offer_known(scheduler, now, waiting(n, e, n));
    let next = |scheduler: &mut Scheduler<usize>, now| match next_loaded(scheduler, now) {
        Some(Step::Start { slot, waiting }) => (slot, waiting.item),
        other => panic!("a slot is free: {other:?}"),
    };
    // The first holds more than twice its share at endpoints that hang, and has one more: nothing of it starts.
    offer(&mut scheduler, ms(0), 3, 0);
    assert_eq!(next(&mut scheduler, ms(0)).1, 3);
    (0..8).for_each(|e| offer(&mut scheduler, ms(0), 0, e));
    (0..7).for_each(|_| assert_eq!(next(&mut scheduler, ms(0)).1, 0));
    let mut now = ms(0);
    offer(&mut scheduler, now, 1, 0);
    for _ in 0..100 {
        offer(&mut scheduler, now, 1, 0);
        let (slot, whose) = next(&mut scheduler, now);
        assert_eq!(whose, 1);
        now = now.after(Duration::from_secs(10));
        scheduler.finish(now, slot, attempted(Class::Success));
    }
    let used = |n| scheduler.tenants[&tenant(n)].virtual_time.as_micros() / 1_000_000;
    assert!(used(0) < 2 && used(1) >= 1_000, "what hangs is charged when it ends");
    offer(&mut scheduler, now, 2, 0);
    let woken = scheduler.tenants[&tenant(2)].virtual_time.as_micros() / 1_000_000;
    assert!(woken > 900, "{woken} s: it wakes beside who has used a slot all the time");
}

#[test]
fn a_debt_from_when_few_were_there_is_no_more_than_one_longest_attempt_of_the_share_now() {
    let mut scheduler = Scheduler::new(Settings { reserve: 0.0, ..Settings::with_slots(100) });
    (0..100).for_each(|n| scheduler.set_tenant(tenant(n), 1, 50));
    (0..50).for_each(|e| offer_known(&mut scheduler, ms(0), waiting(0, e, 0)));
    let slots: Vec<_> = std::iter::from_fn(|| scheduler.next(ms(0))).collect();
    assert_eq!(slots.len(), 50);
    for step in slots {
        let Step::Start { slot, .. } = step else { panic!("nothing is to be parked") };
        scheduler.finish(ms(60_000), slot, attempted(Class::Overload));
    }
    let debt =
        |scheduler: &Scheduler<usize>| scheduler.tenants[&tenant(0)].virtual_time.as_micros() / 1_000_000;
    assert!(debt(&scheduler) >= 50 * 60, "while it was alone");
    (1..100).for_each(|n| offer_known(&mut scheduler, ms(60_000), waiting(n, 0, 0)));
    offer_known(&mut scheduler, ms(60_000), waiting(0, 60, 0));
    let others = scheduler.tenants[&tenant(1)].virtual_time.as_micros() / 1_000_000;
    assert!((others + 59..=others + 61).contains(&debt(&scheduler)), "{} for {others} s", debt(&scheduler));
}

#[test]
fn what_the_store_needed_to_load_a_delivery_is_charged_to_nobody() {
    let mut scheduler = Scheduler::new(Settings::with_slots(100));
    scheduler.set_tenant(tenant(1), 1, 50);
    offer_known(&mut scheduler, ms(0), waiting(1, 0, 0));
    let Some(Step::Start { slot, .. }) = scheduler.next(ms(0)) else { panic!("a slot is free") };
    assert!(scheduler.may_go_on(ms(30_000), &slot), "the store was away");
    scheduler.finish(ms(30_060), slot, attempted(Class::Success));
    let known = &scheduler.tenants[&tenant(1)];
    let estimate = known.endpoints[&endpoint(1, 0)].gate.estimate(ms(30_060), Duration::ZERO);
    assert_eq!(estimate, 60_000, "its receiver is quick");
    assert!(known.virtual_time < Virtual::of(100_000, 1), "{:?}", known.virtual_time);
}

#[test]
fn what_the_store_never_loaded_is_charged_to_nobody_and_no_endpoint_looks_slow_meanwhile() {
    let mut scheduler = Scheduler::new(Settings::with_slots(100));
    scheduler.set_tenant(tenant(1), 1, 50);
    offer_known(&mut scheduler, ms(0), waiting(1, 0, 0));
    let Some(Step::Start { slot, .. }) = scheduler.next(ms(0)) else { panic!("a slot is free") };
    (0..5).for_each(|_| offer_known(&mut scheduler, ms(10), waiting(1, 0, 0)));
    assert!(matches!(scheduler.next(ms(130_000)), Some(Step::Start { .. })), "nothing is parked for it");
    scheduler.finish(ms(130_000), slot, SlotEnd::NotAttempted);
    let used = scheduler.tenants[&tenant(1)].virtual_time;
    assert!(used < Virtual::of(200_000, 1), "it was overdue, and in flight is the estimate: {used:?}");
    scheduler.set_slots_beside_slow(ms(131_000), 12);
    assert_eq!(scheduler.snapshot(ms(131_000)).slots, 12, "what waits for the store is no slow receiver's");
}

#[test]
fn a_debt_is_no_more_than_one_longest_attempt() {
    let mut one = OneSlot::new([1, 1]);
    assert_eq!(one.serve(&[0, 1], [100_000, 10]), 0);
    let turns = (0..1_000).take_while(|_| one.serve(&[0, 1], [10, 10]) == 1).count();
    assert!((5..=8).contains(&turns), "{turns} turns of 10 s for a debt of 60 s at most");
}
