//! What endpoints have said in handshakes, kept apart from everything else that is kept of them: who has forgotten a consent asks
//! again before each attempt, so no tenant may make another's be forgotten.
//!
//! One table for all, in which idle ones make room first and then those of the tenant that has the most. In memory only.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fairhook_common::ids::{EndpointId, TenantId};
use fairhook_common::limits;
use fairhook_common::store::EndpointSnapshot;

use super::consent::Consent;

/// Consents by tenant and endpoint.
pub(super) struct Consents {
    /// Hashes with a key that nobody knows: nobody finds another URL for which a consent would count.
    hashes: RandomState,
    table: Mutex<Table>,
}

impl Consents {
    /// At most so many.
    pub(super) fn at_most(most: usize) -> Self {
        let (tenants, sizes) = (HashMap::new(), BTreeSet::new());
        let table = Table { most, count: 0, tenants, sizes, swept: None };
        Self { hashes: RandomState::new(), table: Mutex::new(table) }
    }

    /// That of the endpoint as it is now: another URL, or other headers, have said nothing yet.
    pub(super) fn of(&self, tenant: TenantId, endpoint: &EndpointSnapshot, now: Instant) -> Arc<Consent> {
        let fingerprint = self.fingerprint(endpoint);
        let mut table = self.table();
        if let Some(kept) = table.get(tenant, endpoint.id)
            && kept.fingerprint == fingerprint
        {
            kept.used = now;
            return Arc::clone(&kept.consent);
        }
        let consent = Arc::default();
        table.put(tenant, endpoint.id, Kept { fingerprint, used: now, consent: Arc::clone(&consent) }, now);
        consent
    }

    /// Attempts per minute that the endpoint, which wants handshakes, has said it takes.
    pub(super) fn per_minute(&self, tenant: TenantId, endpoint: &EndpointSnapshot) -> Option<u32> {
        let fingerprint = self.fingerprint(endpoint);
        let mut table = self.table();
        let kept = table.get(tenant, endpoint.id).filter(|kept| kept.fingerprint == fingerprint);
        kept.map_or(Some(limits::HANDSHAKES_PER_MINUTE), |kept| kept.consent.per_minute())
    }

