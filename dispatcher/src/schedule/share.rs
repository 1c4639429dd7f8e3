//! Occupancy decides whether, virtual time decides who.
//!
//! A tenant's *occupancy* is its slots over its weight; the *fair share* is `(1 − r)·S / Σ weights of the active`, at
//! least one slot. Who may start what, with `free` slots and a reserve of `r·S`:
//!
//! | free | who |
//! |---|---|
//! | more than `r·S` | anyone (so that no slot idles while somebody could use it), but those that stay within twice their share with one slot more before all others |
//! | up to `r·S` | tenants that stay within their share with one slot more, or within a sixteenth of what is free per mean weight, at endpoints that are quick or have no history; of the latter one attempt each, and half of the reserve at most, the second quarter only for tenants that hold nothing |
//! | up to `r·S`, but starts by the line above hold half of `(1 − r)·S` | anyone, as in the first line |
//! | none | nobody |
//!
//! Among those who may start something the least virtual time goes first. It alone would not do: what an attempt takes is known when it ends, so that
//! a tenant of many endpoints that nobody has seen hanging yet would have the least of all until it holds its whole cap. (Once
//! its share would leave nothing to virtual time: of equal occupancy short attempts cost us more.) Without the third line, quick tenants that are as many as slots and always
//! have something would leave nothing to slow ones, ever; with it, half of the slots at least are given in the order of virtual
//! time.
//!
//! The two additions to the plain rule of the reserve are there because beside thousands of hanging tenants the share is one
//! slot: a good tenant's second delivery at a time would wait for its first (seen in the simulation: 120 ms at p99), so it may
//! have a few more while the reserve is little used, the fewer the more it is; and a wave of new endpoints that never answer
//! would take all of the reserve until they time out.

use std::collections::BTreeSet;

use fairhook_common::ids::TenantId;

/// Slot time over weight, in microseconds with 20 binary places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Virtual(u128);

const BINARY_PLACES: u32 = 20;

impl Virtual {
    /// What `micros` of slot time are for a tenant of this weight.
    pub fn of(micros: u64, weight: u32) -> Self {
        Self((u128::from(micros) << BINARY_PLACES) / u128::from(weight.max(1)))
    }

    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub fn as_micros(self) -> u64 {
        u64::try_from(self.0 >> BINARY_PLACES).unwrap_or(u64::MAX)
    }
}

/// A tenant of mean weight may hold a part of the free slots beyond its share, if they are quick. With n such tenants
/// F/(16 + n) each, so that some stay free for whoever comes.
const RESERVE_PARTS: u64 = 16;

/// Slots over weight, with 20 binary places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Occupancy(u64);

impl Occupancy {
    /// What a tenant would hold with one slot more. Its first one is within any share.
    pub fn with_one_more(slots: u32, weight: u32) -> Self {
        let slots = if slots == 0 { 0 } else { u64::from(slots) + 1 };
        Self((slots << BINARY_PLACES) / u64::from(weight.max(1)))
    }
}

/// How many slots there are and among how much weight they are shared.
#[derive(Debug)]
pub(super) struct Shares {
    slots: usize,
    reserve: usize,
    part: f64,
    /// The weights of the tenants that have anything waiting or in flight.
    active: u64,
    /// How many they are.
    active_tenants: u64,
}

impl Shares {
    pub fn new(slots: usize, reserve_part: f64) -> Self {
        let mut shares =
            Self { slots: 0, reserve: 0, part: reserve_part.clamp(0.0, 1.0), active: 0, active_tenants: 0 };
        shares.set_slots(slots);
        shares
    }

    pub fn set_slots(&mut self, slots: usize) {
        self.slots = slots;
        self.reserve = (slots as f64 * self.part) as usize;
    }

    pub fn slots(&self) -> usize {
        self.slots
    }

    pub fn reserve(&self) -> usize {
        self.reserve
    }

    pub fn activate(&mut self, weight: u32) {
        self.active += u64::from(weight);
        self.active_tenants += 1;
    }

    pub fn deactivate(&mut self, weight: u32) {
        self.active -= u64::from(weight);
        self.active_tenants -= 1;
    }

    #[cfg(test)]
    pub fn active(&self) -> u64 {
        self.active
    }

    /// With so many slots held by starts out of the reserve the next one is anyone's.
    pub fn most_from_reserve(&self) -> usize {
        ((self.slots - self.reserve) / 2).max(1)
    }

    /// The fair share of one unit of weight.
    pub fn per_weight(&self) -> Occupancy {
        let shared = (self.slots - self.reserve) as u64;
        Occupancy(((shared << BINARY_PLACES) / self.active.max(1)).max(1))
    }

    /// Who stays within this goes before who does not.
    pub fn before_others(&self) -> Occupancy {
        Occupancy(2 * self.per_weight().0)
    }

