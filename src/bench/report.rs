//! What was measured, as a table or as JSON.

use std::time::Duration;

use serde::Serialize;

use super::args::Settings;
use super::subject::Usage;
use crate::workload::{Latencies, Pace, Tally};

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
    /// The comparison with `--baseline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
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

/// What was used during a load.
#[derive(Debug, Default)]
pub struct Uses {
    processes: Vec<(String, Usage)>,
    servers: Vec<(String, Usage)>,
}

/// The engine beside the bare relay: medians over the rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Baseline {
    /// Accepted per second ÷ relayed per second.
    pub accepted_ratio: f64,
    /// Delivered per second ÷ relayed per second.
    pub delivered_ratio: f64,
}

impl Uses {
    /// Between two looks at the same processes and servers.
    pub fn between(before: [Vec<(String, Usage)>; 2], after: [Vec<(String, Usage)>; 2]) -> Self {
        let used = |before: Vec<(String, Usage)>, after: Vec<(String, Usage)>| {
            let pairs = before.into_iter().zip(after);
            pairs.map(|((name, before), (_, after))| (name, after - before)).collect()
        };
        let ([ours, theirs], [ours_after, theirs_after]) = (before, after);
        Self { processes: used(ours, ours_after), servers: used(theirs, theirs_after) }
    }
}

impl Run {
    /// The figures of a load that began at `from` and whose last post was answered after `answered`.
    pub fn new(tally: Tally, from: Duration, answered: Duration, uses: Uses) -> Self {
        let per_second = |count: u64, span: Duration| count as f64 / span.as_secs_f64().max(1e-9);
        let delivering = tally.last_arrival.saturating_sub(from);
        let events = tally.accepted.max(1) as f64;
        let of_one = |(name, used): (String, Usage)| Use {
            name,
            cpu_us_per_event: used.cpu.as_secs_f64() * 1e6 / events,
            rss_mib: used.rss_mib(),
        };
        let processes: Vec<Use> = uses.processes.into_iter().map(of_one).collect();
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
            servers: uses.servers.into_iter().map(of_one).collect(),
        }
    }
}

impl Baseline {
    /// Pairs the rounds; `None` without relays.
    pub fn of(runs: &[Run], relays: &[Run]) -> Option<Self> {
        let median = |rate: fn(&Run) -> f64| {
            let mut ratios: Vec<f64> =
                runs.iter().zip(relays).map(|(run, relay)| rate(run) / relay.delivered_per_s).collect();
            ratios.sort_by(f64::total_cmp);
            ratios.get(ratios.len() / 2).copied()
        };
        Some(Self {
            accepted_ratio: median(|r| r.accepted_per_s)?,
            delivered_ratio: median(|r| r.delivered_per_s)?,
        })
    }
}

impl Report {
    /// An empty report of this load.
    pub fn new(settings: &Settings) -> Self {
        let pace = match settings.pace {
            Pace::Open(rate) => format!("open loop at {rate} events/s"),
            Pace::Closed(connections) => format!("closed loop over {connections} connections"),
        };
        let load = format!(
            "{}; {pace}, {} tenants with one endpoint each, {}-byte payloads, {} s",
            settings.wanted.describe(),
            settings.tenants,
            settings.payload,
            settings.span.as_secs()
        );
        Self { load, runs: Vec::new(), relays: Vec::new(), baseline: None }
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
        for relay in &self.relays {
            relay.print("bare relay");
        }
        for run in &self.runs {
            run.print("fairhook");
        }
        if let Some(baseline) = self.baseline {
            println!(
                "fairhook ÷ bare relay: accepted {:.2}, delivered {:.2} (medians)",
                baseline.accepted_ratio, baseline.delivered_ratio
            );
        }
    }
}

impl Run {
    fn print(&self, name: &str) {
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
        let before = [vec![used("a", 10, 5), used("b", 20, 5)], vec![used("server", 1, 1)]];
        let after = [vec![used("a", 11, 7), used("b", 24, 9)], vec![used("server", 3, 8)]];
        let uses = Uses::between(before, after);
        let run = Run::new(tally, Duration::from_secs(5), Duration::from_secs(4), uses);
        assert!((run.cpu_us_per_event - 50.0).abs() < 1e-9 && (run.rss_mib - 16.0).abs() < 1e-9);
        assert_eq!(run.processes[1], Use { name: "b".into(), cpu_us_per_event: 40.0, rss_mib: 9.0 });
        assert_eq!(run.servers, [Use { name: "server".into(), cpu_us_per_event: 20.0, rss_mib: 8.0 }]);
        assert!((run.accepted_per_s - 25.0).abs() < 1e-9);
        assert!((run.delivered_per_s - 10.0).abs() < 1e-9);
        let relay = Run { delivered_per_s: 50.0, ..run.clone() };
        let baseline = Baseline::of(&[run], &[relay]).expect("a pair");
        assert!((baseline.accepted_ratio - 0.5).abs() < 1e-9);
        assert!((baseline.delivered_ratio - 0.2).abs() < 1e-9);
    }
}
