//! What waits for admission, and how the next batch is filled from it. Pure: no clock, no tasks.
//!
//! Tenants take turns by what their events cost a transaction, not by their number: with equal costs that is round
//! robin; a tenant of large payloads or of many endpoints gets fewer events into a batch than one of small ones.

use std::collections::{BTreeSet, HashMap, VecDeque};

use fairhook_common::ids::TenantId;
use fairhook_common::limits;

/// What the waiting list and a batch may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes that wait, over all tenants.
    pub waiting_bytes: usize,
    /// Bytes of one tenant that wait.
    pub waiting_bytes_per_tenant: usize,
    /// Bytes of one tenant that may wait whatever waits over all tenants.
    pub waiting_bytes_free: usize,
    /// Deliveries in a batch.
    pub batch_deliveries: usize,
    /// Bytes in a batch.
    pub batch_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            waiting_bytes: limits::ADMIT_WAITING_BYTES,
            waiting_bytes_per_tenant: limits::ADMIT_WAITING_BYTES_PER_TENANT,
            waiting_bytes_free: limits::ADMIT_WAITING_BYTES_FREE,
            batch_deliveries: limits::ADMIT_BATCH_DELIVERIES,
            batch_bytes: limits::ADMIT_BATCH_BYTES,
        }
    }
}

/// Why an item may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Too much waits, over all tenants.
    #[error("too many events wait to be made durable")]
    All,
    /// Too much of this tenant waits.
    #[error("too many events of this tenant wait to be made durable")]
    Tenant,
}

/// Items of many tenants, each tenant's in the order of their arrival.
#[derive(Debug)]
pub struct WaitingList<T> {
    bounds: Bounds,
    lines: HashMap<TenantId, Line<T>>,
    /// The tenants with waiting items: least served first, then longest in line.
    turns: BTreeSet<Turn>,
    /// What the last tenant in turn had been served: where a tenant that wakes begins.
    served: u64,
    arrivals: u64,
    items: usize,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    served: u64,
    arrival: u64,
    tenant: TenantId,
}

/// A tenant's waiting items; never empty.
#[derive(Debug)]
struct Line<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    turn: Turn,
}

impl<T> WaitingList<T> {
    /// An empty list.
    pub fn new(bounds: Bounds) -> Self {
        let (lines, turns) = (HashMap::new(), BTreeSet::new());
        Self { bounds, lines, turns, served: 0, arrivals: 0, items: 0, bytes: 0 }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Items that wait.
    pub fn len(&self) -> usize {
        self.items
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds `item`, which weighs `bytes`, behind what waits of its tenant.
    pub fn offer(&mut self, tenant: TenantId, bytes: usize, item: T) -> Result<(), NoRoom> {
        let tenant_bytes = self.lines.get(&tenant).map_or(0, |line| line.bytes);
        let tenant_bytes = tenant_bytes.saturating_add(bytes);
        if tenant_bytes > self.bounds.waiting_bytes_per_tenant {
            return Err(NoRoom::Tenant);
        }
        let free = tenant_bytes <= self.bounds.waiting_bytes_free;
        if !free && self.bytes.saturating_add(bytes) > self.bounds.waiting_bytes {
            return Err(NoRoom::All);
        }
        self.arrivals += 1;
        self.items += 1;
        self.bytes += bytes;
        let turn = Turn { served: self.served, arrival: self.arrivals, tenant };
        let line = self.lines.entry(tenant).or_insert_with(|| {
            self.turns.insert(turn);
            Line { items: VecDeque::new(), bytes: 0, turn }
        });
        line.items.push_back((bytes, item));
        line.bytes += bytes;
        Ok(())
    }

    /// Takes the next batch, empty only if nothing waits that is still wanted. `fan_out` estimates how many deliveries an
    /// item makes; `None`: nobody wants it any more, and it is dropped. An item that is over the bounds of a batch by
    /// itself goes alone.
    pub fn fill(&mut self, fan_out: impl Fn(TenantId, &T) -> Option<usize>) -> Vec<T> {
        let mut batch = Vec::new();
        let (mut deliveries, mut bytes) = (0usize, 0usize);
        while let Some(turn) = self.turns.first().copied() {
            let Some(&(item_bytes, ref item)) = self.lines.get(&turn.tenant).and_then(|l| l.items.front())
            else {
                debug_assert!(false, "a tenant in turn has a line, and a line is never empty");
                self.turns.remove(&turn);
                continue;
            };
            let Some(item_deliveries) = fan_out(turn.tenant, item) else {
                self.take_head(turn, 0);
                continue;
            };
            let item_deliveries = item_deliveries.max(1);
            let fits = deliveries.saturating_add(item_deliveries) <= self.bounds.batch_deliveries
                && bytes.saturating_add(item_bytes) <= self.bounds.batch_bytes;
            if !fits && !batch.is_empty() {
                break;
            }
            deliveries += item_deliveries;
            bytes += item_bytes;
            self.served = turn.served;
            let cost = self.cost(item_deliveries, item_bytes);
            batch.extend(self.take_head(turn, cost));
        }
        batch
    }

    /// Takes the head of the line in turn, and puts the line where its next turn is.
    fn take_head(&mut self, turn: Turn, cost: u64) -> Option<T> {
        self.turns.remove(&turn);
        let line = self.lines.get_mut(&turn.tenant)?;
        let head = line.items.pop_front();
        if let Some((bytes, _)) = &head {
            line.bytes -= bytes;
            self.items -= 1;
            self.bytes -= bytes;
        }
        if line.items.is_empty() {
            self.lines.remove(&turn.tenant);
        } else {
            self.arrivals += 1;
            line.turn = Turn { served: turn.served + cost, arrival: self.arrivals, tenant: turn.tenant };
            self.turns.insert(line.turn);
        }
        head.map(|(_, item)| item)
    }

    /// The larger part of a batch that an item takes, in millionths of a batch.
    fn cost(&self, deliveries: usize, bytes: usize) -> u64 {
        let part = |of: usize, whole: usize| (of as u64).saturating_mul(1_000_000) / (whole.max(1) as u64);
        let cost = part(deliveries, self.bounds.batch_deliveries).max(part(bytes, self.bounds.batch_bytes));
        cost.max(1)
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
