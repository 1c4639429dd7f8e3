//! What is seen while a load runs: the live table, redrawn in a terminal, or printed once per part elsewhere.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use fairhook_common::ids::TenantId;
use fairhook_common::store::SharedStore;
use fairhook_dispatcher::{Snapshot, TenantSnapshot};
use tokio::sync::watch;

use super::cast;
use super::table::{self, Row};
use crate::workload::{Ledger, Tally};

/// So many may be on their way from the store to a slot at any moment: nothing holds them back.
const A_FEW: u64 = 10;
/// How often a terminal's table is redrawn.
const REDRAW: Duration = Duration::from_millis(500);

/// Standard output.
pub struct Screen {
    live: bool,
    drawn: String,
}

impl Screen {
    /// Standard output; live if it is a terminal.
    pub fn standard() -> Self {
        Self { live: std::io::stdout().is_terminal(), drawn: String::new() }
    }

    /// A line that stays.
    pub fn say(&mut self, text: &str) {
        println!("{text}");
    }

    /// Replaces the table that was drawn last.
    fn draw(&mut self, text: String) {
        let mut out = std::io::stdout().lock();
        // A reader that has gone away ends the demo nowhere but on the screen.
        let _ = write!(out, "{}{text}", table::erase(&self.drawn)).and_then(|()| out.flush());
        self.drawn = text;
    }

    /// Leaves the table that was drawn last where it is.
    fn keep(&mut self) {
        self.drawn.clear();
    }
}

/// Everything that the table is made of.
pub struct Stage {
    ledger: Arc<Ledger>,
    engine: Option<(watch::Receiver<Arc<Snapshot>>, SharedStore)>,
}

impl Stage {
    /// A stage of a load in this ledger; `engine` is what an engine shows of itself.
    pub fn new(ledger: Arc<Ledger>, engine: Option<(watch::Receiver<Arc<Snapshot>>, SharedStore)>) -> Self {
        Self { ledger, engine }
    }

    /// Runs `load` and shows the table meanwhile, of what was posted since `from`.
    pub async fn watch(
        &self,
        screen: &mut Screen,
        heading: &str,
        from: Duration,
        load: impl Future<Output = ()>,
    ) {
        let before = self.slot_times();
        tokio::pin!(load);
        let mut redraw = tokio::time::interval(REDRAW);
        loop {
            tokio::select! {
                () = &mut load => break,
                _ = redraw.tick(), if screen.live => {
                    let rows = self.rows(from, &before).await;
                    screen.draw(table::render(heading, &rows));
                }
            }
        }
        let rows = self.rows(from, &before).await;
        screen.draw(table::render(heading, &rows));
        screen.keep();
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.engine.as_ref().map(|(watch, _)| watch.borrow().clone()).unwrap_or_default()
    }

    fn slot_times(&self) -> HashMap<TenantId, Duration> {
        self.snapshot().tenants.iter().map(|tenant| (tenant.id, tenant.slot_time)).collect()
    }

    async fn rows(&self, from: Duration, before: &HashMap<TenantId, Duration>) -> Vec<Row> {
        let snapshot = self.snapshot();
        let used =
            |t: &TenantSnapshot| t.slot_time.saturating_sub(before.get(&t.id).copied().unwrap_or_default());
        let all: Duration = snapshot.tenants.iter().map(used).sum();
        let mut rows = Vec::with_capacity(cast::STREAMS);
        for stream in 0..cast::STREAMS {
            let tally = self.ledger.tally([stream], from);
            let mut row = of_ledger(stream, &tally);
            if let Some(tenant) = snapshot.tenants.iter().find(|t| *t.slug == row.tenant) {
                row.in_flight = tenant.in_flight.into();
                row.held_back = tenant.held_back.map_or("", |why| why.text());
                row.slot_time = used(tenant).as_secs_f64() / all.as_secs_f64().max(1e-9);
                self.look_up(tenant.id, &mut row).await;
            }
            // A part in which a stream has no part shows no row for it.
            if tally.sent > 0 {
                rows.push(row);
            }
        }
        rows
    }

    /// What waits and what is dead, by the store's exact counts; what is in flight does not wait. What waits but not in memory
    /// is held back by its endpoint, or by its retry schedule.
    async fn look_up(&self, tenant: TenantId, row: &mut Row) {
        let Some((_, store)) = &self.engine else { return };
        // A store that is slow for once leaves a row as it is.
        let Ok(usage) = store.usage(tenant).await else { return };
        let counts = usage.counts;
        row.waiting = counts.waiting().saturating_sub(row.in_flight);
        row.dead = counts.dead;
        if row.held_back.is_empty() && row.waiting > A_FEW {
            let retries = counts.retrying > counts.backlog;
            row.held_back = if retries { "waits for its retries" } else { "endpoint has no room" };
        }
    }
}

/// What the ledger alone tells. Without an engine, what was accepted and has not arrived waits.
fn of_ledger(stream: usize, tally: &Tally) -> Row {
    Row {
        tenant: cast::slug(stream),
        accepted: tally.accepted,
        delivered: tally.arrived,
        waiting: tally.missing,
        // What has not arrived counts with its age: without it, the few that got through a jam would tell of none.
        p50_ms: tally.arrival_or_age.p50_ms,
        p99_ms: tally.arrival_or_age.p99_ms,
        ..Row::default()
    }
}
