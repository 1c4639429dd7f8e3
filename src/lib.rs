//! The roles put together: what the `fairhook` binary is made of.

pub mod banner;
pub mod bench;
pub mod cli;
pub mod data_dir;
pub mod demo;
pub mod engine;
pub mod logging;
pub mod metrics_listener;
pub mod node;
pub mod open_files;
pub mod operate;
pub mod operator_key;
pub mod receiver;
pub mod recovery;
pub mod serve;
pub mod signals;
pub mod workload;

/// Buffers and rows are made by one thread and freed by another all the time, which is what the system's allocator is
/// slowest at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
