//! The plots of `docs/FAIRNESS.md`, drawn from the simulation.

use super::simulator::*;
use super::svg::*;
use super::*;

/// Where they are.
const PLOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fairness");
/// What each of them is simulated with.
const SEED: u64 = 41;
/// From one sample of the simulator's to the next.
const SAMPLE: f64 = 0.5;

/// What is shared, and how.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// Starts: each tenant's turn comes as often as another's.
    Turns,
    /// Slot time, and any slot may be anybody's.
    Time,
    /// Slot time, with fair shares and a reserve.
    Ours,
}

impl Rule {
    /// Beside a cost of eleven days for each start nobody sees how long it took.
    fn settings(self, slots: usize) -> Settings {
        let ours = Settings::with_slots(slots);
        let days = Duration::from_secs(1_000_000);
        match self {
            Self::Turns => {
                let longest_attempt = 1_000 * days;
                Settings { reserve: 0.0, shares_first: false, handling_cost: days, longest_attempt, ..ours }
            }
            Self::Time => Settings { reserve: 0.0, shares_first: false, ..ours },
            Self::Ours => ours,
        }
    }
}

fn behaviour(cap: u32, endpoints: Vec<Receiver>, arrivals: Arrivals) -> Behaviour {
    Behaviour { weight: 1, cap, endpoints, arrivals }
}

/// How many slots each of four tenants holds: three that always have something for receivers that take 0.1 s, and from the
/// tenth second on one whose receivers take 10 s.
fn occupancy(rule: Rule) -> Vec<Vec<u32>> {
    let mut tenants: Vec<_> =
        (0..3).map(|_| behaviour(200, vec![Receiver::Answers(100)], Arrivals::Saturating(200))).collect();
    let arrivals = Arrivals::Random { per_second: 40.0, from: 10.0 };
    tenants.push(behaviour(200, vec![Receiver::AnswersIn(10_000); 4], arrivals));
    let mut simulator = Simulator::with_settings(rule.settings(200), tenants, SEED);
    simulator.run(0, 60);
    std::mem::take(&mut simulator.occupancy)
}

fn held(title: &'static str, rule: Rule) -> Panel {
    let samples = occupancy(rule);
    let area = |n: usize, colour| {
        let edges = samples.iter().enumerate().map(|(at, slots)| {
            let below: u32 = slots[..n].iter().sum();
            ((at + 1) as f64 * SAMPLE, f64::from(below), f64::from(below + slots[n]))
        });
        Mark::Area(colour, edges.collect())
    };
    let colours = [BLUE, SKY, GREEN, RED];
    Panel {
        title,
        x: Axis::even("seconds", 60.0, 10.0),
        y: Axis::even("slots", 200.0, 50.0),
        marks: colours.into_iter().enumerate().map(|(n, colour)| area(n, colour)).collect(),
    }
}

fn slot_time() -> Plot {
    Plot {
        title: "Who holds 200 slots when one receiver begins to take a hundred times as long",
        panels: vec![held("turns are shared", Rule::Turns), held("slot time is shared", Rule::Ours)],
        legend: vec![
            (BLUE, "about 0.1 s an answer"),
            (SKY, "about 0.1 s an answer"),
            (GREEN, "about 0.1 s an answer"),
            (RED, "10 s an answer"),
        ],
    }
}

/// What 20 good tenants wait for a slot at p99, in milliseconds, beside so many that hang.
fn wait(rule: Rule, hanging: usize) -> f64 {
    let arrivals = Arrivals::Random { per_second: 5.0, from: 0.0 };
    let mut tenants: Vec<_> = (0..20).map(|_| behaviour(50, vec![Receiver::Answers(60)], arrivals)).collect();
    let flood = Arrivals::Random { per_second: 0.5, from: 3.0 };
    tenants.extend((0..hanging).map(|_| behaviour(50, vec![Receiver::Hangs(15_000)], flood)));
    let mut simulator = Simulator::with_settings(rule.settings(2_000), tenants, SEED);
    simulator.run(1, 28);
    simulator.waits_or_ages(0..20).wait_percentile(0.99).as_secs_f64() * 1_000.0
}

const HANGING: [usize; 5] = [0, 100, 300, 1_000, 3_000];
const FLOOR_MS: f64 = 0.1;

