//! The dispatcher end to end in one process: a real store, the in-process queue, real receivers on loopback.

mod control;
mod handshake;
mod later;
mod many;
mod path;
mod receiver;
mod rig;
mod trouble;
