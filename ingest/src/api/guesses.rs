//! Guesses at keys and tokens, and what they cost others.
//!
//! Whether a key or a token is valid only the store can say, and whoever has a valid one is never refused for what others of its
//! address do. So an address over a limit of strangers still has its look-ups, but one at a time for all such addresses: its
//! guesses leave the other connections that look up to everybody else.

use std::net::IpAddr;

use fairhook_common::limits::{GUESSERS, GUESSES_AT_ONCE, GUESSING_TTL, READ_DEADLINE};
use fairhook_common::store::StoreError;
use moka::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

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

    /// Waits until something may be looked up for a caller at `address`, as long as a look-up may take; `None`: without a place.
    pub async fn place(&self, address: IpAddr) -> Result<Option<SemaphorePermit<'_>>, StoreError> {
        if !self.from.contains_key(&network(address)) {
            return Ok(None);
        }
        let place = timeout(READ_DEADLINE, self.places.acquire()).await.map_err(|_| StoreError::TooSlow)?;
        Ok(Some(place.expect("nobody closes the semaphore")))
    }
}
