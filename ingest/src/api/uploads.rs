//! How many bytes of request bodies are in memory at once, over all tenants and for each.
//!
//! Bytes count as they arrive, not as they are announced: who announces much and sends nothing takes no room. A little is
//! free for each tenant whatever the others hold, so that a flood over many tenants does not shut a quiet one out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairhook_common::ids::TenantId;
use fairhook_common::limits;

/// Whose body it is: a tenant's, or (`None`) the operators', who are bounded by what is there for all only.
type Owner = Option<TenantId>;

/// What the bodies in memory may weigh.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    all: usize,
    per_tenant: usize,
    free_per_tenant: usize,
}

/// The bodies in memory. Clones are the same.
#[derive(Debug, Clone)]
pub struct Uploads {
    held: Arc<Mutex<Held>>,
    bounds: Bounds,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Those who hold anything.
    owners: HashMap<Owner, usize>,
}

/// There is no room for more now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Over all tenants.
    #[error("too many requests are being received")]
    All,
    /// For this tenant.
    #[error("too many requests of this tenant are being received")]
    Tenant,
}

/// The room that one body takes, until it is dropped.
#[derive(Debug, Clone)]
pub struct Uploader {
    uploads: Uploads,
    owner: Owner,
}

impl Uploads {
    /// Those of callers with a key.
    pub fn of_callers() -> Self {
        Self::within(Bounds {
            all: limits::UPLOAD_BYTES,
            per_tenant: limits::UPLOAD_BYTES_PER_TENANT,
            free_per_tenant: limits::UPLOAD_BYTES_FREE,
        })
    }

    /// Those that come in at sources: whoever knows a source's URL may send them, so that they take no room of its tenant's own.
    pub fn of_sources() -> Self {
        Self::within(Bounds {
            all: limits::SOURCE_UPLOAD_BYTES,
            per_tenant: limits::SOURCE_UPLOAD_BYTES_PER_TENANT,
            free_per_tenant: limits::UPLOAD_BYTES_FREE,
        })
    }

    fn within(bounds: Bounds) -> Self {
        Self { held: Arc::default(), bounds }
    }

    /// For the bodies of this owner.
    pub fn uploader(&self, owner: Owner) -> Uploader {
        Uploader { uploads: self.clone(), owner }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uploader {
    /// A body of which nothing is there yet.
    pub fn begin(self) -> Room {
        Room { uploads: self.uploads, owner: self.owner, bytes: 0 }
    }
}

/// What one body holds; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    uploads: Uploads,
    owner: Owner,
    bytes: usize,
}

impl Room {
    /// Takes room for `bytes` more.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        self.uploads.held().take(self.owner, bytes, &self.uploads.bounds)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.uploads.held().give_back(self.owner, self.bytes);
    }
}

impl Held {
    fn take(&mut self, owner: Owner, bytes: usize, bounds: &Bounds) -> Result<(), Full> {
        let own = self.owners.get(&owner).copied().unwrap_or(0).saturating_add(bytes);
        let all = self.all.saturating_add(bytes);
        if owner.is_some() && own > bounds.per_tenant {
            return Err(Full::Tenant);
        }
        if all > bounds.all && (owner.is_none() || own > bounds.free_per_tenant) {
            return Err(Full::All);
        }
        if bytes > 0 {
            self.owners.insert(owner, own);
            self.all = all;
        }
        Ok(())
    }

    fn give_back(&mut self, owner: Owner, bytes: usize) {
        self.all -= bytes;
        if let Some(own) = self.owners.get_mut(&owner) {
            *own -= bytes;
            if *own == 0 {
                self.owners.remove(&owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: Bounds = Bounds { all: 100, per_tenant: 40, free_per_tenant: 5 };

    #[test]
    fn a_tenant_is_bounded_by_its_own_and_has_a_little_whatever_the_others_hold() {
        let owners: Vec<_> = (0..5).map(|_| Some(TenantId::generate())).collect();
        let mut held = Held::default();
        for owner in &owners[..2] {
            assert_eq!(held.take(*owner, 40, &SMALL), Ok(()));
            assert_eq!(held.take(*owner, 1, &SMALL), Err(Full::Tenant));
        }
        assert_eq!(held.take(owners[2], 20, &SMALL), Ok(()));
        assert_eq!(held.take(owners[3], 6, &SMALL), Err(Full::All));
        assert_eq!(held.take(owners[3], 5, &SMALL), Ok(()), "a little is free");
        assert_eq!(held.take(owners[3], 1, &SMALL), Err(Full::All));
        assert_eq!(held.take(None, 1, &SMALL), Err(Full::All));
        held.give_back(owners[0], 40);
        assert_eq!(held.take(None, 35, &SMALL), Ok(()));
    }

    proptest! {
        #[test]
        fn nothing_is_forgotten_and_nothing_kept(takes in prop::collection::vec((0usize..4, 0usize..50), 0..60)) {
            let owners: Vec<_> = (0..3).map(|_| Some(TenantId::generate())).chain([None]).collect();
            let (mut held, mut taken) = (Held::default(), Vec::new());
            for (owner, bytes) in takes {
                if held.take(owners[owner], bytes, &SMALL).is_ok() {
                    taken.push((owners[owner], bytes));
                } else if let Some((owner, bytes)) = taken.pop() {
                    held.give_back(owner, bytes);
                }
                prop_assert_eq!(held.all, taken.iter().map(|(_, bytes)| bytes).sum::<usize>());
                prop_assert!(held.all <= SMALL.all + 3 * SMALL.free_per_tenant);
            }
            taken.into_iter().for_each(|(owner, bytes)| held.give_back(owner, bytes));
            prop_assert!(held.all == 0 && held.owners.is_empty());
        }
    }
}
