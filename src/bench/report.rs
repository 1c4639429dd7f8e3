//! What was measured, as a table or as JSON.

use std::time::Duration;

use serde::Serialize;

use super::args::Settings;
use super::parts::Part;
use super::subject::Usage;
use crate::workload::{Latencies, Tally};

/// A whole measurement.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The load in words.
    pub load: String,
    /// One per round.
    pub runs: Vec<Run>,
    /// One per round with `--baseline`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub relays: Vec<Run>,
    /// One list per round with `--parts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Vec<Part>>,
    /// The engine beside everything else.
    pub ratios: Vec<Ratio>,
}

/// One load, measured.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Posts.
    pub sent: u64,
    /// Posts that were answered with 202.
    pub accepted: u64,
    /// Accepted events that never arrived.
    pub lost: u64,
    /// Arrivals beyond the first.
    pub duplicated: u64,
    /// Over the time until the last answer.
    pub accepted_per_s: f64,
    /// Over the time until the last arrival.
    pub delivered_per_s: f64,
    /// From the intended time of the post to the 202.
    pub accept: Latencies,
    /// From the intended time of the post to the arrival.
    pub post_to_arrival: Latencies,
    /// Processor time of the measured processes per event, in microseconds.
    pub cpu_us_per_event: f64,
    /// Their resident memory at the end.
    pub rss_mib: f64,
    /// Each of them.
    pub processes: Vec<Use>,
    /// The servers that are watched; they are in no sum.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Use>,
}

/// What one process used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Use {
    /// Its name.
    pub name: String,
    /// Processor time per event, in microseconds.
    pub cpu_us_per_event: f64,
    /// Resident memory at the end.
    pub rss_mib: f64,
}

/// What everything had used at some moment.
#[derive(Debug, Default)]
pub struct Looked {
    /// The processes under measurement.
    pub processes: Vec<(String, Usage)>,
    /// The servers that are watched.
    pub servers: Vec<(String, Usage)>,
}

/// The engine beside something else, of which it is measured how many a second it does: medians over the rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// What else.
    pub to: String,
    /// Accepted per second ÷ that.
    pub accepted: f64,
    /// Delivered per second ÷ that.
    pub delivered: f64,
}

/// What was used between two looks at the same processes, for each of so many events.
pub fn uses(before: Vec<(String, Usage)>, after: Vec<(String, Usage)>, events: u64) -> Vec<Use> {
    let of_one = |((name, before), (_, after)): ((String, Usage), (_, Usage))| {
        let used = after - before;
        let cpu_us_per_event = used.cpu.as_secs_f64() * 1e6 / events.max(1) as f64;
        Use { name, cpu_us_per_event, rss_mib: used.rss_mib() }
    };
    before.into_iter().zip(after).map(of_one).collect()
}

impl Run {
    /// The figures of a load that began at `from` and whose last post was answered after `answered`.
    pub fn new(tally: Tally, from: Duration, answered: Duration, before: Looked, after: Looked) -> Self {
        let per_second = |count: u64, span: Duration| count as f64 / span.as_secs_f64().max(1e-9);
        let delivering = tally.last_arrival.saturating_sub(from);
        let processes = uses(before.processes, after.processes, tally.accepted);
        Self {
            sent: tally.sent,
            accepted: tally.accepted,
            lost: tally.missing,
            duplicated: tally.duplicates,
            accepted_per_s: per_second(tally.accepted, answered),
            delivered_per_s: per_second(tally.arrived, delivering),
            accept: tally.accept,
            post_to_arrival: tally.arrival,
            cpu_us_per_event: processes.iter().map(|one| one.cpu_us_per_event).sum(),
            rss_mib: processes.iter().map(|one| one.rss_mib).sum(),
            processes,
            servers: uses(before.servers, after.servers, tally.accepted),
        }
    }
}

impl Ratio {
    /// Pairs the rounds; `None` without any.
    fn of(to: &str, runs: &[Run], others: &[f64]) -> Option<Self> {
        let median = |rate: fn(&Run) -> f64| {
            let mut ratios: Vec<f64> =
                runs.iter().zip(others).map(|(run, other)| rate(run) / other).collect();
            ratios.sort_by(f64::total_cmp);
            ratios.get(ratios.len() / 2).copied()
        };
        Some(Self {
            to: to.to_owned(),
            accepted: median(|run| run.accepted_per_s)?,
            delivered: median(|run| run.delivered_per_s)?,
        })
    }
}

impl Report {
    /// An empty report of this load.
    pub fn new(settings: &Settings) -> Self {
        Self {
            load: settings.load(),
            runs: Vec::new(),
            relays: Vec::new(),
            parts: Vec::new(),
            ratios: Vec::new(),
        }
    }

    /// Puts the engine beside everything else that was measured.
    pub fn compare(&mut self) {
        let relayed: Vec<f64> = self.relays.iter().map(|relay| relay.delivered_per_s).collect();
        let relay = Ratio::of("bare relay", &self.runs, &relayed);
        let names = self.parts.first().into_iter().flatten().map(|part| part.name.clone());
        let parts = names.enumerate().filter_map(|(n, name)| {
            let rates: Vec<f64> = self.parts.iter().map(|round| round[n].per_s).collect();
            Ratio::of(&name, &self.runs, &rates)
        });
        self.ratios = relay.into_iter().chain(parts).collect();
    }

