//! What waits in the store, as far as this dispatcher knows; when to look again and what to claim: pure.
//!
//! The sets here are hints and may be too large, never too small for longer than `limits::DUE_POLL`: something leaves them
//! only when a claim found less than it asked for, and nothing was told of it while that claim was under way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Duration;

use fairhook_common::delivery::Lane;
use fairhook_common::ids::{EndpointId, TenantId};
use fairhook_common::limits;
use fairhook_common::store::{Claim, ClaimFrom, Claimed};

use crate::schedule::Moment;

/// How much of what is due may be claimed now.
pub trait Room {
    /// Deliveries that this lane of the tenant would take now; 0 too when the tenant is not served here.
    fn in_lane(&self, tenant: TenantId, lane: Lane) -> u32;
    /// Deliveries that the endpoint's gate would take now; 0 too when the tenant is not served here.
    fn at_endpoint(&self, tenant: TenantId, endpoint: EndpointId) -> u32;
}

/// What is known of due work.
#[derive(Debug)]
pub struct DuePlan {
    due: BTreeSet<(TenantId, Lane)>,
    parked: BTreeMap<(TenantId, EndpointId), Parts>,
    /// What was told since the claim under way began: it may have looked before, so that it found none says nothing of these.
    due_meanwhile: BTreeSet<(TenantId, Lane)>,
    parked_meanwhile: BTreeSet<(TenantId, EndpointId)>,
    /// Where the last plan ended, so that the next begins behind it: tenants in turn.
    after_due: Option<(TenantId, Lane)>,
    after_parked: Option<(TenantId, EndpointId)>,
    parked_turn: bool,
    ask: Pacer,
    claim: Pacer,
}

impl DuePlan {
    /// Nothing is known; the store is to be asked at once.
    pub fn new(now: Moment) -> Self {
        Self {
            due: BTreeSet::new(),
            parked: BTreeMap::new(),
            due_meanwhile: BTreeSet::new(),
            parked_meanwhile: BTreeSet::new(),
            after_due: None,
            after_parked: None,
            parked_turn: true,
            ask: Pacer::at(now),
            claim: Pacer::never(),
        }
    }

    /// When [`Self::asking`] will have something to do; `None`: not before a call is answered.
    pub fn asks_at(&self) -> Option<Moment> {
        self.ask.wakeup()
    }

    /// When [`Self::claims`] will have something to do; `None`: not before a call is answered, or something is known.
    pub fn claims_at(&self) -> Option<Moment> {
        self.claim.wakeup()
    }

    /// Whether a claim is under way.
    pub fn is_claiming(&self) -> bool {
        self.claim.under_way
    }

    /// Somebody said that there is something due now.
    pub fn poke(&mut self, now: Moment) {
        self.ask.wish(now);
    }

    /// Something of ours becomes due then.
    pub fn due_then(&mut self, at: Moment) {
        self.ask.wish(at);
    }

    /// A delivery of ours was parked.
    pub fn parked(&mut self, now: Moment, tenant: TenantId, endpoint: EndpointId) {
        self.parked.entry((tenant, endpoint)).or_default();
        if self.is_claiming() {
            self.parked_meanwhile.insert((tenant, endpoint));
        }
        self.claim.wish(now.after(limits::CLAIM_PAUSE));
    }

    /// Something ended or started, so that a lane or an endpoint may have room.
    pub fn room_made(&mut self, now: Moment) {
        self.look_again(now);
    }

    /// A tenant is gone.
    pub fn forget(&mut self, tenant: TenantId) {
        self.due.retain(|(whose, _)| *whose != tenant);
        self.parked.retain(|(whose, _), _| *whose != tenant);
        self.due_meanwhile.retain(|(whose, _)| *whose != tenant);
        self.parked_meanwhile.retain(|(whose, _)| *whose != tenant);
    }

    /// Whether the store is to be asked now. If so it is taken as asked.
    pub fn asking(&mut self, now: Moment) -> bool {
        self.ask.begin(now)
    }

    /// What the store answered; `next` is when the next delivery becomes due.
    pub fn learned(
        &mut self,
        now: Moment,
        due: impl IntoIterator<Item = (TenantId, Lane)>,
        parked: impl IntoIterator<Item = (TenantId, EndpointId)>,
        next: Option<Moment>,
    ) {
        let (due, parked): (Vec<_>, Vec<_>) = (due.into_iter().collect(), parked.into_iter().collect());
        if self.is_claiming() {
            self.due_meanwhile.extend(&due);
            self.parked_meanwhile.extend(&parked);
        }
        self.due.extend(due);
        for key in parked {
            self.parked.entry(key).or_default();
        }
        let rest = (self.ask.took(now) * limits::DUE_LOOK_REST).clamp(limits::CLAIM_PAUSE, limits::DUE_POLL);
        self.ask.end(now.after(rest));
        self.ask.wish(now.after(limits::DUE_POLL));
        if let Some(next) = next {
            self.ask.wish(next);
        }
        if self.is_anything_known() {
            self.claim.wish(now);
        }
    }

