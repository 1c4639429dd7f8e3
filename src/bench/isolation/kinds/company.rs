//! Who the bad tenants are, beside whom: many together, at the good ones' host, or the measured tenant itself.

use super::CONTROL;
use crate::bench::isolation::kind::{
    Act, Allowance, Conduct, Crowd, FeltBy, GENEROUS, Host, Kind, STARTER, Step,
};

pub const KINDS: &[Kind] = &[
    Kind {
        name: "coalition",
        about: "hanging tenants that together may hold four times the slots",
        crowd: Crowd::Coalition,
        allowance: Allowance { concurrent: 100, ..STARTER },
        host: Host::Own(Conduct::Hang),
        beside: &[Act::Post { per_second: 95, bytes: 256 }],
        ..CONTROL
    },
    Kind {
        name: "shared-host",
        about: "a hanging receiver is at the good receivers' host and port",
        host: Host::Shared,
        beside: &[Act::Post { per_second: 95, bytes: 256 }],
        ..CONTROL
    },
    Kind {
        name: "own-endpoint",
        about: "a tenant's endpoint A hangs with 10,000 waiting; felt at its endpoint B",
        felt_by: FeltBy::Itself,
        allowance: GENEROUS,
        host: Host::Own(Conduct::Hang),
        before: &[Step::Fill(10_000), Step::Settle],
        beside: &[Act::Post { per_second: 20, bytes: 256 }],
        ..CONTROL
    },
    Kind {
        name: "own-replay",
        about: "a tenant replays 100,000; felt by its live events at the same endpoint",
        felt_by: FeltBy::Itself,
        allowance: GENEROUS,
        endpoints: 0,
        before: &[Step::Fill(100_000), Step::Settle],
        beside: &[Act::Replay],
        ..CONTROL
    },
];
