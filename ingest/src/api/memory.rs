//! What is remembered of keys, tenants and sources between requests, bounded: while every change is heard of
//! (`Store::heard_until`) for `limits::CONTROL_CACHE_HELD` at most, else for `limits::CONTROL_CACHE_TTL`, and never beyond a
//! change that this process knows of. What ends by itself at a time is used with a look at the clock.
//!
//! Changes are looked for at each look-up instead of by a task, so that a caller who was told of its own change always
//! finds it in force. What was not found is remembered too, for the shorter time: a stranger's guesses must not become reads of
//! the store.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fairhook_common::ids::{KeyId, TenantId};
use fairhook_common::key::ApiKey;
use fairhook_common::limits::{CONTROL_CACHE_ENTRIES, CONTROL_CACHE_HELD, CONTROL_CACHE_TTL};
use fairhook_common::source::{Source, TokenHash};
use fairhook_common::store::{Change, SharedStore, StoreError, TenantRef};
use fairhook_common::tenant::Tenant;
use moka::Expiry;
use moka::sync::Cache;
use tokio::sync::broadcast::{self, error::TryRecvError};
use tokio::time::Instant;

use super::guesses::Guesses;

/// The state of the clock of changes when something was about to be read.
type Stamp = u64;

/// Whose an object is: a tenant's or (`None`) the operators'.
type Owner = Option<TenantId>;

/// When something was about to be read.
#[derive(Debug, Clone, Copy)]
struct Read {
    stamp: Stamp,
    at: Instant,
}

/// What was read, if anything was found.
type Remembered<V> = (Read, Option<Arc<V>>);

/// The keys, tenants and sources that were asked for lately.
pub struct Memory {
    store: SharedStore,
    keys: Cache<KeyId, Remembered<ApiKey>>,
    tenants: Cache<TenantRef, Remembered<Tenant>>,
    sources: Cache<TokenHash, Remembered<Source>>,
    changes: Mutex<Changes>,
    /// Who looks for what there is not.
    pub(super) guesses: Guesses,
}

impl Memory {
    /// Nothing remembered yet.
    pub fn new(store: SharedStore) -> Self {
        let changes = Mutex::new(Changes::new(store.changes()));
        let (keys, tenants, sources) = (bounded(), bounded(), bounded());
        Self { store, keys, tenants, sources, changes, guesses: Guesses::new() }
    }

    /// The key of this id, revoked and expired ones too, for a caller at `from`.
    pub async fn key(&self, id: KeyId, from: IpAddr) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let remembered = || self.still(self.keys.get(&id), |key| key.tenant);
        let read = match remembered() {
            Ok(key) => return Ok(key),
            Err(read) => read,
        };
        let place = self.guesses.place(from).await?;
        if place.is_some()
            && let Ok(key) = remembered()
        {
            return Ok(key);
        }
        let key = self.store.find_key(id).await?.map(Arc::new);
        self.keys.insert(id, (read, key.clone()));
        Ok(key)
    }

    /// The tenant of this name, one that is being deleted too.
    pub async fn tenant(&self, named: &TenantRef) -> Result<Option<Arc<Tenant>>, StoreError> {
        let read = match self.still(self.tenants.get(named), |tenant| Some(tenant.id)) {
            Ok(tenant) => return Ok(tenant),
            Err(read) => read,
        };
        let tenant = self.store.find_tenant(named).await?.map(Arc::new);
        self.tenants.insert(named.clone(), (read, tenant.clone()));
        Ok(tenant)
    }

    /// The source whose token has this hash, a paused one too, for a caller at `from`.
    pub async fn source(&self, token: TokenHash, from: IpAddr) -> Result<Option<Arc<Source>>, StoreError> {
        let remembered = || self.still(self.sources.get(&token), |source| Some(source.tenant));
        let read = match remembered() {
            Ok(source) => return Ok(source),
            Err(read) => read,
        };
        let place = self.guesses.place(from).await?;
        if place.is_some()
            && let Ok(source) = remembered()
        {
            return Ok(source);
        }
        let source = self.store.find_source_by_token(token).await?.map(Arc::new);
        self.sources.insert(token, (read, source.clone()));
        Ok(source)
    }

    /// What is remembered, if it still holds; else when it is read now.
    fn still<V>(
        &self,
        remembered: Option<Remembered<V>>,
        owner: impl FnOnce(&V) -> Owner,
    ) -> Result<Option<Arc<V>>, Read> {
        // Asked first: what was told until then is seen in what follows. The time last, whatever has held this up.
        let heard_until = self.store.heard_until();
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = changes.observe();
        let now = Instant::now();
        match remembered {
            Some((read, value))
                if changes.still_holds(read, value.as_deref().map(owner), heard_until, now) =>
            {
                Ok(value)
            }
            _ => Err(Read { stamp, at: now }),
        }
    }
}

