//! Load that is driven at an engine, and the receivers that its deliveries arrive at: what `bench` and `demo` share.
//!
//! A *stream* is one tenant's flow of events. Every event carries its stream and its number in the payload, so that
//! the receivers can say which one arrived, when, and how often.

mod api;
mod client;
mod fifo;
mod ledger;
mod receiver;
mod sender;
mod stats;

pub use api::{ApiClient, ApiFailure, StreamSetup};
pub use client::client;
pub use fifo::{Fifo, FifoTarget};
pub use ledger::{Ledger, Tally};
pub use receiver::{Behaviour, Receivers};
pub use sender::{Pace, Sent, Target, drive, each_once};
pub use stats::Latencies;
