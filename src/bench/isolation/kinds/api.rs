//! Too much of the API beside events.

use super::CONTROL;
use crate::bench::isolation::kind::{Act, GENEROUS, Kind, Step};

pub const KINDS: &[Kind] = &[
    Kind {
        name: "list-scan",
        about: "16 clients read lists over 20,000 deliveries, most of them for what is not there",
        allowance: GENEROUS,
        before: &[Step::Fill(20_000), Step::Settle],
        beside: &[Act::Scan(16)],
        ..CONTROL
    },
    Kind {
        name: "churn",
        about: "8 clients change endpoints, secrets, keys and the tenant",
        beside: &[Act::Churn(8)],
        ..CONTROL
    },
];