fn bounded<K, V>() -> Cache<K, Remembered<V>>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    Cache::builder().max_capacity(CONTROL_CACHE_ENTRIES).expire_after(Room).build()
}

/// How long what is remembered takes room; whether it holds is another question.
struct Room;

impl Room {
    fn of<V>((_, found): &Remembered<V>) -> Duration {
        if found.is_some() { CONTROL_CACHE_HELD } else { CONTROL_CACHE_TTL }
    }
}

impl<K, V> Expiry<K, Remembered<V>> for Room {
    fn expire_after_create(&self, _: &K, value: &Remembered<V>, _: std::time::Instant) -> Option<Duration> {
        Some(Self::of(value))
    }

    fn expire_after_update(
        &self,
        _: &K,
        value: &Remembered<V>,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(Self::of(value))
    }
}

/// Which changes came, on a clock that each change advances. An object read at a stamp holds unless its owner changed
/// later; a stamp is taken before the read, so that a change during the read counts.
struct Changes {
    receiver: broadcast::Receiver<Change>,
    clock: Stamp,
    /// Nothing read before this holds: some changes were missed, or are forgotten.
    floor: Stamp,
    /// When each owner last changed, since then.
    owners: HashMap<Owner, Stamp>,
}

impl Changes {
    fn new(receiver: broadcast::Receiver<Change>) -> Self {
        Self { receiver, clock: 0, floor: 0, owners: HashMap::new() }
    }

