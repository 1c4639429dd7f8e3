//! What the fault tests need beside the black-box harness: servers, a cluster on them, load, and figures.

mod cluster;
mod load;
mod node;
mod proxy;
mod services;
mod tally;
mod tls;

pub use cluster::{Cluster, Customer, Shape};
pub use load::{Doors, Load};
pub use node::Servers;
pub use services::{Service, Services, Use};
pub use tally::Tally;

use std::time::{Duration, Instant};

/// An outcome is recorded within this after its answer, on a busy machine too.
pub const RECORDING: Duration = Duration::from_secs(1);

/// What may have been in flight of these at `moment`.
pub fn in_flight<'a>(customers: impl IntoIterator<Item = &'a Customer>, moment: Instant) -> usize {
    customers.into_iter().map(|customer| Tally::of(&customer.receivers).in_flight_at(moment, RECORDING)).sum()
}
