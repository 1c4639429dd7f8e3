//! How many slots may be used now. The scarce thing may be CPU or the store: then fewer attempts at once, so that the
//! waiting happens in the scheduler, where it is fair.

use std::time::Duration;

use fairhook_common::limits;

/// The effective number of slots: halves while we are late, grows back by a step. Once is a hiccup, of another process maybe,
/// and changes nothing. Pure.
///
/// It is told at regular intervals (a few times a second) the worst of what was seen since the last time: how late the
/// loop's tick came, and how long recording took (or has taken so far, for what is still unrecorded).
#[derive(Debug, Clone)]
pub struct Capacity {
    slots: usize,
    floor: usize,
    step: usize,
    effective: usize,
    /// Whether the last observation was late too.
    was_late: bool,
}

impl Capacity {
    /// All of `slots`, until it is observed that this is too much.
    pub fn new(slots: usize) -> Self {
        let floor = (slots / limits::CAPACITY_FLOOR_PART).clamp(1, slots.max(1));
        let step = (slots / limits::CAPACITY_STEP_PART).max(1);
        Self { slots: slots.max(1), floor, step, effective: slots.max(1), was_late: false }
    }

    /// The number of slots to use from now on. Zero only while nothing may start at all because the oldest unrecorded
    /// outcome is over `limits::RECORD_LAG_MAX` old.
    pub fn observe(&mut self, loop_lag: Duration, record_latency: Duration) -> usize {
        let late = loop_lag > limits::LOOP_LAG_TARGET || record_latency > limits::RECORD_LATENCY_TARGET;
        self.effective = match (late, std::mem::replace(&mut self.was_late, late)) {
            (true, true) => (self.effective / 2).max(self.floor),
            (true, false) => self.effective,
            (false, _) => (self.effective + self.step).min(self.slots),
        };
        self.effective(record_latency)
    }

    fn effective(&self, record_latency: Duration) -> usize {
        if record_latency > limits::RECORD_LAG_MAX { 0 } else { self.effective }
    }
}
