//! Guesses at keys and tokens, and what they cost others.
//!
//! Whether a key or a token is valid only the store can say, and whoever has a valid one is never refused for what others of its
//! address do. So an address over a limit of strangers still has its look-ups, but one at a time for all such addresses: its
//! guesses leave the other connections that look up to everybody else.

use std::net::IpAddr;

use fairhook_common::limits::{GUESSERS, GUESSES_AT_ONCE, GUESSING_TTL};
use moka::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::limiter::key::network;

/// Who guesses.
pub struct Guesses {
    /// Addresses that were refused as strangers a moment ago.
    from: Cache<IpAddr, ()>,
    places: Semaphore,
}

impl Guesses {
    /// Nobody yet.
    pub fn new() -> Self {
        let from = Cache::builder().max_capacity(GUESSERS).time_to_live(GUESSING_TTL).build();
        Self { from, places: Semaphore::new(GUESSES_AT_ONCE) }
    }

    /// A stranger at `address` was refused over a limit.
    pub fn note(&self, address: IpAddr) {
        self.from.insert(network(address), ());
    }

    /// Waits until something may be looked up for a caller at `address`; `None`: without a place.
    pub async fn place(&self, address: IpAddr) -> Option<SemaphorePermit<'_>> {
        if !self.from.contains_key(&network(address)) {
            return None;
        }
        Some(self.places.acquire().await.expect("nobody closes the semaphore"))
    }
}