    fn fingerprint(&self, endpoint: &EndpointSnapshot) -> u64 {
        let headers = endpoint.headers.iter().map(|header| (&header.name, &header.value));
        self.hashes.hash_one((&endpoint.url, headers.collect::<Vec<_>>()))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Kept {
    /// Of the URL and the headers that were asked.
    fingerprint: u64,
    used: Instant,
    consent: Arc<Consent>,
}

struct Table {
    most: usize,
    count: usize,
    /// None is empty.
    tenants: HashMap<TenantId, BTreeMap<EndpointId, Kept>>,
    /// How many each tenant has.
    sizes: BTreeSet<(usize, TenantId)>,
    /// When idle ones were last looked for.
    swept: Option<Instant>,
}

impl Table {
    fn get(&mut self, tenant: TenantId, endpoint: EndpointId) -> Option<&mut Kept> {
        self.tenants.get_mut(&tenant)?.get_mut(&endpoint)
    }

    fn put(&mut self, tenant: TenantId, endpoint: EndpointId, kept: Kept, now: Instant) {
        if let Some(before) = self.get(tenant, endpoint) {
            *before = kept;
            return;
        }
        if self.count >= self.most {
            self.make_room(now);
        }
        let consents = self.tenants.entry(tenant).or_default();
        self.sizes.remove(&(consents.len(), tenant));
        consents.insert(endpoint, kept);
        self.sizes.insert((consents.len(), tenant));
        self.count += 1;
    }

    fn make_room(&mut self, now: Instant) {
        let rested = self.swept.is_none_or(|at| now >= at + limits::HANDSHAKE_SWEEP_PAUSE);
        if rested {
            self.swept = Some(now);
            self.forget_idle(now);
        }
        while self.count >= self.most {
            let Some((size, tenant)) = self.sizes.pop_last() else { return };
            let consents = self.tenants.get_mut(&tenant).expect("a size is that of a tenant in the table");
            consents.pop_first();
            self.count -= 1;
            match size {
                1 => drop(self.tenants.remove(&tenant)),
                _ => drop(self.sizes.insert((size - 1, tenant))),
            }
        }
    }

    fn forget_idle(&mut self, now: Instant) {
        for consents in self.tenants.values_mut() {
            consents.retain(|_, kept| now < kept.used + limits::HANDSHAKE_TTL);
        }
        self.tenants.retain(|_, consents| !consents.is_empty());
        self.sizes = self.tenants.iter().map(|(tenant, consents)| (consents.len(), *tenant)).collect();
        self.count = self.sizes.iter().map(|(size, _)| size).sum();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fairhook_common::endpoint::{BodyForm, CustomHeader, Secrets};
    use fairhook_common::retry::RetrySchedule;
    use fairhook_common::signature::SigningSecret;

    use super::super::handshake::Allowed;
    use super::*;

    const YES: Allowed = Allowed::Any;

    fn endpoint(url: &str) -> EndpointSnapshot {
        EndpointSnapshot {
            id: EndpointId::generate(),
            url: url.into(),
            headers: vec![],
            secrets: Secrets { current: SigningSecret::generate(), previous: None },
            timeout: Duration::from_secs(1),
            retry: RetrySchedule::default(),
            body: BodyForm::Raw,
            rate_limit_per_s: None,
            handshake: true,
        }
    }

    fn has_consented(consents: &Consents, tenant: TenantId, endpoint: &EndpointSnapshot) -> bool {
        consents.per_minute(tenant, endpoint).is_none()
    }

    #[test]
    fn a_tenant_with_many_endpoints_makes_none_of_another_be_forgotten() {
        let (consents, now) = (Consents::at_most(50), Instant::now());
        let (quiet, loud) = (TenantId::generate(), TenantId::generate());
        let quiet_ones: Vec<_> = (0..20).map(|_| endpoint("https://a.test/")).collect();
        for endpoint in &quiet_ones {
            consents.of(quiet, endpoint, now).grant(YES, now);
        }
        for _ in 0..500 {
            consents.of(loud, &endpoint("https://b.test/"), now).grant(YES, now);
        }
        let kept = quiet_ones.iter().filter(|endpoint| has_consented(&consents, quiet, endpoint));
        assert_eq!(kept.count(), quiet_ones.len());
        let table = consents.table();
        assert_eq!((table.count, table.tenants[&loud].len()), (50, 30), "the rest is the other's");
    }

    #[test]
    fn what_nobody_uses_makes_room_first() {
        let (consents, start) = (Consents::at_most(4), Instant::now());
        let (busy, gone) = (TenantId::generate(), TenantId::generate());
        let busy_ones = [0; 3].map(|_| endpoint("https://a.test/"));
        consents.of(gone, &endpoint("https://b.test/"), start).grant(YES, start);
        let later = start + limits::HANDSHAKE_TTL;
        for endpoint in &busy_ones {
            consents.of(busy, endpoint, start).grant(YES, start);
            consents.of(busy, endpoint, later);
        }
        consents.of(TenantId::generate(), &endpoint("https://c.test/"), later);
        assert!(busy_ones.iter().all(|endpoint| has_consented(&consents, busy, endpoint)));
        assert!(!consents.table().tenants.contains_key(&gone));
    }

    #[test]
    fn another_url_and_other_headers_have_said_nothing() {
        let (consents, now, tenant) = (Consents::at_most(4), Instant::now(), TenantId::generate());
        let before = endpoint("https://a.test/");
        consents.of(tenant, &before, now).grant(YES, now);
        assert!(has_consented(&consents, tenant, &before));
        let headers = vec![CustomHeader { name: "x-to".into(), value: "b".into() }];
        for after in [
            EndpointSnapshot { id: before.id, ..endpoint("https://b.test/") },
            EndpointSnapshot { id: before.id, headers, ..endpoint("https://a.test/") },
        ] {
            assert!(!has_consented(&consents, tenant, &after));
            consents.of(tenant, &after, now);
            assert!(!has_consented(&consents, tenant, &after) && !has_consented(&consents, tenant, &before));
            assert_eq!(consents.table().count, 1, "it took the place of the other");
            consents.of(tenant, &before, now).grant(YES, now);
        }
    }
}