    /// The store did not answer.
    pub fn not_learned(&mut self, now: Moment) {
        self.ask.end(now.after(limits::STORE_RETRY_MAX));
        self.ask.wish(now);
    }

    /// What to claim now: tenants in turn, `limits::CLAIM_BATCH` deliveries in all at most; all of it parked or all of it
    /// due, alternately. If it is something, it is taken as being claimed until [`Self::claimed`].
    pub fn claims(&mut self, now: Moment, room: &impl Room) -> Vec<Claim> {
        if !self.claim.begin(now) {
            return Vec::new();
        }
        self.due_meanwhile.clear();
        self.parked_meanwhile.clear();
        let parked_first = self.parked_turn;
        self.parked_turn = !parked_first;
        let mut claims = if parked_first { self.parked_claims(room) } else { self.due_claims(room) };
        if claims.is_empty() {
            claims = if parked_first { self.due_claims(room) } else { self.parked_claims(room) };
        }
        if claims.is_empty() {
            // Looking over thousands of tenants without room costs something: seldom, and again without an event only for
            // the sake of circuits, which open by time alone, and of those that were not looked at this time.
            self.claim.end(now.after(3 * limits::CLAIM_PAUSE));
            if self.due.len().max(self.parked.len()) > limits::CLAIM_LOOK {
                self.claim.wish(now);
            } else if self.is_anything_known() {
                self.claim.wish(now.after(limits::DUE_POLL / 4));
            }
        }
        claims
    }

    fn due_claims(&mut self, room: &impl Room) -> Vec<Claim> {
        let mut wants = Wants { claims: Vec::new(), left: limits::CLAIM_BATCH };
        let mut looked_at = None;
        for (tenant, lane) in
            in_turn(|keys| self.due.range(keys).copied(), self.after_due).take(limits::CLAIM_LOOK)
        {
            if wants.left == 0 {
                break;
            }
            wants.add(tenant, ClaimFrom::Due(lane), room.in_lane(tenant, lane));
            looked_at = Some((tenant, lane));
        }
        self.after_due = looked_at.or(self.after_due);
        wants.claims
    }

    fn parked_claims(&mut self, room: &impl Room) -> Vec<Claim> {
        let mut wants = Wants { claims: Vec::new(), left: limits::CLAIM_BATCH };
        let mut looked_at = None;
        let all = in_turn(
            |keys| self.parked.range(keys).map(|(key, parts)| (*key, parts.order())),
            self.after_parked,
        );
        for ((tenant, endpoint), lanes) in all.take(limits::CLAIM_LOOK) {
            if wants.left == 0 {
                break;
            }
            wants.add(tenant, ClaimFrom::Parked { endpoint, lanes }, room.at_endpoint(tenant, endpoint));
            looked_at = Some((tenant, endpoint));
        }
        self.after_parked = looked_at.or(self.after_parked);
        wants.claims
    }

    /// A claim was answered. What came back full is claimed again; what came back short has nothing left: the endpoints that
    /// have nothing parked any more are returned.
    pub fn claimed(&mut self, now: Moment, wants: &[Claim], got: &[Claimed]) -> Vec<EndpointId> {
        // All that was wanted is parked, or all of it due: it is known where something came from.
        let mut by_tenant: HashMap<TenantId, ByLane> = HashMap::new();
        let mut by_endpoint: HashMap<(TenantId, EndpointId), ByLane> = HashMap::new();
        for claimed in got {
            by_tenant.entry(claimed.tenant).or_default()[claimed.lane as usize] += 1;
            by_endpoint.entry((claimed.tenant, claimed.endpoint)).or_default()[claimed.lane as usize] += 1;
        }
        let mut emptied = Vec::new();
        for want in wants {
            match want.from {
                ClaimFrom::Due(lane) => {
                    let key = (want.tenant, lane);
                    let had = by_tenant.get(&want.tenant).map_or(0, |had| had[lane as usize]);
                    if had < want.limit && !self.due_meanwhile.contains(&key) {
                        self.due.remove(&key);
                    }
                }
                ClaimFrom::Parked { endpoint, lanes } => {
                    let key = (want.tenant, endpoint);
                    let had = by_endpoint.get(&key).copied().unwrap_or_default();
                    if had.iter().sum::<u32>() < want.limit && !self.parked_meanwhile.contains(&key) {
                        self.parked.remove(&key);
                        emptied.push(endpoint);
                    } else if let Some(parts) = self.parked.get_mut(&key) {
                        parts.had(lanes, want.limit, had);
                    }
                }
            }
        }
        self.claim.end(now.after(limits::CLAIM_PAUSE));
        self.look_again(now);
        emptied
    }

