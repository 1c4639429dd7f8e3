use std::collections::BTreeMap;
use std::time::Duration;

use fairhook_common::ids::{DeliveryId, EventId};

use super::*;

fn tenant(n: u128) -> TenantId {
    format!("ten_{n:026}").parse().expect("an id")
}

fn endpoint(n: u128) -> EndpointId {
    format!("ep_{n:026}").parse().expect("an id")
}

fn ms(n: u64) -> Moment {
    Moment::from_micros(n * 1000)
}

fn claimed(n: u128, lane: Lane, to: EndpointId) -> Claimed {
    let delivery = DeliveryId { event: EventId::generate(), ordinal: 0 };
    Claimed { delivery, tenant: tenant(n), endpoint: to, lane, generation: 1 }
}

fn wakeup(plan: &DuePlan) -> Option<Moment> {
    [plan.asks_at(), plan.claims_at()].into_iter().flatten().min()
}

#[derive(Default)]
struct Rooms {
    lanes: BTreeMap<(TenantId, Lane), u32>,
    gates: BTreeMap<EndpointId, u32>,
}

impl Room for Rooms {
    fn in_lane(&self, tenant: TenantId, lane: Lane) -> u32 {
        self.lanes.get(&(tenant, lane)).copied().unwrap_or(0)
    }

    fn at_endpoint(&self, _: TenantId, endpoint: EndpointId) -> u32 {
        self.gates.get(&endpoint).copied().unwrap_or(0)
    }
}

fn asked(plan: &mut DuePlan, now: Moment, due: &[(TenantId, Lane)], parked: &[(TenantId, EndpointId)]) {
    assert!(plan.asking(now), "it is time to ask at {now:?}");
    plan.learned(now, due.iter().copied(), parked.iter().copied(), None);
}

#[test]
fn the_store_is_asked_at_once_then_at_the_poll_or_when_something_becomes_due_or_is_said_to_be() {
    let mut plan = DuePlan::new(ms(5));
    assert_eq!(wakeup(&plan), Some(ms(5)));
    assert!(plan.asking(ms(5)));
    assert!(!plan.asking(ms(6)), "one question at a time");
    plan.learned(ms(6), [], [], Some(ms(60_000)));
    let poll = ms(6).after(limits::DUE_POLL);
    assert_eq!(wakeup(&plan), Some(poll), "what is due in a minute does not keep it from looking");

    plan.due_then(ms(100));
    assert!(!plan.asking(ms(99)));
    assert!(plan.asking(ms(100)));
    plan.poke(ms(101));
    assert!(!plan.asking(ms(101)), "the answer is still under way");
    plan.learned(ms(102), [], [], None);
    assert!(!plan.asking(ms(103)), "not without a pause");
    let paused = ms(102).after(limits::CLAIM_PAUSE);
    assert_eq!(wakeup(&plan), Some(paused));
    assert!(plan.asking(paused), "what was said meanwhile is not forgotten");
}

#[test]
fn what_comes_back_full_is_claimed_again_without_asking_and_what_comes_back_short_is_not() {
    let mut plan = DuePlan::new(ms(0));
    let mut room = Rooms::default();
    room.lanes.insert((tenant(1), Lane::Retry), 2);
    asked(&mut plan, ms(0), &[(tenant(1), Lane::Retry)], &[]);

    let wants = plan.claims(ms(0), &room);
    assert_eq!(wants.len(), 1);
    assert_eq!(wants[0].limit, 2);
    assert!(plan.claims(ms(1), &room).is_empty(), "one claim at a time");
    let one = claimed(1, Lane::Retry, endpoint(1));
    plan.claimed(ms(5), &wants, &[one, one]);

    let again = ms(5).after(limits::CLAIM_PAUSE);
    assert_eq!(wakeup(&plan), Some(again));
    let wants = plan.claims(again, &room);
    assert_eq!(wants.len(), 1, "there may be more");
    plan.claimed(again, &wants, &[one]);
    assert!(plan.claims(again.after(Duration::from_millis(400)), &room).is_empty(), "there is no more");
}

#[test]
fn a_tenant_without_room_is_claimed_for_when_room_is_made() {
    let mut plan = DuePlan::new(ms(0));
    let mut room = Rooms::default();
    asked(&mut plan, ms(0), &[(tenant(1), Lane::First)], &[]);
    assert!(plan.claims(ms(0), &room).is_empty());
    room.lanes.insert((tenant(1), Lane::First), 7);
    plan.room_made(ms(40));
    assert_eq!(wakeup(&plan), Some(ms(40)));
    assert_eq!(plan.claims(ms(40), &room)[0].limit, 7);
}

