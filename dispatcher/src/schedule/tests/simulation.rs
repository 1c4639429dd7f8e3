use super::simulator::*;
use super::*;

const MS: Duration = Duration::from_millis(1);

fn behaviour(receiver: Receiver, arrivals: Arrivals) -> Behaviour {
    Behaviour { weight: 1, cap: 50, endpoints: vec![receiver], arrivals }
}

fn random(per_second: f64) -> Arrivals {
    Arrivals::Random { per_second, from: 0.0 }
}

/// Slot time by tenant over the sum of it.
fn time_shares(simulator: &Simulator) -> Vec<f64> {
    let total: u64 = simulator.seen.iter().map(|seen| seen.slot_micros).sum();
    simulator.seen.iter().map(|seen| seen.slot_micros as f64 / total as f64).collect()
}

fn assert_weights(receivers: [Receiver; 3]) {
    let tenants = [1, 2, 4].into_iter().zip(receivers).map(|(weight, receiver)| Behaviour {
        weight,
        cap: 400,
        endpoints: vec![receiver],
        arrivals: Arrivals::Saturating(500),
    });
    let mut simulator = Simulator::new(200, tenants.collect(), 11);
    simulator.run(15, 45);
    let shares = time_shares(&simulator);
    for (share, weight) in shares.iter().zip([1.0, 2.0, 4.0]) {
        let fair = weight / 7.0;
        assert!(
            (share / fair - 1.0).abs() < 0.05,
            "weight {weight}: {share} of the time, not {fair}: {shares:?}"
        );
    }
    let used: u64 = simulator.seen.iter().map(|seen| seen.slot_micros).sum();
    assert!(used as f64 >= 0.89 * 200.0 * 30e6, "slots idle although everybody waits: {used}");
}

#[test]
fn under_saturation_time_is_shared_by_weight_whatever_the_receivers_take() {
    assert_weights([Receiver::Answers(400), Receiver::Answers(400), Receiver::Answers(400)]);
    assert_weights([Receiver::Answers(4_000), Receiver::Answers(200), Receiver::Answers(700)]);
    assert_weights([Receiver::Answers(60), Receiver::Answers(3_000), Receiver::Answers(400)]);
    assert_weights([Receiver::Answers(2_000), Receiver::Answers(2_500), Receiver::Answers(3_000)]);
}

#[test]
fn quick_tenants_however_many_do_not_starve_slow_ones() {
    let saturating = |millis| behaviour(Receiver::Answers(millis), Arrivals::Saturating(20));
    for quick in [60, 120] {
        let tenants = (0..quick).map(|_| saturating(50)).chain((0..5).map(|_| saturating(5_000)));
        let mut simulator = Simulator::new(100, tenants.collect(), 19);
        simulator.run(30, 120);
        for share in &time_shares(&simulator)[quick..] {
            let of_fair = share * (quick + 5) as f64;
            assert!(
                of_fair > 0.7,
                "beside {quick} a slow tenant had {of_fair:.2} of its fair share of the time"
            );
        }
    }
}

/// The bound of `docs/FAIRNESS.md`: two tenants that always have something to start are never further apart, per weight, than what
/// each of them has in flight could change, however long they go on.
#[test]
fn the_time_of_one_never_runs_away_from_anothers() {
    let cases = [
        [(1, 50), (1, 50), (1, 5_000)],
        [(1, 4_000), (2, 200), (4, 700)],
        [(8, 2_000), (1, 60), (3, 2_000)],
        [(5, 900), (5, 1_100), (1, 8_000)],
    ];
    for (case, horizon) in cases.iter().flat_map(|case| [5, 20, 80, 320].map(|horizon| (case, horizon))) {
        let tenants = case.iter().map(|&(weight, millis)| Behaviour {
            weight,
            cap: 400,
            ..behaviour(Receiver::Answers(millis), Arrivals::Saturating(500))
        });
        let mut simulator = Simulator::new(100, tenants.collect(), 31);
        simulator.run(0, horizon);
        let per_weight = |n: usize| {
            let seen = &simulator.seen[n];
            let handled = (seen.delivered.len() + seen.failed + seen.parks) as f64 * 1e3;
            (seen.slot_micros as f64 + handled) / f64::from(case[n].0)
        };
        let slack = |n: usize| {
            let (weight, millis) = case[n];
            let longest = 1.5e3 * millis as f64 + 1e3;
            f64::from(2 * simulator.seen[n].most_in_flight + 1) * longest / f64::from(weight)
        };
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            let (apart, bound) = ((per_weight(a) - per_weight(b)).abs(), slack(a) + slack(b));
            println!(
                "{case:?} after {horizon} s: {a} and {b} are {:.1} s apart of {:.1}",
                apart / 1e6,
                bound / 1e6
            );
            assert!(apart <= bound, "{case:?} after {horizon} s: {a} and {b}");
        }
    }
}

/// Hanging tenants that flood from the third second on, and good ones, which have always been there.
fn good_beside_hanging(hanging: usize) -> (Simulator, usize) {
    let good = 20;
    let mut tenants: Vec<Behaviour> =
        (0..good).map(|_| behaviour(Receiver::Answers(60), random(5.0))).collect();
    let flood = Arrivals::Random { per_second: 0.5, from: 3.0 };
    tenants.extend((0..hanging).map(|_| behaviour(Receiver::Hangs(15_000), flood)));
    let mut simulator = Simulator::new(2_000, tenants, 23);
    simulator.run(1, 28);
    (simulator, good)
}

