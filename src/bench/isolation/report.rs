//! What was measured, as a table or as JSON.

use serde::Serialize;

use super::Settings;
use super::figures::Median;
use super::kind::Kind;
use super::pair::Pair;
use crate::workload::Tally;

/// A kind and its pairs.
#[derive(Debug)]
pub struct Row {
    /// The kind.
    pub kind: &'static Kind,
    /// What was measured.
    pub pairs: Vec<Pair>,
    /// Pairs that could not be measured.
    pub failed: u32,
    /// The good tenants under one FIFO queue beside the bad ones.
    pub fifo: Option<Tally>,
}

impl Row {
    /// Nothing measured yet.
    pub fn new(kind: &'static Kind) -> Self {
        Self { kind, pairs: Vec::new(), failed: 0, fifo: None }
    }
}

/// The whole measurement.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The load in words.
    load: String,
    /// Each kind, the control first.
    kinds: Vec<Felt>,
}

/// What was felt of a kind. Latencies are p99s from post to arrival, in milliseconds, medians over the pairs; the rest is
/// summed over the pairs.
#[derive(Debug, Serialize)]
struct Felt {
    kind: &'static str,
    about: &'static str,
    bad: usize,
    pairs: usize,
    failed: u32,
    index: Median,
    alone_ms: f64,
    beside_ms: f64,
    /// The good tenants' events in both arms.
    events: u64,
    lost: u64,
    refused: u64,
    /// What the bad tenants posted, what was accepted of it, what else they had the API do, and what came to their receivers, per second.
    bad_posted_per_s: f64,
    bad_accepted_per_s: f64,
    bad_calls_per_s: f64,
    bad_received_per_s: Option<f64>,
    /// The bad tenants' part of the slot time that was used in the last seconds of the load, from 0 to 1.
    bad_slot_share: Option<f64>,
    /// The p99 under one FIFO queue, and what had not arrived when the load ended.
    fifo_ms: Option<f64>,
    fifo_missing: Option<u64>,
    #[serde(skip)]
    fifo: String,
}

/// A pair in a line.
pub fn line(kind: &Kind, pair: &Pair) -> String {
    let p99 = |arm: &Tally| arm.arrival_or_age.p99_ms;
    let lost = pair.alone.missing + pair.beside.missing;
    let accepted = |arm: &Tally| arm.accept.p99_ms;
    let mut line = format!(
        "{}: alone {:.1} ms ({:.1} until the 202), beside {:.1} ms ({:.1}), {:.2}",
        kind.name,
        p99(&pair.alone),
        accepted(&pair.alone),
        p99(&pair.beside),
        accepted(&pair.beside),
        pair.ratio()
    );
    let refused: u64 = [&pair.alone, &pair.beside].iter().map(|arm| arm.sent - arm.accepted).sum();
    for (count, what) in [(lost, "LOST"), (refused, "REFUSED")] {
        if count > 0 {
            line.push_str(&format!(", {count} {what}"));
        }
    }
    line
}

/// What is felt under one FIFO queue: p99, and whether it still grew at the end.
pub fn fifo(arm: Option<&Tally>) -> String {
    match arm {
        None => "–".to_owned(),
        Some(arm) if arm.missing * 100 > arm.accepted => format!("{:.0}+", arm.arrival_or_age.p99_ms),
        Some(arm) => format!("{:.1}", arm.arrival_or_age.p99_ms),
    }
}

impl Report {
    /// The report of these rows.
    pub fn new(settings: &Settings, rows: &[Row]) -> Self {
        let load = format!(
            "{}, {} slots; {} good tenants post {} events/s together in an open loop; {} pairs of {} s",
            settings.wanted.describe(),
            settings.slots,
            settings.good,
            settings.rate,
            settings.pairs,
            settings.span.as_secs()
        );
        Self { load, kinds: rows.iter().map(Felt::of).collect() }
    }

