//! Room for connections: so many at once, and so many of one peer, so that no peer takes every other's place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limiter::key::network;

/// Clones share it.
#[derive(Clone)]
pub(super) struct Room {
    all: Arc<Semaphore>,
    per_peer: usize,
    peers: Arc<Mutex<HashMap<IpAddr, Peer>>>,
}

/// There while the peer has a connection.
#[derive(Default)]
struct Peer {
    connections: usize,
    /// It has been told that the peer wanted more than its share.
    told: bool,
}

/// A connection's place, given back when it is dropped.
pub(super) struct Place {
    room: Room,
    peer: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new(all: usize, per_peer: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), per_peer, peers: Arc::default() }
    }

    /// Waits until there is room for whoever comes next: meanwhile others wait in the system's own bounded list.
    pub(super) async fn some(&self) -> OwnedSemaphorePermit {
        self.all.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// A place for a connection of this peer, unless it has its share.
    pub(super) fn place(&self, address: IpAddr, permit: OwnedSemaphorePermit) -> Option<Place> {
        let peer = network(address);
        let mut peers = self.peers();
        let held = peers.entry(peer).or_default();
        if held.connections < self.per_peer {
            held.connections += 1;
            return Some(Place { room: self.clone(), peer, _permit: permit });
        }
        if !std::mem::replace(&mut held.told, true) {
            tracing::warn!(%peer, connections = held.connections, "a peer wants more than its share of the connections");
        }
        None
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<IpAddr, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.room.peers();
        let Some(held) = peers.get_mut(&self.peer) else { return };
        held.connections -= 1;
        if held.connections == 0 {
            peers.remove(&self.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_has_its_share_and_what_it_gives_back_again() {
        let room = Room::new(10, 2);
        let ask = async |address: &str| room.place(address.parse().expect("an address"), room.some().await);
        let first = ask("192.0.2.1").await.expect("room");
        let _second = ask("::ffff:192.0.2.1").await.expect("room");
        assert!(ask("192.0.2.1").await.is_none(), "it has its share");
        let _other = ask("192.0.2.2").await.expect("room for others");
        drop(first);
        let _again = ask("192.0.2.1").await.expect("room again");
        assert_eq!(room.all.available_permits(), 7, "a refused one keeps no place");

        let _one = ask("2001:db8::1").await.expect("room");
        let _two = ask("2001:db8::ffff:2").await.expect("room");
        assert!(ask("2001:db8::3").await.is_none(), "one network is one peer");
        drop((_other, _one, _two));
        assert_eq!(room.peers().len(), 1, "who has no connection is forgotten");
    }
}
