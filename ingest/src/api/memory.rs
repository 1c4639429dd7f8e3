//! What is remembered of keys, tenants and sources between requests: bounded, for `limits::CONTROL_CACHE_TTL` at most, and
//! never beyond a change that this process knows of.
//!
//! Changes are looked for at each look-up instead of by a task, so that a caller who was told of its own change always
//! finds it in force. What was not found is remembered too: a stranger's guesses must not become reads of the store.

use std::sync::{Arc, Mutex, PoisonError};

use fairhook_common::ids::{KeyId, TenantId};
use fairhook_common::key::ApiKey;
use fairhook_common::limits::{CONTROL_CACHE_ENTRIES, CONTROL_CACHE_TTL};
use fairhook_common::source::{Source, TokenHash};
use fairhook_common::store::{Change, SharedStore, StoreError, TenantRef};
use fairhook_common::tenant::Tenant;
use moka::sync::Cache;
use tokio::sync::broadcast::{self, error::TryRecvError};

/// The state of the clock of changes when something was about to be read.
type Stamp = u64;

/// Whose an object is: a tenant's or (`None`) the operators'.
type Owner = Option<TenantId>;

/// The keys, tenants and sources that were asked for lately.
pub struct Memory {
    store: SharedStore,
    keys: Cache<KeyId, (Stamp, Option<Arc<ApiKey>>)>,
    tenants: Cache<TenantRef, (Stamp, Option<Arc<Tenant>>)>,
    sources: Cache<TokenHash, (Stamp, Option<Arc<Source>>)>,
    changes: Changes,
}

impl Memory {
    /// Nothing remembered yet.
    pub fn new(store: SharedStore) -> Self {
        let changes = Changes::new(store.changes());
        Self { store, keys: bounded(), tenants: bounded(), sources: bounded(), changes }
    }

    /// The key of this id, revoked and expired ones too.
    pub async fn key(&self, id: KeyId) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let stamp = self.changes.observe();
        if let Some((read, key)) = self.keys.get(&id)
            && self.changes.still_holds(read, key.as_ref().map(|key| key.tenant))
        {
            return Ok(key);
        }
        let key = self.store.find_key(id).await?.map(Arc::new);
        self.keys.insert(id, (stamp, key.clone()));
        Ok(key)
    }

    /// The tenant of this name, one that is being deleted too.
    pub async fn tenant(&self, named: &TenantRef) -> Result<Option<Arc<Tenant>>, StoreError> {
        let stamp = self.changes.observe();
        if let Some((read, tenant)) = self.tenants.get(named)
            && self.changes.still_holds(read, tenant.as_ref().map(|tenant| Some(tenant.id)))
        {
            return Ok(tenant);
        }
        let tenant = self.store.find_tenant(named).await?.map(Arc::new);
        self.tenants.insert(named.clone(), (stamp, tenant.clone()));
        Ok(tenant)
    }

    /// The source whose token has this hash, a paused one too.
    pub async fn source(&self, token: TokenHash) -> Result<Option<Arc<Source>>, StoreError> {
        let stamp = self.changes.observe();
        if let Some((read, source)) = self.sources.get(&token)
            && self.changes.still_holds(read, source.as_ref().map(|source| Some(source.tenant)))
        {
            return Ok(source);
        }
        let source = self.store.find_source_by_token(token).await?.map(Arc::new);
        self.sources.insert(token, (stamp, source.clone()));
        Ok(source)
    }
}

fn bounded<K, V>() -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(CONTROL_CACHE_ENTRIES).time_to_live(CONTROL_CACHE_TTL).build()
}

/// Which changes came, on a clock that each change advances. An object read at a stamp holds unless its owner changed
/// later; a stamp is taken before the read, so that a change during the read counts.
struct Changes {
    seen: Mutex<Seen>,
    /// When each owner last changed. An entry may go as soon as whatever was read before it is forgotten.
    owners: Cache<Owner, Stamp>,
}

struct Seen {
    receiver: broadcast::Receiver<Change>,
    clock: Stamp,
    /// Some changes were missed: nothing read before this holds.
    floor: Stamp,
}

impl Changes {
    fn new(receiver: broadcast::Receiver<Change>) -> Self {
        let owners =
            Cache::builder().max_capacity(CONTROL_CACHE_ENTRIES).time_to_live(CONTROL_CACHE_TTL * 2).build();
        Self { seen: Mutex::new(Seen { receiver, clock: 0, floor: 0 }), owners }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what has changed and returns the clock as it stands now.
    fn observe(&self) -> Stamp {
        let mut seen = self.seen();
        loop {
            let owner = match seen.receiver.try_recv() {
                Ok(Change::Tenant(tenant)) => Some(tenant),
                Ok(Change::OperatorKeys) => None,
                Ok(Change::Due(_)) => continue,
                Ok(Change::Everything) | Err(TryRecvError::Lagged(_)) => {
                    seen.clock += 1;
                    seen.floor = seen.clock;
                    continue;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return seen.clock,
            };
            seen.clock += 1;
            self.owners.insert(owner, seen.clock);
        }
    }

    /// Whether what was read at `stamp` holds. Without an owner it was not found, and any change may have made it.
    fn still_holds(&self, stamp: Stamp, owner: Option<Owner>) -> bool {
        let (clock, floor) = {
            let seen = self.seen();
            (seen.clock, seen.floor)
        };
        let changed_at = owner.map_or(Some(clock), |owner| self.owners.get(&owner));
        stamp >= floor && changed_at.is_none_or(|at| stamp >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_ends_what_was_read_before_it_and_nothing_else() {
        let (sender, receiver) = broadcast::channel(2);
        let changes = Changes::new(receiver);
        let (a, b) = (TenantId::generate(), TenantId::generate());
        let before = changes.observe();
        let holds = |stamp, owner| changes.still_holds(stamp, owner);
        assert!(holds(before, Some(Some(a))) && holds(before, None));

        sender.send(Change::Tenant(a)).expect("listens");
        sender.send(Change::Due(b)).expect("listens");
        let after = changes.observe();
        assert!(!holds(before, Some(Some(a))), "a changed since");
        assert!(holds(before, Some(Some(b))) && holds(before, Some(None)), "the others did not");
        assert!(!holds(before, None), "what was not found may be there now");
        assert!(holds(after, Some(Some(a))) && holds(after, None));

        sender.send(Change::OperatorKeys).expect("listens");
        changes.observe();
        assert!(!holds(after, Some(None)) && holds(after, Some(Some(b))));
    }

    #[test]
    fn a_change_that_cannot_be_told_ends_everything() {
        let (sender, receiver) = broadcast::channel(1);
        let changes = Changes::new(receiver);
        let before = changes.observe();
        sender.send(Change::Everything).expect("listens");
        let after = changes.observe();
        assert!(!changes.still_holds(before, Some(None)));
        assert!(changes.still_holds(after, Some(None)));
    }

    #[test]
    fn missed_changes_end_everything() {
        let (sender, receiver) = broadcast::channel(1);
        let changes = Changes::new(receiver);
        let before = changes.observe();
        for _ in 0..5 {
            sender.send(Change::Due(TenantId::generate())).expect("listens");
        }
        let after = changes.observe();
        assert!(!changes.still_holds(before, Some(Some(TenantId::generate()))));
        assert!(changes.still_holds(after, Some(Some(TenantId::generate()))));
    }
}
