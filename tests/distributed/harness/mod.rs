//! What the fault tests need beside the black-box harness: servers, a cluster on them, and load.

mod cluster;
mod load;
mod node;
mod proxy;
mod services;
mod tally;

pub use cluster::{Cluster, Shape};
pub use load::Load;
pub use node::Node;
pub use services::Service;
pub use tally::Tally;
