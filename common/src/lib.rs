//! What the ingest and the dispatcher share: the words of the domain, every bound,
//! the two seams (`store`, `queue`) with their backends, configuration and shutdown.
//!
//! Nothing here speaks HTTP to customers (that is the dispatcher) or serves the API (that is the ingest).

pub mod activity;
pub mod cloudevent;
pub mod condition;
pub mod config;
pub mod delivery;
mod described;
pub mod egress;
pub mod endpoint;
pub mod event;
pub mod health;
pub mod ids;
pub mod key;
pub mod limits;
pub mod membership;
pub mod metrics;
pub mod nearest;
pub mod plan;
pub mod policy;
pub mod queue;
pub mod retry;
pub mod shutdown;
pub mod signature;
pub mod slug;
pub mod source;
pub mod store;
pub mod tenant;
pub mod time;
pub mod unwound;