    /// A claim failed: nothing was claimed, and what was wanted still is.
    pub fn not_claimed(&mut self, now: Moment) {
        self.claim.end(now.after(limits::STORE_RETRY_MAX));
        self.claim.wish(now);
    }

    fn look_again(&mut self, now: Moment) {
        if self.is_anything_known() {
            self.claim.wish(now);
        }
    }

    fn is_anything_known(&self) -> bool {
        !self.due.is_empty() || !self.parked.is_empty()
    }
}

/// Numbers of deliveries.
type ByLane = [u32; Lane::ALL.len()];

/// How much was claimed of each lane of what is parked at an endpoint, above the least: those that have something have equal parts.
#[derive(Debug, Default)]
struct Parts(ByLane);

impl Parts {
    /// The lanes, the one of which the least was claimed first.
    fn order(&self) -> [Lane; 3] {
        let mut lanes = Lane::ALL;
        lanes.sort_by_key(|lane| self.0[*lane as usize]);
        lanes
    }

    /// A claim of `limit`, in this order, had so many of each lane.
    fn had(&mut self, lanes: [Lane; 3], limit: u32, had: ByLane) {
        self.0.iter_mut().zip(had).for_each(|(sum, had)| *sum += had);
        let mut left = limit;
        let (empty, rest): (Vec<Lane>, Vec<Lane>) = lanes.into_iter().partition(|lane| {
            left = left.saturating_sub(had[*lane as usize]);
            left > 0
        });
        // A lane that has no more comes beside the others: it saves nothing up for when it has.
        let least = rest.into_iter().map(|lane| self.0[lane as usize]).min().unwrap_or(0);
        for lane in empty {
            self.0[lane as usize] = self.0[lane as usize].max(least);
        }
        let least = self.0.into_iter().min().unwrap_or(0);
        self.0.iter_mut().for_each(|sum| *sum -= least);
    }
}

/// All that `range` gives, from what is behind `after`, once around.
fn in_turn<K: Copy, I: Iterator>(
    range: impl Fn((Bound<K>, Bound<K>)) -> I,
    after: Option<K>,
) -> impl Iterator<Item = I::Item> {
    let (behind, before) = match after {
        Some(key) => {
            ((Bound::Excluded(key), Bound::Unbounded), Some((Bound::Unbounded, Bound::Included(key))))
        }
        None => ((Bound::Unbounded, Bound::Unbounded), None),
    };
    range(behind).chain(before.into_iter().flat_map(range))
}

struct Wants {
    claims: Vec<Claim>,
    left: u32,
}

impl Wants {
    fn add(&mut self, tenant: TenantId, from: ClaimFrom, room: u32) {
        let limit = room.min(self.left);
        if limit > 0 {
            self.left -= limit;
            self.claims.push(Claim { tenant, from, limit });
        }
    }
}

/// When a call is made next: as soon as it is wished for, but not before a pause after the last one, and one at a time.
#[derive(Debug)]
struct Pacer {
    wished: Option<Moment>,
    not_before: Moment,
    began: Moment,
    under_way: bool,
}

impl Pacer {
    fn at(moment: Moment) -> Self {
        Self { wished: Some(moment), not_before: moment, began: moment, under_way: false }
    }

    fn never() -> Self {
        Self {
            wished: None,
            not_before: Moment::from_micros(0),
            began: Moment::from_micros(0),
            under_way: false,
        }
    }

    fn wish(&mut self, at: Moment) {
        self.wished = Some(self.wished.map_or(at, |wished| wished.min(at)));
    }

    fn wakeup(&self) -> Option<Moment> {
        let wished = self.wished.filter(|_| !self.under_way)?;
        Some(wished.max(self.not_before))
    }

    fn begin(&mut self, now: Moment) -> bool {
        let begins = self.wakeup().is_some_and(|at| at <= now);
        if begins {
            self.wished = None;
            self.began = now;
            self.under_way = true;
        }
        begins
    }

    fn took(&self, now: Moment) -> Duration {
        now.since(self.began)
    }

    fn end(&mut self, not_before: Moment) {
        self.under_way = false;
        self.not_before = not_before;
    }
}

#[cfg(test)]
#[path = "due_tests.rs"]
mod tests;
