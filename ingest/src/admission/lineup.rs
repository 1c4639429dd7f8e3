//! What waits to be published, and which outbox rows are done. Pure.
//!
//! Tenants take turns message by message, and each has a bounded number of messages unconfirmed, so that neither a flood
//! nor a queue that confirms slowly holds up another tenant's messages.

use std::collections::{HashMap, VecDeque};

use fairhook_common::ids::{DeliveryId, TenantId};
use fairhook_common::limits;
use fairhook_common::queue::{Message, Published, QueueAddress};
use fairhook_common::store::{OutboxId, Settled};

/// What the lineup may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Messages that wait, over all tenants.
    pub waiting: usize,
    /// Messages of one tenant that wait.
    pub waiting_per_tenant: usize,
    /// Messages of one tenant handed to the queue and not answered yet.
    pub unconfirmed_per_tenant: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            waiting: limits::PUBLISH_WAITING,
            waiting_per_tenant: limits::PUBLISH_WAITING_PER_TENANT,
            unconfirmed_per_tenant: limits::PUBLISH_UNCONFIRMED_PER_TENANT,
        }
    }
}

/// Messages on their way to the queue, and the outbox rows that stand for them until it has confirmed them.
#[derive(Debug)]
pub struct Lineup {
    bounds: Bounds,
    lines: HashMap<TenantId, Line>,
    /// The tenants that may publish now, in turn: each has something waiting and is under its bound.
    turns: VecDeque<TenantId>,
    waiting: usize,
    rows: HashMap<OutboxId, Row>,
    settled: Vec<Settled>,
    /// Unpublished deliveries in `settled`.
    settled_unpublished: usize,
    /// Done rows that found no room in `settled`, since they were last asked for.
    left: u64,
}

/// One tenant's messages. Goes when nothing waits and nothing is unconfirmed.
#[derive(Debug)]
struct Line {
    address: QueueAddress,
    waiting: VecDeque<(OutboxId, Message)>,
    unconfirmed: usize,
    in_turn: bool,
}

#[derive(Debug, Default)]
struct Row {
    open: usize,
    unpublished: Vec<DeliveryId>,
}

/// Messages to be published together.
#[derive(Debug, Default)]
pub struct Chunk {
    /// What [`fairhook_common::queue::Queue::publish`] takes.
    pub messages: Vec<(QueueAddress, Message)>,
    rows: Vec<OutboxId>,
}

impl Lineup {
    /// An empty lineup.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            lines: HashMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            rows: HashMap::new(),
            settled: Vec::new(),
            settled_unpublished: 0,
            left: 0,
        }
    }

    /// Messages that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Adds everything that `row` stands for; returns how many found no room. These are settled as unpublished.
    pub fn offer(&mut self, row: OutboxId, messages: Vec<(QueueAddress, Message)>) -> usize {
        let mut entry = Row::default();
        for (address, message) in messages {
            let tenant = address.tenant;
            let line = self.lines.entry(tenant).or_insert_with(|| Line {
                address,
                waiting: VecDeque::new(),
                unconfirmed: 0,
                in_turn: false,
            });
            let room =
                self.waiting < self.bounds.waiting && line.waiting.len() < self.bounds.waiting_per_tenant;
            if room {
                line.waiting.push_back((row, message));
                self.waiting += 1;
                entry.open += 1;
            } else {
                entry.unpublished.push(message.delivery);
            }
            self.line_up(tenant);
        }
        let without_room = entry.unpublished.len();
        if entry.open == 0 {
            self.settle(row, entry.unpublished);
        } else {
            self.rows.insert(row, entry);
        }
        without_room
    }

    /// Takes at most `limit` messages, the tenants in turn.
    pub fn take(&mut self, limit: usize) -> Chunk {
        let mut chunk = Chunk::default();
        while chunk.messages.len() < limit {
            let Some(tenant) = self.turns.pop_front() else { break };
            let Some(line) = self.lines.get_mut(&tenant) else { continue };
            line.in_turn = false;
            if let Some((row, message)) = line.waiting.pop_front() {
                line.unconfirmed += 1;
                self.waiting -= 1;
                chunk.rows.push(row);
                chunk.messages.push((line.address.clone(), message));
            }
            self.line_up(tenant);
        }
        chunk
    }

    /// The queue has answered for `chunk`. What it did not answer for counts as refused.
    pub fn finish(&mut self, chunk: Chunk, published: &[Published]) {
        let answers = published.iter().copied().chain(std::iter::repeat(Published::Refused));
        for ((row, (address, message)), answer) in chunk.rows.into_iter().zip(chunk.messages).zip(answers) {
            if let Some(line) = self.lines.get_mut(&address.tenant) {
                line.unconfirmed -= 1;
            }
            self.line_up(address.tenant);
            let Some(entry) = self.rows.get_mut(&row) else { continue };
            entry.open -= 1;
            if answer == Published::Refused {
                entry.unpublished.push(message.delivery);
            }
            if entry.open == 0 {
                let unpublished = self.rows.remove(&row).map(|entry| entry.unpublished);
                self.settle(row, unpublished.unwrap_or_default());
            }
        }
    }

    /// Rows that are done, at most `rows` of them and about `limits::SETTLE_DELIVERIES` unpublished deliveries.
    pub fn take_settled(&mut self, rows: usize) -> Vec<Settled> {
        let mut unpublished = 0;
        let fits = |row: &&Settled| {
            let first = unpublished == 0;
            unpublished += row.unpublished.len();
            first || unpublished <= limits::SETTLE_DELIVERIES
        };
        let count = self.settled.iter().take(rows).take_while(fits).count();
        let taken: Vec<_> = self.settled.drain(..count).collect();
        self.settled_unpublished -= taken.iter().map(|row| row.unpublished.len()).sum::<usize>();
        taken
    }

    /// Whether a row is done.
    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Whether somebody waits for deliveries to become due.
    pub fn is_urgent(&self) -> bool {
        self.settled_unpublished > 0 || self.settled.len() >= limits::SETTLE_ROWS
    }

    /// Rows that were left to the housekeeping since this was last asked.
    pub fn take_left(&mut self) -> u64 {
        std::mem::take(&mut self.left)
    }

    /// While the store does not take what is done there is a bound: what is beyond it stays in the outbox, which the
    /// housekeeping recovers.
    fn settle(&mut self, outbox: OutboxId, unpublished: Vec<DeliveryId>) {
        let room = self.settled.len() < limits::SETTLE_WAITING_ROWS
            && self.settled_unpublished + unpublished.len() <= self.bounds.waiting;
        if room {
            self.settled_unpublished += unpublished.len();
            self.settled.push(Settled { outbox, unpublished });
        } else {
            self.left += 1;
        }
    }

    /// Puts a tenant in turn if it may publish, and forgets it if there is nothing to remember.
    fn line_up(&mut self, tenant: TenantId) {
        let Some(line) = self.lines.get_mut(&tenant) else { return };
        if line.waiting.is_empty() {
            if line.unconfirmed == 0 && !line.in_turn {
                self.lines.remove(&tenant);
            }
        } else if !line.in_turn && line.unconfirmed < self.bounds.unconfirmed_per_tenant {
            line.in_turn = true;
            self.turns.push_back(tenant);
        }
    }
}

#[cfg(test)]
#[path = "lineup_tests.rs"]
mod tests;
