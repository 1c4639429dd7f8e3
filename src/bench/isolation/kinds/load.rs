//! Too much of what is good: posts, deliveries, bytes. The receivers answer 200 at once.

use fairhook_common::limits;

use super::CONTROL;
use crate::bench::isolation::kind::{Act, Allowance, GENEROUS, Kind, STARTER, Step};

/// What one event makes of deliveries when a tenant has all the endpoints that its plan allows.
const FANNED_OUT: usize = STARTER.endpoints as usize;
/// The largest payload that a request's body has room for.
const LARGEST: usize = limits::REQUEST_BODY_BYTES - 1_024;

pub const KINDS: &[Kind] = &[
    Kind {
        name: "flood",
        about: "posts at twenty times the quota",
        beside: &[Act::Post { per_second: 20 * STARTER.events_per_s, bytes: 256 }],
        ..CONTROL
    },
    Kind {
        name: "backlog",
        about: "100,000 fast deliveries become due at once",
        allowance: GENEROUS,
        before: &[Step::Pause, Step::Fill(100_000)],
        beside: &[Act::Resume],
        ..CONTROL
    },
    Kind {
        name: "replay-storm",
        about: "20,000 delivered events are replayed again and again",
        allowance: GENEROUS,
        before: &[Step::Fill(20_000), Step::Settle],
        beside: &[Act::Replay],
        ..CONTROL
    },
    Kind {
        name: "payloads",
        about: "twenty of the largest payloads a second",
        beside: &[Act::Post { per_second: 20, bytes: LARGEST }],
        ..CONTROL
    },
    Kind {
        name: "fan-out",
        about: "every event goes to all 50 endpoints that a tenant may have",
        allowance: Allowance { backlog: GENEROUS.backlog, ..STARTER },
        endpoints: FANNED_OUT,
        beside: &[Act::Post { per_second: 95, bytes: 256 }],
        ..CONTROL
    },
];