#[test]
fn parked_deliveries_are_claimed_by_their_endpoints_room() {
    let mut plan = DuePlan::new(ms(0));
    let mut room = Rooms::default();
    asked(&mut plan, ms(0), &[], &[]);
    plan.parked(ms(1), tenant(1), endpoint(9));
    room.gates.insert(endpoint(9), 3);
    let at = wakeup(&plan).expect("it will look");
    let wants = plan.claims(at, &room);
    assert!(
        matches!(wants[..], [Claim { from: ClaimFrom::Parked { endpoint: e, .. }, limit: 3, .. }] if e == endpoint(9))
    );
    // A claim that found fewer than the gate takes has found all of them, whatever lanes they come from.
    plan.claimed(at, &wants, &[claimed(1, Lane::First, endpoint(9)), claimed(1, Lane::Retry, endpoint(9))]);
    assert!(plan.claims(at.after(Duration::from_millis(300)), &room).is_empty());
}

/// What a store gives to a claim of `limit`, of so many parked in each lane.
fn taken(parked: &mut ByLane, lanes: [Lane; 3], limit: u32) -> ByLane {
    let (mut left, mut taken) = (limit, ByLane::default());
    for lane in lanes {
        let some = parked[lane as usize].min(left);
        (parked[lane as usize], taken[lane as usize], left) =
            (parked[lane as usize] - some, some, left - some);
    }
    taken
}

#[test]
fn the_lanes_of_what_is_parked_have_equal_parts_whatever_room_each_claim_finds() {
    let mut plan = DuePlan::new(ms(0));
    let mut room = Rooms::default();
    asked(&mut plan, ms(0), &[], &[(tenant(1), endpoint(9))]);
    let mut parked = [5_000, 0, 5_000];
    let mut claim = |limit, parked: &mut ByLane| {
        room.gates.insert(endpoint(9), limit);
        let now = plan.claims_at().expect("there is more");
        let wants = plan.claims(now, &room);
        let [Claim { from: ClaimFrom::Parked { lanes, .. }, .. }] = wants[..] else { panic!("{wants:?}") };
        let had = taken(parked, lanes, limit);
        let of = |lane: Lane| std::iter::repeat_n(claimed(1, lane, endpoint(9)), had[lane as usize] as usize);
        plan.claimed(now, &wants, &Lane::ALL.into_iter().flat_map(of).collect::<Vec<_>>());
        had
    };
    // Claims of the same sizes again and again, as waves of attempts that end together make them.
    for limit in [5, 90, 5].into_iter().cycle().take(60) {
        claim(limit, &mut parked);
        assert!(parked[0].abs_diff(parked[2]) <= 95, "{parked:?} of 5,000 are left");
    }
    // A lane that had nothing gets its part as soon as it has something, and nothing for the time before.
    parked[1] = 1_000;
    let waited = (1..).find(|_| claim(1, &mut parked)[1] > 0).expect("its turn comes");
    assert!(waited <= 3, "{waited} claims");
    while parked[0] != parked[2] {
        claim(1, &mut parked);
    }
    let before = parked;
    for _ in 0..60 {
        claim(5, &mut parked);
    }
    for lane in 0..3 {
        assert!((90..=110).contains(&(before[lane] - parked[lane])), "{before:?}, {parked:?}");
    }
}

#[test]
fn what_is_told_while_a_claim_is_under_way_is_claimed_next_though_that_one_comes_back_short() {
    let mut plan = DuePlan::new(ms(0));
    let mut room = Rooms::default();
    room.gates.insert(endpoint(9), 3);
    asked(&mut plan, ms(0), &[], &[(tenant(1), endpoint(9))]);
    let wants = plan.claims(ms(0), &room);
    // Parked after the claim has looked, and told before the claim is answered.
    plan.parked(ms(3), tenant(1), endpoint(9));
    assert!(plan.claimed(ms(4), &wants, &[]).is_empty(), "it still has something parked");
    let again = ms(4).after(limits::CLAIM_PAUSE);
    let wants = plan.claims(again, &room);
    assert_eq!(wants.len(), 1);
    assert_eq!(plan.claimed(again, &wants, &[]), [endpoint(9)], "not for ever");

    room.lanes.insert((tenant(1), Lane::Retry), 2);
    let now = plan.asks_at().expect("it looks again and again");
    asked(&mut plan, now, &[(tenant(1), Lane::Retry)], &[]);
    let wants = plan.claims(now, &room);
    let later = plan.asks_at().expect("it looks again and again");
    asked(&mut plan, later, &[(tenant(1), Lane::Retry)], &[]);
    plan.claimed(later, &wants, &[]);
    assert_eq!(plan.claims(later.after(limits::CLAIM_PAUSE), &room).len(), 1);
}