    /// Accepted events that never arrived, over all runs.
    pub fn lost(&self) -> u64 {
        self.runs.iter().map(|run| run.lost).sum()
    }

    /// Prints it.
    pub fn print(&self, json: bool) {
        if json {
            println!("{}", serde_json::to_string_pretty(self).expect("plain figures are JSON"));
            return;
        }
        println!("{}", self.load);
        Run::print_head();
        for relay in &self.relays {
            relay.print("bare relay");
        }
        for run in &self.runs {
            run.print("fairhook");
        }
        for part in self.parts.iter().flatten() {
            let servers =
                part.servers.iter().map(|one| format!(", {} {:.0}", one.name, one.cpu_us_per_event));
            let servers: String = servers.collect();
            println!(
                "{:<24} {:>8.0}/s   CPU µs each: client {:.0}{servers}",
                part.name, part.per_s, part.cpu_us
            );
        }
        for Ratio { to, accepted, delivered } in &self.ratios {
            println!("fairhook ÷ {to}: accepted {accepted:.2}, delivered {delivered:.2} (medians)");
        }
    }
}

impl Run {
    /// Processor time per event, that of the servers too.
    pub fn cpu_with_servers(&self) -> f64 {
        self.cpu_us_per_event + self.servers.iter().map(|one| one.cpu_us_per_event).sum::<f64>()
    }

    /// Prints what stands above runs.
    pub fn print_head() {
        println!(
            "{:<10} {:>10} {:>11} {:>6} {:>6}   {:^23}   {:^23} {:>9} {:>8}",
            "",
            "accepted/s",
            "delivered/s",
            "lost",
            "twice",
            "accept ms p50/p95/p99",
            "arrival ms p50/p95/p99",
            "CPU µs/ev",
            "RSS MiB"
        );
    }

    /// Prints a run, and behind it each process if there are several.
    pub fn print(&self, name: &str) {
        let three = |l: Latencies| format!("{:.1} / {:.1} / {:.1}", l.p50_ms, l.p95_ms, l.p99_ms);
        println!(
            "{name:<10} {:>10.0} {:>11.0} {:>6} {:>6}   {:^23}   {:^23} {:>9.0} {:>8.1}",
            self.accepted_per_s,
            self.delivered_per_s,
            self.lost,
            self.duplicated,
            three(self.accept),
            three(self.post_to_arrival),
            self.cpu_us_per_event,
            self.rss_mib
        );
        // A single process is the line above.
        let processes = Some(&self.processes).filter(|processes| processes.len() > 1);
        for one in processes.into_iter().flatten().chain(&self.servers) {
            println!("{:<88} {:>12} {:>9.0} {:>8.1}", "", one.name, one.cpu_us_per_event, one.rss_mib);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_count_to_the_last_answer_and_the_last_arrival() {
        let tally =
            Tally { accepted: 100, arrived: 100, last_arrival: Duration::from_secs(15), ..Tally::default() };
        let used = |name: &str, ms: u64, mib: u64| {
            let usage = Usage { cpu: Duration::from_millis(ms), rss_bytes: mib << 20 };
            (name.to_owned(), usage)
        };
        let before =
            Looked { processes: vec![used("a", 10, 5), used("b", 20, 5)], servers: vec![used("s", 1, 1)] };
        let after =
            Looked { processes: vec![used("a", 11, 7), used("b", 24, 9)], servers: vec![used("s", 3, 8)] };
        let run = Run::new(tally, Duration::from_secs(5), Duration::from_secs(4), before, after);
        assert!((run.cpu_us_per_event - 50.0).abs() < 1e-9 && (run.rss_mib - 16.0).abs() < 1e-9);
        assert_eq!(run.processes[1], Use { name: "b".into(), cpu_us_per_event: 40.0, rss_mib: 9.0 });
        assert_eq!(run.servers, [Use { name: "s".into(), cpu_us_per_event: 20.0, rss_mib: 8.0 }]);
        assert!((run.accepted_per_s - 25.0).abs() < 1e-9);
        assert!((run.delivered_per_s - 10.0).abs() < 1e-9);
        let relay = Run { delivered_per_s: 50.0, ..run.clone() };
        let part = |per_s| Part { name: "part".into(), per_s, cpu_us: 0.0, servers: Vec::new() };
        let mut report = Report {
            load: String::new(),
            runs: vec![run.clone(), run.clone(), run],
            relays: vec![relay.clone(), relay.clone(), relay],
            parts: [100.0, 1_000.0, 50.0].map(|per_s| vec![part(per_s)]).to_vec(),
            ratios: Vec::new(),
        };
        report.compare();
        let ratio = |to: &str, accepted, delivered| Ratio { to: to.into(), accepted, delivered };
        assert_eq!(report.ratios, [ratio("bare relay", 0.5, 0.2), ratio("part", 0.25, 0.1)]);
    }
}
