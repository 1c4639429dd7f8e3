//! What every store must do, verb by verb, on every backend. Written against the seam only: a backend is named in its own
//! `backend` and nowhere else.

// The suite is a module of each backend.
#![allow(clippy::duplicate_mod)]
#![allow(clippy::unwrap_used)]

mod contradictions;

/// The whole suite, once more for each backend.
macro_rules! suite {
    () => {
        mod backend;

        #[path = "../given.rs"]
        mod given;
        #[path = "../harness.rs"]
        mod harness;

        #[path = "../admit.rs"]
        mod admit;
        #[path = "../claim.rs"]
        mod claim;
        #[path = "../dead_letters.rs"]
        mod dead_letters;
        #[path = "../load.rs"]
        mod load;
        #[path = "../record.rs"]
        mod record;
        #[path = "../walk.rs"]
        mod walk;

        #[path = "../deletion.rs"]
        mod deletion;
        #[path = "../endpoints.rs"]
        mod endpoints;
        #[path = "../jobs.rs"]
        mod jobs;
        #[path = "../keys.rs"]
        mod keys;
        #[path = "../large.rs"]
        mod large;
        #[path = "../limit_minutes.rs"]
        mod limit_minutes;
        #[path = "../lists.rs"]
        mod lists;
        #[path = "../nodes.rs"]
        mod nodes;
        #[path = "../overrides.rs"]
        mod overrides;
        #[path = "../plans.rs"]
        mod plans;
        #[path = "../replays.rs"]
        mod replays;
        #[path = "../reports.rs"]
        mod reports;
        #[path = "../sources.rs"]
        mod sources;
        #[path = "../sweeps.rs"]
        mod sweeps;
        #[path = "../tenants.rs"]
        mod tenants;
        #[path = "../watch.rs"]
        mod watch;
    };
}

mod sqlite {
    suite!();

    mod payload_files;
}

mod postgres {
    suite!();

    mod contention;
    mod isolation;
    mod lookups;
    mod notices;
    mod partitions;
    mod together;
}