#[test]
fn tenants_have_their_turn_when_not_all_of_them_fit_in_one_claim() {
    let mut plan = DuePlan::new(ms(0));
    let mut room = Rooms::default();
    let tenants: Vec<_> = (1..=5).map(|n| (tenant(n), Lane::First)).collect();
    for key in &tenants {
        room.lanes.insert(*key, limits::CLAIM_BATCH / 2);
    }
    asked(&mut plan, ms(0), &tenants, &[]);
    let mut now = ms(0);
    let mut served = Vec::new();
    for _ in 0..5 {
        let wants = plan.claims(now, &room);
        assert!(wants.iter().map(|want| want.limit).sum::<u32>() <= limits::CLAIM_BATCH);
        served.extend(wants.iter().map(|want| want.tenant));
        // All come back full.
        let got: Vec<_> = wants
            .iter()
            .flat_map(|want| {
                let n = (1..=5).find(|n| tenant(*n) == want.tenant).expect("one of them");
                (0..want.limit).map(move |_| claimed(n, Lane::First, endpoint(1)))
            })
            .collect();
        plan.claimed(now, &wants, &got);
        now = wakeup(&plan).expect("there is more");
    }
    let turns = |n| served.iter().filter(|t| **t == tenant(n)).count();
    assert_eq!((1..=5).map(turns).collect::<Vec<_>>(), [2; 5]);
}

#[test]
fn a_failed_claim_is_wanted_again_after_a_wait_and_a_forgotten_tenant_is_not() {
    let mut plan = DuePlan::new(ms(0));
    let mut room = Rooms::default();
    room.lanes.insert((tenant(1), Lane::First), 1);
    room.gates.insert(endpoint(1), 1);
    asked(&mut plan, ms(0), &[(tenant(1), Lane::First)], &[(tenant(1), endpoint(1))]);
    assert_eq!(plan.claims(ms(0), &room).len(), 1);
    plan.not_claimed(ms(3));
    assert!(plan.claims(ms(13), &room).is_empty());
    let again = ms(3).after(limits::STORE_RETRY_MAX);
    assert_eq!(plan.claims(again, &room).len(), 1);
    plan.not_claimed(again);
    plan.forget(tenant(1));
    assert!(plan.claims(again.after(limits::STORE_RETRY_MAX), &room).is_empty());
}

#[test]
fn a_claim_looks_at_so_many_endpoints_and_the_next_one_goes_on_behind_them() {
    let mut plan = DuePlan::new(ms(0));
    let mut room = Rooms::default();
    let ends = 2 * limits::CLAIM_LOOK as u128 + 10;
    let parked: Vec<_> = (1..=ends).map(|n| (tenant(1), endpoint(n))).collect();
    asked(&mut plan, ms(0), &[], &parked);
    room.gates.insert(endpoint(ends), 1);
    let (mut now, mut empty) = (ms(0), 0);
    loop {
        let wants = plan.claims(now, &room);
        if !wants.is_empty() {
            assert!(
                matches!(wants[..], [Claim { from: ClaimFrom::Parked { endpoint: e, .. }, .. }] if e == endpoint(ends))
            );
            break;
        }
        empty += 1;
        assert!(empty < 10, "it comes to the last one");
        now = plan.claims_at().expect("it goes on");
    }
    assert_eq!(empty, 2, "not all at once");
    assert!(now < ms(100), "without a long wait");
}

#[test]
fn a_look_that_took_long_is_followed_by_a_rest() {
    let mut plan = DuePlan::new(ms(0));
    assert!(plan.asking(ms(0)));
    plan.learned(ms(50), [], [], None);
    plan.poke(ms(51));
    assert_eq!(plan.asks_at(), Some(ms(50 + 50 * u64::from(limits::DUE_LOOK_REST))));
    let poll = ms(50 + 200);
    assert!(plan.asking(poll));
    plan.learned(poll.after(Duration::from_secs(5)), [], [], None);
    plan.poke(poll.after(Duration::from_secs(5)));
    let rested = poll.after(Duration::from_secs(5) + limits::DUE_POLL);
    assert_eq!(plan.asks_at(), Some(rested), "never longer than the poll");
}