    /// Takes note of what has changed and returns the clock as it stands now.
    fn observe(&mut self) -> Stamp {
        loop {
            let owner = match self.receiver.try_recv() {
                Ok(Change::Tenant(tenant)) => Some(tenant),
                Ok(Change::OperatorKeys) => None,
                Ok(Change::Due(_)) => continue,
                Ok(Change::Everything) | Err(TryRecvError::Lagged(_)) => {
                    self.forget();
                    continue;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return self.clock,
            };
            if self.owners.len() as u64 >= CONTROL_CACHE_ENTRIES {
                self.forget();
            }
            self.clock += 1;
            self.owners.insert(owner, self.clock);
        }
    }

    /// From here on nothing holds that was read before.
    fn forget(&mut self) {
        self.clock += 1;
        self.floor = self.clock;
        self.owners.clear();
    }

    /// Whether what was read holds at `now`, when all changes until `heard_until` have been observed. Without an owner it was not
    /// found, and any change may have made it.
    ///
    /// Either way nothing holds that is not as it was `CONTROL_CACHE_TTL` ago: when it was read, or when it was known last that
    /// nobody has changed it.
    fn still_holds(&self, read: Read, owner: Option<Owner>, heard_until: Instant, now: Instant) -> bool {
        let age = now.saturating_duration_since(read.at);
        let heard = now.saturating_duration_since(heard_until) < CONTROL_CACHE_TTL;
        if age >= CONTROL_CACHE_TTL && !(heard && owner.is_some() && age < CONTROL_CACHE_HELD) {
            return false;
        }
        let changed_at = owner.map_or(Some(self.clock), |owner| self.owners.get(&owner).copied());
        read.stamp >= self.floor && changed_at.is_none_or(|at| read.stamp >= at)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use fairhook_common::key::KeyText;
    use fairhook_common::source::SourceToken;
    use fairhook_common::store::sqlite::SqliteStore;

    use super::*;

    /// Whether what was read at a stamp holds, a moment later.
    fn holds(changes: &Changes, stamp: Stamp, owner: Option<Owner>) -> bool {
        let now = Instant::now();
        changes.still_holds(Read { stamp, at: now }, owner, now, now)
    }

    #[test]
    fn what_is_old_holds_while_all_changes_are_heard_of() {
        let ms = Duration::from_millis;
        let (sender, receiver) = broadcast::channel(2);
        let mut changes = Changes::new(receiver);
        let a = TenantId::generate();
        let start = Instant::now();
        let read = Read { stamp: changes.observe(), at: start };
        let found = Some(Some(a));
        let held = |changes: &Changes, owner, heard_until: Duration, now: Duration| {
            changes.still_holds(read, owner, start + heard_until, start + now)
        };
        // Nothing was heard since it was read, or before, which does not matter yet.
        assert!(held(&changes, found, ms(0), ms(499)) && held(&changes, None, ms(0), ms(499)));
        assert!(!held(&changes, found, ms(0), ms(500)), "a change may have been missed");
        assert!(!held(&changes, found, ms(0), ms(30_000)));
        // All changes were heard of until just now.
        assert!(held(&changes, found, ms(1), ms(500)));
        assert!(held(&changes, found, ms(29_501), ms(30_000)));
        assert!(held(&changes, found, ms(59_999), ms(59_999)));
        assert!(!held(&changes, found, ms(60_000), ms(60_000)), "not for ever");
        // The connection hangs, is cut, or this process was stopped: all the same, nothing was heard of late.
        assert!(!held(&changes, found, ms(29_500), ms(30_000)));
        assert!(!held(&changes, found, ms(59_000), ms(59_999)));
        // What was not found keeps the shorter time.
        assert!(!held(&changes, None, ms(500), ms(500)));

        sender.send(Change::Tenant(a)).expect("listens");
        changes.observe();
        assert!(!held(&changes, found, ms(1), ms(1)) && !held(&changes, found, ms(600), ms(600)));
    }

    #[test]
    fn a_change_ends_what_was_read_before_it_and_nothing_else() {
        let (sender, receiver) = broadcast::channel(2);
        let mut changes = Changes::new(receiver);
        let (a, b) = (TenantId::generate(), TenantId::generate());
        let before = changes.observe();
        assert!(holds(&changes, before, Some(Some(a))) && holds(&changes, before, None));

        sender.send(Change::Tenant(a)).expect("listens");
        sender.send(Change::Due(b)).expect("listens");
        let after = changes.observe();
        let held = |stamp, owner| holds(&changes, stamp, owner);
        assert!(!held(before, Some(Some(a))), "a changed since");
        assert!(held(before, Some(Some(b))) && held(before, Some(None)), "the others did not");
        assert!(!held(before, None), "what was not found may be there now");
        assert!(held(after, Some(Some(a))) && held(after, None));

        sender.send(Change::OperatorKeys).expect("listens");
        changes.observe();
        assert!(!holds(&changes, after, Some(None)) && holds(&changes, after, Some(Some(b))));
    }

    #[test]
    fn what_there_is_no_room_for_ends_everything() {
        let (sender, receiver) = broadcast::channel(1);
        let mut changes = Changes::new(receiver);
        let (bystander, mut before) = (TenantId::generate(), 0);
        for _ in 0..=CONTROL_CACHE_ENTRIES {
            before = changes.observe();
            assert!(holds(&changes, before, Some(Some(bystander))));
            sender.send(Change::Tenant(TenantId::generate())).expect("listens");
        }
        let after = changes.observe();
        assert!(!holds(&changes, before, Some(Some(bystander))) && changes.owners.len() == 1);
        assert!(holds(&changes, after, Some(Some(bystander))));
    }

    #[test]
    fn a_change_that_cannot_be_told_ends_everything() {
        let (sender, receiver) = broadcast::channel(1);
        let mut changes = Changes::new(receiver);
        let before = changes.observe();
        sender.send(Change::Everything).expect("listens");
        let after = changes.observe();
        assert!(!holds(&changes, before, Some(None)));
        assert!(holds(&changes, after, Some(None)));
    }

    #[test]
    fn missed_changes_end_everything() {
        let (sender, receiver) = broadcast::channel(1);
        let mut changes = Changes::new(receiver);
        let before = changes.observe();
        for _ in 0..5 {
            sender.send(Change::Due(TenantId::generate())).expect("listens");
        }
        let after = changes.observe();
        assert!(!holds(&changes, before, Some(Some(TenantId::generate()))));
        assert!(holds(&changes, after, Some(Some(TenantId::generate()))));
    }

    #[tokio::test]
    async fn who_guesses_looks_up_one_at_a_time_and_everybody_else_goes_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(dir.path()).await.expect("a store");
        let memory = Memory::new(Arc::new(store));
        let [bad, worse, good] =
            ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|a| a.parse().expect("an address"));
        let guess = || KeyText::generate().id;
        assert!(matches!(memory.key(guess(), bad).await, Ok(None)));
        memory.guesses.note(bad);
        memory.guesses.note(worse);
        let place = memory.guesses.place(bad).await.expect("in time").expect("it has to have one");
        let token = SourceToken::generate().hash();
        let neighbour = "2001:db8::2".parse().expect("an address");
        let mut waiting = pin!(memory.key(guess(), worse));
        let mut waiting_too = pin!(memory.source(token, neighbour));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("another guess is looked up"),
            _ = &mut waiting_too => panic!("it has the same network"),
            found = async { (memory.key(guess(), good).await, memory.source(token, good).await) } => {
                assert!(matches!(found, (Ok(None), Ok(None))));
            }
        }
        drop(place);
        let found = tokio::join!(waiting, waiting_too);
        assert!(matches!(found, (Ok(None), Ok(None))), "nobody is refused");
    }
}
