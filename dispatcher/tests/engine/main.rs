//! The dispatcher end to end in one process: a real store, the in-process queue, real receivers on loopback.

mod control;
mod later;
mod path;
mod receiver;
mod rig;
mod trouble;
