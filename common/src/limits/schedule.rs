//! The bounds of the fair scheduler, its gates and its capacity.

use std::time::Duration;

/// The part of the slots kept for what turns over quickly.
pub const RESERVE: f64 = 0.10;
/// What turns over quickly: endpoints whose estimate is below this, so that the reserve is free again within it.
pub const RESERVE_ESTIMATE: Duration = Duration::from_secs(1);
/// Our own work for one delivery (loading, signing, recording), in slot time.
pub const HANDLING_COST: Duration = Duration::from_millis(1);
/// Our own work for a new connection with its handshake.
pub const NEW_CONNECTION_COST: Duration = Duration::from_millis(2);
/// What an attempt is charged at its start while nothing is known; corrected at its end.
pub const FIRST_ESTIMATE: Duration = Duration::from_millis(100);
/// What waits at a gate in memory is what the gate takes within this; the rest is parked.
pub const GATE_PATIENCE: Duration = Duration::from_secs(1);
/// Overloads in a row that open an endpoint's circuit: more than a hiccup, little beside a tenant's share.
pub const CIRCUIT_TRIP_AFTER: u32 = 10;
/// The first pause of an open circuit.
pub const CIRCUIT_PROBE_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause of an open circuit: how late a receiver's return may be noticed.
pub const CIRCUIT_PROBE_PAUSE_MAX: Duration = Duration::from_secs(60);
/// By which part of a pause a probe may come early: many endpoints of one host must not probe in step.
pub const CIRCUIT_PROBE_JITTER: f64 = 0.25;
/// What is known of an endpoint is forgotten when it was not used for so long; longer than the longest probe pause.
pub const GATE_FORGET_AFTER: Duration = Duration::from_secs(300);
/// Parked deliveries that an endpoint takes of which nothing is known (after a restart).
pub const UNKNOWN_GATE_ROOM: u32 = 4;
/// How late a tick of the engine's loop may be before fewer attempts are made at once.
pub const LOOP_LAG_TARGET: Duration = Duration::from_millis(50);
/// How long recording may take before fewer attempts are made at once.
pub const RECORD_LATENCY_TARGET: Duration = Duration::from_millis(500);
/// The effective slots never fall below this part of all. What makes us late may be another process: with much fewer, one on
/// a busy machine would deliver less than it could (at 100 ms each, 250 slots are 2,500 per second). And so many of our own do
/// not make us later than about [`LOOP_LAG_TARGET`].
pub const CAPACITY_FLOOR_PART: usize = 8;
/// The effective slots grow back by this part of all.
pub const CAPACITY_STEP_PART: usize = 32;
