//! Who plays: eight good tenants, one whose receiver never answers, one whose receiver answers 500.

use std::time::Duration;

use crate::workload::Behaviour;

/// Good tenants; theirs are the first streams.
pub const GOOD: usize = 8;
/// The stream of the tenant whose receiver never answers.
pub const HANGING: usize = GOOD;
/// The stream of the tenant whose receiver answers 500.
pub const FAILING: usize = GOOD + 1;
/// All streams.
pub const STREAMS: usize = GOOD + 2;

/// What the good tenants post together, per second.
pub const GOOD_RATE: f64 = 200.0;
/// What the bad ones post together, per second: each about what its quota allows.
pub const BAD_RATE: f64 = 190.0;
/// Deliveries in flight at once, in Fairhook as in the worker pool it is compared with.
pub const SLOTS: usize = 200;

/// How long the good tenants are alone.
pub const ALONE: Duration = Duration::from_secs(8);
/// How long they are beside the bad ones, under Fairhook and under the FIFO queue.
pub const BESIDE: Duration = Duration::from_secs(14);

/// The streams of the good tenants.
pub fn good() -> std::ops::Range<usize> {
    0..GOOD
}

/// The streams of the bad tenants.
pub fn bad() -> std::ops::Range<usize> {
    GOOD..STREAMS
}

/// The tenant's slug.
pub fn slug(stream: usize) -> String {
    match stream {
        HANGING => "hanging".into(),
        FAILING => "failing".into(),
        good => format!("good-{}", good + 1),
    }
}

/// What its receiver does.
pub fn behaviours() -> Vec<Behaviour> {
    let of = |stream| match stream {
        HANGING => Behaviour::Hang,
        FAILING => Behaviour::Answer(500, Duration::ZERO),
        _ => Behaviour::Answer(200, Duration::from_millis(5)),
    };
    (0..STREAMS).map(of).collect()
}