fn assert_good_wait_nothing(hanging: usize) {
    let (simulator, good) = good_beside_hanging(hanging);
    let seen = &simulator.seen[..good];
    let mut all = Seen::default();
    for seen in seen {
        assert!(seen.arrived - seen.delivered.len() <= 10, "a good tenant's deliveries are delivered");
        all.waits.extend(&seen.waits);
    }
    let (p99, worst) = (all.wait_percentile(0.99), all.wait_percentile(1.0));
    println!("{hanging} hanging: good tenants wait {p99:?} at p99, {worst:?} at most");
    assert!(p99 <= MS, "{hanging} hanging: {p99:?}");
    assert!(worst <= 500 * MS, "{hanging} hanging: {worst:?}");
}

#[test]
fn good_tenants_wait_for_nothing_beside_100_hanging_ones() {
    assert_good_wait_nothing(100);
}

#[test]
fn good_tenants_wait_for_nothing_beside_1000_hanging_ones() {
    assert_good_wait_nothing(1_000);
}

#[test]
fn good_tenants_wait_for_nothing_beside_3000_hanging_ones() {
    assert_good_wait_nothing(3_000);
}

#[test]
fn a_slow_tenant_does_not_slow_another_and_gets_everything_delivered_too() {
    let slow = behaviour(Receiver::AnswersIn(30_000), Arrivals::AtOnce(100));
    let fast = behaviour(Receiver::AnswersIn(100), Arrivals::AtOnce(100));
    let mut simulator = Simulator::new(2_000, vec![slow, fast], 3);
    simulator.run(0, 100);
    let last = |n: usize| simulator.seen[n].delivered.iter().map(|(_, at)| *at).max().unwrap();
    assert_eq!(simulator.seen[1].delivered.len(), 100);
    assert!(last(1) <= 1_000_000, "the fast one's last arrived after {} µs", last(1));
    assert_eq!(simulator.seen[0].delivered.len(), 100);
    assert!(last(0) <= 91_000_000, "the slow one's last arrived after {} µs", last(0));
}

#[test]
fn a_single_healthy_endpoint_uses_all_of_its_tenants_cap() {
    let tenants = (0..10).map(|_| behaviour(Receiver::Answers(50), Arrivals::Saturating(200)));
    let mut simulator = Simulator::new(2_000, tenants.collect(), 5);
    simulator.run(1, 4);
    for seen in &simulator.seen {
        assert_eq!(seen.most_in_flight, 50);
        assert!(seen.slot_micros as f64 >= 0.97 * 50.0 * 3e6, "{} µs of slot time", seen.slot_micros);
        assert_eq!(seen.parks, 0);
    }
}

#[test]
fn a_dead_endpoint_does_not_take_the_others_of_its_tenant() {
    let endpoints = vec![Receiver::DiesAt { answers: 20, second: 5 }, Receiver::AnswersIn(20)];
    let tenants = vec![Behaviour { weight: 1, cap: 50, endpoints, arrivals: random(200.0) }];
    let mut simulator = Simulator::new(2_000, tenants, 7);
    simulator.run(0, 60);
    let seen = &simulator.seen[0];
    for second in 1..60 {
        let within = (second * 1_000_000)..((second + 1) * 1_000_000);
        let delivered = seen.delivered.iter().filter(|(e, at)| *e == 1 && within.contains(at)).count();
        assert!(delivered > 60, "only {delivered} delivered to the living endpoint in second {second}");
    }
    assert!(seen.parks > 1_000, "what the dead one has no room for is parked");
    assert!(seen.failed < 60, "{} attempts at a dead endpoint", seen.failed);
}

#[test]
fn what_was_parked_is_delivered_when_the_receiver_is_back() {
    let arrivals = Arrivals::AtOnce(2_000);
    let endpoints = vec![Receiver::ComesBackAt(40)];
    let tenants = vec![Behaviour { weight: 1, cap: 50, endpoints, arrivals }];
    let mut simulator = Simulator::new(2_000, tenants, 9);
    simulator.run(0, 120);
    let seen = &simulator.seen[0];
    assert_eq!(seen.delivered.len() + seen.failed, 2_000);
    assert!(seen.failed < 60, "{} attempts at a dead endpoint", seen.failed);
    let last = seen.delivered.iter().map(|(_, at)| *at).max().unwrap();
    assert!(last < 110_000_000, "the last arrived after {last} µs");
}

#[test]
fn a_burst_does_not_delay_a_steady_tenant() {
    let burst = Arrivals::Bursts { size: 5_000, every: 7.0 };
    let mut tenants: Vec<Behaviour> =
        (0..3).map(|_| Behaviour { cap: 1_000, ..behaviour(Receiver::Answers(300), burst) }).collect();
    tenants.extend((0..5).map(|_| behaviour(Receiver::Answers(30), random(20.0))));
    let mut simulator = Simulator::new(200, tenants, 13);
    simulator.run(1, 25);
    for seen in &simulator.seen[3..] {
        assert!(seen.wait_percentile(0.99) <= MS, "{:?}", seen.wait_percentile(0.99));
    }
}

#[test]
fn one_seed_gives_one_run() {
    let run = |seed| {
        let mut tenants = vec![
            behaviour(Receiver::Answers(40), random(300.0)),
            behaviour(Receiver::Hangs(15_000), random(30.0)),
            behaviour(Receiver::Answers(2_000), Arrivals::Bursts { size: 200, every: 3.0 }),
        ];
        tenants[0].endpoints.push(Receiver::DiesAt { answers: 10, second: 8 });
        let mut simulator = Simulator::new(60, tenants, seed);
        simulator.run(0, 40);
        (simulator.trace, simulator.seen)
    };
    let first = run(17);
    assert!(first.1.iter().all(|seen| !seen.waits.is_empty()));
    assert_eq!(first, run(17));
    assert_ne!(first.0, run(18).0);
}
