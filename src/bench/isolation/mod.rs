//! `fairhook bench isolation`: what good tenants feel of bad ones.
//!
//! For each kind of bad tenants (`kind`, `kinds`) there are *pairs* of arms in an engine of their own (`pair`): the good
//! tenants post in an open loop at a steady rate, alone and then beside the bad ones. The *index* of a kind is the median
//! over its pairs of the good tenants' p99 from post to arrival beside ÷ alone (`figures`). One kind is nobody at all: what
//! comes of it is the noise of the machine; another is a program that is no tenant (`stranger`). The kinds take turns, a pair each, so that a slow minute of the machine is not
//! one kind's alone.

mod acts;
mod args;
mod background;
mod fifo;
mod figures;
mod hostile;
mod kind;
mod kinds;
mod names;
mod neighbours;
mod pace;
mod pair;
mod premises;
mod report;
mod scale;
mod stranger;

use clap::ArgMatches;
use fairhook_common::config::Environment;

use self::args::Settings;
pub use self::args::command;
use self::kinds::CONTROL;
use self::report::{Report, Row};
use super::BenchError;

/// Measures as told and prints the report. Whether every kind could be measured, and nothing was refused or lost.
pub async fn run(matches: &ArgMatches) -> Result<bool, BenchError> {
    let settings = Settings::read(matches, &Environment::of_process())?;
    let mut rows: Vec<Row> =
        std::iter::once(&CONTROL).chain(settings.kinds.iter().copied()).map(Row::new).collect();
    for round in 1..=settings.pairs {
        for row in &mut rows {
            match pair::measure(row.kind, &settings).await {
                Ok(pair) => {
                    eprintln!("pair {round} of {}: {}", settings.pairs, report::line(row.kind, &pair));
                    row.pairs.push(pair);
                }
                // One kind that cannot be measured is no reason to throw away an hour of the others.
                Err(error) => {
                    eprintln!("pair {round} of {}: {}: {error}", settings.pairs, row.kind.name);
                    row.failed += 1;
                }
            }
        }
    }
    if settings.fifo {
        for row in &mut rows {
            match fifo::measure(row.kind, &settings).await {
                Ok(fifo) => row.fifo = fifo,
                Err(error) => {
                    eprintln!("one FIFO queue: {}: {error}", row.kind.name);
                    row.failed += 1;
                    continue;
                }
            }
            eprintln!("one FIFO queue: {}: {}", row.kind.name, report::fifo(row.fifo.as_ref()));
        }
    }
    let report = Report::new(&settings, &rows);
    report.print(settings.json);
    Ok(report.is_whole())
}