    /// As long as it stays within this a tenant may take from the reserve while so many slots are free.
    pub fn reserve_bound(&self, free: usize) -> Occupancy {
        let free_for_all = ((free as u64) << BINARY_PLACES) * self.active_tenants.max(1);
        let some = Occupancy(free_for_all / (RESERVE_PARTS * self.active.max(1)));
        self.per_weight().max(some)
    }

    /// The reserve serves so many endpoints without history, and twice as many if the others' tenants hold nothing.
    pub fn most_newcomers(&self, of_idle_tenants: bool) -> usize {
        (self.reserve / if of_idle_tenants { 2 } else { 4 }).max(1)
    }

    /// The most that a tenant's virtual time may be ahead: its whole share for one longest attempt.
    pub fn longest_debt(&self, longest_attempt: u64) -> Virtual {
        let shared = (self.slots - self.reserve).max(1) as u128;
        let micros = u128::from(longest_attempt) << BINARY_PLACES;
        Virtual((micros * shared / u128::from(self.active.max(1))).max(micros))
    }
}

/// How a tenant that could start something ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank {
    pub virtual_time: Virtual,
    /// With one slot more.
    pub occupancy: Occupancy,
    /// It has something that the reserve serves.
    pub quick: bool,
    /// It has something of which nothing is known.
    pub newcomer: bool,
}

type ByOccupancy = BTreeSet<(Occupancy, Virtual, TenantId)>;

/// The tenants that could start something, and those with something to be parked, so ordered that the next one is found without looking at the others.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    by_virtual_time: BTreeSet<(Virtual, TenantId)>,
    all: ByOccupancy,
    quick: ByOccupancy,
    newcomers: ByOccupancy,
    parking: BTreeSet<(Virtual, TenantId)>,
}

impl Ranking {
    pub fn rerank(&mut self, tenant: TenantId, old: Option<Rank>, new: Option<Rank>) {
        if old == new {
            return;
        }
        if let Some(rank) = old {
            self.by_virtual_time.remove(&(rank.virtual_time, tenant));
            let key = (rank.occupancy, rank.virtual_time, tenant);
            self.all.remove(&key);
            rank.quick.then(|| self.quick.remove(&key));
            rank.newcomer.then(|| self.newcomers.remove(&key));
        }
        if let Some(rank) = new {
            self.by_virtual_time.insert((rank.virtual_time, tenant));
            let key = (rank.occupancy, rank.virtual_time, tenant);
            self.all.insert(key);
            rank.quick.then(|| self.quick.insert(key));
            rank.newcomer.then(|| self.newcomers.insert(key));
        }
    }

    /// A tenant has something to be parked as of these virtual times, or nothing.
    pub fn rerank_parking(&mut self, tenant: TenantId, old: Option<Virtual>, new: Option<Virtual>) {
        if old != new {
            old.map(|virtual_time| self.parking.remove(&(virtual_time, tenant)));
            new.map(|virtual_time| self.parking.insert((virtual_time, tenant)));
        }
    }

    /// The least virtual time of all.
    pub fn least(&self) -> Option<(Virtual, TenantId)> {
        self.by_virtual_time.first().copied()
    }

    /// The least virtual time of those that have something to be parked.
    pub fn least_parking(&self) -> Option<(Virtual, TenantId)> {
        self.parking.first().copied()
    }

    /// The least virtual time of those that stay within `bound`.
    pub fn least_within(&self, bound: Occupancy) -> Option<(Virtual, TenantId)> {
        least_within(&self.all, bound)
    }

    /// The least virtual time of those that stay within `bound` with something quick.
    pub fn least_quick(&self, bound: Occupancy) -> Option<(Virtual, TenantId)> {
        least_within(&self.quick, bound)
    }

    /// The least virtual time of those that stay within `bound` with something of which nothing is known.
    pub fn least_newcomer(&self, bound: Occupancy) -> Option<(Virtual, TenantId)> {
        least_within(&self.newcomers, bound)
    }
}

/// Hops from one occupancy to the next. There are few: `k` different occupancies above zero take `k²/2` slots at equal
/// weights, so that 2,000 slots allow at most 63 hops whatever the number of tenants (and with n tenants usually S/n); where every tenant has a
/// weight of its own, as many as tenants hold slots.
fn least_within(set: &ByOccupancy, bound: Occupancy) -> Option<(Virtual, TenantId)> {
    let mut least = None;
    let mut from = Occupancy(0);
    while let Some(&(occupancy, virtual_time, tenant)) =
        set.range((from, Virtual(0), TenantId::from_uuid(Default::default()))..).next()
    {
        if occupancy > bound {
            break;
        }
        if least.is_none_or(|best| (virtual_time, tenant) < best) {
            least = Some((virtual_time, tenant));
        }
        from = Occupancy(occupancy.0 + 1);
    }
    least
}