    /// Whether every pair was measured, every post of the good tenants accepted, and nothing accepted lost: what was refused
    /// is in no latency.
    pub fn is_whole(&self) -> bool {
        self.kinds.iter().all(|felt| felt.lost == 0 && felt.refused == 0 && felt.failed == 0)
    }

    /// Prints it.
    pub fn print(&self, json: bool) {
        if json {
            println!("{}", serde_json::to_string_pretty(self).expect("plain figures are JSON"));
            return;
        }
        println!("{}", self.load);
        println!(
            "{:<16} {:>4} {:>6} {:>13}   {:>9} {:>9} {:>7} {:>5} {:>8}   {:>9} {:>9} {:>9} {:>9} {:>6}   {:>9}",
            "kind",
            "bad",
            "index",
            "interval",
            "alone ms",
            "beside ms",
            "events",
            "lost",
            "refused",
            "posted/s",
            "taken/s",
            "calls/s",
            "arrive/s",
            "slots",
            "FIFO ms"
        );
        self.kinds.iter().for_each(Felt::print);
    }
}

/// The median over the pairs that have one.
fn slot_share(pairs: &[Pair]) -> Option<f64> {
    let mut shares = pairs.iter().filter_map(|pair| pair.slot_share).peekable();
    shares.peek().is_some().then(|| Median::of(shares).median)
}

impl Felt {
    fn of(row: &Row) -> Self {
        let Row { kind, pairs, failed, .. } = row;
        let median = |of: fn(&Pair) -> f64| Median::of(pairs.iter().map(of)).median;
        let sum = |of: fn(&Tally) -> u64| -> u64 {
            pairs.iter().flat_map(|pair| [&pair.alone, &pair.beside]).map(of).sum()
        };
        let span: f64 = pairs.iter().map(|pair| pair.span.as_secs_f64()).sum();
        let per_s = |count: u64| count as f64 / span.max(1e-9);
        let received: Option<u64> = pairs.iter().map(|pair| pair.deeds.received).sum();
        Self {
            kind: kind.name,
            about: kind.about,
            bad: pairs.first().map_or(0, |pair| pair.bad),
            pairs: pairs.len(),
            failed: *failed,
            index: Median::of(pairs.iter().map(Pair::ratio)),
            alone_ms: median(|pair| pair.alone.arrival_or_age.p99_ms),
            beside_ms: median(|pair| pair.beside.arrival_or_age.p99_ms),
            events: sum(|arm| arm.sent),
            lost: sum(|arm| arm.missing),
            refused: sum(|arm| arm.sent - arm.accepted),
            bad_posted_per_s: per_s(pairs.iter().map(|pair| pair.deeds.sent).sum()),
            bad_accepted_per_s: per_s(pairs.iter().map(|pair| pair.deeds.accepted).sum()),
            bad_calls_per_s: per_s(pairs.iter().map(|pair| pair.deeds.calls).sum()),
            bad_received_per_s: received.map(per_s),
            bad_slot_share: slot_share(pairs),
            fifo_ms: row.fifo.map(|arm| arm.arrival_or_age.p99_ms),
            fifo_missing: row.fifo.map(|arm| arm.missing),
            fifo: fifo(row.fifo.as_ref()),
        }
    }

    fn print(&self) {
        let slots =
            self.bad_slot_share.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", 100.0 * share));
        let Median { median, from, to, .. } = self.index;
        let received = self.bad_received_per_s.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}"));
        println!(
            "{:<16} {:>4} {:>6.2} {:>13}   {:>9.1} {:>9.1} {:>7} {:>5} {:>8}   {:>9.0} {:>9.0} {:>9.0} {:>9} {:>6}   {:>9}",
            self.kind,
            self.bad,
            median,
            format!("{from:.2} – {to:.2}"),
            self.alone_ms,
            self.beside_ms,
            self.events,
            self.lost,
            self.refused,
            self.bad_posted_per_s,
            self.bad_accepted_per_s,
            self.bad_calls_per_s,
            received,
            slots,
            self.fifo
        );
        if self.failed > 0 {
            println!("{:<16} {} pair(s) could not be measured", "", self.failed);
        }
    }
}