fn waiting() -> Plot {
    let at = |hanging: usize| (hanging as f64 / 10.0 + 1.0).log10();
    let curve = |rule, colour| {
        let points = HANGING.iter().map(|hanging| (at(*hanging), wait(rule, *hanging).max(FLOOR_MS).log10()));
        Mark::Line(colour, points.collect())
    };
    let ticks = |values: &[(f64, &str)]| values.iter().map(|(at, text)| (*at, (*text).to_owned())).collect();
    let panel = Panel {
        title: "2,000 slots; attempts that hang end after 15 s",
        x: Axis {
            label: "hanging tenants with an event every two seconds each",
            ticks: HANGING.iter().map(|hanging| (at(*hanging), hanging.to_string())).collect(),
            from: 0.0,
            to: at(3_000),
        },
        y: Axis {
            label: "p99 of the wait for a slot",
            ticks: ticks(&[
                (-1.0, "0"),
                (0.0, "1 ms"),
                (1.0, "10 ms"),
                (2.0, "0.1 s"),
                (3.0, "1 s"),
                (4.0, "10 s"),
            ]),
            from: -1.0,
            to: 4.5,
        },
        marks: vec![curve(Rule::Turns, RED), curve(Rule::Time, SKY), curve(Rule::Ours, BLUE)],
    };
    Plot {
        title: "What a good tenant waits for a slot beside hanging ones",
        panels: vec![panel],
        legend: vec![(RED, "turns"), (SKY, "slot time alone"), (BLUE, "slot time, shares, a reserve")],
    }
}

/// The part of the slot time that each of three tenants of the weights 1, 2 and 4 had until then; their receivers take 4, 0.2 and
/// 0.7 s.
fn weighted() -> Vec<[f64; 3]> {
    let receivers = [Receiver::Answers(4_000), Receiver::Answers(200), Receiver::Answers(700)];
    let tenants = [1, 2, 4].into_iter().zip(receivers).map(|(weight, receiver)| Behaviour {
        weight,
        ..behaviour(400, vec![receiver], Arrivals::Saturating(500))
    });
    let mut simulator = Simulator::new(200, tenants.collect(), SEED);
    simulator.run(0, 120);
    let mut used = [0.0; 3];
    let parts = simulator.occupancy.iter().map(|slots| {
        used.iter_mut().zip(slots).for_each(|(used, slots)| *used += f64::from(*slots));
        let all: f64 = used.iter().sum();
        used.map(|used| 100.0 * used / all.max(1.0))
    });
    parts.collect()
}

fn weights() -> Plot {
    let parts = weighted();
    let curve = |n: usize, colour| {
        Mark::Line(
            colour,
            parts.iter().enumerate().map(|(at, parts)| ((at + 1) as f64 * SAMPLE, parts[n])).collect(),
        )
    };
    let fair = [1.0, 2.0, 4.0].map(|weight| Mark::Level(100.0 * weight / 7.0));
    let curves = [curve(0, RED), curve(1, SKY), curve(2, BLUE)];
    let panel = Panel {
        title: "200 slots, always enough to deliver; dashed: 1/7, 2/7, 4/7",
        x: Axis::even("seconds since the start", 120.0, 20.0),
        y: Axis::even("% of the slot time so far", 80.0, 20.0),
        marks: fair.into_iter().chain(curves).collect(),
    };
    Plot {
        title: "Weights 1, 2 and 4",
        panels: vec![panel],
        legend: vec![(RED, "weight 1, 4 s an answer"), (SKY, "weight 2, 0.2 s"), (BLUE, "weight 4, 0.7 s")],
    }
}

#[test]
#[allow(clippy::disallowed_methods)]
fn those_in_docs_are_what_the_simulation_gives() {
    let renews = std::env::var_os("RENEW").is_some();
    let plots = [("slot-time", slot_time()), ("waiting", waiting()), ("weights", weights())];
    for (name, plot) in plots {
        let (file, wanted) = (format!("{PLOTS}/{name}.svg"), plot.svg());
        if renews {
            std::fs::create_dir_all(PLOTS).expect("made");
            std::fs::write(&file, &wanted).expect("written");
        }
        let is = std::fs::read_to_string(&file).unwrap_or_default();
        let renew = "RENEW=1 cargo test -p fairhook-dispatcher --lib plots";
        assert!(is == wanted, "docs/fairness/{name}.svg is stale; this renews it: {renew}");
    }
}

/// What the plots are there to show.
#[test]
fn turns_let_the_slow_have_it_all_and_time_does_not() {
    let of_the_slow = |rule| {
        let samples = occupancy(rule);
        let last = &samples[samples.len() / 2..];
        last.iter().map(|slots| slots[3]).sum::<u32>() as usize / last.len()
    };
    let (turns, time) = (of_the_slow(Rule::Turns), of_the_slow(Rule::Ours));
    assert!(turns >= 160, "with equal turns the slow tenant holds {turns} of 200 slots");
    assert!(time <= 60, "with equal time the slow tenant holds {time} of 200 slots");
    let beside = |rule| wait(rule, 1_000);
    assert!(beside(Rule::Turns) > 100.0, "{} ms", beside(Rule::Turns));
    assert!(beside(Rule::Ours) < 1.0, "{} ms", beside(Rule::Ours));
}
